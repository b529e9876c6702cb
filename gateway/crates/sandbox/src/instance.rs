//! Live instances of a bundle's stages, and one call through all of them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use modelgate_columns::validate;
use modelgate_onnx::Session;
use wasmtime::Store;

use crate::{
    clock::Clock,
    contract::{Problem, ProcessFunc, WitError},
    engine::WasmEngine,
    host::{Host, Limits, Until},
    module::Module,
    trap::describe,
};

pub use crate::trap::TrapCause;

/// Problems of one answer that are kept, and bytes of each of their texts.
const MAX_PROBLEMS: usize = 100;
const MAX_PROBLEM: usize = 4 << 10;

/// Bytes that one call may copy to the host beyond what the guests' memory holds: elements of lists are larger there.
const LIFTED_BESIDE: usize = 1 << 20;

/// Why a chain gave no answer.
#[derive(Clone, Debug)]
pub enum ChainError {
    /// The caller's data is at fault, as a module says.
    Invalid(Vec<Problem>),
    /// A module ended early. The instances it ran in are of no further use.
    Trap {
        /// Why, for callers and metrics.
        cause: TrapCause,
        /// The event, for the log.
        detail: String,
    },
    /// A module or the model said that it failed; the text is for the log.
    Failed(String),
    /// Instances could not be made; the text is for the log.
    Start(String),
}

/// Time that a request took, by part.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// Each stage, the model's time within it included.
    pub stages: Vec<Duration>,
    /// The model.
    pub model: Duration,
}

/// Bytes that one call may copy from a guest to the host. Values that do not overlap fit into the guest's memory, whose
/// bytes are bounded; a list of texts that are all the same bytes stands for any number of them.
fn lifted_at_once(limits: Limits) -> usize {
    limits.host_call_bytes.min(limits.memory.saturating_add(LIFTED_BESIDE))
}

/// The first problems of a list, their texts cut: a guest's memory has room for as many and as long ones as it likes.
fn bounded(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.truncate(MAX_PROBLEMS);
    for problem in &mut problems {
        cut(&mut problem.message);
        problem.column.as_mut().map(cut);
    }
    problems.shrink_to_fit();
    problems
}

fn cut(text: &mut String) {
    if text.len() > MAX_PROBLEM {
        text.truncate(text.floor_char_boundary(MAX_PROBLEM));
        text.push('…');
        text.shrink_to_fit();
    }
}

/// One instance of every stage, in one store.
pub struct Instances {
    store: Store<Host>,
    clock: Arc<Clock>,
    modules: Arc<[Arc<Module>]>,
    process: Vec<ProcessFunc>,
}

impl fmt::Debug for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instances").field("store", self.store.data()).finish_non_exhaustive()
    }
}

impl Instances {
    /// Instantiates every stage. The session comes back with an error.
    pub fn start(
        engine: &WasmEngine,
        modules: &Arc<[Arc<Module>]>,
        limits: Limits,
        name: &str,
        session: Option<Session>,
    ) -> Result<Self, (ChainError, Option<Session>)> {
        let mut store = Store::new(engine.inner(), Host::new(session, limits, name));
        store.limiter(|host| host);
        store.epoch_deadline_callback(|store| store.data().look());
        store.set_hostcall_fuel(lifted_at_once(limits));
        let clock = Arc::clone(engine.clock());
        let started = {
            let _running = clock.run_guest();
            modules.iter().map(|module| module.start(&mut store)).collect()
        };
        match started {
            Ok(process) => Ok(Self { store, clock, modules: Arc::clone(modules), process }),
            Err(error) => Err((ChainError::Start(format!("{error:#}")), store.into_data().session)),
        }
    }

    /// One batch through every stage. After [`ChainError::Trap`] the instances must be dropped.
    pub fn run(
        &mut self,
        rows: u32,
        mut words: Arc<Vec<u64>>,
        until: Until,
        timing: &mut Timing,
    ) -> Result<Arc<Vec<u64>>, ChainError> {
        let _running = self.clock.run_guest();
        self.store.set_epoch_deadline(until.ticks());
        self.store.data_mut().begin(until);
        timing.stages.clear();
        let mut start = Instant::now();
        for (process, module) in self.process.iter().zip(self.modules.iter()) {
            let (answer,) = process.call(&mut self.store, (rows, words)).map_err(|error| {
                let (cause, detail) = describe(&error, self.store.data());
                ChainError::Trap { cause, detail }
            })?;
            let given = answer.map_err(|error| match error {
                WitError::InvalidInput(problems) => ChainError::Invalid(bounded(problems)),
                WitError::Model(message) => ChainError::Failed(format!("model: {message}")),
                WitError::Internal(message) => ChainError::Failed(message),
            })?;
            words = Arc::new(given);
            validate(&module.signature().outputs, rows, &words)
                .map_err(|error| ChainError::Trap { cause: TrapCause::BadOutput, detail: error.to_string() })?;
            let now = Instant::now();
            timing.stages.push(now - start);
            start = now;
        }
        let host = self.store.data_mut();
        host.end();
        timing.model = host.model_time;
        Ok(words)
    }

    /// Linear memory held, in bytes.
    pub fn memory(&self) -> usize {
        self.store.data().memory()
    }

    /// Drops the instances, keeps the model's state.
    pub fn into_session(self) -> Option<Session> {
        self.store.into_data().session
    }
}
