//! One running instance of a module: what the bindings call, and the native mock too.

use modelgate_columns::Signature;

use crate::{Batch, Error, Module, Packer};

/// The configuration of a module that has none: `{}`, or no file at all.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A module after its `init`.
#[derive(Debug)]
pub struct Live<M> {
    module: M,
    signature: Signature,
}

impl<M: Module> Live<M> {
    /// Parses the configuration, calls the module's `init` and checks the signature it gives.
    pub fn init(config: &[u8]) -> Result<Self, Error> {
        let config = if config.is_empty() { b"{}" } else { config };
        let config =
            serde_json::from_slice(config).map_err(|error| Error::Internal(format!("configuration: {error}")))?;
        let (module, signature) = M::init(config)?;
        signature.check()?;
        Ok(Self { module, signature })
    }

    /// The module's inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Reads the batch, calls the module's `process` and packs what it wrote.
    pub fn process(&mut self, rows: u32, words: &[u64]) -> Result<Vec<u64>, Error> {
        let inputs = Batch::new(&self.signature.inputs, rows, words)?;
        let mut outputs = Packer::new(&self.signature.outputs, rows);
        self.module.process(&inputs, &mut outputs)?;
        outputs.finish()
    }
}
