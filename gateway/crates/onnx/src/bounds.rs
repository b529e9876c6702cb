//! Bounds on what a model file may make the host compute and hold before it runs.
//!
//! The engine folds constants while it loads a graph: a node whose inputs are all known is evaluated at once. A few bytes
//! of a file can so ask for any amount of memory (a shape, however it is computed, for a node that spreads a value) and of
//! time (products of products). So every operator is built inside a [`Bounded`] one, which knows the shapes before
//! anything is evaluated and refuses what is beyond the load's [`Allowance`]; and what the engine folds later is looked
//! at with [`check`] first. Both grow with the file: a large model may hold much, a small one may not.

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::sync::LazyLock;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::internal::tract_core::ops::scan::OptScan;
use tract_onnx::tract_hir::internal::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::{
    EvalContext, EvalOp, Factoid, GenericFactoid, HashMap, InferenceFact, InferenceModel, InferenceModelPatch,
    InferenceNode, InferenceOp, Op, OpState, OutletId, SessionId, StaticName, Symbol, SymbolValues, TDim, TValue, TVec,
    TractErrorContext, TractResult, TypedFact, TypedModel, TypedOp, Validation, bail,
};

use super::ops;
use super::tensors::ELEMENTS;

/// Bytes of one folded constant, and what each byte of the file adds. A mask of 2,048 positions by 2,048 takes 16 MiB;
/// weights that are stored in 4 bits become floats of 32.
const CONSTANT: u64 = 16 << 20;
const CONSTANT_PER_BYTE: u64 = 8;

/// Bytes of everything that is folded, whether it is kept or not, and what each byte of the file adds. A graph is gone
/// through some four times.
const FOLDED: u64 = 128 << 20;
const FOLDED_PER_BYTE: u64 = 32;

/// Steps of work (a multiplication and an addition) that folding may take, and what each byte of the file adds.
const WORK: u64 = 1 << 31;
const WORK_PER_BYTE: u64 = 256;

/// The rest of the allowance of one load.
#[derive(Clone, Debug)]
struct Allowance {
    constant: u64,
    folded: u64,
    work: u64,
    /// Why something was refused, in whatever words the engine wraps it.
    refused: Option<String>,
}

impl Allowance {
    fn for_file(file_bytes: usize) -> Self {
        let bytes = file_bytes as u64;
        let plus = |base: u64, each: u64| base.saturating_add(bytes.saturating_mul(each));
        Self {
            constant: plus(CONSTANT, CONSTANT_PER_BYTE),
            folded: plus(FOLDED, FOLDED_PER_BYTE),
            work: plus(WORK, WORK_PER_BYTE),
            refused: None,
        }
    }

    /// Takes what folding one node costs off what is left.
    fn spend(&mut self, node: &dyn fmt::Display, bytes: u64, work: u64) -> TractResult<()> {
        if bytes > self.constant {
            let most = self.constant;
            return self.refuse(format!(
                "{node} makes a constant of {bytes} bytes while the model loads, the limit is {most}"
            ));
        }
        if bytes > self.folded {
            return self.refuse(format!("{node} and nodes before it make too many constants while the model loads"));
        }
        if work > self.work {
            return self.refuse(format!("{node} and nodes before it take too much work while the model loads"));
        }
        self.folded -= bytes;
        self.work -= work;
        Ok(())
    }

    fn refuse(&mut self, refusal: String) -> TractResult<()> {
        self.refused.get_or_insert_with(|| refusal.clone());
        bail!(refusal)
    }
}

thread_local! {
    /// Of the load that goes on in this thread. The engine's builders are plain functions: there is no other way to it.
    static LEFT: RefCell<Option<Allowance>> = const { RefCell::new(None) };
}

/// Runs a load of a file of so many bytes within its allowance. Gives its result, and what was refused if anything was.
pub(super) fn within<T>(file_bytes: usize, load: impl FnOnce() -> T) -> (T, Option<String>) {
    /// Also where the load panics.
    struct End(Option<Allowance>);
    impl Drop for End {
        fn drop(&mut self) {
            LEFT.set(self.0.take());
        }
    }
    let end = End(LEFT.replace(Some(Allowance::for_file(file_bytes))));
    let loaded = load();
    let refused = LEFT.with_borrow_mut(|left| left.as_mut().and_then(|left| left.refused.take()));
    drop(end);
    (loaded, refused)
}

/// With what is left for the load that goes on. Outside of one there is nothing to bound.
fn with_left(refuses: impl FnOnce(&mut Allowance) -> TractResult<()>) -> TractResult<()> {
    LEFT.with_borrow_mut(|left| left.as_mut().map_or(Ok(()), refuses))
}

fn spend(node: &dyn fmt::Display, bytes: u64, work: u64) -> TractResult<()> {
    with_left(|left| left.spend(node, bytes, work))
}

/// Refuses a node that makes more elements for one row than any tensor may have.
fn check_elements(node: &dyn fmt::Display, elements: Option<u64>) -> TractResult<()> {
    match elements.filter(|&elements| elements > ELEMENTS) {
        Some(elements) => with_left(|left| {
            left.refuse(format!("{node} makes a tensor of {elements} elements for one row, the limit is {ELEMENTS}"))
        }),
        None => Ok(()),
    }
}

/// Puts every operator of the registry inside a [`Bounded`] one.
pub(super) fn bound(onnx: &mut Onnx) {
    for build in onnx.op_register.0.values_mut() {
        *build = build_bounded;
    }
}

/// As the registry would without bounds.
fn build_bounded(ctx: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    static UNBOUNDED: LazyLock<Onnx> = LazyLock::new(|| {
        let mut onnx = tract_onnx::onnx();
        ops::register(&mut onnx);
        onnx
    });
    let named = Named::new(node);
    // Some are built with the values of a shape that an attribute tells.
    for shape in node.attribute.iter().filter(|attribute| attribute.name == "shape") {
        let elements = shape.ints.iter().map(|&dim| dim.unsigned_abs()).fold(1, u64::saturating_mul);
        spend(&named, elements.saturating_mul(8), elements)?;
    }
    let build =
        UNBOUNDED.op_register.0.get(&node.op_type).with_context(|| format!("no operator '{}'", node.op_type))?;
    let (op, outer) = build(ctx, node)?;
    Ok((Box::new(Bounded { op, named }), outer))
}

/// A node as people find it.
#[derive(Clone, Debug)]
struct Named {
    operator: String,
    node: String,
}

impl Named {
    fn new(node: &NodeProto) -> Self {
        let name = if node.name.is_empty() { node.output.first().unwrap_or(&node.name) } else { &node.name };
        Self { operator: node.op_type.clone(), node: name.clone() }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.operator, self.node)
    }
}

/// An operator that is evaluated early only within the allowance. Everything else it leaves to the one inside.
#[derive(Clone)]
struct Bounded {
    op: Box<dyn InferenceOp>,
    named: Named,
}

impl Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.op.fmt(f)
    }
}

impl PartialEq for Bounded {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Bounded {}

impl Op for Bounded {
    fn name(&self) -> StaticName {
        self.op.name()
    }

    fn validation(&self) -> Validation {
        self.op.validation()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        self.op.info()
    }

    fn mints_runtime_symbols(&self) -> bool {
        self.op.mints_runtime_symbols()
    }

    fn required_bound_symbols(&self, inputs: &[&TypedFact]) -> TVec<Symbol> {
        self.op.required_bound_symbols(inputs)
    }

    fn as_typed(&self) -> Option<&dyn TypedOp> {
        self.op.as_typed()
    }
}

impl EvalOp for Bounded {
    fn eval(&self, ctx: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.op.eval(ctx, inputs)
    }

    fn forwards_input(&self) -> Option<usize> {
        self.op.forwards_input()
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.op.eval_out_of_plan(inputs)
    }

    fn state(&self, ctx: &EvalContext<'_>) -> TractResult<Option<Box<dyn OpState>>> {
        self.op.state(ctx)
    }

    fn drop_session(&self, session: SessionId, node_id: usize) {
        self.op.drop_session(session, node_id);
    }
}

impl InferenceOp for Bounded {
    fn infer(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        let (known, made, seen) = self.op.infer_facts(inputs.clone(), outputs.clone(), observed.clone())?;
        for fact in &made {
            check_elements(&self.named, elements(fact))?;
        }
        if known.is_empty() || !known.iter().all(|fact| fact.value.is_concrete()) {
            // There is nothing to evaluate.
            return Ok((known, made, seen));
        }
        let (bytes, work) = self.costs(&known, &made);
        spend(&self.named, bytes, work)?;
        self.op.infer(inputs, outputs, observed)
    }

    fn observe_outlets(&self, model: &InferenceModel, node: &InferenceNode) -> TractResult<Vec<OutletId>> {
        self.op.observe_outlets(model, node)
    }

    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        self.op.infer_facts(inputs, outputs, observed)
    }

    fn incorporate(&self, model: &InferenceModel, node: &InferenceNode) -> TractResult<Option<InferenceModelPatch>> {
        self.op.incorporate(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.op.nboutputs()
    }

    /// The one inside: that is what the engine and the rest of this crate look for.
    fn as_op(&self) -> &dyn Op {
        self.op.as_op()
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self.op.as_op_mut()
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        self.op.to_typed(source, node, target, mapping)
    }
}

impl Bounded {
    /// Bytes that evaluating it makes, and steps that it takes. High estimates: what is folded in real models is small.
    fn costs(&self, inputs: &[InferenceFact], outputs: &[InferenceFact]) -> (u64, u64) {
        let each = |fact: &InferenceFact| fact.datum_type.concretize().map_or(8, |datum| datum.size_of() as u64);
        let taken: u64 = inputs.iter().filter_map(elements).fold(0, u64::saturating_add);
        let (mut made, mut bytes) = (0u64, 0u64);
        let spread = if SPREADING.contains(&self.named.operator.as_str()) { spread(inputs) } else { 0 };
        for fact in outputs {
            let count = match elements(fact) {
                Some(count) if self.named.operator == "Range" => count.max(steps_of(inputs)),
                Some(count) => count,
                // All others choose among what is there.
                None => taken.saturating_mul(8).max(spread),
            };
            made = made.saturating_add(count);
            bytes = bytes.saturating_add(count.saturating_mul(each(fact)));
        }
        let shape = |index: usize| -> Vec<u64> {
            let dims = inputs.get(index).into_iter().flat_map(|fact| fact.shape.dims());
            dims.map(|dim| dim.concretize().map_or(1, |dim| least(&dim))).collect()
        };
        let longest = |index: usize| shape(index).into_iter().max().unwrap_or(1);
        let volume = |index: usize| shape(index).into_iter().fold(1, u64::saturating_mul);
        // Of each element that is made.
        let steps = match self.named.operator.as_str() {
            "MatMul" | "Gemm" | "MatMulInteger" | "QLinearMatMul" | "MatMulNBits" => longest(0),
            // A filter without its first axis, the channels that it makes.
            "Conv" | "ConvInteger" | "ConvTranspose" | "QLinearConv" => {
                (1..inputs.len()).map(volume).max().unwrap_or(1)
            }
            "Einsum"
            | "DFT"
            | "STFT"
            | "Attention"
            | "MultiHeadAttention"
            | "GroupQueryAttention"
            | "AveragePool"
            | "MaxPool"
            | "NonMaxSuppression"
            | "GridSample" => (0..inputs.len()).map(volume).max().unwrap_or(1),
            // Each step of the sequence goes through all weights.
            "LSTM" | "GRU" | "RNN" | "Scan" => taken,
            _ => 1,
        };
        (bytes, made.saturating_mul(steps.max(1)).saturating_add(taken))
    }
}

fn elements(fact: &InferenceFact) -> Option<u64> {
    if !fact.shape.rank().is_concrete() {
        return None;
    }
    size(fact.shape.dims().map(GenericFactoid::concretize))
}

/// Operators whose inputs' values, not their sizes, say how much they make.
const SPREADING: [&str; 12] = [
    "BlackmanWindow",
    "ConstantOfShape",
    "EyeLike",
    "Expand",
    "HammingWindow",
    "HannWindow",
    "MelWeightMatrix",
    "OneHot",
    "Pad",
    "Range",
    "Resize",
    "Tile",
];

/// The most that small inputs can mean as shapes, where the shape itself is not known.
fn spread(inputs: &[InferenceFact]) -> u64 {
    let small = inputs.iter().filter(|fact| elements(fact).is_some_and(|count| count <= 16));
    let values = small.filter_map(|fact| fact.value.concretize()).filter_map(|value| {
        let value = value.cast_to::<f64>().ok()?;
        let values = value.try_as_plain_ram().ok()?.as_slice::<f64>().ok()?.to_vec();
        Some(values.into_iter().map(f64::abs).filter(|&value| value >= 1.0).product::<f64>())
    });
    // As floats become integers: no more than the largest.
    values.fold(0.0, f64::max) as u64
}

/// The count of a range's numbers, by its start, its end and its step; the engine's own rules count in whole steps
/// upwards.
fn steps_of(inputs: &[InferenceFact]) -> u64 {
    let number = |index: usize| inputs.get(index)?.value.concretize()?.cast_to_scalar::<f64>().ok();
    match (number(0), number(1), number(2)) {
        (Some(start), Some(end), Some(step)) => ((end - start) / step).ceil() as u64,
        _ => 0,
    }
}

/// Elements of a shape, with 1 for each symbol in it; `None` where a dimension is not known at all.
fn size(dims: impl Iterator<Item = Option<TDim>>) -> Option<u64> {
    dims.map(|dim| dim.map(|dim| least(&dim))).try_fold(1, |all: u64, dim| Some(all.saturating_mul(dim?)))
}

/// A dimension with 1 for each symbol in it, as in a request of one row.
fn least(dim: &TDim) -> u64 {
    if let Ok(dim) = dim.to_i64() {
        return u64::try_from(dim).unwrap_or(0);
    }
    let ones = dim.symbols().into_iter().try_fold(SymbolValues::default(), |ones, symbol| Some(ones.with(&symbol, 1)));
    let value = ones.map(|ones| dim.eval(&ones)).and_then(|dim| dim.to_i64().ok());
    value.and_then(|value| u64::try_from(value).ok()).unwrap_or(1)
}

/// Looks at a graph before the engine folds what is constant in it, and at what it would compute for one row.
///
/// # Errors
/// The first node that is beyond the allowance.
pub(super) fn check(model: &TypedModel) -> TractResult<()> {
    let mut constant = vec![false; model.nodes().len()];
    for index in model.eval_order()? {
        let node = model.node(index);
        let named = Named { operator: node.op.name().into_owned(), node: node.name.clone() };
        let (mut bytes, mut made) = (0u64, 0u64);
        for output in &node.outputs {
            let elements = size(output.fact.shape.iter().map(|dim| Some(dim.clone()))).unwrap_or(0);
            check_elements(&named, Some(elements))?;
            made = made.saturating_add(elements);
            bytes = bytes.saturating_add(elements.saturating_mul(output.fact.datum_type.size_of() as u64));
        }
        if node.op_is::<Const>() {
            constant[index] = true;
            continue;
        }
        if node.op_is::<TypedSource>() || !node.inputs.iter().all(|input| constant[input.node]) {
            continue;
        }
        constant[index] = true;
        let facts = model.node_input_facts(index)?;
        let costs = node.op.cost(&facts).unwrap_or_default();
        let work = costs.iter().map(|(_, count)| least(count)).fold(made, u64::saturating_add);
        spend(&named, bytes, work)?;
    }
    Ok(())
}

/// Whether a node has sizes that do not follow from those of its inputs. Which branch an `If` takes, and so what it makes,
/// follows from values.
pub(super) fn has_own_sizes(model: &TypedModel) -> bool {
    let symbols = |shape: &[TDim]| -> Vec<Symbol> { shape.iter().flat_map(TDim::symbols).collect() };
    model.nodes().iter().filter(|node| !node.inputs.is_empty()).any(|node| {
        if node.op.name() == "If" || node.op_as::<OptScan>().is_some_and(|scan| has_own_sizes(scan.plan.model())) {
            return true;
        }
        let known: Vec<Symbol> = node
            .inputs
            .iter()
            .filter_map(|&input| model.outlet_fact(input).ok())
            .flat_map(|fact| symbols(fact.shape.dims()))
            .collect();
        let made = node.outputs.iter().flat_map(|output| symbols(output.fact.shape.dims()));
        made.into_iter().any(|symbol| !known.contains(&symbol))
    })
}

/// Refuses a loop whose values have sizes that only its iterations tell: the engine runs them by itself, so nothing could
/// measure what they make before it is made.
///
/// # Errors
/// The first such node.
pub(super) fn check_bodies(model: &TypedModel) -> TractResult<()> {
    for node in model.nodes() {
        let Some(scan) = node.op_as::<OptScan>() else { continue };
        let body = scan.plan.model();
        check_bodies(body)?;
        if has_own_sizes(body) {
            let named = Named { operator: "Scan".into(), node: node.name.clone() };
            with_left(|left| {
                left.refuse(format!("{named} has a body whose tensors have sizes that follow from values"))
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
