//! `Normalizer` of `ai.onnx.ml`: divides each row by its norm. A row of zeros stays as it is.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, ML, Operator, Spec, built};
use super::values::{is_numeric, tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "Normalizer",
    attributes: &["norm"],
    build: |_, node| {
        let norm = match Attributes(node).text("norm")?.unwrap_or("MAX") {
            "MAX" => Norm::Max,
            "L1" => Norm::L1,
            "L2" => Norm::L2,
            other => bail!("attribute 'norm': unknown '{other}'"),
        };
        built(node, Arc::new(Normalizer(norm)))
    },
};

#[derive(Clone, Copy, Debug)]
enum Norm {
    Max,
    L1,
    L2,
}

#[derive(Debug)]
struct Normalizer(Norm);

impl Kernel for Normalizer {
    fn name(&self) -> &'static str {
        "Normalizer"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(is_numeric(input.datum), "expected numbers, got {:?}", input.datum);
        input.matrix()?;
        Ok(tvec!(Spec::new::<f32>(input.shape.clone())))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.before_last()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let width = input.shape().last().copied().unwrap_or(1).max(1);
        let mut out = if input.datum_type() == f64::datum_type() {
            let values = values::<f64>(input)?;
            values.chunks(width).flat_map(|row| scaled(self.0, row)).collect()
        } else {
            values::<f32>(input)?.into_owned()
        };
        if input.datum_type() != f64::datum_type() {
            for row in out.chunks_mut(width) {
                let norm = norm(self.0, row.iter().map(|&value| f64::from(value)));
                if norm != 0.0 {
                    for value in row {
                        *value = (f64::from(*value) / norm) as f32;
                    }
                }
            }
        }
        Ok(tvec!(tensor(input.shape(), out)?))
    }
}

fn scaled(kind: Norm, row: &[f64]) -> impl Iterator<Item = f32> {
    let norm = norm(kind, row.iter().copied());
    row.iter().map(move |value| (if norm == 0.0 { *value } else { value / norm }) as f32)
}

fn norm(kind: Norm, row: impl Iterator<Item = f64>) -> f64 {
    match kind {
        // The greatest value, not the greatest size: as the others do it.
        Norm::Max => row.fold(f64::NEG_INFINITY, f64::max),
        Norm::L1 => row.map(f64::abs).sum(),
        Norm::L2 => row.map(|value| value * value).sum::<f64>().sqrt(),
    }
}
