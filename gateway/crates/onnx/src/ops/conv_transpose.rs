//! `ConvTranspose` where tract's own is wrong or refuses: with the attribute `output_shape`, and with windows smaller than
//! their strides.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, KernelOp, Operator, Spec, wire_kernel};
use super::tract_builtin::tract_builtin;
use super::values::{room, tensor, values};
use super::window::Sizes;
use crate::rows::{Inputs, MIXES, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "ConvTranspose",
    attributes: &[
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "output_padding",
        "output_shape",
        "pads",
        "strides",
    ],
    build: |ctx, node| {
        let attributes = Attributes(node);
        let list = |name: &str| -> TractResult<Vec<usize>> {
            let sizes = attributes.ints(name).iter().map(|&size| usize::try_from(size));
            sizes.collect::<Result<_, _>>().with_context(|| format!("attribute '{name}' is negative"))
        };
        let auto = match attributes.text("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" => Auto::Not,
            "VALID" => Auto::Valid,
            "SAME_UPPER" => Auto::Upper,
            "SAME_LOWER" => Auto::Lower,
            other => bail!("auto_pad '{other}' is not known"),
        };
        let group = usize::try_from(attributes.int("group").unwrap_or(1)).ok().filter(|&group| group > 0);
        let kernel = ConvTranspose {
            auto,
            pads: list("pads")?,
            strides: list("strides")?,
            dilations: list("dilations")?,
            output_padding: list("output_padding")?,
            output_shape: list("output_shape")?,
            group: group.context("attribute 'group' is not positive")?,
        };
        ensure!(!kernel.strides.contains(&0) && !kernel.dilations.contains(&0), "strides and dilations are at least 1");
        Ok((expand(Either { builtin: tract_builtin(ctx, node)?, kernel: Arc::new(kernel) }), vec![]))
    },
};

#[derive(Clone, Debug)]
struct Either {
    builtin: Box<dyn Expansion>,
    kernel: Arc<ConvTranspose>,
}

impl Expansion for Either {
    fn name(&self) -> StaticName {
        "ConvTranspose".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.given(&inputs[1].shape, move |s, weights| {
            if !self.kernel.is_own(&weights) {
                return self.builtin.rules(s, inputs, outputs);
            }
            let kernel: Arc<dyn Kernel> = self.kernel.clone();
            KernelOp::new(kernel).rules(s, inputs, outputs)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if !self.kernel.is_own(&model.outlet_fact(inputs[1])?.shape.to_tvec()) {
            return self.builtin.wire(prefix, model, inputs);
        }
        let kernel: Arc<dyn Kernel> = self.kernel.clone();
        wire_kernel(KernelOp::new(kernel), prefix, model, inputs)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Auto {
    Not,
    Valid,
    Upper,
    Lower,
}

#[derive(Debug)]
struct ConvTranspose {
    auto: Auto,
    pads: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    output_padding: Vec<usize>,
    output_shape: Vec<usize>,
    group: usize,
}

fn at(list: &[usize], axis: usize, default: usize) -> usize {
    list.get(axis).copied().unwrap_or(default)
}

impl ConvTranspose {
    /// Whether tract's own does not do for weights of this shape.
    fn is_own(&self, weights: &[TDim]) -> bool {
        let small = |(axis, dim): (usize, &TDim)| {
            let reach = (dim.to_usize().unwrap_or(usize::MAX) - 1).saturating_mul(at(&self.dilations, axis, 1));
            reach < at(&self.strides, axis, 1)
        };
        !self.output_shape.is_empty() || weights.iter().skip(2).enumerate().any(small)
    }

    /// The extent of a window along an axis, the output's padding included, less one stride.
    fn reach(&self, axis: usize, kernel: usize) -> usize {
        kernel.saturating_sub(1) * at(&self.dilations, axis, 1) + 1 + at(&self.output_padding, axis, 0)
    }

    /// The size of the result along an axis, and what is cut off before it.
    fn axis(&self, axis: usize, size: usize, kernel: usize, rank: usize) -> TractResult<(usize, usize)> {
        let stride = at(&self.strides, axis, 1);
        let full = size.saturating_sub(1) * stride + self.reach(axis, kernel);
        let wanted = match self.output_shape.get(self.output_shape.len().saturating_sub(rank) + axis) {
            Some(&wanted) => Some(wanted),
            // Never more than there is, as in ONNX Runtime.
            None if matches!(self.auto, Auto::Upper | Auto::Lower) => Some(full.min(size * stride)),
            None => None,
        };
        if let Some(wanted) = wanted {
            let cut = full.saturating_sub(wanted);
            // Where it is odd, more is cut off at the end for SAME_UPPER, else at the beginning.
            return Ok((wanted, if self.auto == Auto::Upper { cut / 2 } else { cut.div_ceil(2) }));
        }
        let pads = |index| if self.auto == Auto::Valid { 0 } else { at(&self.pads, index, 0) };
        let (before, after) = (pads(axis), pads(axis + rank));
        Ok((full.checked_sub(before + after).context("more is cut off than there is")?, before))
    }
}

impl Kernel for ConvTranspose {
    fn name(&self) -> &'static str {
        "ConvTranspose"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [x, w, ..] = inputs else { bail!("expected 2 or 3 inputs, got {}", inputs.len()) };
        ensure!(x.datum == f32::datum_type() && w.datum == x.datum, "values of type {:?} are not supported", x.datum);
        let weights = w.shape.iter().map(TDim::to_usize).collect::<Result<TVec<_>, _>>()?;
        ensure!(x.shape.len() == weights.len() && weights.len() >= 3, "x has the shape {:?}", x.shape);
        let rank = weights.len() - 2;
        let mut shape = tvec!(x.shape[0].clone(), (weights[1] * self.group).to_dim());
        for axis in 0..rank {
            let size = x.shape[axis + 2].to_usize().context("the sizes of the image have to be known")?;
            shape.push(self.axis(axis, size, weights[axis + 2], rank)?.0.to_dim());
        }
        Ok(tvec!(Spec { datum: x.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.except(|axis| axis != 0, MIXES)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [x, w, bias @ ..] = inputs else { bail!("expected 2 or 3 inputs") };
        let (&[batch, channels, ref image @ ..], &[_, per_group, ref kernel @ ..]) = (x.shape(), w.shape()) else {
            bail!("expected a batch of channels");
        };
        ensure!(w.shape()[0] == channels && channels % self.group == 0, "{channels} channels meet {:?}", w.shape());
        let axes = image.iter().zip(kernel).enumerate();
        let axes = axes.map(|(axis, (&size, &kernel))| self.axis(axis, size, kernel, image.len()));
        let (out_image, before): (TVec<usize>, TVec<usize>) =
            axes.collect::<TractResult<Vec<_>>>()?.into_iter().unzip();
        let rank = image.len();
        let list = |list: &[usize]| (0..rank).map(|axis| at(list, axis, 1)).collect();
        // The convolution whose transpose it is: from the result to the input.
        let sizes = Sizes::new(&out_image, kernel, image, before, list(&self.strides), list(&self.dilations));
        let (runs, step) = (sizes.runs()?, sizes.step());
        let outputs = per_group * self.group;
        let (pixels, taps) = (out_image.iter().product::<usize>(), kernel.iter().product::<usize>());
        let size: usize = image.iter().product();
        let mut out = vec![0.0f32; room(batch * outputs, pixels)?];
        if let [bias] = bias {
            let bias = values::<f32>(bias)?;
            ensure!(bias.len() == outputs, "a bias for each output");
            for (plane, out) in out.chunks_exact_mut(pixels.max(1)).enumerate() {
                out.fill(bias[plane % outputs]);
            }
        }
        let (x_values, w_values) = (values::<f32>(x)?, values::<f32>(w)?);
        let per_input = channels / self.group;
        for plane in 0..batch * channels {
            let (row, channel) = (plane / channels, plane % channels);
            let own = &x_values[plane * size..][..size];
            for output in 0..per_group {
                let weights = &w_values[(channel * per_group + output) * taps..][..taps];
                let output = row * outputs + channel / per_input * per_group + output;
                let out = &mut out[output * pixels..][..pixels];
                for run in &runs {
                    let weight = weights[run.tap];
                    let out = out[run.image..].iter_mut().step_by(step);
                    for (out, &value) in out.zip(&own[run.output..][..run.count]) {
                        *out += weight * value;
                    }
                }
            }
        }
        let shape: TVec<usize> = [batch, outputs].into_iter().chain(out_image).collect();
        Ok(tvec!(tensor(&shape, out)?))
    }
}
