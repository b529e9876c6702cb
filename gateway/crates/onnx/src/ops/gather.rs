//! `Gather`, `GatherElements` and `GatherND`: values by index. An index out of range is told as such; tract's own read
//! whatever lies there, or panic.

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Built, Kernel, KernelOp, Operator, Spec, built, wire_kernel};
use super::pick::{axis, each_coordinate, index, pick, strides};
use super::tract_builtin::tract_builtin;
use super::values::{room, values};
use crate::rows::{Inputs, Outcome, PICKS};

pub(super) const GATHER: Operator = Operator { domain: "", name: "Gather", attributes: &["axis"], build: gather };

pub(super) const ELEMENTS: Operator = Operator {
    domain: "",
    name: "GatherElements",
    attributes: &["axis"],
    build: |_, node| built(node, Arc::new(Elements { axis: Attributes(node).int("axis").unwrap_or(0) })),
};

pub(super) const ND: Operator = Operator {
    domain: "",
    name: "GatherND",
    attributes: &["batch_dims"],
    build: |_, node| {
        let batch = usize::try_from(Attributes(node).int("batch_dims").unwrap_or(0));
        built(node, Arc::new(Nd { batch: batch.context("attribute 'batch_dims' is negative")? }))
    },
};

fn gather(ctx: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let kernel = Arc::new(Gather { axis: Attributes(node).int("axis").unwrap_or(0) });
    Ok((expand(Either { builtin: tract_builtin(ctx, node)?, kernel }), vec![]))
}

/// tract's own where the indices are constant: shapes are computed with it. Ours where they come with the request.
#[derive(Clone, Debug)]
struct Either {
    builtin: Box<dyn Expansion>,
    kernel: Arc<Gather>,
}

impl Expansion for Either {
    fn name(&self) -> StaticName {
        "Gather".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.builtin.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let [data, indices] = *inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        let (data, indices) = (model.outlet_fact(data)?, model.outlet_fact(indices)?);
        let size = &data.shape[axis(self.kernel.axis, data.rank())?];
        let Some(constant) = &indices.konst else {
            let kernel: Arc<dyn Kernel> = self.kernel.clone();
            return wire_kernel(KernelOp::new(kernel), prefix, model, inputs);
        };
        if let (Ok(size), Ok(constant)) = (size.to_usize(), values::<i64>(constant)) {
            constant.iter().try_for_each(|&value| index(value, size, 1, 0).map(|_| ()))?;
        }
        self.builtin.wire(prefix, model, inputs)
    }
}

/// Slices of an axis.
#[derive(Debug)]
struct Gather {
    axis: i64,
}

impl Kernel for Gather {
    fn name(&self) -> &'static str {
        "Gather"
    }

    fn checks(&self) -> &[usize] {
        &[1]
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [data, indices] = inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        let axis = axis(self.axis, data.shape.len())?;
        let (before, after) = (&data.shape[..axis], &data.shape[axis + 1..]);
        let shape = before.iter().chain(&indices.shape).chain(after).cloned().collect();
        Ok(tvec!(Spec { datum: data.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let rank = inputs.facts[0].rank();
        let axis = axis(self.axis, rank).map_err(|error| error.to_string())?;
        inputs.gathered(axis)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [data, indices] = inputs else { bail!("expected 2 inputs") };
        let axis = axis(self.axis, data.rank())?;
        let shape = data.shape();
        let (size, outer) = (shape[axis], shape[..axis].iter().product::<usize>());
        let block = shape[axis + 1..].iter().product();
        let found = values::<i64>(indices)?;
        let found = found.iter().enumerate().map(|(position, &value)| index(value, size, 1, position));
        let found = found.collect::<TractResult<Vec<_>>>()?;
        let mut positions = Vec::with_capacity(room(outer, found.len())?);
        for outer in 0..outer {
            positions.extend(found.iter().map(|&index| outer * size + index));
        }
        let shape: TVec<usize> =
            shape[..axis].iter().chain(indices.shape()).chain(&shape[axis + 1..]).copied().collect();
        Ok(tvec!(pick(data, &positions, block, None, &shape)?))
    }
}

/// One value for each index, from the same place but for one axis.
#[derive(Debug)]
struct Elements {
    axis: i64,
}

impl Kernel for Elements {
    fn name(&self) -> &'static str {
        "GatherElements"
    }

    fn checks(&self) -> &[usize] {
        &[1]
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [data, indices] = inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        ensure!(data.shape.len() == indices.shape.len(), "expected indices of rank {}", data.shape.len());
        axis(self.axis, data.shape.len())?;
        Ok(tvec!(Spec { datum: data.datum, shape: indices.shape.clone() }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let rank = inputs.facts[0].rank();
        let axis = axis(self.axis, rank).map_err(|error| error.to_string())?;
        inputs.aligned(axis, PICKS)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [data, indices] = inputs else { bail!("expected 2 inputs") };
        let axis = axis(self.axis, data.rank())?;
        let positions = element_positions(data.shape(), indices, axis)?;
        Ok(tvec!(pick(data, &positions, 1, None, indices.shape())?))
    }
}

/// Where in a tensor of this shape each index points: its own place but for one axis.
pub(super) fn element_positions(shape: &[usize], indices: &Tensor, axis: usize) -> TractResult<Vec<usize>> {
    ensure!(shape.len() == indices.rank(), "indices of rank {} for {}", indices.rank(), shape.len());
    for (dim, (&size, &own)) in shape.iter().zip(indices.shape()).enumerate() {
        ensure!(dim == axis || own <= size, "indices of the shape {:?} for {shape:?}", indices.shape());
    }
    let (strides, found) = (strides(shape), values::<i64>(indices)?);
    let mut positions = Vec::with_capacity(found.len());
    each_coordinate(indices.shape(), |at| {
        let position = positions.len();
        let own = index(found[position], shape[axis], 1, position)?;
        let steps = at.iter().zip(&strides).enumerate();
        positions.push(steps.map(|(dim, (&at, &stride))| stride * if dim == axis { own } else { at }).sum());
        Ok(())
    })?;
    Ok(positions)
}

/// Slices by several indices each, within each of a batch.
#[derive(Debug)]
struct Nd {
    batch: usize,
}

impl Kernel for Nd {
    fn name(&self) -> &'static str {
        "GatherND"
    }

    fn checks(&self) -> &[usize] {
        &[1]
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [data, indices] = inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        let [before @ .., last] = &*indices.shape else { bail!("expected indices of at least one dimension") };
        let depth = last.to_usize().context("the number of indices has to be known")?;
        let rest = self.batch.checked_add(depth).and_then(|taken| data.shape.get(taken..));
        let rest = rest.with_context(|| format!("{depth} indices into the shape {:?}", data.shape))?;
        ensure!(before.len() >= self.batch, "the batch has more dimensions than the indices");
        let shape = before.iter().chain(rest).cloned().collect();
        Ok(tvec!(Spec { datum: data.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.gathered_by_list(self.batch)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [data, indices] = inputs else { bail!("expected 2 inputs") };
        let [before @ .., depth] = indices.shape() else { bail!("expected indices of at least one dimension") };
        let (positions, block) = nd_positions(data.shape(), indices, self.batch)?;
        let shape: TVec<usize> = before.iter().chain(&data.shape()[self.batch + depth..]).copied().collect();
        Ok(tvec!(pick(data, &positions, block, None, &shape)?))
    }
}

/// The block of a tensor of this shape that each list of indices points to, and the size of a block.
pub(super) fn nd_positions(shape: &[usize], indices: &Tensor, batch: usize) -> TractResult<(Vec<usize>, usize)> {
    let [before @ .., depth] = indices.shape() else { bail!("expected indices of at least one dimension") };
    let taken = batch.checked_add(*depth).filter(|&taken| taken <= shape.len() && batch <= before.len());
    let taken = taken.with_context(|| format!("indices of the shape {:?} into {shape:?}", indices.shape()))?;
    ensure!(before[..batch] == shape[..batch], "indices of the shape {:?} into {shape:?}", indices.shape());
    let sizes = &shape[batch..taken];
    let found = values::<i64>(indices)?;
    let lists: usize = before.iter().product();
    let each = before[batch..].iter().product::<usize>().max(1);
    let mut positions = Vec::with_capacity(lists);
    for list in 0..lists {
        let mut position = list / each;
        for (dim, &size) in sizes.iter().enumerate() {
            let at = list * depth + dim;
            position = position * size + index(found[at], size, 1, at)?;
        }
        positions.push(position);
    }
    Ok((positions, shape[taken..].iter().product()))
}
