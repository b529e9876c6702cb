//! Normalisations by channel: `BatchNormalization`, `InstanceNormalization` and `GroupNormalization`.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;

use super::super::arithmetic::{added, multiplied};
use super::super::attributes::Attributes;
use super::super::kernel::{Built, Kernel, Operator, Spec, built};
use super::super::values::values;
use super::statistics::{Float, normalise};
use crate::rows::{Inputs, NORMALISES, Outcome};

pub(in super::super) const BATCH: Operator = Operator {
    domain: "",
    name: "BatchNormalization",
    attributes: &["consumed_inputs", "epsilon", "is_test", "momentum", "spatial", "training_mode"],
    build: batch,
};

pub(in super::super) const INSTANCE: Operator = Operator {
    domain: "",
    name: "InstanceNormalization",
    attributes: &["consumed_inputs", "epsilon"],
    build: |_, node| by_group(node, None, false),
};

pub(in super::super) const GROUP: Operator = Operator {
    domain: "",
    name: "GroupNormalization",
    attributes: &["epsilon", "num_groups", "stash_type"],
    build: |ctx, node| {
        let groups = Attributes(node).int("num_groups").context("attribute 'num_groups' is not given")?;
        let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0);
        // Before opset 21, what is multiplied and added is by group.
        by_group(node, Some(groups.context("no groups")?), ctx.onnx_operator_set_version < 21)
    },
};

fn by_group(node: &NodeProto, groups: Option<usize>, parameters_by_group: bool) -> Built {
    let epsilon = Attributes(node).float("epsilon").unwrap_or(1e-5);
    built(node, Arc::new(Groups { groups, parameters_by_group, epsilon }))
}

/// Each group of channels of each row by itself.
#[derive(Debug)]
struct Groups {
    /// `None` if each channel is one.
    groups: Option<usize>,
    parameters_by_group: bool,
    epsilon: f32,
}

impl Groups {
    fn eval_as<T: Float>(&self, inputs: &[TValue]) -> TractResult<Tensor> {
        let mut out = inputs[0].cast_to::<T>()?.into_owned();
        let &[_, channels, ..] = out.shape() else { bail!("expected channels, got the shape {:?}", out.shape()) };
        let (scale, bias) = (values::<T>(&inputs[1])?, values::<T>(&inputs[2])?);
        let groups = self.groups.unwrap_or(channels);
        ensure!(groups > 0 && channels % groups == 0, "{channels} channels in {groups} groups");
        let per_group = channels / groups;
        let parameters = if self.parameters_by_group { groups } else { channels };
        ensure!(scale.len() == parameters && bias.len() == parameters, "{parameters} parameters are expected");
        let inner: usize = out.shape()[2..].iter().product();
        let length = inner * per_group;
        for (index, row) in out.try_as_plain_ram_mut()?.as_slice_mut::<T>()?.chunks_exact_mut(length.max(1)).enumerate()
        {
            normalise(row, true, T::from(self.epsilon));
            let group = index % groups;
            for (channel, values) in row.chunks_exact_mut(inner).enumerate() {
                let at = if self.parameters_by_group { group } else { group * per_group + channel };
                for value in values {
                    *value *= scale[at];
                    *value += bias[at];
                }
            }
        }
        Ok(out)
    }
}

impl Kernel for Groups {
    fn name(&self) -> &'static str {
        if self.groups.is_some() { "GroupNormalization" } else { "InstanceNormalization" }
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input, _, _] = inputs else { bail!("expected 3 inputs, got {}", inputs.len()) };
        ensure!(input.datum.is_float(), "{:?} is not supported", input.datum);
        ensure!(input.shape.len() >= 2, "expected channels, got the shape {:?}", input.shape);
        Ok(tvec!(input.clone()))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.except(|axis| axis != 0, NORMALISES)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let datum = inputs[0].datum_type();
        let out = if datum == DatumType::F64 { self.eval_as::<f64>(inputs)? } else { self.eval_as::<f32>(inputs)? };
        Ok(tvec!(out.cast_to_dt(datum)?.into_owned().into()))
    }
}

fn batch(_: &tract_onnx::model::ParsingContext<'_>, node: &NodeProto) -> Built {
    let attributes = Attributes(node);
    ensure!(attributes.int("training_mode").unwrap_or(0) == 0, "training is not supported");
    ensure!(attributes.int("spatial").unwrap_or(1) == 1, "only the same parameters for a whole channel are supported");
    // Outputs for training have no names in a graph that infers.
    ensure!(node.output.iter().skip(1).all(String::is_empty), "statistics as outputs are not supported");
    Ok((expand(Batch { epsilon: attributes.float("epsilon").unwrap_or(1e-5) }), vec![]))
}

/// A product and a sum by channel, with parameters that are constants.
#[derive(Clone, Debug)]
struct Batch {
    epsilon: f32,
}

impl Batch {
    /// The factor and the summand of each channel.
    fn parameters(&self, constants: &[Arc<Tensor>], datum: DatumType, rank: usize) -> TractResult<[Tensor; 2]> {
        let lists = constants.iter().map(|constant| Ok(constant.cast_to::<f64>()?.into_owned()));
        let lists = lists.collect::<TractResult<Vec<Tensor>>>()?;
        let views = lists.iter().map(|list| Ok(list.try_as_plain_ram()?.as_slice::<f64>()?.to_vec()));
        let lists = views.collect::<TractResult<Vec<Vec<f64>>>>()?;
        let [scale, bias, mean, variance] = &lists[..] else { bail!("expected 4 parameters") };
        let count = scale.len();
        ensure!([bias, mean, variance].iter().all(|list| list.len() == count), "parameters of different lengths");
        let slopes: Vec<f64> =
            (0..count).map(|at| scale[at] / (variance[at] + f64::from(self.epsilon)).sqrt()).collect();
        let offsets: Vec<f64> = (0..count).map(|at| bias[at] - mean[at] * slopes[at]).collect();
        let mut shape = vec![1; rank];
        shape[1.min(rank - 1)] = count;
        let both = [slopes, offsets].map(|list| {
            let mut list = tensor1(&list).cast_to_dt(datum)?.into_owned();
            list.set_shape(&shape)?;
            Ok(list)
        });
        let [slopes, offsets]: [TractResult<Tensor>; 2] = both;
        Ok([slopes?, offsets?])
    }
}

impl Expansion for Batch {
    fn name(&self) -> StaticName {
        "BatchNormalization".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 5)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?.clone();
        ensure!(fact.datum_type.is_float() && fact.rank() > 1, "{fact:?} is not supported");
        let constants = inputs[1..]
            .iter()
            .map(|&input| model.outlet_fact(input)?.konst.clone().context("the parameters have to be constants"));
        let constants = constants.collect::<TractResult<Vec<_>>>()?;
        // Halves are computed with as singles.
        let wide = if fact.datum_type == DatumType::F16 { DatumType::F32 } else { fact.datum_type };
        let [slopes, offsets] = self.parameters(&constants, wide, fact.rank())?;
        let input = wire_cast(prefix, model, &inputs[..1], wide)?[0];
        // As tract has it, parts of a convolution before it; but where nothing is left of what is not a number.
        let zero = slopes.cast_to::<f64>()?.try_as_plain_ram()?.as_slice::<f64>()?.contains(&0.0);
        let slopes = model.add_const(format!("{prefix}.slopes"), slopes)?;
        let offsets = model.add_const(format!("{prefix}.offsets"), offsets)?;
        let product = if zero { multiplied() } else { tract_core::ops::math::mul() };
        let sum = if zero { added() } else { tract_core::ops::math::add() };
        let product = model.wire_node(format!("{prefix}.product"), product, &[slopes, input])?;
        let sum = model.wire_node(prefix, sum, &[offsets, product[0]])?;
        wire_cast(format!("{prefix}.back"), model, &sum, fact.datum_type)
    }
}
