//! A bundle made live: compiled modules, the optimised model, limits and metric handles. Immutable; a request holds
//! exactly one from start to end.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use modelgate_columns::{Column, Signature};
use modelgate_onnx::{Model, Session};

use crate::{
    batching::Batching,
    bounds::Bounds,
    bundle::{Bundle, BundleError, Golden},
    error::Error,
    joining::Joining,
    json::decode::{Inputs, NameIndex, Policy},
    metrics::{Metrics, ModelMetrics, Outcome},
    oip::Interface,
    parts::Parts,
    shadow::Shadow,
    tally::Tally,
    tensor::Batch,
    wasm::{
        engine::WasmEngine,
        host::{Limits, Until},
        instance::{ChainError, Instances, Timing},
        module::{Isolation, Module},
    },
};

/// Rows of a request that counts as small: what it takes is more for being a request than for its rows.
const SMALL_REQUEST: u32 = 16;

/// A single measurement counts for no more than this.
const MAX_COST_NS: u64 = 800_000;

/// The weight of a request that ran out of its time: dozens of requests go by before that is forgotten.
const OVERRUN_NS: u64 = 20_000_000;

/// The same for each row of a large request.
const OVERRUN_ROW_NS: u64 = OVERRUN_NS / SMALL_REQUEST as u64;

/// The advice to the author of a bundle with a column `model`.
pub const MODEL_COLUMN: &str = "it has a column 'model', which is also the key of a /predict body that names a model: where it \
                                is the default model, the key is this feature and other models are named by POST \
                                /predict/NAME, ?model=NAME or the header X-Model; where it is not, name it so too";

/// Numbers generations in this process, from 1.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A bundle made live.
pub struct Generation {
    /// Its number in this process.
    pub id: u64,
    /// The model's name, as requests give it.
    pub name: String,
    /// The bundle's version.
    pub version: String,
    /// One line for people.
    pub description: String,
    /// The bundle's identity.
    pub digest: String,
    /// The chain's inputs and outputs; the first output is the prediction.
    pub signature: Signature,
    /// Where its inputs are, by name.
    pub names: NameIndex,
    /// Columns that requests may have beside its inputs, sorted: the bundle passes over them.
    pub dropped: Vec<String>,
    /// Whether its inputs and outputs are tensors as the model's file has them: a request is one row of its columns, and
    /// their first dimension is shown to nobody.
    pub tensors: bool,
    /// The limits of a request.
    pub limits: Limits,
    /// Whether instances outlive a request.
    pub isolation: Isolation,
    /// The extent to which requests are run together: not at all until [`joining::decide`](crate::joining::decide) has
    /// been asked.
    pub batching: Batching,
    /// Whether they are, and why.
    pub joining: Joining,
    /// The stages whose modules came with the bundle.
    pub custom_modules: Vec<String>,
    /// Known answers.
    pub golden: Golden,
    /// Its series.
    pub metrics: Arc<ModelMetrics>,
    /// The statistics of its requests.
    pub tally: Tally,
    /// Another generation that gets copies of its requests, if a release is on trial so.
    pub shadow: Shadow<Self>,
    /// Bytes that it takes while it is resident, estimated.
    footprint: AtomicUsize,
    /// Nanoseconds that small requests take.
    cost_ns: AtomicU64,
    /// Nanoseconds that each row of a large batch takes, likewise; `u64::MAX` as long as there was none.
    row_ns: AtomicU64,
    /// For threads that have none yet.
    spare: Mutex<Vec<Runner>>,
    /// The number that were given to threads.
    given: AtomicUsize,
    /// Whether its model builds plans while requests wait for them.
    may_wait: bool,
    /// Whether a run of its went on long after it should have been stopped.
    overstayed: AtomicBool,
    /// The chain that runs.
    chain: Chain,
    /// The bundle's model.
    pub model: Option<Arc<Model>>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({} of {} {})", self.id, self.name, self.version)
    }
}

/// The chain of a generation.
pub(crate) enum Chain {
    /// Modules in the sandbox.
    Wasm(WasmChain),
    /// Code of ours.
    Native(NativeChain),
}

/// The stages of a chain in the sandbox.
pub(crate) struct WasmChain {
    engine: WasmEngine,
    stages: Vec<String>,
    modules: Arc<[Arc<Module>]>,
}

/// A chain hard-coded in Rust, outside the sandbox: for programs that embed the gateway, and to measure what the sandbox
/// costs. Gets the model's state, the batch and the deadline; gives the packed outputs.
pub type NativeChain = Arc<dyn Fn(Option<&mut Session>, Batch, Instant) -> Result<Vec<u64>, ChainError> + Send + Sync>;

impl Generation {
    /// Compiles and loads all of a bundle that is not alive already. Does not run its golden examples.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as one thing does not hide another.
    pub fn load(mut bundle: Bundle, parts: &Parts, metrics: &Metrics) -> Result<Self, BundleError> {
        // Before anything of it is loaded.
        parts.ceilings.settle(&mut bundle)?;
        let mut problems = Vec::new();
        let compiler = &parts.compiler;
        let model = match bundle.model.take().map(|file| parts.model(file)).transpose() {
            Ok(model) => model,
            Err(error) => {
                problems.push(format!("model: {error}"));
                None
            }
        };
        let mut session = model.as_ref().map(Model::session);
        let mut modules = Vec::new();
        // Without its model, a chain's `init` would fail for that reason alone.
        if problems.is_empty() {
            for stage in &bundle.stages {
                match compiler.compile(&stage.wasm, &stage.config, bundle.isolation, bundle.limits, &mut session) {
                    Ok(module) => modules.push(module),
                    Err(error) => problems.push(format!("stage '{}' ({}): {error:#}", stage.name, stage.module)),
                }
            }
        }
        if problems.is_empty() {
            problems = mismatches(&bundle, &modules);
        }
        if !problems.is_empty() {
            return Err(BundleError { problems });
        }
        let custom = bundle.stages.iter().filter(|stage| stage.is_custom());
        let custom_modules = custom.map(|stage| stage.name.clone()).collect();
        let stages: Vec<_> = bundle.stages.into_iter().map(|stage| stage.name).collect();
        let signature = Signature {
            inputs: modules.first().map(|module| module.signature().inputs.clone()).unwrap_or_default(),
            outputs: modules.last().map(|module| module.signature().outputs.clone()).unwrap_or_default(),
        };
        let labels: Vec<_> = stages.iter().map(String::as_str).collect();
        let names = NameIndex::of(&signature.inputs);
        let mut dropped = bundle.ignored_columns;
        dropped.sort_unstable();
        if names.model_column().is_some() {
            tracing::warn!(model = bundle.name, version = bundle.version, "{MODEL_COLUMN}");
        }
        let whole = model.as_ref().is_some_and(|model| model.is_tensors());
        // A module may make tensors of something else, which may well have rows.
        let tensors = whole && model.as_ref().is_some_and(|model| model.signature().inputs == signature.inputs);
        let limits = if tensors { Limits { rows: 1, ..bundle.limits } } else { bundle.limits };
        let may_wait = model.as_ref().is_some_and(|model| model.may_wait());
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            metrics: metrics.model(&bundle.name, &bundle.version, &labels),
            name: bundle.name,
            names,
            dropped,
            version: bundle.version,
            description: bundle.description,
            digest: bundle.digest,
            signature,
            tensors,
            limits,
            isolation: bundle.isolation,
            batching: Batching::OFF,
            joining: Joining::undecided(),
            custom_modules,
            golden: bundle.golden,
            tally: Tally::default(),
            shadow: Shadow::default(),
            footprint: AtomicUsize::new(0),
            cost_ns: AtomicU64::new(0),
            row_ns: AtomicU64::new(u64::MAX),
            spare: Mutex::default(),
            given: AtomicUsize::new(0),
            may_wait,
            overstayed: AtomicBool::new(false),
            chain: Chain::Wasm(WasmChain { engine: compiler.engine().clone(), stages, modules: modules.into() }),
            model,
        })
    }

    /// The same generation under another number, with `chain` in place of its modules.
    #[must_use]
    pub fn with_native_chain(self, chain: NativeChain) -> Self {
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), chain: Chain::Native(chain), ..self }
    }

    /// The chain that runs.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Its inputs, with the index of their names.
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { columns: &self.signature.inputs, names: &self.names }
    }

    /// Whether it has a column `model`, which is also the key of `/predict` that names a model.
    pub fn takes_model_key(&self) -> bool {
        self.names.model_column().is_some()
    }

    /// Its columns and names, as requests of the Open Inference Protocol see them.
    pub fn interface(&self) -> Interface<'_> {
        Interface {
            name: &self.name,
            version: &self.version,
            inputs: self.inputs(),
            outputs: &self.signature.outputs,
            dropped: &self.dropped,
            tensors: self.tensors,
        }
    }

    /// Bounds of a request whose body has so many bytes.
    pub fn bounds(&self, body: usize) -> Bounds<'static> {
        Bounds::new(self.limits.rows, self.limits.memory, body)
    }

    /// The policy for fields of a body beside its inputs.
    pub fn policy(&self, ignores_extra: bool) -> Policy<'_> {
        Policy { max_rows: self.limits.rows, ignores_extra, dropped: &self.dropped }
    }

    /// The time that requests of that many rows have taken lately; [`Duration::MAX`] where none that large has run yet,
    /// where one may have to wait for a plan of its sizes, and where one went on after it should have been stopped.
    pub fn cost(&self, rows: u32) -> Duration {
        if self.may_wait || self.overstayed.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        let small = self.cost_ns.load(Ordering::Relaxed);
        let all = if rows <= SMALL_REQUEST {
            small
        } else {
            self.row_ns.load(Ordering::Relaxed).saturating_mul(u64::from(rows)).max(small)
        };
        Duration::from_nanos(all)
    }

    /// Notes what a batch of that many rows took, which so many requests shared.
    pub fn took(&self, requests: usize, rows: u32, time: Duration) {
        self.tally.ran(requests, time);
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let requests = u64::try_from(requests).unwrap_or(u64::MAX).max(1);
        // Falls sooner than it rises, and so tells what a run takes that is not interrupted: a thread that must share its
        // core with others does not make a quick model a slow one. Two at once may lose one measurement.
        let lean = |of: &AtomicU64, new: u64| {
            let old = of.load(Ordering::Relaxed);
            let next = match old {
                u64::MAX => new,
                old if new < old => old - (old - new) / 8,
                old => old + (new - old) / 64,
            };
            of.store(next, Ordering::Relaxed);
        };
        if u64::from(rows) <= requests.saturating_mul(u64::from(SMALL_REQUEST)) {
            lean(&self.cost_ns, (time / requests).min(MAX_COST_NS));
        }
        if rows > SMALL_REQUEST {
            lean(&self.row_ns, (time / u64::from(rows)).min(MAX_COST_NS));
        }
    }

    /// For one thread: one that was kept, if there is one.
    pub fn runner(&self) -> Runner {
        self.given.fetch_add(1, Ordering::Relaxed);
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Runner::new(self))
    }

    /// Threads that have taken a runner.
    pub fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }

    /// Keeps runners that were made ahead, so that no thread makes its own while requests wait.
    pub fn keep(&self, runners: Vec<Runner>) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).extend(runners);
    }

    /// Bytes that it takes while it is resident, estimated.
    pub fn footprint(&self) -> usize {
        self.footprint.load(Ordering::Relaxed)
    }

    /// Notes what one runner holds; each of `threads` threads will come to hold as much.
    pub fn measure(&self, runner: &Runner, threads: usize) {
        let model = self.model.as_ref().map_or(0, |model| model.resident_bytes());
        let code: usize = match &self.chain {
            // What another generation has already does not come again, nor does it go with this one.
            Chain::Wasm(WasmChain { modules, .. }) => {
                modules.iter().filter(|module| Arc::strong_count(module) == 1).map(|module| module.code()).sum()
            }
            Chain::Native(_) => 0,
        };
        self.footprint.store(model + code + runner.held * threads, Ordering::Relaxed);
    }

    /// Module instances that it may come to hold on so many threads.
    pub fn pool_slots(&self, threads: usize) -> usize {
        match &self.chain {
            Chain::Wasm(WasmChain { stages, .. }) => stages.len() * threads,
            Chain::Native(_) => 0,
        }
    }

    /// Notes that a request was stopped for taking too long.
    pub fn overran(&self) {
        self.cost_ns.store(OVERRUN_NS, Ordering::Relaxed);
        self.row_ns.store(OVERRUN_ROW_NS, Ordering::Relaxed);
    }

    /// Notes that a run went on long after it should have been stopped, as one node of a graph may: from now on no thread
    /// runs its requests that has other things to do.
    pub fn overstayed(&self) {
        self.overstayed.store(true, Ordering::Relaxed);
    }

    /// Counts a request that never reaches a worker.
    pub fn refused(&self, error: Error) -> Error {
        if error.outcome() == Outcome::Invalid {
            self.tally.unrun();
            self.tally.invalid();
        }
        self.metrics.ended(error.outcome());
        error
    }

    /// The answer to a request whose deadline has passed.
    pub fn deadline_passed(&self) -> Error {
        Error::Deadline(self.limits.deadline.as_millis())
    }

    /// The names of the stages with what each takes and gives; empty for a native chain.
    pub fn stages(&self) -> Vec<(&str, &Signature)> {
        match &self.chain {
            Chain::Wasm(WasmChain { stages, modules, .. }) => {
                stages.iter().map(String::as_str).zip(modules.iter().map(|module| module.signature())).collect()
            }
            Chain::Native(_) => Vec::new(),
        }
    }
}

/// Where a stage does not give what the next one takes.
fn mismatches(bundle: &Bundle, modules: &[Arc<Module>]) -> Vec<String> {
    let side = |columns: &[Column]| {
        let columns: Vec<_> = columns.iter().map(ToString::to_string).collect();
        columns.join(", ")
    };
    let mut problems = Vec::new();
    for (place, pair) in modules.windows(2).enumerate() {
        let (gives, takes) = (&pair[0].signature().outputs, &pair[1].signature().inputs);
        let fits = gives.len() == takes.len()
            && gives.iter().zip(takes).all(|(give, take)| give.name == take.name && give.same_layout(take));
        if !fits {
            problems.push(format!(
                "stage '{}' gives [{}], but stage '{}' takes [{}]",
                bundle.stages[place].name,
                side(gives),
                bundle.stages[place + 1].name,
                side(takes)
            ));
        }
    }
    if modules.last().is_some_and(|module| module.signature().outputs.is_empty()) {
        problems.push("the last stage gives nothing".into());
    }
    problems
}

/// One worker's live instances of one generation.
pub struct Runner {
    /// The model's state, unless instances have it.
    pub(crate) session: Option<Session>,
    instances: Option<Instances>,
    /// Bytes of linear memory that the last run held.
    held: usize,
    counted: Counted,
    /// Where the time of the last run went.
    pub(crate) timing: Timing,
}

/// The amounts that this runner has added to the generation's gauges; taken back when it goes.
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

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("instances", &self.instances).finish_non_exhaustive()
    }
}

impl Runner {
    /// For one worker; instances are made when they are first needed.
    pub fn new(generation: &Generation) -> Self {
        Self {
            session: generation.model.as_ref().map(Model::session),
            instances: None,
            held: 0,
            counted: Counted { metrics: Arc::clone(&generation.metrics), instances: 0, memory: 0 },
            timing: Timing::default(),
        }
    }

    /// One batch through the chain. `generation` must be the one this runner was made for.
    pub fn run(&mut self, generation: &Generation, batch: Batch, until: impl Into<Until>) -> Result<Batch, ChainError> {
        let (rows, until) = (batch.rows, until.into());
        let words = match &generation.chain {
            Chain::Native(chain) => chain(self.session.as_mut(), batch, until.deadline)?.into(),
            Chain::Wasm(chain) => {
                let mut instances = self.start(generation, chain)?;
                let words = instances.run(rows, batch.words, until, &mut self.timing);
                self.end(generation, chain, instances, &words);
                words?
            }
        };
        Ok(Batch { rows, words })
    }

    /// Instances for a run: those of the last one, or new ones. [`end`](Self::end) takes them back.
    pub(crate) fn start(&mut self, generation: &Generation, chain: &WasmChain) -> Result<Instances, ChainError> {
        if let Some(instances) = self.instances.take() {
            return Ok(instances);
        }
        let session = self.session.take().or_else(|| generation.model.as_ref().map(Model::session));
        let WasmChain { engine, modules, .. } = chain;
        Instances::start(engine, modules, generation.limits, &generation.name, session).map_err(|(error, session)| {
            self.session = session;
            error
        })
    }

    /// Keeps the instances of a run for the next one, unless a module ended early or each request gets instances of its own.
    pub(crate) fn end<T>(
        &mut self,
        generation: &Generation,
        chain: &WasmChain,
        instances: Instances,
        result: &Result<T, ChainError>,
    ) {
        self.held = instances.memory();
        let has_trapped = matches!(result, Err(ChainError::Trap { .. }));
        if generation.isolation == Isolation::Worker && !has_trapped {
            self.counted.set(chain.modules.len(), self.held);
            self.instances = Some(instances);
        } else {
            self.counted.set(0, 0);
            self.session = instances.into_session();
        }
    }
}
