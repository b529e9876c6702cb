//! From a parsed graph to one plan that runs.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::tract_core::ops::einsum::einsum_matmul::merge_consecutive_same_role_axes;
use tract_onnx::tract_hir::internal::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::internal::tract_core::optim::Optimizer;
use tract_onnx::tract_hir::internal::{
    DatumType, Factoid, InferenceFact, InferenceModel, InferenceModelExt, TDim, TValue, TVec, TractResult, TypedModel,
    TypedSimplePlan,
};

use super::bounds;
use super::failure::Refused;
use super::guard::guarded;
use super::interface::Input;
use super::ops::{self, KernelOp, restore};

/// After so many changes to a graph, and so many more for each of its nodes, nothing more is changed. Of 1,202 graphs of the
/// tests and of ONNX's own suite none needs more than 256, nor more than six for each node.
const STEPS: usize = 500;
const STEPS_PER_NODE: usize = 16;

pub(super) type RunnablePlan = Arc<TypedSimplePlan>;

/// A plan for inputs of some shapes, symbols in them or not.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) runnable: RunnablePlan,
    /// The type and shape of each output, in the graph's order.
    pub(super) outputs: Vec<(DatumType, TVec<TDim>)>,
}

impl Plan {
    /// The last step from a graph as [`typed`] gives it.
    pub(super) fn new(model: TypedModel) -> TractResult<Self> {
        guarded(|| {
            let model = lowered(model)?;
            let outputs = (0..model.outputs.len()).map(|index| {
                let fact = model.output_fact(index)?;
                Ok((fact.datum_type, fact.shape.to_tvec()))
            });
            let outputs = outputs.collect::<TractResult<_>>()?;
            Ok(Self { outputs, runnable: TypedSimplePlan::new(model)? })
        })
    }

    /// Runs it once, outside any session.
    pub(super) fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        guarded(|| self.runnable.run(inputs))
    }
}

/// The graph for inputs of these shapes, with the types and shapes of everything in it: what analyses read. It is as simple
/// as it gets without being lowered to what a processor runs.
pub(super) fn typed(
    model: &InferenceModel,
    inputs: &[Input],
    shapes: impl IntoIterator<Item = TVec<TDim>>,
) -> TractResult<TypedModel> {
    guarded(|| {
        let mut model = model.clone();
        for (index, (input, shape)) in inputs.iter().zip(shapes).enumerate() {
            model.set_input_fact(index, InferenceFact::dt_shape(input.datum, shape))?;
        }
        decluttered(into_typed(model)?)
    })
}

/// The graph with all types and shapes, as the file has it.
pub(super) fn into_typed(mut model: InferenceModel) -> TractResult<TypedModel> {
    let mut lenient = true;
    for index in 0..model.inputs.len() {
        let shape = &model.input_fact(index)?.shape;
        lenient &= shape.concretize().is_some_and(|dims| dims.iter().all(|dim| dim.to_i64().is_ok()));
    }
    model.analyse(false)?;
    while ops::settle_branches(&mut model, lenient)? {
        model.analyse(false)?;
    }
    model.into_typed()
}

/// Runs a step of a load, or the building of one plan, within what such a file may make the host compute and hold.
pub(super) fn within_bounds<T>(file_bytes: usize, work: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    match bounds::within(file_bytes, work) {
        (result, None) => result,
        // Whatever the engine made of it: what it does without that node is not the model.
        (_, Some(refused)) => Err(Refused::new(refused).into()),
    }
}

/// The work of [`TypedModel::into_optimized`], with an end. Two of tract's passes undo each other's work where a
/// product cannot be lowered, each time leaving a graph that is larger: one splits axes, the other joins them. Here axes are
/// joined once, at first. Whatever else may go round in circles ends after a number of steps, with a graph that is as right
/// as one that is finished.
pub(super) fn optimized(model: TypedModel) -> TractResult<TypedModel> {
    lowered(decluttered(model)?)
}

fn decluttered(mut model: TypedModel) -> TractResult<TypedModel> {
    bounds::check(&model)?;
    Optimizer::declutter().stopping_at(steps(&model)).session().optimize(&mut model)?;
    Ok(model)
}

fn lowered(mut model: TypedModel) -> TractResult<TypedModel> {
    bounds::check(&model)?;
    model.prop_consts()?;
    merge_consecutive_same_role_axes(&mut model)?;
    let mut lowering = Optimizer::codegen().stopping_at(steps(&model));
    lowering.passes.retain(|pass| format!("{pass:?}") != "MergeConsecutiveSameRoleAxes");
    model.optimize_with_session(&mut lowering.session())?;
    restore(&mut model)?;
    bounds::check_bodies(&model)?;
    Ok(model)
}

fn steps(model: &TypedModel) -> usize {
    STEPS_PER_NODE.saturating_mul(model.nodes.len()).saturating_add(STEPS)
}

/// Constants and operators' own data of a graph, by where they lie, with their bytes: shared ones are the same entry.
#[derive(Debug, Default)]
pub(super) struct Resident(HashMap<usize, usize>);

impl Resident {
    /// Adds what a plan holds; gives the bytes that were not there before.
    pub(super) fn add_plan(&mut self, plan: &RunnablePlan) -> usize {
        let nodes = plan.model().nodes().iter();
        nodes
            .filter_map(|node| {
                let constant = node.op_as::<Const>().map(constant_bytes);
                constant.or_else(|| node.op_as::<KernelOp>().map(KernelOp::resident))
            })
            .map(|entry| self.add(entry))
            .sum()
    }

    /// Adds the constants of a graph that plans are made from.
    pub(super) fn add_graph(&mut self, model: &InferenceModel) {
        for constant in model.nodes().iter().filter_map(|node| node.op_as::<Const>()) {
            self.add(constant_bytes(constant));
        }
    }

    /// Bytes, all in all. An estimate.
    pub(super) fn bytes(&self) -> usize {
        self.0.values().sum()
    }

    fn add(&mut self, (index, bytes): (usize, usize)) -> usize {
        if self.0.insert(index, bytes).is_some() { 0 } else { bytes }
    }
}

fn constant_bytes(constant: &Const) -> (usize, usize) {
    let tensor = constant.val();
    let plain = tensor.len().saturating_mul(tensor.datum_type().size_of());
    // Weights that are packed for a kernel are one value to the engine.
    let packed = constant.exotic_fact().and_then(|fact| usize::try_from(fact.mem_size().to_i64().ok()?).ok());
    (Arc::as_ptr(tensor) as usize, packed.unwrap_or(0).max(plain))
}
