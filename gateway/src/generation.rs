//! A bundle that is loaded: compiled modules, the optimised model, limits and metric handles. Immutable while it serves, but
//! for its [`Usage`], which counts and caches; a request holds exactly one generation from start to end.

mod chain;
mod run_time;
mod runner;
mod usage;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use modelgate_columns::{Column, Signature};
use modelgate_onnx::Model;

use self::chain::{Chain, WasmChain};
pub use self::{chain::NativeChain, runner::Runner, usage::Usage};
use crate::{
    artifact_cache::ArtifactCache,
    batching::Batching,
    batching_decision::BatchingDecision,
    bounds::Bounds,
    bundle::{Bundle, BundleError, Golden},
    error::Error,
    json::decode::{Inputs, NameIndex, Policy},
    metrics::{Metrics, ModelMetrics, Outcome},
    oip::Interface,
    shadow::Shadow,
    tensor::Batch,
    wasm::{
        host::{Limits, Until},
        instance::ChainError,
        module::{Isolation, Module},
    },
};

/// The advice to the author of a bundle with a column `model`.
pub const MODEL_COLUMN: &str = "it has a column 'model', which is also the key of a /predict body that names a model: where it \
                                is the default model, the key is this feature and other models are named by POST \
                                /predict/NAME, ?model=NAME or the header X-Model; where it is not, name it so too";

/// Numbers generations in this process, from 1.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A bundle that is loaded.
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
    /// The extent to which requests are run together: not at all until [`batching_decision::decide`](crate::batching_decision::decide) has
    /// been asked.
    pub batching: Batching,
    /// Whether they are, and why.
    pub batching_decision: BatchingDecision,
    /// The stages whose modules came with the bundle.
    pub custom_modules: Vec<String>,
    /// Known answers.
    pub golden: Golden,
    /// Its series.
    pub metrics: Arc<ModelMetrics>,
    /// Another generation that gets copies of its requests, if a version is on trial so.
    pub shadow: Shadow<Self>,
    /// The counts and caches: all that changes while the generation serves, besides the shadow.
    pub usage: Usage,
    /// Bytes that it takes while it is resident, estimated.
    footprint: usize,
    /// Whether its model builds plans while requests wait for them.
    may_wait: bool,
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

impl Generation {
    /// Compiles and loads all of a bundle that is not alive already. Does not run its golden examples.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as one thing does not hide another.
    pub fn load(mut bundle: Bundle, artifacts: &ArtifactCache, metrics: &Metrics) -> Result<Self, BundleError> {
        // Before anything of it is loaded.
        artifacts.ceilings.apply(&mut bundle)?;
        let mut problems = Vec::new();
        let compiler = &artifacts.compiler;
        let model = match bundle.model.take().map(|file| artifacts.model(file)).transpose() {
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
        let names = NameIndex::new(&signature.inputs);
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
        let metrics = metrics.model(&bundle.name, &bundle.version, &labels);
        let chain = WasmChain {
            engine: compiler.engine().clone(),
            stages,
            modules: modules.into(),
            model: model.clone(),
            name: bundle.name.clone(),
            limits,
            isolation: bundle.isolation,
        };
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            metrics,
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
            batching_decision: BatchingDecision::undecided(),
            custom_modules,
            golden: bundle.golden,
            shadow: Shadow::default(),
            usage: Usage::default(),
            footprint: 0,
            may_wait,
            chain: Chain::Wasm(chain),
            model,
        })
    }

    /// The same generation under another number, with `chain` in place of its modules.
    #[must_use]
    pub fn with_native_chain(self, chain: NativeChain) -> Self {
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), chain: Chain::Native(chain), ..self }
    }

    /// One batch through the chain, by a runner of this generation.
    ///
    /// # Errors
    /// A module or the model refuses the batch, fails, or is stopped.
    pub fn run(&self, runner: &mut Runner, batch: Batch, until: impl Into<Until>) -> Result<Batch, ChainError> {
        runner.run(&self.chain, batch, until.into())
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
        if self.may_wait { Duration::MAX } else { self.usage.run_time.estimate(rows) }
    }

    /// A runner for a thread that keeps it: one that is ready, or a new one.
    pub fn take_runner(&self) -> Runner {
        self.usage.take_ready().unwrap_or_else(|| self.new_runner())
    }

    /// A runner that has not run yet.
    pub fn new_runner(&self) -> Runner {
        Runner::new(self.model.as_ref(), Arc::clone(&self.metrics))
    }

    /// Bytes that it takes while it is resident, estimated; 0 before [`measure`](Self::measure).
    pub fn footprint(&self) -> usize {
        self.footprint
    }

    /// Estimates the footprint from one runner that has run; each of `threads` threads will come to hold as much.
    pub fn measure(&mut self, runner: &Runner, threads: usize) {
        let model = self.model.as_ref().map_or(0, |model| model.resident_bytes());
        self.footprint = model + self.chain.own_code_bytes() + runner.held * threads;
    }

    /// Instances of modules that it may come to hold on so many threads.
    pub fn pool_slots(&self, threads: usize) -> usize {
        self.chain.pool_slots(threads)
    }

    /// Counts a request that never reaches a worker.
    pub fn refused(&self, error: Error) -> Error {
        if error.outcome() == Outcome::Invalid {
            self.usage.stats.unrun();
            self.usage.stats.invalid();
        }
        self.metrics.ended(error.outcome());
        error
    }

    /// The answer to a request whose deadline has passed.
    pub fn deadline_passed(&self) -> Error {
        Error::Deadline(self.limits.deadline.as_millis())
    }

    /// The names of the stages, and the columns that each takes and gives; empty for a native chain.
    pub fn stages(&self) -> Vec<(&str, &Signature)> {
        self.chain.stages()
    }
}

/// Where a stage does not give what the next one takes.
fn mismatches(bundle: &Bundle, modules: &[Arc<Module>]) -> Vec<String> {
    let side = |columns: &[Column]| {
        let columns: Vec<_> = columns.iter().map(ToString::to_string).collect();
        columns.join(", ")
    };
    let mut problems = Vec::new();
    for (index, pair) in modules.windows(2).enumerate() {
        let (gives, takes) = (&pair[0].signature().outputs, &pair[1].signature().inputs);
        let fits = gives.len() == takes.len()
            && gives.iter().zip(takes).all(|(give, take)| give.name == take.name && give.same_layout(take));
        if !fits {
            problems.push(format!(
                "stage '{}' gives [{}], but stage '{}' takes [{}]",
                bundle.stages[index].name,
                side(gives),
                bundle.stages[index + 1].name,
                side(takes)
            ));
        }
    }
    if modules.last().is_some_and(|module| module.signature().outputs.is_empty()) {
        problems.push("the last stage gives nothing".into());
    }
    problems
}
