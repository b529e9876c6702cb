//! `QuantizeLinear`, `DequantizeLinear` and `DynamicQuantizeLinear`: real numbers as bytes by a scale and a zero point, and
//! back. Values between two of these are computed as real numbers, which is what they mean.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Built, Kernel, Operator, Spec, built};
use super::pick::axis;
use super::values::{tensor, values};
use crate::rows::{Inputs, MIXES, ONE_SCALE, Outcome};

const ATTRIBUTES: [&str; 5] = ["axis", "block_size", "output_dtype", "precision", "saturate"];

pub(super) const QUANTIZE: Operator =
    Operator { domain: "", name: "QuantizeLinear", attributes: &ATTRIBUTES, build: |_, node| build(node, true) };

pub(super) const DEQUANTIZE: Operator =
    Operator { domain: "", name: "DequantizeLinear", attributes: &ATTRIBUTES, build: |_, node| build(node, false) };

pub(super) const DYNAMIC: Operator = Operator {
    domain: "",
    name: "DynamicQuantizeLinear",
    attributes: &[],
    build: |_, node| built(node, Arc::new(Dynamic)),
};

fn build(node: &NodeProto, quantizes: bool) -> Built {
    let attributes = Attributes(node);
    let grid = Grid {
        axis: attributes.int("axis").unwrap_or(1),
        block: usize::try_from(attributes.int("block_size").unwrap_or(0)).context("'block_size' is negative")?,
    };
    let given = match attributes.int("output_dtype").unwrap_or(0) {
        0 => None,
        1 => Some(DatumType::F32),
        2 => Some(DatumType::U8),
        3 => Some(DatumType::I8),
        4 => Some(DatumType::U16),
        5 => Some(DatumType::I16),
        10 => Some(DatumType::F16),
        other => bail!("'output_dtype' {other} is not supported"),
    };
    if quantizes {
        built(node, Arc::new(Quantize { grid, given }))
    } else {
        built(node, Arc::new(Dequantize { grid, given }))
    }
}

/// The values that each scale is for.
#[derive(Clone, Copy, Debug)]
struct Grid {
    axis: i64,
    /// Values along the axis that share a scale; 0 is one scale for each index, or one for all.
    block: usize,
}

/// The place of each value's scale.
struct ScaleIndex {
    /// Values behind one index of the axis.
    inner: usize,
    size: usize,
    /// Values that share a scale along the axis.
    block: usize,
    is_blocked: bool,
    count: usize,
}

impl Grid {
    /// Rows stay apart unless scales lie along their axis.
    fn rows(self, inputs: &Inputs<'_>) -> Outcome {
        let is_single = |slot: usize| inputs.facts.get(slot).is_none_or(|fact| fact.shape.iter().all(TDim::is_one));
        let rank = inputs.facts[0].rank();
        let along = axis(self.axis, rank).ok().filter(|_| !is_single(1));
        inputs.except(|axis| Some(axis) == along, MIXES)
    }

    fn scale_index(self, shape: &[usize], scale: &Tensor) -> TractResult<ScaleIndex> {
        let count = scale.len();
        if self.block == 0 && count == 1 {
            return Ok(ScaleIndex { inner: 1, size: 1, block: 1, is_blocked: false, count });
        }
        let axis = axis(self.axis, shape.len())?;
        let (inner, size) = (shape[axis + 1..].iter().product(), shape[axis]);
        if self.block == 0 {
            ensure!(count == size, "{count} scales for {size} indices");
            return Ok(ScaleIndex { inner, size, block: 1, is_blocked: false, count });
        }
        let mut expected: TVec<usize> = shape.into();
        expected[axis] = size.div_ceil(self.block);
        ensure!(*expected == *scale.shape(), "scales of the shape {:?}, expected {expected:?}", scale.shape());
        Ok(ScaleIndex { inner, size, block: self.block, is_blocked: true, count })
    }
}

impl ScaleIndex {
    fn index(&self, position: usize) -> usize {
        if self.count == 1 {
            return 0;
        }
        let (index, inner) = (position / self.inner % self.size, position % self.inner);
        if !self.is_blocked {
            return index;
        }
        let outer = position / (self.inner * self.size);
        (outer * self.size.div_ceil(self.block) + index / self.block) * self.inner + inner
    }
}

fn is_small(datum: DatumType) -> bool {
    [DatumType::I8, DatumType::U8, DatumType::I16, DatumType::U16].contains(&datum)
}

fn check(inputs: &[Spec]) -> TractResult<()> {
    ensure!((2..=3).contains(&inputs.len()), "expected 2 or 3 inputs, got {}", inputs.len());
    ensure!(inputs[1].datum.is_float(), "scales of type {:?} are not supported", inputs[1].datum);
    Ok(())
}

#[derive(Debug)]
struct Quantize {
    grid: Grid,
    given: Option<DatumType>,
}

impl Kernel for Quantize {
    fn name(&self) -> &'static str {
        "QuantizeLinear"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        check(inputs)?;
        let datum = inputs.get(2).map(|zero| zero.datum).or(self.given).unwrap_or(DatumType::U8);
        ensure!(is_small(datum), "results of type {datum:?} are not supported");
        Ok(tvec!(Spec { datum, shape: inputs[0].shape.clone() }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        self.grid.rows(inputs)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [x, scale, zero @ ..] = inputs else { bail!("expected 2 or 3 inputs") };
        let scale_index = self.grid.scale_index(x.shape(), scale)?;
        let datum = zero.first().map(|zero| zero.datum_type()).or(self.given).unwrap_or(DatumType::U8);
        let zeros = zero.first().map(|zero| values::<i32>(zero)).transpose()?;
        let (x_values, scales) = (values::<f32>(x)?, values::<f32>(scale)?);
        ensure!(zeros.as_ref().is_none_or(|zeros| zeros.len() == scales.len()), "as many zero points as scales");
        let (least, most) = match datum {
            DatumType::I8 => (-128.0, 127.0),
            DatumType::I16 => (-32768.0, 32767.0),
            DatumType::U16 => (0.0, 65535.0),
            _ => (0.0, 255.0),
        };
        let quantize = |(position, &value): (usize, &f32)| {
            let index = scale_index.index(position);
            let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[index] as f32);
            let whole = (value / scales[index]).round_ties_even();
            // What is no number is the least.
            let whole = if whole >= least - zero { whole } else { least - zero };
            (if whole > most - zero { most - zero } else { whole }) + zero
        };
        let whole = x_values.iter().enumerate().map(quantize);
        Ok(tvec!(match datum {
            DatumType::I8 => tensor(x.shape(), whole.map(|value| value as i8).collect())?,
            DatumType::I16 => tensor(x.shape(), whole.map(|value| value as i16).collect())?,
            DatumType::U16 => tensor(x.shape(), whole.map(|value| value as u16).collect())?,
            _ => tensor(x.shape(), whole.map(|value| value as u8).collect())?,
        }))
    }
}

#[derive(Debug)]
struct Dequantize {
    grid: Grid,
    given: Option<DatumType>,
}

impl Kernel for Dequantize {
    fn name(&self) -> &'static str {
        "DequantizeLinear"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        check(inputs)?;
        let x = &inputs[0];
        ensure!(is_small(x.datum) || x.datum == DatumType::I32, "values of type {:?} are not supported", x.datum);
        Ok(tvec!(Spec { datum: self.given.unwrap_or(inputs[1].datum), shape: x.shape.clone() }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        self.grid.rows(inputs)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [x, scale, zero @ ..] = inputs else { bail!("expected 2 or 3 inputs") };
        let scale_index = self.grid.scale_index(x.shape(), scale)?;
        let zeros = zero.first().map(|zero| values::<i32>(zero)).transpose()?;
        let (x_values, scales) = (values::<i32>(x)?, values::<f32>(scale)?);
        ensure!(zeros.as_ref().is_none_or(|zeros| zeros.len() == scales.len()), "as many zero points as scales");
        let real = |(position, &value): (usize, &i32)| {
            let index = scale_index.index(position);
            let zero = zeros.as_ref().map_or(0, |zeros| zeros[index]);
            value.wrapping_sub(zero) as f32 * scales[index]
        };
        let result = tensor(x.shape(), x_values.iter().enumerate().map(real).collect::<Vec<f32>>())?;
        let datum = self.given.unwrap_or(scale.datum_type());
        Ok(tvec!(if datum == DatumType::F32 { result } else { result.cast_to_dt(datum)?.into_owned().into() }))
    }
}

#[derive(Debug)]
struct Dynamic;

impl Kernel for Dynamic {
    fn name(&self) -> &'static str {
        "DynamicQuantizeLinear"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [x] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(x.datum == DatumType::F32, "values of type {:?} are not supported", x.datum);
        Ok(tvec!(Spec::new::<u8>(x.shape.clone()), Spec::new::<f32>([]), Spec::new::<u8>([])))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let _ = inputs;
        Err(ONE_SCALE.into())
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [x] = inputs else { bail!("expected 1 input") };
        let x_values = values::<f32>(x)?;
        let (scale, zero) = quantization(&x_values);
        let bytes = x_values.iter().map(|&value| quantize(value, scale, zero)).collect();
        Ok(tvec!(tensor(x.shape(), bytes)?, tensor(&[], vec![scale])?, tensor(&[], vec![zero])?))
    }
}

/// The scale and zero point by which values become bytes: of all of them, zero included.
pub(super) fn quantization(values: &[f32]) -> (f32, u8) {
    let least = values.iter().fold(0.0f32, |least, &value| if value < least { value } else { least });
    let most = values.iter().fold(0.0f32, |most, &value| if value > most { value } else { most });
    let scale = if most > least { (most - least) / 255.0 } else { 1.0 };
    let zero = (-least / scale).clamp(0.0, 255.0).round_ties_even();
    (scale, zero as u8)
}

/// A value as a byte; what is no number is the least.
pub(super) fn quantize(value: f32, scale: f32, zero: u8) -> u8 {
    ((value / scale).round_ties_even() + f32::from(zero)).clamp(0.0, 255.0) as u8
}
