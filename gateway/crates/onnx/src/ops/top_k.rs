//! `TopK`: the greatest or the least values along an axis, and their indices; of equal ones the first. A NaN is greater
//! than all.

use std::cmp::Ordering;
use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Built, Kernel, Operator, Spec};
use super::pick::axis;
use super::settled::{Argument, Settle, required, settled};
use super::values::{room, tensor};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "TopK",
    attributes: &["axis", "k", "largest", "sorted"],
    build: |_, node| build(node),
};

fn build(node: &NodeProto) -> Built {
    let attributes = Attributes(node);
    let axis = attributes.int("axis").unwrap_or(-1);
    let largest = attributes.int("largest").unwrap_or(1) != 0;
    settled(node, Arc::new(Unsized { axis, largest, k: attributes.int("k") }))
}

#[derive(Debug)]
struct Unsized {
    axis: i64,
    largest: bool,
    /// By the attribute of old.
    k: Option<i64>,
}

impl Settle for Unsized {
    fn name(&self) -> &'static str {
        "TopK"
    }

    fn needs(&self) -> &'static [usize] {
        &[1]
    }

    fn settle(&self, inputs: &[Option<Argument>]) -> TractResult<Arc<dyn Kernel>> {
        let k = match self.k {
            Some(k) => k,
            None => required(inputs, 1)?.longs()?.first().copied().context("k is missing")?,
        };
        let k = usize::try_from(k).context("k is negative")?;
        Ok(Arc::new(TopK { axis: self.axis, largest: self.largest, k }))
    }
}

#[derive(Debug)]
struct TopK {
    axis: i64,
    largest: bool,
    k: usize,
}

impl Kernel for TopK {
    fn name(&self) -> &'static str {
        "TopK"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let data = inputs.first().context("an input is missing")?;
        ensure!(data.datum.is_number(), "values of type {:?} are not supported", data.datum);
        let mut shape = data.shape.clone();
        let axis = axis(self.axis, shape.len())?;
        ensure!(shape[axis].to_usize().map_or(true, |size| self.k <= size), "{} of {} values", self.k, shape[axis]);
        shape[axis] = self.k.to_dim();
        Ok(tvec!(Spec { datum: data.datum, shape: shape.clone() }, Spec::new::<i64>(shape)))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let rank = inputs.facts[0].rank();
        let axis = axis(self.axis, rank).map_err(|error| error.to_string())?;
        inputs.except(|at| at == axis, "sorts the rows")
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let data = inputs.first().context("an input is missing")?;
        let datum = data.datum_type();
        dispatch_numbers!(top_k(datum)(self, data))
    }
}

fn top_k<T: Datum + Copy + PartialOrd>(op: &TopK, data: &Tensor) -> TractResult<TVec<TValue>> {
    let axis = axis(op.axis, data.rank())?;
    let mut shape: TVec<usize> = data.shape().into();
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer: usize = shape[..axis].iter().product();
    ensure!(op.k <= size, "{} of {size} values", op.k);
    shape[axis] = op.k;
    let plain = data.try_as_plain_ram()?;
    let values = plain.as_slice::<T>()?;
    let count = room(outer * inner, op.k)?;
    let (mut found, mut indices) = (vec![T::default(); count], vec![0i64; count]);
    let mut lane: Vec<(T, usize)> = Vec::with_capacity(size);
    let before = |one: &(T, usize), other: &(T, usize)| {
        let order = ascending(&one.0, &other.0);
        (if op.largest { order.reverse() } else { order }).then(one.1.cmp(&other.1))
    };
    for outer in 0..outer {
        for inner_index in 0..inner {
            lane.clear();
            let start = outer * size * inner + inner_index;
            lane.extend(values[start..].iter().step_by(inner).take(size).copied().zip(0..));
            if op.k > 0 && op.k < size {
                lane.select_nth_unstable_by(op.k - 1, before);
            }
            lane[..op.k].sort_unstable_by(before);
            for (rank, &(value, index)) in lane[..op.k].iter().enumerate() {
                let at = (outer * op.k + rank) * inner + inner_index;
                (found[at], indices[at]) = (value, index as i64);
            }
        }
    }
    Ok(tvec!(tensor(&shape, found)?, tensor(&shape, indices)?))
}

/// A NaN is greater than all.
#[expect(clippy::eq_op, reason = "a NaN is no equal of its own")]
fn ascending<T: PartialOrd>(one: &T, other: &T) -> Ordering {
    one.partial_cmp(other).unwrap_or_else(|| (one != one).cmp(&(other != other)))
}
