//! `Imputer` of `ai.onnx.ml`: puts a value in the place of missing ones, by column.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, ML, Operator, Spec, built};
use super::values::{tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "Imputer",
    attributes: &["imputed_value_floats", "imputed_value_int64s", "replaced_value_float", "replaced_value_int64"],
    build: |_, node| {
        let attributes = Attributes(node);
        let floats = attributes.floats("imputed_value_floats").to_vec();
        let ints = attributes.ints("imputed_value_int64s").to_vec();
        ensure!(
            floats.is_empty() != ints.is_empty(),
            "expected one of 'imputed_value_floats' and 'imputed_value_int64s'"
        );
        let float = attributes.float("replaced_value_float").unwrap_or(0.0);
        let int = attributes.int("replaced_value_int64").unwrap_or(0);
        built(node, Arc::new(Imputer { floats, ints, float, int }))
    },
};

#[derive(Debug)]
struct Imputer {
    floats: Vec<f32>,
    ints: Vec<i64>,
    /// The value that stands for a missing number: mostly NaN.
    float: f32,
    int: i64,
}

impl Imputer {
    fn check_width(&self, width: usize) -> TractResult<()> {
        let columns = self.floats.len().max(self.ints.len());
        ensure!(columns == 1 || columns == width, "expected {columns} columns, got {width}");
        Ok(())
    }
}

impl Kernel for Imputer {
    fn name(&self) -> &'static str {
        "Imputer"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        let datum = match input.datum {
            DatumType::F32 | DatumType::F64 if !self.floats.is_empty() => input.datum,
            DatumType::I64 | DatumType::I32 if !self.ints.is_empty() => input.datum,
            DatumType::TDim if !self.ints.is_empty() => i64::datum_type(),
            other => bail!("it has no values to put in the place of missing {other:?}"),
        };
        if let Some(width) = input.shape.last().and_then(|width| width.to_usize().ok()) {
            self.check_width(width)?;
        }
        Ok(tvec!(Spec { datum, shape: input.shape.clone() }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let columns = self.floats.len().max(self.ints.len());
        if columns == 1 { inputs.elementwise() } else { inputs.before_last() }
    }

    #[expect(clippy::float_cmp, reason = "a missing value is one that is exactly so")]
    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        self.check_width(input.shape().last().copied().unwrap_or(1))?;
        let missing = f64::from(self.float);
        let is_missing = |value: f64| if missing.is_nan() { value.is_nan() } else { value == missing };
        Ok(tvec!(match input.datum_type() {
            DatumType::F32 => {
                let values = values::<f32>(input)?;
                let filled = values.iter().zip(self.floats.iter().cycle());
                let filled = filled.map(|(&value, &fill)| if is_missing(value.into()) { fill } else { value });
                tensor(input.shape(), filled.collect())?
            }
            DatumType::F64 => {
                let values = values::<f64>(input)?;
                let filled = values.iter().zip(self.floats.iter().cycle());
                let filled = filled.map(|(&value, &fill)| if is_missing(value) { fill.into() } else { value });
                tensor(input.shape(), filled.collect())?
            }
            DatumType::I32 => {
                let values = values::<i32>(input)?;
                let filled = values.iter().zip(self.ints.iter().cycle());
                let fill = |fill: i64| i32::try_from(fill).context("an imputed value is no 32-bit integer");
                let filled =
                    filled.map(|(&value, &int)| if i64::from(value) == self.int { fill(int) } else { Ok(value) });
                tensor(input.shape(), filled.collect::<TractResult<_>>()?)?
            }
            _ => {
                let values = values::<i64>(input)?;
                let filled = values.iter().zip(self.ints.iter().cycle());
                let filled = filled.map(|(&value, &fill)| if value == self.int { fill } else { value });
                tensor(input.shape(), filled.collect())?
            }
        }))
    }
}
