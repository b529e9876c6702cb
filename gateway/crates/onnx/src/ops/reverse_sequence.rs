//! `ReverseSequence`: the beginning of each sequence of a batch, back to front.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::invalid::invalid;
use super::kernel::{Kernel, Operator, Spec, built};
use super::pick::{axis, each_coordinate, pick, strides};
use super::values::values;
use crate::rows::{Inputs, MEETS, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "ReverseSequence",
    attributes: &["batch_axis", "time_axis"],
    build: |_, node| {
        let attributes = Attributes(node);
        let batch = attributes.int("batch_axis").unwrap_or(1);
        let time = attributes.int("time_axis").unwrap_or(0);
        ensure!(matches!((batch, time), (0, 1) | (1, 0)), "batch_axis {batch} and time_axis {time}");
        built(node, Arc::new(ReverseSequence { batch, time }))
    },
};

#[derive(Debug)]
struct ReverseSequence {
    batch: i64,
    time: i64,
}

impl Kernel for ReverseSequence {
    fn name(&self) -> &'static str {
        "ReverseSequence"
    }

    fn checks(&self) -> &[usize] {
        &[1]
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [data, lengths] = inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        ensure!(data.shape.len() >= 2 && lengths.shape.len() == 1, "a sequence for each of a batch");
        Ok(tvec!(data.clone()))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let (batch, time) = (usize::from(self.batch == 1), usize::from(self.time == 1));
        match &*inputs.with_rows()? {
            [(0, data)] | [(0, data), (1, _)] if data.axis == time => Err("reverses the rows".into()),
            [(0, data)] => Ok(tvec!(data.on(data.axis))),
            [(0, data), (1, lengths)] if data.axis == batch && lengths.on(batch) == data.on(batch) => {
                Ok(tvec!(data.on(data.axis)))
            }
            _ => Err(MEETS.into()),
        }
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [data, lengths] = inputs else { bail!("expected 2 inputs") };
        let shape = data.shape();
        let (batch, time) = (axis(self.batch, shape.len())?, axis(self.time, shape.len())?);
        let lengths = values::<i64>(lengths)?;
        ensure!(lengths.len() == shape[batch], "{} lengths for a batch of {}", lengths.len(), shape[batch]);
        let length = |(row, &length): (usize, &i64)| {
            let found = usize::try_from(length).ok().filter(|&length| length <= shape[time]);
            found.ok_or_else(|| invalid(1, Some(row), format!("a length of {length} among {} steps", shape[time])))
        };
        let lengths = lengths.iter().enumerate().map(length).collect::<TractResult<Vec<_>>>()?;
        let strides = strides(&shape[..2]);
        let mut positions = Vec::with_capacity(shape[0] * shape[1]);
        each_coordinate(&shape[..2], |at| {
            let (length, step) = (lengths[at[batch]], at[time]);
            let from = if step < length { length - 1 - step } else { step };
            positions.push(at[batch] * strides[batch] + from * strides[time]);
            Ok(())
        })?;
        let block = shape[2..].iter().product();
        Ok(tvec!(pick(data, &positions, block, None, shape)?))
    }
}
