//! `ArrayFeatureExtractor` of `ai.onnx.ml`: picks columns.
//!
//! tract's own gives the result the shape of the indices, and so drops an axis when there is a single one.

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::array::Gather;
use tract_onnx::tract_hir::tract_core::ops::cast::cast;

use super::kernel::{ML, Operator};

pub(super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "ArrayFeatureExtractor",
    attributes: &[],
    build: |_, _| Ok((expand(ArrayFeatureExtractor), vec![])),
};

#[derive(Clone, Debug)]
struct ArrayFeatureExtractor;

impl Expansion for ArrayFeatureExtractor {
    fn name(&self) -> StaticName {
        "ArrayFeatureExtractor".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let ([values, indices], [picked]) = (inputs, outputs) else {
            bail!("expected 2 inputs and 1 output, got {} and {}", inputs.len(), outputs.len());
        };
        s.equals(&values.datum_type, &picked.datum_type)?;
        s.given_2(&values.shape, &indices.shape, move |s, mut shape, indices| {
            let count = indices.iter().product::<TDim>();
            match &mut *shape {
                [] => bail!("expected at least one dimension"),
                [_] => shape = tvec!(1.to_dim(), count),
                [.., last] => *last = count,
            }
            s.equals(&picked.shape, shape)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [mut values, mut indices] = *inputs else { bail!("expected 2 inputs") };
        if model.outlet_fact(values)?.rank() == 1 {
            values = model.wire_node(format!("{prefix}.row"), AxisOp::Add(0), &[values])?[0];
        }
        let fact = model.outlet_fact(indices)?;
        let shape = fact.shape.to_tvec();
        // Places found by `ArgMax` come as dimensions.
        if fact.datum_type != i64::datum_type() {
            indices = model.wire_node(format!("{prefix}.places"), cast(i64::datum_type()), &[indices])?[0];
        }
        if shape.len() != 1 {
            let count = shape.iter().product::<TDim>();
            let flat = AxisOp::Reshape(0, shape, tvec!(count));
            indices = model.wire_node(format!("{prefix}.flat"), flat, &[indices])?[0];
        }
        let axis = model.outlet_fact(values)?.rank() - 1;
        model.wire_node(prefix, Gather::new(axis), &[values, indices])
    }
}
