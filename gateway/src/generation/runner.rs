//! The instances of one generation on one thread.

use std::{fmt, sync::Arc};

use modelgate_onnx::{Model, Session};

use super::chain::{Chain, WasmChain};
use crate::{
    metrics::ModelMetrics,
    tensor::Batch,
    wasm::{
        host::Until,
        instance::{ChainError, Instances, Timing},
        module::Isolation,
    },
};

/// One thread's instances of one generation. They are made by the first run.
pub struct Runner {
    /// A session of the model, unless instances have it.
    session: Option<Session>,
    instances: Option<Instances>,
    /// Bytes of linear memory that the last run held.
    pub(super) held: usize,
    counted: Counted,
    /// The times of the last run, by stage.
    pub(crate) timing: Timing,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("instances", &self.instances).finish_non_exhaustive()
    }
}

impl Runner {
    pub(super) fn new(model: Option<&Arc<Model>>, metrics: Arc<ModelMetrics>) -> Self {
        Self {
            session: model.map(Model::session),
            instances: None,
            held: 0,
            counted: Counted { metrics, instances: 0, memory: 0 },
            timing: Timing::default(),
        }
    }

    /// One batch through the chain, which must be that of the generation that the runner was made for.
    pub(super) fn run(&mut self, chain: &Chain, batch: Batch, until: Until) -> Result<Batch, ChainError> {
        let rows = batch.rows;
        let words = match chain {
            Chain::Native(chain) => chain(self.session.as_mut(), batch, until.deadline)?.into(),
            Chain::Wasm(chain) => {
                let mut instances = self.start(chain)?;
                let words = instances.run(rows, batch.words, until, &mut self.timing);
                self.end(chain, instances, &words);
                words?
            }
        };
        Ok(Batch { rows, words })
    }

    /// Instances for a run: those of the last one, or new ones. [`end`](Self::end) takes them back.
    fn start(&mut self, chain: &WasmChain) -> Result<Instances, ChainError> {
        if let Some(instances) = self.instances.take() {
            return Ok(instances);
        }
        chain.start(self.session.take()).map_err(|(error, session)| {
            self.session = session;
            error
        })
    }

    /// Keeps the instances of a run for the next one, unless a module trapped or each request gets instances of its own.
    fn end<T>(&mut self, chain: &WasmChain, instances: Instances, result: &Result<T, ChainError>) {
        self.held = instances.memory();
        let has_trapped = matches!(result, Err(ChainError::Trap { .. }));
        if chain.isolation == Isolation::Worker && !has_trapped {
            self.counted.set(chain.modules.len(), self.held);
            self.instances = Some(instances);
        } else {
            self.counted.set(0, 0);
            self.session = instances.into_session();
        }
    }
}

/// The amounts that a runner has added to the generation's gauges. Dropping it takes them back.
struct Counted {
    metrics: Arc<ModelMetrics>,
    instances: i64,
    memory: i64,
}

impl Counted {
    fn set(&mut self, instances: usize, memory: usize) {
        let (instances, memory) = (i64::try_from(instances).unwrap_or(0), i64::try_from(memory).unwrap_or(0));
        if (instances, memory) != (self.instances, self.memory) {
            self.metrics.instances.add(instances - self.instances);
            self.metrics.instance_memory.add(memory - self.memory);
            (self.instances, self.memory) = (instances, memory);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}
