//! `MatMulInteger` of tract's, and what keeps its products right.
//!
//! tract takes a product of something that was spread out (by `Expand`, `Tile` or `ConstantOfShape`) for a product of what
//! it was before, although a sum over the spread axis has more terms than that. What a node of ours hands on, it takes as
//! it is.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::{MultiBroadcastTo, Tile};

use super::fit::{of_matrices, same_sizes};
use super::kernel::{Kernel, KernelOp, Operator, Spec};
use super::tract_builtin::tract_builtin;
use crate::rows::{Inputs, Outcome};

pub(super) const MAT_MUL_INTEGER: Operator = Operator {
    domain: "",
    name: "MatMulInteger",
    attributes: &[],
    build: |ctx, node| Ok((expand(Hiding(tract_builtin(ctx, node)?)), vec![])),
};

/// An operator of tract's, its inputs hidden.
#[derive(Clone, Debug)]
struct Hiding(Box<dyn Expansion>);

impl Expansion for Hiding {
    fn name(&self) -> StaticName {
        self.0.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let axes = of_matrices(model, inputs, [false; 2])?;
        let inputs = same_sizes(prefix, model, inputs, &axes)?;
        let inputs = hide(prefix, model, &inputs)?;
        self.0.wire(prefix, model, &inputs)
    }
}

/// Hides where inputs come from, if something in the model is spread out.
pub(super) fn hide(prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
    let is_spread = |node: &TypedNode| node.op_is::<MultiBroadcastTo>() || node.op_is::<Tile>();
    if !model.nodes().iter().any(is_spread) {
        return Ok(inputs.into());
    }
    let hidden = inputs.iter().enumerate().map(|(index, &input)| {
        if model.outlet_fact(input)?.konst.is_some() {
            return Ok(input);
        }
        let name = format!("{prefix}.opaque_{index}");
        Ok(model.wire_node(name, KernelOp::new(Arc::new(Opaque)), &[input])?[0])
    });
    hidden.collect()
}

/// Hands on its input.
#[derive(Debug)]
struct Opaque;

impl Kernel for Opaque {
    fn name(&self) -> &'static str {
        "Opaque"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        Ok(inputs.into())
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.handed_on(str::to_owned)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        Ok(inputs.into())
    }
}
