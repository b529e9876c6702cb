//! From a parsed graph to plans that run.
//!
//! Converters leave the batch dimension unnamed, or call it anything, or fix it to 1. Here the first dimension of every
//! input becomes the number of rows: a symbol in the plan for batches, 1 in the plan for one row. A graph in which 1 is
//! written so deep that it cannot be a symbol still has the plan for one row, and batches go through it row by row.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelgate_columns::{Column, Signature};
use tract_onnx::tract_hir::internal::tract_core::ops::einsum::einsum_matmul::merge_consecutive_same_role_axes;
use tract_onnx::tract_hir::internal::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::internal::tract_core::optim::Optimizer;
use tract_onnx::tract_hir::internal::{
    DatumType, Factoid, GenericFactoid, InferenceFact, InferenceModel, InferenceModelExt, TDim, TValue, TVec, ToDim,
    TractError, TractResult, TypedModel, TypedSimplePlan,
};

use super::bounds;
use super::columns;
use super::error::ModelError;
use super::ops::{KernelOp, restore};
use modelgate_throttle::give_way;

/// After so many changes to a graph, and so many more for each of its nodes, nothing more is changed. Of 1,202 graphs of the
/// tests and of ONNX's own suite none needs more than 256, nor more than six for each node.
const STEPS: usize = 500;
const STEPS_PER_NODE: usize = 16;

pub(super) type RunnablePlan = Arc<TypedSimplePlan>;

/// What a generation runs; at least one of the two is there.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) signature: Signature,
    /// Any number of rows.
    pub(super) many: Option<RunnablePlan>,
    /// One row; only if it is faster at that, or there is no other.
    pub(super) one: Option<RunnablePlan>,
}

impl Plans {
    pub(super) fn new(model: &InferenceModel, output_names: &[String]) -> Result<Self, ModelError> {
        let inputs = input_columns(model)?;
        let rows = model.symbols.sym("modelgate_rows").to_dim();
        let many = Plan::new(model, &inputs, output_names, &rows);
        let one = Plan::new(model, &inputs, output_names, &1.to_dim());
        let inputs: Vec<Column> = inputs.into_iter().map(|input| input.column).collect();
        match (many, one) {
            (Ok(many), one) => {
                let one = one.ok().filter(|one| one.outputs == many.outputs && is_faster(one, &many, &inputs));
                let signature = Signature { inputs, outputs: many.outputs };
                Ok(Self { signature, many: Some(many.plan), one: one.map(|one| one.plan) })
            }
            (Err(_), Ok(one)) => {
                let signature = Signature { inputs, outputs: one.outputs };
                Ok(Self { signature, many: None, one: Some(one.plan) })
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Constants and operators' own data, shared ones counted once. An estimate.
    pub(super) fn resident_bytes(&self) -> usize {
        let mut seen = HashSet::new();
        let nodes = self.many.iter().chain(&self.one).flat_map(|plan| plan.model().nodes());
        nodes
            .filter_map(|node| {
                if let Some(constant) = node.op_as::<Const>() {
                    let tensor = constant.val();
                    Some((Arc::as_ptr(tensor) as usize, tensor.len().saturating_mul(tensor.datum_type().size_of())))
                } else {
                    node.op_as::<KernelOp>().map(KernelOp::resident)
                }
            })
            .filter(|&(what, _)| seen.insert(what))
            .map(|(_, bytes)| bytes)
            .sum()
    }
}

struct Input {
    column: Column,
    datum: DatumType,
    /// The sizes after the rows; symbols where they vary.
    inner: TVec<TDim>,
}

fn input_columns(model: &InferenceModel) -> Result<Vec<Input>, ModelError> {
    let mut inputs = Vec::new();
    for (place, outlet) in model.inputs.iter().enumerate() {
        let name = &model.nodes[outlet.node].name;
        let refuse = |problem: &str| ModelError::Column { side: "input", name: name.clone(), problem: problem.into() };
        let fact = model.input_fact(place).map_err(engine)?;
        let datum = fact.datum_type.concretize().ok_or_else(|| refuse("its type is not given"))?;
        let dims: Vec<_> = fact.shape.dims().map(GenericFactoid::concretize).collect();
        if !fact.shape.rank().is_concrete() {
            return Err(refuse("its number of dimensions is not given"));
        }
        let Some((_rows, inner)) = dims.split_first() else {
            return Err(refuse("it is a single value, without a dimension for the rows"));
        };
        let inner: TVec<TDim> = inner
            .iter()
            .map(|dim| dim.clone().unwrap_or_else(|| model.symbols.new_with_prefix("modelgate_dim").to_dim()))
            .collect();
        let sizes: Vec<i64> = inner.iter().map(|dim| dim.to_i64().unwrap_or(-1)).collect();
        inputs.push(Input { column: columns::column("input", name, datum, &sizes)?, datum, inner });
    }
    if inputs.is_empty() {
        return Err(ModelError::Corrupt("it has no inputs".into()));
    }
    Ok(inputs)
}

struct Plan {
    plan: RunnablePlan,
    outputs: Vec<Column>,
}

impl Plan {
    fn new(model: &InferenceModel, inputs: &[Input], output_names: &[String], rows: &TDim) -> Result<Self, ModelError> {
        let mut model = model.clone();
        for (place, input) in inputs.iter().enumerate() {
            let shape: TVec<TDim> = std::iter::once(rows).chain(&input.inner).cloned().collect();
            model.set_input_fact(place, InferenceFact::dt_shape(input.datum, shape)).map_err(engine)?;
        }
        let model = model.into_typed().and_then(optimized).map_err(engine)?;
        let mut outputs = Vec::new();
        for (place, name) in output_names.iter().enumerate() {
            let fact = model.output_fact(place).map_err(engine)?;
            let inner = match fact.shape.dims().split_first() {
                Some((first, inner)) if first == rows => inner,
                _ => {
                    let problem = format!("expected a first dimension for the rows, got the shape {:?}", fact.shape);
                    return Err(ModelError::Column { side: "output", name: name.clone(), problem });
                }
            };
            let sizes: Vec<i64> = inner.iter().map(|dim| dim.to_i64().unwrap_or(-1)).collect();
            outputs.push(columns::column("output", name, fact.datum_type, &sizes)?);
        }
        let plan = TypedSimplePlan::new(model).map_err(engine)?;
        Ok(Self { plan, outputs })
    }

    /// The shortest of some runs on zeros; `None` if it does not run, or takes too long to try.
    fn time(&self, inputs: &TVec<TValue>) -> Option<Duration> {
        const RUNS: usize = 12;
        const ENOUGH: Duration = Duration::from_millis(4);
        let mut state = self.plan.spawn().ok()?;
        let (mut best, mut all) = (None, Duration::ZERO);
        for _ in 0..RUNS {
            give_way();
            let start = Instant::now();
            state.run(inputs.clone()).ok()?;
            let took = start.elapsed();
            best = best.into_iter().chain([took]).min();
            all += took;
            if all > ENOUGH {
                break;
            }
        }
        best
    }
}

/// What [`TypedModel::into_optimized`] does, but coming to an end. Two of tract's passes undo each other's work where a
/// product cannot be lowered, each time leaving a graph that is larger: one splits axes, the other joins them. Here axes are
/// joined once, at first. Whatever else may go round in circles ends after a number of steps, with a graph that is as right
/// as one that is finished.
pub(super) fn optimized(mut model: TypedModel) -> TractResult<TypedModel> {
    bounds::check(&model)?;
    let steps = STEPS_PER_NODE.saturating_mul(model.nodes.len()).saturating_add(STEPS);
    Optimizer::declutter().stopping_at(steps).session().optimize(&mut model)?;
    bounds::check(&model)?;
    model.prop_consts()?;
    merge_consecutive_same_role_axes(&mut model)?;
    let mut lowering = Optimizer::codegen().stopping_at(steps);
    lowering.passes.retain(|pass| format!("{pass:?}") != "MergeConsecutiveSameRoleAxes");
    model.optimize_with_session(&mut lowering.session())?;
    restore(&mut model)?;
    Ok(model)
}

/// Whether the plan for one row beats the one for many at one row. Fixed sizes mostly do, but not always.
fn is_faster(one: &Plan, many: &Plan, inputs: &[Column]) -> bool {
    let zeros = inputs.iter().map(|column| {
        let words = vec![0; column.row_size()?.checked_mul(column.datatype.size().unwrap_or(8))?.div_ceil(8) + 1];
        let words = if column.datatype.size().is_some() { &words[..words.len() - 1] } else { &words };
        columns::unpack(std::slice::from_ref(column), 1, words).ok()?.pop()
    });
    let Some(zeros) = zeros.collect::<Option<TVec<TValue>>>() else { return false };
    match (one.time(&zeros), many.time(&zeros)) {
        (Some(one), Some(many)) => one.as_secs_f64() < 0.95 * many.as_secs_f64(),
        (one, _) => one.is_some(),
    }
}

/// tract's errors, with their causes. Some print whole tensors: the beginning says enough.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn engine(error: TractError) -> ModelError {
    ModelError::Engine(brief(&error))
}

pub(super) fn brief(error: &TractError) -> String {
    const LONGEST: usize = 600;
    let mut text = format!("{error:#}");
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}
