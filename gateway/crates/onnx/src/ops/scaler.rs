//! `Scaler` of `ai.onnx.ml`: `(x - offset) * scale`, by column.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, ML, Operator, Spec, built};
use super::values::{is_numeric, tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "Scaler",
    attributes: &["offset", "scale"],
    build: |_, node| {
        let attributes = Attributes(node);
        let (offset, scale) = (attributes.floats("offset").to_vec(), attributes.floats("scale").to_vec());
        ensure!(
            !offset.is_empty() && !scale.is_empty(),
            "attributes 'offset' and 'scale' need one value, or one for each column"
        );
        let wide = offset.len().max(scale.len());
        ensure!([1, wide].contains(&offset.len()) && [1, wide].contains(&scale.len()), "offsets and scales differ");
        built(node, Arc::new(Scaler { offset, scale }))
    },
};

#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Scaler {
    fn columns(&self) -> usize {
        self.offset.len().max(self.scale.len())
    }
}

impl Kernel for Scaler {
    fn name(&self) -> &'static str {
        "Scaler"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(is_numeric(input.datum), "expected numbers, got {:?}", input.datum);
        let columns = self.columns();
        if let Some(width) = input.shape.last().and_then(|width| width.to_usize().ok()) {
            ensure!(columns == 1 || columns == width, "expected {columns} columns, got {width}");
        }
        Ok(tvec!(Spec::new::<f32>(input.shape.clone())))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        if self.columns() == 1 { inputs.elementwise() } else { inputs.before_last() }
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let width = input.shape().last().copied().unwrap_or(1);
        ensure!(self.columns() == 1 || self.columns() == width, "expected {} columns, got {width}", self.columns());
        let (offset, scale) = (repeat(&self.offset, width), repeat(&self.scale, width));
        let out: Vec<f32> = if input.datum_type() == f32::datum_type() {
            let values = values::<f32>(input)?;
            let by_column = values.iter().zip(offset.iter().zip(&*scale).cycle());
            by_column.map(|(value, (offset, scale))| (value - offset) * scale).collect()
        } else {
            let values = values::<f64>(input)?;
            let by_column = values.iter().zip(offset.iter().zip(&*scale).cycle());
            by_column
                .map(|(value, (&offset, &scale))| ((value - f64::from(offset)) * f64::from(scale)) as f32)
                .collect()
        };
        Ok(tvec!(tensor(input.shape(), out)?))
    }
}

/// One value for each column.
fn repeat(values: &[f32], width: usize) -> Cow<'_, [f32]> {
    match *values {
        [value] if width != 1 => Cow::Owned(vec![value; width]),
        _ => Cow::Borrowed(values),
    }
}
