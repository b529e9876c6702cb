//! `Binarizer` of `ai.onnx.ml`: 1 where a value is over the threshold, else 0.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, ML, Operator, Spec, built};
use super::values::{tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "Binarizer",
    attributes: &["threshold"],
    build: |_, node| built(node, Arc::new(Binarizer(Attributes(node).float("threshold").unwrap_or(0.0)))),
};

#[derive(Debug)]
struct Binarizer(f32);

impl Kernel for Binarizer {
    fn name(&self) -> &'static str {
        "Binarizer"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        let datum = match input.datum {
            DatumType::TDim => i64::datum_type(),
            DatumType::F32 | DatumType::F64 | DatumType::I64 | DatumType::I32 => input.datum,
            other => bail!("expected numbers, got {other:?}"),
        };
        Ok(tvec!(Spec { datum, shape: input.shape.clone() }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.elementwise()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let threshold = self.0;
        let over = |over: bool| u8::from(over);
        Ok(tvec!(match input.datum_type() {
            DatumType::F32 => {
                let bits = values::<f32>(input)?.iter().map(|&value| f32::from(over(value > threshold))).collect();
                tensor(input.shape(), bits)?
            }
            DatumType::F64 => {
                let threshold = f64::from(threshold);
                let bits = values::<f64>(input)?.iter().map(|&value| f64::from(over(value > threshold))).collect();
                tensor(input.shape(), bits)?
            }
            DatumType::I32 => {
                let threshold = f64::from(threshold);
                let values = values::<i32>(input)?;
                let bits = values.iter().map(|&value| i32::from(over(f64::from(value) > threshold))).collect();
                tensor(input.shape(), bits)?
            }
            _ => {
                let values = values::<i64>(input)?;
                let bits = values.iter().map(|&value| i64::from(over(value as f32 > threshold))).collect();
                tensor(input.shape(), bits)?
            }
        }))
    }
}
