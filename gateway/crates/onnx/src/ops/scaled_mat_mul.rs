//! `DynamicQuantizeMatMul` and `MatMulIntegerToFloat` of `com.microsoft`: products of bytes, told as real numbers.

use std::sync::Arc;

use tract_onnx::model::optional_inputs;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Built, Kernel, MICROSOFT, Operator, Spec, built};
use super::quantize::{quantization, quantize};
use super::values::{room, tensor, values};
use crate::rows::{Inputs, MIXES, ONE_SCALE, Outcome};

pub(super) const DYNAMIC: Operator =
    Operator { domain: MICROSOFT, name: "DynamicQuantizeMatMul", attributes: &[], build: |_, node| dynamic(node) };

pub(super) const TO_FLOAT: Operator =
    Operator { domain: MICROSOFT, name: "MatMulIntegerToFloat", attributes: &[], build: |_, node| to_float(node) };

fn dynamic(node: &NodeProto) -> Built {
    let mut found = optional_inputs(node);
    let [a, b, b_scale, b_zero, bias] = std::array::from_fn(|_| found.next().flatten());
    built(node, Arc::new(ScaledMatMul { a, b, a_scale: None, b_scale, a_zero: None, b_zero, bias }))
}

fn to_float(node: &NodeProto) -> Built {
    let mut found = optional_inputs(node);
    let [a, b, a_scale, b_scale, a_zero, b_zero, bias] = std::array::from_fn(|_| found.next().flatten());
    ensure!(a_scale.is_some(), "the scale of the first matrix is missing");
    built(node, Arc::new(ScaledMatMul { a, b, a_scale, b_scale, a_zero, b_zero, bias }))
}

/// The index of each input of the node.
#[derive(Debug)]
struct ScaledMatMul {
    a: Option<usize>,
    b: Option<usize>,
    /// `None` where the first matrix is of real numbers, which become bytes by a scale of all of them.
    a_scale: Option<usize>,
    b_scale: Option<usize>,
    a_zero: Option<usize>,
    b_zero: Option<usize>,
    bias: Option<usize>,
}

fn get<T>(inputs: &[T], slot: Option<usize>) -> TractResult<&T> {
    slot.and_then(|slot| inputs.get(slot)).context("an input is missing")
}

impl Kernel for ScaledMatMul {
    fn name(&self) -> &'static str {
        if self.a_scale.is_some() { "MatMulIntegerToFloat" } else { "DynamicQuantizeMatMul" }
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let (a, b) = (get(inputs, self.a)?, get(inputs, self.b)?);
        let is_byte = |spec: &Spec| [DatumType::I8, DatumType::U8].contains(&spec.datum);
        let fits = if self.a_scale.is_some() { is_byte(a) } else { a.datum == DatumType::F32 };
        ensure!(fits && is_byte(b), "a product of {:?} and {:?}", a.datum, b.datum);
        let [inner, columns] = &*b.shape else { bail!("expected a matrix, got the shape {:?}", b.shape) };
        let [before @ .., width] = &*a.shape else { bail!("expected rows, got a single value") };
        ensure!(width == inner, "{width} columns meet {inner} rows");
        Ok(tvec!(Spec::new::<f32>(before.iter().chain([columns]).cloned())))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        if self.a_scale.is_none() {
            return Err(ONE_SCALE.into());
        }
        match &*inputs.with_rows()? {
            [(slot, along)] if Some(*slot) == self.a && along.axis + 1 < inputs.facts[*slot].rank() => {
                Ok(tvec!(along.on(along.axis)))
            }
            _ => Err(MIXES.into()),
        }
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (a, b) = (get(inputs, self.a)?, get(inputs, self.b)?);
        let (&[inner, columns], [before @ .., _]) = (b.shape(), a.shape()) else { bail!("expected matrices") };
        let first = |slot| values::<f32>(get(inputs, slot)?)?.first().copied().context("a scale is missing");
        let (a_values, a_scale): (Vec<i32>, f32) = if self.a_scale.is_some() {
            let zero = self.a_zero.map_or(Ok(0.0), |_| first(self.a_zero))? as i32;
            (values::<i32>(a)?.iter().map(|value| value - zero).collect(), first(self.a_scale)?)
        } else {
            let reals = values::<f32>(a)?;
            let (scale, zero) = quantization(&reals);
            let byte = |&value: &f32| i32::from(quantize(value, scale, zero)) - i32::from(zero);
            (reals.iter().map(byte).collect(), scale)
        };
        let scales = values::<f32>(get(inputs, self.b_scale)?)?;
        let zeros = self.b_zero.map(|slot| values::<i32>(get(inputs, Some(slot))?)).transpose()?;
        let of_column = |count: usize, column: usize| if count == 1 { 0 } else { column };
        let zero = |column: usize| zeros.as_ref().map_or(Some(0), |all| all.get(of_column(all.len(), column)).copied());
        let zeros: Vec<i32> = (0..columns).map(zero).collect::<Option<_>>().context("too few zero points")?;
        let scale = |column: usize| scales.get(of_column(scales.len(), column)).map(|scale| a_scale * scale);
        let scales: Vec<f32> = (0..columns).map(scale).collect::<Option<_>>().context("too few scales")?;
        let weights: Vec<i32> =
            values::<i32>(b)?.iter().enumerate().map(|(at, value)| value - zeros[at % columns]).collect();
        let bias = self.bias.map(|slot| values::<f32>(get(inputs, Some(slot))?)).transpose()?;
        ensure!(bias.as_ref().is_none_or(|bias| bias.len() == columns), "a bias for each column");
        let rows: usize = before.iter().product();
        let mut out = Vec::with_capacity(room(rows, columns)?);
        let mut sums = vec![0i32; columns];
        for row in 0..rows {
            sums.fill(0);
            for (&value, weights) in a_values[row * inner..][..inner].iter().zip(weights.chunks_exact(columns.max(1))) {
                for (sum, &weight) in sums.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
            let scaled = sums.iter().zip(&scales).map(|(&sum, scale)| sum as f32 * scale);
            match &bias {
                Some(bias) => out.extend(scaled.zip(bias.iter()).map(|(value, bias)| value + bias)),
                None => out.extend(scaled),
            }
        }
        let shape: TVec<usize> = before.iter().copied().chain([columns]).collect();
        Ok(tvec!(tensor(&shape, out)?))
    }
}
