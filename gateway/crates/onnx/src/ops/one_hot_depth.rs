//! `OneHot`: a vector for each index, on at the index and off elsewhere. An index out of range has a vector that is all
//! off.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, Operator, Spec};
use super::pick::{axis, pick};
use super::settled::{Argument, Settle, required, settled};
use super::values::{is_numeric, room, values};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "OneHot",
    attributes: &["axis"],
    build: |_, node| settled(node, Arc::new(Unsized { axis: Attributes(node).int("axis").unwrap_or(-1) })),
};

#[derive(Debug)]
struct Unsized {
    axis: i64,
}

impl Settle for Unsized {
    fn name(&self) -> &'static str {
        "OneHot"
    }

    fn needs(&self) -> &'static [usize] {
        &[1]
    }

    fn settle(&self, inputs: &[Option<Argument>]) -> TractResult<Arc<dyn Kernel>> {
        let depth = required(inputs, 1)?.longs()?;
        let depth =
            depth.first().and_then(|&depth| usize::try_from(depth).ok()).context("the depth is out of range")?;
        Ok(Arc::new(OneHot { axis: self.axis, depth }))
    }
}

#[derive(Debug)]
struct OneHot {
    axis: i64,
    depth: usize,
}

impl Kernel for OneHot {
    fn name(&self) -> &'static str {
        "OneHot"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [indices, values] = inputs else { bail!("expected 2 inputs besides the depth, got {}", inputs.len()) };
        ensure!(is_numeric(indices.datum), "expected indices, got {:?}", indices.datum);
        ensure!(values.shape.len() == 1, "expected a pair of values, got the shape {:?}", values.shape);
        let mut shape = indices.shape.clone();
        shape.insert(axis(self.axis, shape.len() + 1)?, self.depth.to_dim());
        Ok(tvec!(Spec { datum: values.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let rank = inputs.facts[0].rank();
        let axis = axis(self.axis, rank + 1).map_err(|error| error.to_string())?;
        inputs.shifted(|at| at + usize::from(at >= axis))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [indices, pair] = inputs else { bail!("expected 2 inputs") };
        ensure!(pair.len() == 2, "expected a pair of values, got {}", pair.len());
        let axis = axis(self.axis, indices.rank() + 1)?;
        let mut shape: TVec<usize> = indices.shape().into();
        let inner: usize = shape[axis..].iter().product();
        shape.insert(axis, self.depth);
        let mut positions = vec![0; room(indices.len(), self.depth)?];
        for (index, &value) in values::<i64>(indices)?.iter().enumerate() {
            let value = if value < 0 { value.saturating_add(self.depth as i64) } else { value };
            if let Some(value) = usize::try_from(value).ok().filter(|&value| value < self.depth) {
                let (outer, inner_index) = (index / inner, index % inner);
                positions[(outer * self.depth + value) * inner + inner_index] = 1;
            }
        }
        Ok(tvec!(pick(pair, &positions, 1, None, &shape)?))
    }
}
