//! `ScatterElements` (once `Scatter`) and `ScatterND`: a copy with some values replaced, or reduced with others.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::gather::{element_positions, nd_positions};
use super::kernel::{Built, Kernel, Operator, Spec, built};
use super::pick::axis;
use crate::rows::{Inputs, Outcome, PICKS};

pub(super) const SCATTER: Operator =
    Operator { domain: "", name: "Scatter", attributes: &["axis"], build: |_, node| build(node, "Scatter", false) };

pub(super) const ELEMENTS: Operator = Operator {
    domain: "",
    name: "ScatterElements",
    attributes: &["axis", "reduction"],
    build: |_, node| build(node, "ScatterElements", false),
};

pub(super) const ND: Operator = Operator {
    domain: "",
    name: "ScatterND",
    attributes: &["reduction"],
    build: |_, node| build(node, "ScatterND", true),
};

fn build(node: &NodeProto, name: &'static str, is_nd: bool) -> Built {
    let attributes = Attributes(node);
    let reduction = match attributes.text("reduction")?.unwrap_or("none") {
        "none" => Reduction::None,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "min" => Reduction::Min,
        "max" => Reduction::Max,
        other => bail!("reduction '{other}' is not known"),
    };
    let axis = (!is_nd).then(|| attributes.int("axis").unwrap_or(0));
    built(node, Arc::new(Scatter { name, axis, reduction }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reduction {
    None,
    Add,
    Mul,
    Min,
    Max,
}

#[derive(Debug)]
struct Scatter {
    name: &'static str,
    /// `None` for `ScatterND`.
    axis: Option<i64>,
    reduction: Reduction,
}

impl Kernel for Scatter {
    fn name(&self) -> &'static str {
        self.name
    }

    fn checks(&self) -> &[usize] {
        &[1]
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [data, _, updates] = inputs else { bail!("expected 3 inputs, got {}", inputs.len()) };
        ensure!(data.datum == updates.datum, "updates of {:?} for {:?}", updates.datum, data.datum);
        let plain = data.datum.is_number();
        ensure!(plain || self.reduction == Reduction::None, "values of {:?} are not reduced", data.datum);
        Ok(tvec!(data.clone()))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let Some(along) = self.axis else { return Err(PICKS.into()) };
        let axis = axis(along, inputs.facts[0].rank()).map_err(|error| error.to_string())?;
        inputs.aligned(axis, PICKS)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [data, indices, updates] = inputs else { bail!("expected 3 inputs") };
        let (positions, block) = match self.axis {
            Some(along) => (element_positions(data.shape(), indices, axis(along, data.rank())?)?, 1),
            None => nd_positions(data.shape(), indices, 0)?,
        };
        ensure!(
            positions.len() * block == updates.len(),
            "updates of the shape {:?} for indices of {:?}",
            updates.shape(),
            indices.shape()
        );
        let (datum, mut out) = (data.datum_type(), data.clone().into_tensor());
        if self.reduction == Reduction::None {
            dispatch_datum!(replace(datum)(&mut out, &positions, block, updates))?;
        } else {
            dispatch_numbers!(reduce(datum)(&mut out, &positions, block, updates, self.reduction))?;
        }
        Ok(tvec!(out.into()))
    }
}

fn replace<T: Datum>(out: &mut Tensor, positions: &[usize], block: usize, updates: &Tensor) -> TractResult<()> {
    let updates = updates.try_as_plain_ram()?;
    let updates = updates.as_slice::<T>()?;
    let mut out = out.try_as_plain_ram_mut()?;
    let out = out.as_slice_mut::<T>()?;
    for (&position, update) in positions.iter().zip(updates.chunks(block.max(1))) {
        out[position * block..][..block].clone_from_slice(update);
    }
    Ok(())
}

fn reduce<T: Datum + Reduced>(
    out: &mut Tensor,
    positions: &[usize],
    block: usize,
    updates: &Tensor,
    reduction: Reduction,
) -> TractResult<()> {
    let updates = updates.try_as_plain_ram()?;
    let updates = updates.as_slice::<T>()?;
    let mut out = out.try_as_plain_ram_mut()?;
    let out = out.as_slice_mut::<T>()?;
    let function: fn(T, T) -> T = match reduction {
        Reduction::Add => T::plus,
        Reduction::Mul => T::times,
        // A NaN among the new is kept, one among the old is not.
        Reduction::Min => |old, new| if old < new { old } else { new },
        Reduction::Max | Reduction::None => |old, new| if old > new { old } else { new },
    };
    for (&position, update) in positions.iter().zip(updates.chunks(block.max(1))) {
        for (out, &update) in out[position * block..][..block].iter_mut().zip(update) {
            *out = function(*out, update);
        }
    }
    Ok(())
}

/// Numbers that sum up; whole ones wrap around.
trait Reduced: Copy + PartialOrd {
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
}

macro_rules! reduced {
    (whole: $($whole:ty)*; real: $($real:ty)*) => {
        $(impl Reduced for $whole {
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
        })*
        $(impl Reduced for $real {
            fn plus(self, other: Self) -> Self { self + other }
            fn times(self, other: Self) -> Self { self * other }
        })*
    };
}
reduced!(whole: i8 i16 i32 i64 u8 u16 u32 u64; real: f16 f32 f64);
