//! `Slice` where tract's own refuses bounds or panics on them: steps, bounds beyond the ends, nothing between them, and
//! bounds that come with the request.

use std::sync::Arc;

use tract_onnx::model::optional_inputs;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::array::StridedSlice;

use super::attributes::Attributes;
use super::kernel::{Kernel, KernelOp, Operator, Spec, wire_kernel};
use super::pick::{axis, pick, positions};
use super::values::values;
use crate::rows::{Inputs, Outcome, PICKS};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "Slice",
    attributes: &["axes", "ends", "starts"],
    build: |ctx, node| {
        if ctx.onnx_operator_set_version < 10 {
            let attributes = Attributes(node);
            let list = |name| attributes.ints(name).to_vec();
            let (starts, ends, axes) = (list("starts"), list("ends"), list("axes"));
            let axes = if axes.is_empty() { (0..starts.len() as i64).collect() } else { axes };
            let steps = vec![1; starts.len()];
            ensure!([ends.len(), axes.len()] == [starts.len(); 2], "lists of different lengths");
            let given = Some(Bounds { starts, ends, axes, steps });
            return Ok((expand(Slice { plain: plain(None, None), slots: [None; 4], given }), vec![]));
        }
        let mut found = optional_inputs(node).skip(1);
        let slots: [Option<usize>; 4] = std::array::from_fn(|_| found.next().flatten());
        Ok((expand(Slice { plain: plain(slots[2], slots[3]), slots, given: None }), vec![]))
    },
};

/// tract's own.
fn plain(axes: Option<usize>, steps: Option<usize>) -> StridedSlice {
    StridedSlice {
        optional_axes_input: axes,
        optional_steps_input: steps,
        begin_mask: 0,
        end_mask: 0,
        shrink_axis_mask: 0,
    }
}

/// The bounds of some axes.
#[derive(Clone, Debug)]
struct Bounds {
    starts: Vec<i64>,
    ends: Vec<i64>,
    axes: Vec<i64>,
    steps: Vec<i64>,
}

impl Bounds {
    /// From the tensors of starts, ends, axes and steps.
    fn new([starts, ends, axes, steps]: [Option<&Tensor>; 4]) -> TractResult<Self> {
        let list = |tensor: Option<&Tensor>| tensor.map(|tensor| Ok(values::<i64>(tensor)?.into_owned())).transpose();
        let list = |tensor: Option<&Tensor>| -> TractResult<Option<Vec<i64>>> { list(tensor) };
        let (starts, ends) = (list(starts)?.context("no starts")?, list(ends)?.context("no ends")?);
        let count = starts.len();
        let axes = list(axes)?.unwrap_or_else(|| (0..count as i64).collect());
        let steps = list(steps)?.unwrap_or_else(|| vec![1; count]);
        ensure!([ends.len(), axes.len(), steps.len()] == [count; 3], "lists of different lengths");
        ensure!(!steps.contains(&0), "a step of 0");
        Ok(Self { starts, ends, axes, steps })
    }

    /// The indices of each axis of that shape.
    fn along(&self, shape: &[usize]) -> TractResult<Vec<Vec<usize>>> {
        let mut along: Vec<Vec<usize>> = shape.iter().map(|&size| (0..size).collect()).collect();
        for (index, &given) in self.axes.iter().enumerate() {
            let axis = axis(given, shape.len())?;
            along[axis] = indices(shape[axis] as i64, self.starts[index], self.ends[index], self.steps[index]);
        }
        Ok(along)
    }

    /// Whether they lie within the shape and go one by one, as tract's own takes them.
    fn is_plain(&self, shape: &[TDim]) -> bool {
        let each = self.axes.iter().enumerate();
        each.into_iter().all(|(index, &given)| {
            let Ok(axis) = axis(given, shape.len()) else { return false };
            let Ok(size) = shape[axis].to_i64() else { return true };
            let from_start = |bound: i64| if bound < 0 { bound.saturating_add(size) } else { bound };
            let (start, end) = (from_start(self.starts[index]), from_start(self.ends[index]).min(size));
            self.steps[index] == 1 && start >= 0 && start <= end
        })
    }
}

/// The indices from start to end by steps, bounds counted from the end where they are negative.
fn indices(size: i64, start: i64, end: i64, step: i64) -> Vec<usize> {
    let from_start = |bound: i64| if bound < 0 { bound.saturating_add(size) } else { bound };
    let (mut at, mut found) = (from_start(start), Vec::new());
    if step > 0 {
        let end = from_start(end).min(size);
        at = at.max(0);
        while at < end {
            found.push(at as usize);
            at = at.saturating_add(step);
        }
    } else {
        let end = from_start(end).max(-1);
        at = at.min(size - 1);
        while at > end {
            found.push(at as usize);
            at = at.saturating_add(step);
        }
    }
    found
}

#[derive(Clone, Debug)]
struct Slice {
    plain: StridedSlice,
    /// Where starts, ends, axes and steps are among the inputs.
    slots: [Option<usize>; 4],
    /// The bounds, where attributes say them.
    given: Option<Bounds>,
}

impl Slice {
    /// The bounds, if they are numbers. Those that are computed from sizes may be symbols: tract's own takes these.
    fn bounds(&self, value: impl Fn(usize) -> Option<Arc<Tensor>>) -> TractResult<Option<Bounds>> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        let found = self.slots.map(|slot| slot.map(&value));
        let is_number = |value: &Option<Option<Arc<Tensor>>>| match value {
            None => true,
            Some(Some(value)) => value.cast_to::<i64>().is_ok(),
            Some(None) => false,
        };
        if !found.iter().all(is_number) {
            return Ok(None);
        }
        Bounds::new(found.each_ref().map(|value| value.as_ref().and_then(Option::as_deref))).map(Some)
    }

    /// Ours, where tract's own does not fit.
    fn own(&self, bounds: Option<Bounds>, shape: &[TDim]) -> Option<Sliced> {
        let bounds = bounds.filter(|bounds| self.given.is_some() || !bounds.is_plain(shape))?;
        Some(Sliced { bounds: Some(bounds), slots: [None; 4], open: tvec!() })
    }

    /// Ours, for bounds that come with the request: nobody knows how much they leave.
    fn open(&self, model: &TypedModel, facts: &[TypedFact]) -> TractResult<Sliced> {
        let rank = facts[0].rank();
        let axes: Vec<usize> = match self.slots[2] {
            None => (0..rank).collect(),
            Some(slot) => {
                let axes = facts[slot].konst.as_ref().context("the axes have to be known")?;
                values::<i64>(axes)?.iter().map(|&given| axis(given, rank)).collect::<TractResult<_>>()?
            }
        };
        let open = axes.iter().map(|&axis| (axis, model.symbols.new_with_prefix("modelgate_slice").to_dim())).collect();
        Ok(Sliced { bounds: None, slots: self.slots, open })
    }
}

impl Expansion for Slice {
    fn name(&self) -> StaticName {
        "Slice".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let (data, sliced) = (&inputs[0], &outputs[0]);
        s.equals(&data.datum_type, &sliced.datum_type)?;
        s.equals(&data.rank, &sliced.rank)?;
        s.given(&data.shape, move |s, shape| {
            let slots: TVec<usize> = self.slots.iter().flatten().copied().collect();
            if slots.is_empty() {
                return self.conclude(s, inputs, outputs, shape, |_| None);
            }
            let proxies: Vec<_> = slots.iter().map(|&slot| &inputs[slot].value).collect();
            s.given_all(proxies, move |s, found: Vec<Arc<Tensor>>| {
                let value = |slot| slots.iter().position(|&own| own == slot).map(|at| Arc::clone(&found[at]));
                self.conclude(s, inputs, outputs, shape.clone(), value)
            })
        })
    }

    fn wire(&self, prefix: &str, typed: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|&input| typed.outlet_fact(input).cloned()).collect::<TractResult<Vec<_>>>()?;
        let bounds = self.bounds(|slot| facts[slot].konst.clone())?;
        if let Some(kernel) = self.own(bounds, &facts[0].shape.to_tvec()) {
            return wire_kernel(KernelOp::new(Arc::new(kernel)), prefix, typed, &inputs[..1]);
        }
        let is_open = |slot: &Option<usize>| slot.is_some_and(|slot| facts[slot].konst.is_none());
        if self.slots.iter().any(is_open) {
            let kernel = self.open(typed, &facts)?;
            return wire_kernel(KernelOp::new(Arc::new(kernel)), prefix, typed, inputs);
        }
        typed.wire_node(prefix, self.plain.clone(), inputs)
    }
}

impl Slice {
    fn conclude<'r, 'p: 'r>(
        &'r self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
        shape: TVec<TDim>,
        value: impl Fn(usize) -> Option<Arc<Tensor>>,
    ) -> InferenceResult {
        let Some(kernel) = self.own(self.bounds(value)?, &shape) else { return self.plain.rules(s, inputs, outputs) };
        let spec = Spec { datum: f32::datum_type(), shape };
        s.equals(&outputs[0].shape, kernel.outputs(&[spec])?[0].shape.clone())
    }
}

#[derive(Debug)]
struct Sliced {
    /// `None` if they come with the request.
    bounds: Option<Bounds>,
    slots: [Option<usize>; 4],
    /// Axes of which nobody knows the size, and its name.
    open: TVec<(usize, TDim)>,
}

impl Kernel for Sliced {
    fn name(&self) -> &'static str {
        "Slice"
    }

    fn opens_sizes(&self) -> bool {
        !self.open.is_empty()
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let data = inputs.first().context("an input is missing")?;
        let mut shape = data.shape.clone();
        for (axis, size) in &self.open {
            shape[*axis] = size.clone();
        }
        if let Some(bounds) = &self.bounds {
            for (index, &given) in bounds.axes.iter().enumerate() {
                let axis = axis(given, shape.len())?;
                let (start, end, step) = (bounds.starts[index], bounds.ends[index], bounds.steps[index]);
                let Ok(size) = data.shape[axis].to_i64() else {
                    let reverses = step == -1 && start == -1 && end <= -i64::from(i32::MAX);
                    ensure!(
                        reverses || (step, start, end >= i64::from(i32::MAX)) == (1, 0, true),
                        "a slice of an axis of any size"
                    );
                    continue;
                };
                shape[axis] = indices(size, start, end, step).len().to_dim();
            }
        }
        Ok(tvec!(Spec { datum: data.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let Some(bounds) = &self.bounds else { return Err(PICKS.into()) };
        let rank = inputs.facts[0].rank();
        let sliced = |at: usize| bounds.axes.iter().any(|&given| axis(given, rank).map_or(true, |axis| axis == at));
        inputs.except(sliced, PICKS)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let data = inputs.first().context("an input is missing")?;
        let read;
        let bounds = match &self.bounds {
            Some(bounds) => bounds,
            None => {
                let found = self.slots.map(|slot| slot.and_then(|slot| inputs.get(slot)).map(|value| &**value));
                read = Bounds::new(found)?;
                &read
            }
        };
        let along = bounds.along(data.shape())?;
        let shape: TVec<usize> = along.iter().map(Vec::len).collect();
        Ok(tvec!(pick(data, &positions(data.shape(), &along), 1, None, &shape)?))
    }
}

#[cfg(test)]
mod tests {
    use super::indices;

    #[test]
    fn bounds_are_cut_to_what_there_is() {
        assert_eq!(indices(5, -100, 100, 2), [0, 2, 4]);
        assert_eq!(indices(5, 3, 1, 1), [0usize; 0]);
        assert_eq!(indices(5, -1, i64::MIN, -2), [4, 2, 0]);
        assert_eq!(indices(5, 100, 0, -1), [4, 3, 2, 1]);
        assert_eq!(indices(0, 0, 5, 1), [0usize; 0]);
    }
}
