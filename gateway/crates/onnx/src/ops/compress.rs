//! `Compress`: the slices of an axis, or the values of all, where a list says so.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, Operator, Spec};
use super::pick::{axis, pick};
use super::settled::{Argument, Settle, required, settled};
use crate::rows::{Inputs, Outcome, PICKS};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "Compress",
    attributes: &["axis"],
    build: |_, node| settled(node, Arc::new(Unsized { axis: Attributes(node).int("axis") })),
};

#[derive(Debug)]
struct Unsized {
    axis: Option<i64>,
}

impl Settle for Unsized {
    fn name(&self) -> &'static str {
        "Compress"
    }

    fn needs(&self) -> &'static [usize] {
        &[1]
    }

    fn settle(&self, inputs: &[Option<Argument>]) -> TractResult<Arc<dyn Kernel>> {
        let condition = required(inputs, 1)?.value.as_ref().context("the condition is not known")?;
        let condition = condition.try_as_plain_ram()?.as_slice::<bool>()?.to_vec();
        let kept = condition.iter().enumerate().filter(|&(_, &kept)| kept).map(|(index, _)| index).collect();
        Ok(Arc::new(Compress { axis: self.axis, kept, length: condition.len() }))
    }
}

#[derive(Debug)]
struct Compress {
    /// `None` if all values are one list.
    axis: Option<i64>,
    kept: Vec<usize>,
    length: usize,
}

impl Kernel for Compress {
    fn name(&self) -> &'static str {
        "Compress"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let data = inputs.first().context("an input is missing")?;
        let Some(along) = self.axis else {
            return Ok(tvec!(Spec { datum: data.datum, shape: tvec!(self.kept.len().to_dim()) }));
        };
        let mut shape = data.shape.clone();
        let axis = axis(along, shape.len())?;
        ensure!(shape[axis].to_usize().map_or(true, |size| self.length <= size), "a condition longer than its axis");
        shape[axis] = self.kept.len().to_dim();
        Ok(tvec!(Spec { datum: data.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let Some(along) = self.axis else { return Err(PICKS.into()) };
        let axis = axis(along, inputs.facts[0].rank()).map_err(|error| error.to_string())?;
        inputs.except(|at| at == axis, PICKS)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let data = inputs.first().context("an input is missing")?;
        let Some(along) = self.axis else {
            ensure!(self.length <= data.len(), "a condition longer than its values");
            return Ok(tvec!(pick(data, &self.kept, 1, None, &[self.kept.len()])?));
        };
        let mut shape: TVec<usize> = data.shape().into();
        let axis = axis(along, shape.len())?;
        let (size, block) = (shape[axis], shape[axis + 1..].iter().product());
        ensure!(self.length <= size, "a condition longer than its axis");
        let outer = shape[..axis].iter().product::<usize>();
        let positions: Vec<usize> =
            (0..outer).flat_map(|outer| self.kept.iter().map(move |&at| outer * size + at)).collect();
        shape[axis] = self.kept.len();
        Ok(tvec!(pick(data, &positions, block, None, &shape)?))
    }
}
