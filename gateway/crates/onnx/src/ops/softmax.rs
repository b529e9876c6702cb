//! `Softmax`, `LogSoftmax` and `Hardmax`. The greatest value is taken out first, so that none overflows.

#![expect(clippy::inline_always, reason = "what is inlined is compiled for the caller's kind of processor")]

use std::sync::Arc;

use multiversion::multiversion;
use multiversion::target::target_cfg_f;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::elementwise::exp;
use super::kernel::{Built, Kernel, Operator, Spec, built};
use super::rows::{axis, gathered, scattered};
use super::values::{tensor, values};
use crate::rows::{Inputs, NORMALISES, Outcome};

macro_rules! operators {
    ($($constant:ident $name:ident;)*) => {
        $(pub(super) const $constant: Operator = Operator {
            domain: "",
            name: stringify!($name),
            attributes: &["axis"],
            build: |ctx, node| softmax(ctx, node, How::$name),
        };)*
    };
}
operators! { SOFTMAX Softmax; LOG_SOFTMAX LogSoftmax; HARDMAX Hardmax; }

fn softmax(ctx: &ParsingContext<'_>, node: &NodeProto, how: How) -> Built {
    // Up to opset 12, all from the axis on is one row.
    let flat = ctx.onnx_operator_set_version < 13;
    let axis = Attributes(node).int("axis").unwrap_or(if flat { 1 } else { -1 });
    built(node, Arc::new(Softmax { how, axis, flat }))
}

#[derive(Clone, Copy, Debug)]
enum How {
    Softmax,
    LogSoftmax,
    Hardmax,
}

#[derive(Debug)]
struct Softmax {
    how: How,
    axis: i64,
    flat: bool,
}

impl Softmax {
    /// The axes that a row lies along.
    fn axes(&self, rank: usize) -> TractResult<Vec<usize>> {
        // All of a list is one row where the axis is that behind its last.
        if self.flat && self.axis == rank as i64 {
            return Ok(Vec::new());
        }
        let axis = axis(self.axis, rank)?;
        Ok(if self.flat { (axis..rank).collect() } else { vec![axis] })
    }

    fn apply<T: Datum + Copy>(&self, input: &Tensor, row: impl Fn(How, &mut [T])) -> TractResult<TValue> {
        let shape = input.shape();
        let axes = self.axes(shape.len())?;
        let length: usize = axes.iter().map(|&axis| shape[axis]).product();
        let mut rows = gathered(&values::<T>(input)?, shape, &axes)?.into_owned();
        rows.chunks_exact_mut(length.max(1)).for_each(|values| row(self.how, values));
        tensor(shape, scattered(rows, shape, &axes)?)
    }
}

impl Kernel for Softmax {
    fn name(&self) -> &'static str {
        match self.how {
            How::Softmax => "Softmax",
            How::LogSoftmax => "LogSoftmax",
            How::Hardmax => "Hardmax",
        }
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(input.datum.is_float(), "{:?} is not supported", input.datum);
        self.axes(input.shape.len())?;
        Ok(tvec!(input.clone()))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let axes = self.axes(inputs.facts[0].rank()).map_err(|error| error.to_string())?;
        inputs.except(|axis| axes.contains(&axis), NORMALISES)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &inputs[0];
        Ok(tvec!(match input.datum_type() {
            DatumType::F64 => self.apply::<f64>(input, doubles)?,
            DatumType::F16 => {
                let wide = self.apply::<f32>(input, singles)?;
                wide.cast_to::<f16>()?.into_owned().into()
            }
            _ => self.apply::<f32>(input, singles)?,
        }))
    }
}

/// One row of shares, as layers of a network end with.
pub(super) fn shares(row: &mut [f32]) {
    singles(How::Softmax, row);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn singles(how: How, row: &mut [f32]) {
    match (target_cfg_f!(target_feature = "fma"), cfg!(target_arch = "aarch64")) {
        (true, _) | (_, true) => singles_fused::<true>(how, row),
        _ => singles_fused::<false>(how, row),
    }
}

/// Sums in lanes, so that vectors are used; which value is in which lane depends on its place in the row alone.
const LANES: usize = 8;

#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += value);
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

#[inline(always)]
fn singles_fused<const FUSED: bool>(how: How, row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, |most, value| if value > most { value } else { most });
    match how {
        How::Softmax => {
            for value in &mut *row {
                *value = exp::<FUSED>(*value - most);
            }
            let share = 1.0 / sum(row);
            for value in row {
                *value *= share;
            }
        }
        How::LogSoftmax => {
            let (chunks, rest) = row.as_chunks::<LANES>();
            let mut lanes = [0.0f32; LANES];
            for chunk in chunks {
                lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += exp::<FUSED>(value - most));
            }
            let rest: f32 = rest.iter().map(|&value| exp::<FUSED>(value - most)).sum();
            let logarithm = (lanes.iter().sum::<f32>() + rest).ln();
            for value in row {
                *value = *value - most - logarithm;
            }
        }
        How::Hardmax => hardmax(row, 1.0),
    }
}

fn doubles(how: How, row: &mut [f64]) {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, |most, value| if value > most { value } else { most });
    match how {
        How::Softmax => {
            for value in &mut *row {
                *value = (*value - most).exp();
            }
            let sum: f64 = row.iter().sum();
            for value in row {
                *value /= sum;
            }
        }
        How::LogSoftmax => {
            let logarithm = row.iter().map(|&value| (value - most).exp()).sum::<f64>().ln();
            for value in row {
                *value = *value - most - logarithm;
            }
        }
        How::Hardmax => hardmax(row, 1.0),
    }
}

/// One at the first of the greatest, zero elsewhere.
fn hardmax<T: Copy + PartialOrd + Default>(row: &mut [T], one: T) {
    let mut best = 0;
    for index in 1..row.len() {
        if row[index] > row[best] {
            best = index;
        }
    }
    row.fill(T::default());
    if let Some(value) = row.get_mut(best) {
        *value = one;
    }
}
