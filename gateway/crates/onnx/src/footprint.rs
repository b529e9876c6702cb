//! The memory that one run of a plan may take for the values that its nodes make.
//!
//! The sizes of these values follow from the rows of a request and, for some operators, from what the rows say: a `Range`
//! has as many elements as a caller asks for. So each node's output is measured before it is made, by the sizes that are
//! known at that moment. A plan whose sizes follow from the rows alone is measured only for more rows than have passed.
//!
//! A node with a graph inside is measured with it. A branch of `If` runs step by step within what the run has left
//! ([`run_inner`]); the body of a `Scan` is measured by its sizes before the first iteration, and
//! a plan has none in which sizes follow from values.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tract_onnx::tract_hir::internal::tract_core;
use tract_onnx::tract_hir::internal::tract_core::ops::scan::OptScan;
use tract_onnx::tract_hir::internal::{
    EvalContext, OpState, SymbolValues, TDim, TValue, TVec, TractResult, TypedModel, TypedNode,
};

use super::bounds::has_own_sizes;
use super::plan::RunnablePlan;

/// Bytes for one run where nothing else is set.
const DEFAULT: usize = 1 << 30;

static LIMIT: AtomicUsize = AtomicUsize::new(DEFAULT);

/// Sets the bytes that the intermediate values of one run may take, for all models of the process. The default is 1 GiB.
pub fn limit_runs(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// A node whose output would not fit.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operator} '{node}' brings the model's values to {bytes} bytes for this request, the limit is {limit}")]
pub(super) struct TooMuch {
    operator: String,
    node: String,
    bytes: usize,
    limit: usize,
}

/// The deadline passed before a node.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the deadline passed")]
pub(super) struct Late;

/// The sizes of one plan that a session has seen fit.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The most rows that have fit.
    passed: usize,
    /// Whether sizes follow from more than the rows; `None` before the first run.
    is_open: Option<bool>,
}

impl Watch {
    /// Whether a run of so many rows is known to fit.
    pub(super) fn has_passed(&self, rows: usize) -> bool {
        rows <= self.passed && self.is_open == Some(false)
    }

    /// Measures a run of so many rows; `None` where it is known to fit. `open` says that sizes differ beside the rows.
    pub(super) fn meter(&mut self, plan: &RunnablePlan, rows: usize, open: bool) -> Option<Meter> {
        if self.has_passed(rows) {
            return None;
        }
        self.is_open.get_or_insert_with(|| open || has_own_sizes(plan.model()));
        Some(Meter::new(plan.model()))
    }

    /// So many rows have fit.
    pub(super) fn pass(&mut self, rows: usize) {
        self.passed = self.passed.max(rows);
    }
}

/// The bounds of the nodes of one run.
#[derive(Debug)]
pub(super) struct Bounds {
    deadline: Option<Instant>,
    /// `None` where the run is known to fit.
    meter: Option<Meter>,
}

impl Bounds {
    pub(super) fn new(deadline: Option<Instant>, meter: Option<Meter>) -> Self {
        Self { deadline, meter }
    }

    /// Evaluates one node of the run.
    ///
    /// # Errors
    /// [`Late`], [`TooMuch`], or the node's own.
    pub(super) fn eval(
        &mut self,
        context: &EvalContext<'_>,
        state: Option<&mut (dyn OpState + 'static)>,
        node: &TypedNode,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Late.into());
        }
        let Some(meter) = &mut self.meter else { return tract_core::plan::eval(context, state, node, inputs) };
        meter.before(node, &inputs, context.symbols)?;
        let outer =
            AROUND.replace(Some(Around { left: meter.limit.saturating_sub(meter.live), deadline: self.deadline }));
        let outputs = tract_core::plan::eval(context, state, node, inputs);
        AROUND.set(outer);
        let outputs = outputs?;
        meter.after(node, &outputs)?;
        Ok(outputs)
    }
}

/// The bounds of a graph inside of the node that runs.
#[derive(Clone, Copy, Debug)]
struct Around {
    left: usize,
    deadline: Option<Instant>,
}

thread_local! {
    /// Of the node that this thread evaluates. The engine hands a node nothing of the run around it.
    static AROUND: Cell<Option<Around>> = const { Cell::new(None) };
}

/// Runs the plan of a graph inside of a node, within what the run around it has left.
///
/// # Errors
/// As those of a node of the run around it.
pub(super) fn run_inner(plan: &RunnablePlan, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
    // No run is around it while constants are folded.
    let around = AROUND.get().unwrap_or(Around { left: LIMIT.load(Ordering::Relaxed), deadline: None });
    let meter = Meter { limit: around.left, ..Meter::new(plan.model()) };
    let mut bounds = Bounds::new(around.deadline, Some(meter));
    plan.spawn()?.run_plan_with_eval(inputs, |context, state, node, inputs| bounds.eval(context, state, node, inputs))
}

/// The values of one run: how many bytes of them there are at once.
#[derive(Debug)]
pub(super) struct Meter {
    limit: usize,
    live: usize,
    nodes: Vec<Value>,
}

/// A node's outputs, and the number of nodes that are yet to read them.
#[derive(Clone, Copy, Debug, Default)]
struct Value {
    bytes: usize,
    readers: usize,
}

impl Meter {
    fn new(model: &TypedModel) -> Self {
        Self { limit: LIMIT.load(Ordering::Relaxed), live: 0, nodes: vec![Value::default(); model.nodes().len()] }
    }

    /// Refuses a node whose outputs would not fit beside what there is.
    fn before(&self, node: &TypedNode, inputs: &[TValue], symbols: &SymbolValues) -> TractResult<()> {
        self.check(node, expected(node, inputs, symbols))
    }

    /// Counts what the node has made, and no longer what it was the last to read.
    fn after(&mut self, node: &TypedNode, outputs: &[TValue]) -> TractResult<()> {
        let bytes = outputs.iter().map(bytes_of).fold(0, usize::saturating_add);
        self.check(node, bytes)?;
        self.hold(node, bytes);
        Ok(())
    }

    fn hold(&mut self, node: &TypedNode, bytes: usize) {
        let readers = node.outputs.iter().map(|output| output.successors.len()).sum();
        self.nodes[node.id] = Value { bytes, readers };
        self.live = self.live.saturating_add(bytes);
        for input in &node.inputs {
            let value = &mut self.nodes[input.node];
            value.readers = value.readers.saturating_sub(1);
            if value.readers == 0 {
                self.live = self.live.saturating_sub(value.bytes);
                value.bytes = 0;
            }
        }
    }

    fn check(&self, node: &TypedNode, more: usize) -> TractResult<()> {
        let bytes = self.live.saturating_add(more);
        if bytes <= self.limit {
            return Ok(());
        }
        let operator = node.op.name().into_owned();
        Err(TooMuch { operator, node: node.name.clone(), bytes, limit: self.limit }.into())
    }
}

fn bytes_of(value: &TValue) -> usize {
    value.len().saturating_mul(value.datum_type().size_of())
}

/// Bytes that a node will make, as far as can be told: of sizes that only its evaluation tells, none.
fn expected(node: &TypedNode, inputs: &[TValue], symbols: &SymbolValues) -> usize {
    let inside = node.op_as::<OptScan>().map_or(0, |scan| peak(scan.plan.model(), symbols));
    let by_values = match (&*node.op.name(), inputs) {
        ("Range", [start, end, step]) => {
            steps(start, end, step).map(|steps| steps.saturating_mul(start.datum_type().size_of()))
        }
        ("DynTile", [data, repeats]) => product(repeats, symbols).map(|times| times.saturating_mul(bytes_of(data))),
        ("NonZero", [data]) => Some(data.len().saturating_mul(data.rank()).saturating_mul(size_of::<i64>())),
        _ => None,
    };
    by_values.unwrap_or_else(|| made(node, symbols)).saturating_add(inside)
}

/// Bytes of a node's outputs by their sizes: none for those that only values tell.
fn made(node: &TypedNode, symbols: &SymbolValues) -> usize {
    let outputs = node.outputs.iter().filter_map(|output| {
        let dims = output.fact.shape.iter().map(|dim| dim.eval_to_i64(symbols).ok());
        let mut len = dims.map(|dim| dim.and_then(|dim| usize::try_from(dim).ok()));
        let len = len.try_fold(1, |all: usize, dim| Some(all.saturating_mul(dim?)))?;
        Some(len.saturating_mul(output.fact.datum_type.size_of()))
    });
    outputs.fold(0, usize::saturating_add)
}

/// The most bytes that the values of one iteration of a body hold at once.
fn peak(body: &TypedModel, symbols: &SymbolValues) -> usize {
    let (mut meter, mut most) = (Meter { limit: usize::MAX, ..Meter::new(body) }, 0);
    for id in body.eval_order().unwrap_or_default() {
        let node = body.node(id);
        let inside = node.op_as::<OptScan>().map_or(0, |scan| peak(scan.plan.model(), symbols));
        let bytes = made(node, symbols);
        most = most.max(meter.live.saturating_add(bytes).saturating_add(inside));
        meter.hold(node, bytes);
    }
    most
}

/// The length of a range, as the engine counts it.
fn steps(start: &TValue, end: &TValue, step: &TValue) -> Option<usize> {
    let number = |value: &TValue| value.cast_to_scalar::<f64>().ok();
    Some(((number(end)? - number(start)?) / number(step)?).abs().ceil() as usize)
}

/// The product of a shape's factors. A negative one is as large as a number can be to the engine.
fn product(repeats: &TValue, symbols: &SymbolValues) -> Option<usize> {
    let repeats = repeats.cast_to::<TDim>().ok()?;
    let repeats = repeats.try_as_plain_ram().ok()?;
    let times = repeats.as_slice::<TDim>().ok()?.iter().map(|dim| dim.eval_to_i64(symbols).map(|times| times as usize));
    times.collect::<Result<Vec<_>, _>>().ok().map(|times| times.into_iter().fold(1, usize::saturating_mul))
}

#[cfg(test)]
mod tests;
