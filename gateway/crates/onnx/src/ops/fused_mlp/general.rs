//! `Gemm` and `MatMul` with weights that are no constants, and of all types.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::change_axes::wire_rank_broadcast;
use tract_onnx::tract_hir::tract_core::ops::einsum::EinSum;

use super::super::arithmetic::{added, multiplied};
use super::super::attributes::Attributes;
use super::super::einsum::{self, product_of_whole};
use super::super::kernel::KernelOp;

/// The parts of a `Gemm` besides a product and a sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct General {
    alpha: f32,
    beta: f32,
    transposed: [bool; 2],
}

impl General {
    pub(super) fn new(node: &NodeProto) -> Self {
        let node = Attributes(node);
        let is = |name: &str| node.int(name).unwrap_or(0) != 0;
        Self {
            alpha: node.float("alpha").unwrap_or(1.0),
            beta: node.float("beta").unwrap_or(1.0),
            transposed: [is("transA"), is("transB")],
        }
    }

    /// The matrix of the two that is transposed.
    pub(super) fn transposed(self) -> [bool; 2] {
        self.transposed
    }

    pub(super) fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let datum = model.outlet_fact(inputs[0])?.datum_type;
        let [one, other] = self.transposed;
        let product = if datum.is_float() {
            let axes = AxesMapping::for_numpy_matmul(2, one, other, false)?;
            model.wire_node(format!("{prefix}.product"), EinSum::new(axes, datum), &inputs[..2])?[0]
        } else {
            let letters = [if one { "ba" } else { "ab" }, if other { "cb" } else { "bc" }];
            let op = KernelOp::new(Arc::new(product_of_whole(
                &format!("{},{}->ac", letters[0], letters[1]),
                &[2, 2],
                datum,
            )?));
            model.wire_node(format!("{prefix}.product"), op, &inputs[..2])?[0]
        };
        let product = times(&format!("{prefix}.alpha"), model, product, self.alpha)?;
        let Some(&bias) = inputs.get(2).filter(|_| self.beta != 0.0) else { return Ok(tvec!(product)) };
        let bias = times(&format!("{prefix}.beta"), model, bias, self.beta)?;
        let both = wire_rank_broadcast(prefix, model, &[product, bias])?;
        model.wire_node(prefix, added(), &both)
    }
}

/// The product with a number, if it is not 1.
fn times(name: &str, model: &mut TypedModel, value: OutletId, factor: f32) -> TractResult<OutletId> {
    if factor.to_bits() == 1.0f32.to_bits() {
        return Ok(value);
    }
    let fact = model.outlet_fact(value)?.clone();
    let factor = tensor0(factor).cast_to_dt(fact.datum_type)?.into_owned().broadcast_into_rank(fact.rank())?;
    let factor = model.add_const(format!("{name}.factor"), factor)?;
    Ok(model.wire_node(name, multiplied(), &[value, factor])?[0])
}

/// A `MatMul` of whole numbers, or of a list.
pub(super) fn other_product(prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
    let ranks = [model.outlet_fact(inputs[0])?.rank(), model.outlet_fact(inputs[1])?.rank()];
    let equation = match ranks {
        [1, 1] => "a,a->",
        [1, _] => "a,...ab->...b",
        [_, 1] => "...ab,b->...a",
        _ => "...ab,...bc->...ac",
    };
    einsum::wire(equation, prefix, model, inputs)
}
