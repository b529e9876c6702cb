//! The bundle's preloaded model. It runs natively, outside the sandbox.
//!
//! A module that never calls these functions does not import the model at all.

use modelgate_columns::Signature;

use crate::Error;

/// The model's own inputs and outputs. Fixed for the life of the instance: ask once, in `init`. Without a model in the
/// bundle, both are empty.
pub fn signature() -> Signature {
    #[cfg(target_arch = "wasm32")]
    return crate::guest::model_signature();
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::model_signature();
}

/// Runs the model on `rows` rows. `inputs` packs the model's inputs in its signature's order: write them with a
/// [`Packer`](crate::Packer), or hand on [`Batch::words`](crate::Batch::words). Read the result with
/// [`Batch::of_model`](crate::Batch::of_model).
///
/// Fails with [`Error::Model`] if the model does, and with [`Error::Internal`] if the words are not its inputs.
pub fn compute(rows: u32, inputs: &[u64]) -> Result<Vec<u64>, Error> {
    #[cfg(target_arch = "wasm32")]
    return crate::guest::compute(rows, inputs);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::compute(rows, inputs);
}
