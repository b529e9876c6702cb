//! Normalisations over the last axes, of a sum of inputs if there are several.

mod channels;
mod lengths;
mod statistics;

use std::sync::Arc;

use tract_onnx::model::optional_inputs;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

pub(super) use self::channels::{BATCH, GROUP, INSTANCE};
pub(super) use self::lengths::{LP, LRN, MEAN_VARIANCE};
use self::statistics::normalise;
use super::attributes::Attributes;
use super::kernel::{Built, Kernel, Operator, Spec, built};
use super::rows::axis;
use super::values::tensor;
use crate::rows::{Flow, Inputs, MIXES, NORMALISES, Outcome};

pub(super) const LAYER: Operator = Operator {
    domain: "",
    name: "LayerNormalization",
    attributes: &["axis", "epsilon", "stash_type"],
    build: |_, node| plain(node, true),
};

pub(super) const RMS: Operator = Operator { name: "RMSNormalization", build: |_, node| plain(node, false), ..LAYER };

/// Of the contributed operators, in the standard's domain.
pub(super) const SIMPLIFIED: Operator = Operator { name: "SimplifiedLayerNormalization", ..RMS };

pub(super) const SKIP: Operator = Operator {
    domain: "com.microsoft",
    name: "SkipLayerNormalization",
    attributes: &["epsilon"],
    build: |_, node| skipping(node, true),
};

pub(super) const SKIP_SIMPLIFIED: Operator =
    Operator { name: "SkipSimplifiedLayerNormalization", build: |_, node| skipping(node, false), ..SKIP };

fn plain(node: &NodeProto, centred: bool) -> Built {
    let mut indices = optional_inputs(node);
    let mut next = || indices.next().flatten();
    let (_, scale, bias) = (next(), next(), next());
    let attributes = Attributes(node);
    let axis = attributes.int("axis").unwrap_or(-1);
    let epsilon = attributes.float("epsilon").unwrap_or(1e-5);
    built(node, Arc::new(Layer { centred, axis, epsilon, skip: None, scale, bias, added: None }))
}

fn skipping(node: &NodeProto, centred: bool) -> Built {
    let mut indices = optional_inputs(node);
    let mut next = || indices.next().flatten();
    let (_, skip, scale) = (next(), next(), next());
    let bias = if centred { next() } else { None };
    let added = next();
    let epsilon = Attributes(node).float("epsilon").unwrap_or(1e-12);
    built(node, Arc::new(Layer { centred, axis: -1, epsilon, skip, scale, bias, added }))
}

#[derive(Debug)]
struct Layer {
    /// Whether the mean is taken out.
    centred: bool,
    axis: i64,
    epsilon: f32,
    // The places of the inputs: what is added, what the result is multiplied with, what is added to that, and what else
    // is added first.
    skip: Option<usize>,
    scale: Option<usize>,
    bias: Option<usize>,
    added: Option<usize>,
}

impl Layer {
    fn is_skipping(&self) -> bool {
        self.skip.is_some()
    }

    /// The input, with what is added to it.
    fn sum(&self, inputs: &[TValue]) -> TractResult<Tensor> {
        let mut sum = inputs[0].cast_to::<f32>()?.into_owned();
        for index in [self.skip, self.added].into_iter().flatten() {
            let added = inputs[index].cast_to::<f32>()?;
            let mut values = sum.try_as_plain_ram_mut()?;
            let values = values.to_array_view_mut::<f32>()?;
            let added = added.to_plain_array_view::<f32>()?;
            ensure!(
                added.broadcast(values.raw_dim()).is_some(),
                "{:?} is added to {:?}",
                added.shape(),
                values.shape()
            );
            tract_ndarray::Zip::from(values).and_broadcast(added).for_each(|value, &added| *value += added);
        }
        Ok(sum)
    }

    fn eval_as<T: statistics::Float>(&self, inputs: &[TValue], sum: &Tensor) -> TractResult<[Tensor; 3]> {
        let shape = sum.shape();
        let axis = axis(self.axis, shape.len())?;
        let inner = &shape[axis..];
        let length = inner.iter().product::<usize>();
        let parameter = |index: Option<usize>| {
            let spread = index.map(|index| inputs[index].cast_to::<T>()?.broadcast_to_shape(inner));
            spread.transpose()
        };
        let (scale, bias) = (parameter(self.scale)?, parameter(self.bias)?);
        let slice = |tensor: &Option<Tensor>| -> TractResult<Vec<T>> {
            tensor.as_ref().map_or(Ok(Vec::new()), |tensor| Ok(tensor.try_as_plain_ram()?.as_slice::<T>()?.to_vec()))
        };
        let (scale, bias) = (slice(&scale)?, slice(&bias)?);
        let mut out = sum.cast_to::<T>()?.into_owned();
        let mut statistics = (Vec::new(), Vec::new());
        for row in out.try_as_plain_ram_mut()?.as_slice_mut::<T>()?.chunks_exact_mut(length.max(1)) {
            let (mean, inverse) = normalise(row, self.centred, T::from(self.epsilon));
            statistics.0.push(mean);
            statistics.1.push(inverse);
            if !scale.is_empty() {
                row.iter_mut().zip(&scale).for_each(|(value, &scale)| *value *= scale);
            }
            if !bias.is_empty() {
                row.iter_mut().zip(&bias).for_each(|(value, &bias)| *value += bias);
            }
        }
        let mut outer: TVec<usize> = shape.into();
        outer[axis..].fill(1);
        let means = tensor(&outer, statistics.0)?.into_tensor();
        Ok([out, means, tensor(&outer, statistics.1)?.into_tensor()])
    }
}

impl Kernel for Layer {
    fn name(&self) -> &'static str {
        "LayerNormalization"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let input = inputs.first().context("no inputs")?;
        ensure!(input.datum.is_float(), "{:?} is not supported", input.datum);
        let axis = axis(self.axis, input.shape.len())?;
        let mut outer = input.shape.clone();
        outer[axis..].fill(1.to_dim());
        let statistics = Spec::new::<f32>(outer);
        let mut outputs = tvec!(input.clone(), statistics.clone(), statistics);
        if self.is_skipping() {
            outputs.push(input.clone());
        } else if !self.centred {
            outputs.remove(1);
        }
        Ok(outputs)
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let rank = inputs.facts[0].rank();
        let axis = axis(self.axis, rank).map_err(|error| error.to_string())?;
        let summed = |slot: usize| slot == 0 || [self.skip, self.added].contains(&Some(slot));
        if !inputs.with_rows()?.iter().all(|&(slot, _)| summed(slot)) {
            return Err(MIXES.into());
        }
        let found = inputs.elementwise()?;
        match &found[0] {
            Flow::Rows(along) if along.axis < axis => Ok(found),
            _ => Err(NORMALISES.into()),
        }
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let datum = inputs[0].datum_type();
        let sum = if self.is_skipping() || datum != DatumType::F64 {
            self.sum(inputs)?
        } else {
            inputs[0].clone().into_tensor()
        };
        let [out, mean, inverse] = if datum == DatumType::F64 {
            self.eval_as::<f64>(inputs, &sum)?
        } else {
            self.eval_as::<f32>(inputs, &sum)?
        };
        let mut outputs: TVec<TValue> = tvec!(out.cast_to_dt(datum)?.into_owned().into());
        for statistic in [mean, inverse] {
            outputs.push(statistic.cast_to::<f32>()?.into_owned().into());
        }
        if self.is_skipping() {
            outputs.push(sum.cast_to_dt(datum)?.into_owned().into());
        } else if !self.centred {
            outputs.remove(1);
        }
        Ok(outputs)
    }
}
