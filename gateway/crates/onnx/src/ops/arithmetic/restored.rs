//! Puts ours back where tract lowered a maximum or minimum to its own, which swallows NaN.

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::binary::{
    BinMiniOp, OptBinByScalar, OptBinChain, OptBinChainStep, OptBinUnicast, TypedBinOp,
};
use tract_onnx::tract_hir::tract_core::ops::math::{Max, Min};

use super::super::elementwise::clip;
use super::pairs::{Function, Pairs};

/// A maximum or minimum of tract's.
fn extreme(op: &dyn BinMiniOp) -> Option<Function> {
    if op.is::<Max>() {
        Some(Function::AtLeast)
    } else if op.is::<Min>() {
        Some(Function::AtMost)
    } else {
        None
    }
}

/// The single number that a value is compared with, if it is a constant of singles.
fn bound(model: &TypedModel, input: OutletId) -> TractResult<Option<f32>> {
    let Some(constant) = &model.outlet_fact(input)?.konst else { return Ok(None) };
    if constant.datum_type() != DatumType::F32 {
        return Ok(None);
    }
    let plain = constant.try_as_plain_ram()?;
    let values = plain.as_slice::<f32>()?;
    let first = values.first().copied().filter(|bound| !bound.is_nan());
    Ok(first.filter(|first| values.iter().all(|value| value.to_bits() == first.to_bits())))
}

/// Steps of a chain that stay tract's.
#[derive(Default)]
struct Between {
    steps: TVec<OptBinChainStep>,
    operands: TVec<OutletId>,
}

impl Between {
    fn add(&mut self, step: OptBinChainStep, operand: OutletId) {
        self.steps.push(step);
        self.operands.push(operand);
    }

    /// The result of these steps for `wire`, which are none afterwards.
    fn wired(&mut self, name: &str, patch: &mut TypedModelPatch, wire: OutletId) -> TractResult<OutletId> {
        let Self { steps, operands } = std::mem::take(self);
        if steps.is_empty() {
            return Ok(wire);
        }
        let inputs: TVec<OutletId> = std::iter::once(wire).chain(operands).collect();
        Ok(patch.wire_node(name, OptBinChain { steps }, &inputs)?[0])
    }
}

/// The patch for a node, if it needs one.
fn patch(model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
    let op = node.op();
    let single = op.downcast_ref::<OptBinByScalar>().map(|op| &op.binop);
    let single = single.or(op.downcast_ref::<OptBinUnicast>().map(|op| &op.binop));
    let chain = op.downcast_ref::<OptBinChain>().map(|chain| &*chain.steps);
    let steps: Vec<&dyn BinMiniOp> = match (single, chain) {
        (Some(op), _) => vec![op.as_ref()],
        (None, Some(chain)) => chain.iter().map(|step| step.binop.as_ref()).collect(),
        (None, None) => return Ok(None),
    };
    if steps.iter().all(|step| extreme(*step).is_none()) {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &node.inputs)?;
    let mut wire = inputs[0];
    // Bounds that follow each other are one operator, and so is what lies between them, as fast as it was.
    let mut bounds: Option<(f32, f32)> = None;
    let mut between = Between::default();
    for (index, &step) in steps.iter().enumerate() {
        let name = format!("{}.{index}", node.name);
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let bound = bound(model, node.inputs[index + 1])?;
        let function = extreme(step);
        if function.is_some() {
            wire = between.wired(&format!("{name}.between"), &mut patch, wire)?;
        }
        match (function, bound) {
            (Some(Function::AtLeast), Some(bound)) if high == f32::INFINITY => {
                bounds = Some((if bound > low { bound } else { low }, high));
                continue;
            }
            (Some(Function::AtMost), Some(bound)) => {
                bounds = Some((low, if bound < high { bound } else { high }));
                continue;
            }
            _ => {}
        }
        if bounds.take().is_some() {
            wire = patch.wire_node(format!("{name}.clip"), clip(low, high), &[wire])?[0];
        }
        match (function, chain) {
            (Some(function), _) => {
                let op = TypedBinOp(Box::new(Pairs { function, fused: None }), None);
                wire = patch.wire_node(name, op, &[wire, inputs[index + 1]])?[0];
            }
            (None, Some(chain)) => between.add(chain[index].clone(), inputs[index + 1]),
            (None, None) => bail!("{name} is no chain"),
        }
    }
    wire = between.wired(&format!("{}.rest", node.name), &mut patch, wire)?;
    if let Some((low, high)) = bounds {
        wire = patch.wire_node(format!("{}.clip", node.name), clip(low, high), &[wire])?[0];
    }
    patch.shunt_outside(model, node.id.into(), wire)?;
    Ok(Some(patch))
}

/// Goes through a plan that is otherwise finished.
pub(in super::super::super) fn restore(model: &mut TypedModel) -> TractResult<()> {
    let nodes: Vec<usize> = model.nodes().iter().map(|node| node.id).collect();
    let mut changed = false;
    for node in nodes {
        if let Some(patch) = patch(model, model.node(node))? {
            patch.apply(model)?;
            changed = true;
        }
    }
    if changed {
        model.compact()?;
    }
    Ok(())
}
