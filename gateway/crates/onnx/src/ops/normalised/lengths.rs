//! `MeanVarianceNormalization`, `LpNormalization` and `LRN`.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::super::attributes::Attributes;
use super::super::kernel::{Kernel, Operator, Spec, built};
use super::super::rows::{axis, gathered, scattered};
use super::super::values::{tensor, values};
use super::statistics::Float;
use crate::rows::{Inputs, NORMALISES, Outcome};

pub(in super::super) const MEAN_VARIANCE: Operator = Operator {
    domain: "",
    name: "MeanVarianceNormalization",
    attributes: &["axes"],
    build: |_, node| {
        let axes = Attributes(node).ints("axes");
        let axes = if axes.is_empty() { vec![0, 2, 3] } else { axes.to_vec() };
        built(node, Arc::new(Along { how: How::MeanVariance, axes }))
    },
};

pub(in super::super) const LP: Operator = Operator {
    domain: "",
    name: "LpNormalization",
    attributes: &["axis", "p"],
    build: |_, node| {
        let attributes = Attributes(node);
        let how = match attributes.int("p").unwrap_or(2) {
            1 => How::One,
            2 => How::Two,
            other => bail!("attribute 'p' is {other}"),
        };
        built(node, Arc::new(Along { how, axes: vec![attributes.int("axis").unwrap_or(-1)] }))
    },
};

#[derive(Clone, Copy, Debug)]
enum How {
    MeanVariance,
    /// By the sum of the magnitudes.
    One,
    /// By the root of the sum of the squares.
    Two,
}

#[derive(Debug)]
struct Along {
    how: How,
    axes: Vec<i64>,
}

impl Along {
    fn row<T: Float>(&self, row: &mut [T]) {
        let count = T::from(row.len() as f32);
        let (shift, divisor) = match self.how {
            How::MeanVariance => {
                let mean = T::mean(row);
                // Outside of the root, as the standard has it.
                (mean, T::variance(row, mean).root() + T::from(1e-9))
            }
            How::One => (T::zero(), row.iter().fold(T::zero(), |sum, value| sum + value.size())),
            How::Two => (T::zero(), (T::variance(row, T::zero()) * count).root()),
        };
        let divisor = if divisor == T::zero() { T::from(1.0) } else { divisor };
        for value in row {
            *value = (*value - shift) / divisor;
        }
    }

    fn apply<T: Float>(&self, input: &Tensor) -> TractResult<TValue> {
        let shape = input.shape();
        let mut axes = self.axes.iter().map(|&wanted| axis(wanted, shape.len())).collect::<TractResult<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        let length: usize = axes.iter().map(|&axis| shape[axis]).product();
        let mut rows = gathered(&values::<T>(input)?, shape, &axes)?.into_owned();
        rows.chunks_exact_mut(length.max(1)).for_each(|row| self.row(row));
        let out = tensor(shape, scattered(rows, shape, &axes)?)?;
        Ok(out.cast_to_dt(input.datum_type())?.into_owned().into())
    }
}

impl Kernel for Along {
    fn name(&self) -> &'static str {
        match self.how {
            How::MeanVariance => "MeanVarianceNormalization",
            How::One | How::Two => "LpNormalization",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(input.datum.is_float(), "{:?} is not supported", input.datum);
        self.axes.iter().try_for_each(|&wanted| axis(wanted, input.shape.len()).map(drop))?;
        Ok(tvec!(input.clone()))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let rank = inputs.facts[0].rank();
        let normalised = |at: usize| self.axes.iter().any(|&wanted| axis(wanted, rank).map_or(true, |axis| axis == at));
        inputs.except(normalised, NORMALISES)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let out =
            if input.datum_type() == DatumType::F64 { self.apply::<f64>(input)? } else { self.apply::<f32>(input)? };
        Ok(tvec!(out))
    }
}

pub(in super::super) const LRN: Operator = Operator {
    domain: "",
    name: "LRN",
    attributes: &["alpha", "beta", "bias", "size"],
    build: |_, node| {
        let attributes = Attributes(node);
        let size = attributes.int("size").and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        let number = |name: &str, default: f32| f64::from(attributes.float(name).unwrap_or(default));
        let (alpha, beta, bias) = (number("alpha", 1e-4), number("beta", 0.75), number("bias", 1.0));
        built(node, Arc::new(Lrn { size: size.context("attribute 'size' is not positive")?, alpha, beta, bias }))
    },
};

/// Divides by a power of the squares of the channels around.
#[derive(Debug)]
struct Lrn {
    size: usize,
    alpha: f64,
    beta: f64,
    bias: f64,
}

impl Kernel for Lrn {
    fn name(&self) -> &'static str {
        "LRN"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(input.datum.is_float(), "{:?} is not supported", input.datum);
        ensure!(input.shape.len() >= 2, "expected channels, got the shape {:?}", input.shape);
        Ok(tvec!(input.clone()))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.except(|axis| axis == 1, NORMALISES)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        let shape = input.shape();
        let channels = shape[1];
        let mut rows = gathered(&values::<f64>(input)?, shape, &[1])?.into_owned();
        let (before, after) = ((self.size - 1) / 2, self.size / 2);
        for row in rows.chunks_exact_mut(channels.max(1)) {
            let squares: Vec<f64> = row.iter().map(|value| value * value).collect();
            for (at, value) in row.iter_mut().enumerate() {
                let around = &squares[at.saturating_sub(before)..(at + after + 1).min(channels)];
                let sum: f64 = around.iter().sum();
                *value /= (self.bias + self.alpha / self.size as f64 * sum).powf(self.beta);
            }
        }
        let out = tensor(shape, scattered(rows, shape, &[1])?)?;
        Ok(tvec!(out.cast_to_dt(input.datum_type())?.into_owned().into()))
    }
}
