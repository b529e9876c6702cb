//! The memory that one run of a plan may take for the values that its nodes make.
//!
//! The sizes of these values follow from the rows of a request and, for some operators, from what the rows say: a `Range`
//! has as many elements as a caller asks for. So each node's output is measured before it is made, by the sizes that are
//! known at that moment. A plan whose sizes follow from the rows alone is measured only for more rows than have passed.

use std::sync::atomic::{AtomicUsize, Ordering};

use tract_onnx::tract_hir::internal::{Symbol, SymbolValues, TDim, TValue, TractResult, TypedModel, TypedNode};

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

/// Whether a node has sizes that do not follow from those of its inputs.
fn has_own_sizes(model: &TypedModel) -> bool {
    let symbols = |shape: &[TDim]| -> Vec<Symbol> { shape.iter().flat_map(TDim::symbols).collect() };
    model.nodes().iter().filter(|node| !node.inputs.is_empty()).any(|node| {
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
    pub(super) fn before(&self, node: &TypedNode, inputs: &[TValue], symbols: &SymbolValues) -> TractResult<()> {
        self.check(node, expected(node, inputs, symbols))
    }

    /// Counts what the node has made, and no longer what it was the last to read.
    pub(super) fn after(&mut self, node: &TypedNode, outputs: &[TValue]) -> TractResult<()> {
        let bytes = outputs.iter().map(bytes_of).fold(0, usize::saturating_add);
        self.check(node, bytes)?;
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
        Ok(())
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
    let by_values = match (&*node.op.name(), inputs) {
        ("Range", [start, end, step]) => {
            steps(start, end, step).map(|steps| steps.saturating_mul(start.datum_type().size_of()))
        }
        ("DynTile", [data, repeats]) => product(repeats, symbols).map(|times| times.saturating_mul(bytes_of(data))),
        ("NonZero", [data]) => Some(data.len().saturating_mul(data.rank()).saturating_mul(size_of::<i64>())),
        _ => None,
    };
    by_values.unwrap_or_else(|| {
        let outputs = node.outputs.iter().filter_map(|output| {
            let dims = output.fact.shape.iter().map(|dim| dim.eval_to_i64(symbols).ok());
            let mut len = dims.map(|dim| dim.and_then(|dim| usize::try_from(dim).ok()));
            let len = len.try_fold(1, |all: usize, dim| Some(all.saturating_mul(dim?)))?;
            Some(len.saturating_mul(output.fact.datum_type.size_of()))
        });
        outputs.fold(0, usize::saturating_add)
    })
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
