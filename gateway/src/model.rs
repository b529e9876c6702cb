//! The model: an ONNX graph, read, checked and optimised once, then run by any number of [`Session`]s.
//!
//! tract runs neural networks and the glue between operators; [`ops`] has our own operators for the rest. Everything
//! that crosses this interface is a packed column.

mod columns;
mod error;
mod graph;
pub mod ops;
mod plan;
mod session;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use modelgate_columns::Signature;
use tract_onnx::tract_hir::internal::Framework;

pub use self::error::{ComputeError, ModelError};
use self::plan::{Plans, engine};
pub use self::session::Session;

/// Bounds on what a model file may ask of the host.
#[derive(Clone, Copy, Debug)]
pub struct ModelLimits {
    /// Of the file. What its arrays and trees hold is bounded by it too.
    pub file_bytes: usize,
    /// Of the graph, subgraphs included.
    pub nodes: usize,
}

impl Default for ModelLimits {
    /// Enough for what runs in reasonable time on a processor.
    fn default() -> Self {
        Self { file_bytes: 1 << 30, nodes: 50_000 }
    }
}

/// A model ready to run. Immutable: share it in an `Arc`.
#[derive(Debug)]
pub struct Model {
    plans: Arc<Plans>,
}

impl Model {
    /// Reads, checks and optimises an ONNX file. Files are not trusted: a bad one is an error.
    pub fn load(onnx: &[u8], limits: &ModelLimits) -> Result<Self, ModelError> {
        if onnx.len() > limits.file_bytes {
            return Err(ModelError::TooLarge { what: "bytes", found: onnx.len(), limit: limits.file_bytes });
        }
        // tract asserts things about graphs that a file may contradict. Nothing outlives such a panic.
        catch_unwind(AssertUnwindSafe(|| Self::load_unguarded(onnx, limits)))
            .unwrap_or_else(|_| Err(ModelError::Corrupt("the engine panicked on it".into())))
    }

    fn load_unguarded(onnx: &[u8], limits: &ModelLimits) -> Result<Self, ModelError> {
        // Declared output types and inner shapes are hints that converters get wrong, the batch dimension above all.
        let mut framework = tract_onnx::onnx().with_ignore_output_types(true).with_ignore_value_info(true);
        ops::register(&mut framework);
        let proto =
            framework.proto_model_for_read(&mut &*onnx).map_err(|error| ModelError::Corrupt(plan::brief(&error)))?;
        let graph = graph::check(&framework, &proto, limits.nodes)?;
        let output_names: Vec<String> = graph.output.iter().map(|output| output.name.clone()).collect();
        let model = framework.model_for_proto_model(&proto).map_err(engine)?;
        // It is the larger part of what loading takes at its peak.
        drop(proto);
        let plans = Plans::new(&model, &output_names)?;
        plans.signature.check().map_err(|error| ModelError::Corrupt(error.to_string()))?;
        Ok(Self { plans: Arc::new(plans) })
    }

    /// The graph's inputs and outputs, in its order; the first dimension of each is the rows.
    pub fn signature(&self) -> &Signature {
        &self.plans.signature
    }

    /// A worker's own state, to be kept and reused.
    pub fn session(self: &Arc<Self>) -> Session {
        Session::new(Arc::clone(&self.plans))
    }

    /// Bytes of constants and trees held, an estimate.
    pub fn resident_bytes(&self) -> usize {
        self.plans.resident_bytes()
    }
}
