//! `ConvInteger` and `QLinearConv`: convolutions of bytes, summed in 32 bits.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Built, Kernel, Operator, Spec, built};
use super::values::{room, tensor, values};
use super::window::{Geometry, Sizes};
use crate::rows::{Inputs, MIXES, Outcome};

const ATTRIBUTES: [&str; 6] = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

pub(super) const CONV_INTEGER: Operator =
    Operator { domain: "", name: "ConvInteger", attributes: &ATTRIBUTES, build: |_, node| build(node, false) };

pub(super) const Q_LINEAR_CONV: Operator =
    Operator { domain: "", name: "QLinearConv", attributes: &ATTRIBUTES, build: |_, node| build(node, true) };

fn build(node: &NodeProto, scales: bool) -> Built {
    // In the order of `QLinearConv`, where `ConvInteger` has no scales.
    let mut found = tract_onnx::model::optional_inputs(node);
    let mut next = || found.next().flatten();
    let slots = if scales {
        let [x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias] = std::array::from_fn(|_| next());
        Slots { x, w, x_zero, w_zero, bias, scales: Some([x_scale, w_scale, y_scale, y_zero]) }
    } else {
        let [x, w, x_zero, w_zero] = std::array::from_fn(|_| next());
        Slots { x, w, x_zero, w_zero, bias: None, scales: None }
    };
    built(node, Arc::new(IntegerConv { geometry: Geometry::new(node)?, slots }))
}

/// The index of each input of the node.
#[derive(Clone, Copy, Debug)]
struct Slots {
    x: Option<usize>,
    w: Option<usize>,
    x_zero: Option<usize>,
    w_zero: Option<usize>,
    bias: Option<usize>,
    /// Of x, w and y, and the zero point of y.
    scales: Option<[Option<usize>; 4]>,
}

#[derive(Debug)]
struct IntegerConv {
    geometry: Geometry,
    slots: Slots,
}

fn find<T>(inputs: &[T], slot: Option<usize>) -> Option<&T> {
    slot.and_then(|slot| inputs.get(slot))
}

fn get<T>(inputs: &[T], slot: Option<usize>) -> TractResult<&T> {
    find(inputs, slot).context("an input is missing")
}

impl Kernel for IntegerConv {
    fn name(&self) -> &'static str {
        if self.slots.scales.is_some() { "QLinearConv" } else { "ConvInteger" }
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let (x, w) = (get(inputs, self.slots.x)?, get(inputs, self.slots.w)?);
        let is_byte = |spec: &Spec| [DatumType::I8, DatumType::U8].contains(&spec.datum);
        ensure!(is_byte(x) && is_byte(w), "values of {:?} and weights of {:?}", x.datum, w.datum);
        let weights = w.shape.iter().map(TDim::to_usize).collect::<Result<TVec<_>, _>>()?;
        ensure!(x.shape.len() == weights.len() && weights.len() >= 3, "x has the shape {:?}", x.shape);
        let mut shape = tvec!(x.shape[0].clone(), weights[0].to_dim());
        shape.extend(self.geometry.outputs(&x.shape[2..], &weights[2..])?);
        let datum = match self.slots.scales {
            Some([.., zero]) => get(inputs, zero)?.datum,
            None => DatumType::I32,
        };
        Ok(tvec!(Spec { datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        match &*inputs.with_rows()? {
            [(slot, along)] if Some(*slot) == self.slots.x && along.axis == 0 => Ok(tvec!(along.on(0))),
            _ => Err(MIXES.into()),
        }
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (x, w) = (get(inputs, self.slots.x)?, get(inputs, self.slots.w)?);
        let (&[batch, channels, ref image @ ..], &[outputs, per_group, ref kernel @ ..]) = (x.shape(), w.shape())
        else {
            bail!("expected a batch of channels");
        };
        let sizes = self.geometry.sizes(image, kernel)?;
        let groups = self.geometry.group;
        ensure!(channels == per_group * groups && outputs % groups == 0, "{channels} channels in {groups} groups");
        let zero = |slot| find(inputs, slot).map(|tensor| values::<i32>(tensor)).transpose();
        let (x_zero, w_zeros) = (zero(self.slots.x_zero)?, zero(self.slots.w_zero)?);
        let x_zero = x_zero.as_ref().and_then(|zero| zero.first().copied()).unwrap_or(0);
        let (x_values, w_values) = (values::<i32>(x)?, values::<i32>(w)?);
        let x_values: Vec<i32> = x_values.iter().map(|value| value - x_zero).collect();
        let window = per_group * kernel.iter().product::<usize>();
        let w_zero = |output: usize| match w_zeros.as_deref() {
            None | Some([]) => 0,
            Some(&[one]) => one,
            Some(zeros) => zeros[output],
        };
        let pixels: usize = sizes.outputs.iter().product();
        let mut sums = vec![0i32; room(batch * outputs, pixels)?];
        let (size, per_output) = (image.iter().product::<usize>(), outputs / groups);
        for batch in 0..batch {
            for group in 0..groups {
                let own = &x_values[(batch * channels + group * per_group) * size..][..per_group * size];
                let columns = columns(own, per_group, &sizes)?;
                for output in group * per_output..(group + 1) * per_output {
                    let zero = w_zero(output);
                    let sums = &mut sums[(batch * outputs + output) * pixels..][..pixels];
                    let weights = &w_values[output * window..][..window];
                    for (&weight, column) in weights.iter().zip(columns.chunks_exact(pixels.max(1))) {
                        let weight = weight - zero;
                        for (sum, &value) in sums.iter_mut().zip(column) {
                            *sum = sum.wrapping_add(weight.wrapping_mul(value));
                        }
                    }
                }
            }
        }
        let shape: TVec<usize> = [batch, outputs].into_iter().chain(sizes.outputs.iter().copied()).collect();
        Ok(tvec!(match self.slots.scales {
            None => tensor(&shape, sums)?,
            Some(scales) => self.scaled(inputs, scales, sums, &shape)?,
        }))
    }
}

impl IntegerConv {
    /// The sums as bytes by the scale of the result.
    fn scaled(
        &self,
        inputs: &[TValue],
        scales: [Option<usize>; 4],
        mut sums: Vec<i32>,
        shape: &[usize],
    ) -> TractResult<TValue> {
        let [x_scale, w_scale, y_scale, zero] = scales.map(|slot| get(inputs, slot));
        let first = |tensor: &Tensor| values::<f32>(tensor)?.first().copied().context("a scale is missing");
        let (x_scale, y_scale, w_scales) = (first(x_scale?)?, first(y_scale?)?, values::<f32>(w_scale?)?);
        let zero = zero?;
        let zero_point = first(zero)?;
        let bias = find(inputs, self.slots.bias).map(|bias| values::<i32>(bias)).transpose()?;
        let (outputs, pixels) = (shape[1], shape[2..].iter().product::<usize>());
        ensure!(w_scales.len() == 1 || w_scales.len() == outputs, "{} scales for {outputs} outputs", w_scales.len());
        ensure!(bias.as_ref().is_none_or(|bias| bias.len() == outputs), "a bias for each output");
        let is_signed = zero.datum_type() == DatumType::I8;
        let (least, most) = if is_signed { (-128.0, 127.0) } else { (0.0, 255.0) };
        let mut bytes = Vec::with_capacity(sums.len());
        for (index, sums) in sums.chunks_exact_mut(pixels.max(1)).enumerate() {
            let output = index % outputs;
            let scale = x_scale * w_scales[if w_scales.len() == 1 { 0 } else { output }] / y_scale;
            let bias = bias.as_ref().map_or(0, |bias| bias[output]);
            bytes.extend(sums.iter().map(|&sum| {
                ((sum.wrapping_add(bias) as f32 * scale).round_ties_even() + zero_point).clamp(least, most)
            }));
        }
        if is_signed {
            return tensor(shape, bytes.into_iter().map(|value| value as i8).collect());
        }
        tensor(shape, bytes.into_iter().map(|value| value as u8).collect())
    }
}

/// The values that each weight of a window meets, pixel by pixel; zeros outside of the image.
fn columns(image: &[i32], channels: usize, sizes: &Sizes) -> TractResult<Vec<i32>> {
    let (kernel, pixels) = (sizes.kernel.iter().product::<usize>(), sizes.outputs.iter().product::<usize>());
    let mut columns = Vec::with_capacity(room(channels * kernel, pixels)?);
    for channel in image.chunks_exact(sizes.image.iter().product::<usize>().max(1)).take(channels) {
        sizes.each_tap(|taps| columns.extend(taps.iter().map(|&tap| channel.get(tap).copied().unwrap_or(0))))?;
    }
    Ok(columns)
}
