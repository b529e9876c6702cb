//! The chain of a generation: its stages in order, and the facts that a run of them needs.

use std::{sync::Arc, time::Instant};

use modelgate_columns::Signature;
use modelgate_onnx::{Model, Session};

use crate::{
    tensor::Batch,
    wasm::{
        engine::WasmEngine,
        host::Limits,
        instance::{ChainError, Instances},
        module::{Isolation, Module},
    },
};

/// A chain hard-coded in Rust, outside the sandbox: for programs that embed the gateway, and to measure what the sandbox
/// costs. Gets the model's state, the batch and the deadline; gives the packed outputs.
pub type NativeChain = Arc<dyn Fn(Option<&mut Session>, Batch, Instant) -> Result<Vec<u64>, ChainError> + Send + Sync>;

/// The chain of a generation.
pub(crate) enum Chain {
    /// Modules in the sandbox.
    Wasm(WasmChain),
    /// Code of ours.
    Native(NativeChain),
}

/// The stages of a chain in the sandbox.
pub(crate) struct WasmChain {
    pub(super) engine: WasmEngine,
    /// The names of the stages.
    pub(super) stages: Vec<String>,
    /// The stages' modules, in the same order.
    pub(super) modules: Arc<[Arc<Module>]>,
    /// The model that modules call.
    pub(super) model: Option<Arc<Model>>,
    /// The model's name, for log lines of modules.
    pub(super) name: String,
    pub(super) limits: Limits,
    pub(super) isolation: Isolation,
}

impl Chain {
    /// The names of the stages, and the columns that each takes and gives; empty for a native chain.
    pub(super) fn stages(&self) -> Vec<(&str, &Signature)> {
        match self {
            Self::Wasm(WasmChain { stages, modules, .. }) => {
                stages.iter().map(String::as_str).zip(modules.iter().map(|module| module.signature())).collect()
            }
            Self::Native(_) => Vec::new(),
        }
    }

    /// Bytes of machine code that no other generation uses.
    pub(super) fn own_code_bytes(&self) -> usize {
        match self {
            // Code that another generation uses takes no further memory, nor does it go with this chain.
            Self::Wasm(WasmChain { modules, .. }) => {
                modules.iter().filter(|module| Arc::strong_count(module) == 1).map(|module| module.code()).sum()
            }
            Self::Native(_) => 0,
        }
    }

    /// Instances of modules that so many threads may come to hold.
    pub(super) fn pool_slots(&self, threads: usize) -> usize {
        match self {
            Self::Wasm(WasmChain { stages, .. }) => stages.len() * threads,
            Self::Native(_) => 0,
        }
    }
}

impl WasmChain {
    /// New instances of all stages, with a session of the model in them.
    ///
    /// # Errors
    /// The reason why a module does not start, and the session.
    pub(super) fn start(&self, session: Option<Session>) -> Result<Instances, (ChainError, Option<Session>)> {
        let session = session.or_else(|| self.model.as_ref().map(Model::session));
        Instances::start(&self.engine, &self.modules, self.limits, &self.name, session)
    }
}
