//! The model: an ONNX graph, read, checked and optimised once, then run by any number of [`Session`]s; or a model of XGBoost,
//! LightGBM or CatBoost in its own format (`modelgate-boosters`).
//!
//! tract runs neural networks and the glue between operators; [`ops`] has our own operators for the rest. Everything
//! that crosses this interface is a packed column.

/// The example of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod booster;
mod bounds;
mod columns;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod differential;
mod error;
mod failure;
mod footprint;
mod fuse;
mod graph;
mod guard;
mod interface;
mod lazy_trees;
pub mod ops;
mod plan;
mod plans;
mod rows;
mod session;
mod sized;
mod tensors;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use modelgate_columns::Signature;
use tracing::info;
use tract_onnx::tract_hir::internal::{Framework, InferenceModel};

use self::booster::Served;
pub use self::booster::{Answers, BoosterForm, Feature};
use self::columns::Layout;
pub use self::error::{ComputeError, ModelError};
use self::failure::engine;
pub use self::footprint::limit_runs;
use self::guard::guarded;
use self::interface::Declared;
pub use self::interface::Mode;
use self::plans::{Kinds, Plans};
pub use self::rows::RowDependence;
pub use self::session::Session;

/// From this size on, loading takes long enough to say how far it is.
const LARGE: usize = 16 << 20;

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
    engine: Engine,
}

/// The engine that runs a model.
#[derive(Clone, Debug)]
enum Engine {
    Graph(Arc<Plans>),
    Booster(Arc<Served>),
}

impl Model {
    /// Reads, checks and optimises an ONNX file, or a booster's own. Files are not trusted: a bad one is an error.
    pub fn load(onnx: &[u8], limits: &ModelLimits) -> Result<Self, ModelError> {
        Self::load_with_data(onnx.to_vec(), BTreeMap::new(), limits)
    }

    /// The same for a model whose larger tensors are in files of their own, by the names that it calls them. Lets go of the
    /// files as soon as they are read: a load takes enough memory without them.
    pub fn load_with_data(
        onnx: Vec<u8>,
        data: BTreeMap<String, Vec<u8>>,
        limits: &ModelLimits,
    ) -> Result<Self, ModelError> {
        Self::load_as(Mode::Auto, onnx, data, limits)
    }

    /// The same for a model that is served as tables or as tensors.
    pub fn load_as(
        mode: Mode,
        onnx: Vec<u8>,
        data: BTreeMap<String, Vec<u8>>,
        limits: &ModelLimits,
    ) -> Result<Self, ModelError> {
        Self::load_again(None, mode, onnx, data, limits)
    }

    /// The same for a file that was loaded before, with what [`plan`](Self::plan) gave then: plans that were chosen by their
    /// time are chosen again, however busy the machine is now, so that answers have the same bits.
    pub fn load_again(
        plan: Option<&str>,
        mode: Mode,
        onnx: Vec<u8>,
        data: BTreeMap<String, Vec<u8>>,
        limits: &ModelLimits,
    ) -> Result<Self, ModelError> {
        let found = data.values().map(Vec::len).fold(onnx.len(), usize::saturating_add);
        if found > limits.file_bytes {
            return Err(ModelError::TooLarge { what: "bytes", found, limit: limits.file_bytes });
        }
        if Served::is_one(&onnx) {
            return Self::of_booster(&BoosterForm::default(), &onnx);
        }
        let start = Instant::now();
        let mib = |bytes: usize| bytes >> 20;
        let large = onnx.len() > LARGE;
        if large {
            info!(file_mib = mib(onnx.len()), "reading a large model");
        }
        let read = plan::within_bounds(found, || guarded(|| Ok(read(onnx, data, limits))));
        let (model, outputs) = read.map_err(engine)??;
        if large {
            info!(seconds = start.elapsed().as_secs_f32(), "its graph is read; preparing it");
        }
        // Each plan is guarded by itself; what is left is ours.
        let plans = guarded(|| Ok(Plans::new(&model, &outputs, mode, found, plan.map(Kinds::named))));
        let plans = plans.map_err(engine)??;
        plans.signature.check().map_err(|error| ModelError::Corrupt(error.to_string()))?;
        let (seconds, resident_mib) = (start.elapsed().as_secs_f32(), mib(plans.resident_bytes()));
        if large {
            info!(seconds, resident_mib, "the large model is ready");
        }
        Ok(Self { engine: Engine::Graph(Arc::new(plans)) })
    }

    /// Reads a model of XGBoost, LightGBM or CatBoost that is asked, and answers, in this form.
    ///
    /// # Errors
    /// A file of no such library, one that is refused, or columns that the model cannot take.
    pub fn load_booster(form: &BoosterForm, bytes: &[u8], limits: &ModelLimits) -> Result<Self, ModelError> {
        if bytes.len() > limits.file_bytes {
            return Err(ModelError::TooLarge { what: "bytes", found: bytes.len(), limit: limits.file_bytes });
        }
        Self::of_booster(form, bytes)
    }

    fn of_booster(form: &BoosterForm, bytes: &[u8]) -> Result<Self, ModelError> {
        let served = Served::load(bytes, form)?;
        served.signature.check().map_err(|error| ModelError::Corrupt(error.to_string()))?;
        Ok(Self { engine: Engine::Booster(Arc::new(served)) })
    }

    /// The graph's inputs and outputs, in its order. The first dimension of each is the rows; where there are none (see
    /// [`is_tensors`](Self::is_tensors)), it stands before the tensor's own shape, and there is always one row.
    pub fn signature(&self) -> &Signature {
        match &self.engine {
            Engine::Graph(plans) => &plans.signature,
            Engine::Booster(served) => &served.signature,
        }
    }

    /// Whether inputs and outputs are tensors as the file has them: [`Session::compute`] takes one set of them, as the
    /// values of one row.
    pub fn is_tensors(&self) -> bool {
        matches!(&self.engine, Engine::Graph(plans) if plans.layout == Layout::Whole)
    }

    /// Whether a request may have to wait until a plan for its sizes is built, which takes as long as loading the model.
    pub fn may_wait(&self) -> bool {
        matches!(&self.engine, Engine::Graph(plans) if plans.may_wait())
    }

    /// The kinds of its plans, by name: two loads of a file that give the same kinds run it alike.
    pub fn plan(&self) -> String {
        let Engine::Graph(plans) = &self.engine else { return "booster".to_owned() };
        plans.kinds()
    }

    /// Whether a row's answer may depend on the rows that it is computed with. Where it may, rows of different callers must
    /// not be put together.
    pub fn rows(&self) -> &RowDependence {
        match &self.engine {
            Engine::Graph(plans) => &plans.rows,
            Engine::Booster(_) => &RowDependence::Independent,
        }
    }

    /// A worker's own state, to be kept and reused.
    pub fn session(self: &Arc<Self>) -> Session {
        match &self.engine {
            Engine::Graph(plans) => Session::of_graph(Arc::clone(plans)),
            Engine::Booster(served) => Session::of_booster(Arc::clone(served)),
        }
    }

    /// The plans of a graph.
    #[cfg(test)]
    fn plans(&self) -> &Plans {
        match &self.engine {
            Engine::Graph(plans) => plans,
            Engine::Booster(_) => panic!("a booster has no plans"),
        }
    }

    /// Bytes of constants and trees held, an estimate.
    pub fn resident_bytes(&self) -> usize {
        match &self.engine {
            Engine::Graph(plans) => plans.resident_bytes(),
            Engine::Booster(served) => served.bytes(),
        }
    }
}

/// The files beside a graph that hold its larger tensors, as it names them; none if it cannot be read.
pub fn data_files(onnx: Vec<u8>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if Served::is_one(&onnx) {
        return names;
    }
    if let Some(graph) = lazy_trees::decode(onnx).ok().and_then(|model| model.graph) {
        tensors::locations(&graph, &mut names);
    }
    names
}

/// The graph of a file, checked and built, and its outputs as it declares them.
fn read(
    onnx: Vec<u8>,
    data: BTreeMap<String, Vec<u8>>,
    limits: &ModelLimits,
) -> Result<(InferenceModel, Vec<Declared>), ModelError> {
    // Declared output types and inner shapes are hints that converters get wrong, the batch dimension above all.
    let mut framework = tract_onnx::onnx().with_ignore_output_types(true).with_ignore_value_info(true);
    ops::register(&mut framework);
    bounds::bound(&mut framework);
    let mut proto = lazy_trees::decode(onnx)?;
    if let Some(graph) = &mut proto.graph {
        tensors::settle(graph, &data)?;
    }
    drop(data);
    let graph = graph::check(&proto, limits.nodes)?;
    let outputs = graph.output.iter().map(graph::declared).collect();
    fuse::fuse(&mut proto);
    if let Some(graph) = &mut proto.graph {
        graph::copy_inputs(graph);
    }
    let model = framework.model_for_proto_model(&proto).map_err(|error| {
        // The engine stops at the first objection; a person who mends the model wants all of them.
        graph::objections(&framework, &proto).map_or_else(|| engine(error), ModelError::Engine)
    })?;
    Ok((model, outputs))
}
