//! Where tract's own operators have other defaults than the standard, take fewer types, or are wrong for some attributes,
//! which are refused then.

use std::collections::BTreeSet;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::array;

use super::attributes::Attributes;
use super::fit;
use super::kernel::{Kernel, KernelOp, Operator, Spec};
use super::pick::{axis, pick, positions};
use super::tract_builtin::tract_builtin;
use super::values::{room, values};
use crate::interface::ROWS;
use crate::rows::{Inputs, Outcome};

pub(super) const CONSTANT_OF_SHAPE: Operator = Operator {
    domain: "",
    name: "ConstantOfShape",
    attributes: &["value"],
    build: |ctx, node| {
        let value = Attributes(node).tensor(ctx, "value")?.unwrap_or_else(|| tensor0(0.0f32));
        ensure!(value.len() == 1, "expected a single value, got the shape {:?}", value.shape());
        let value = value.into_shape(&[])?;
        Ok((expand(array::ConstantOfShape::new(Arc::new(value))), vec![]))
    },
};

pub(super) const SQUEEZE: Operator = Operator {
    domain: "",
    name: "Squeeze",
    attributes: &["axes"],
    build: |ctx, node| {
        let axes = Attributes(node).ints("axes");
        // Since opset 13 the axes are an input.
        let axes = (ctx.onnx_operator_set_version < 13 && !axes.is_empty()).then(|| axes.to_vec());
        Ok((expand(Squeeze { axes, is_input: node.input.len() > 1 }), vec![]))
    },
};

/// Takes away axes of size one: those that are given, else all.
#[derive(Clone, Debug)]
struct Squeeze {
    axes: Option<Vec<i64>>,
    is_input: bool,
}

impl Squeeze {
    /// The axes that go, in order.
    fn axes(&self, shape: &[TDim], given: Option<&Tensor>) -> TractResult<BTreeSet<usize>> {
        let given = match given {
            Some(given) => Some(values::<i64>(given)?.into_owned()),
            None => self.axes.clone(),
        };
        match given {
            Some(axes) => axes.into_iter().map(|given| axis(given, shape.len())).collect(),
            None => {
                // Rows stay rows, be there one or many; whether another size is one is told by the sizes of a request.
                let is_open = |dim: &TDim| dim.symbols().iter().any(|symbol| symbol.to_string() != ROWS);
                ensure!(!shape.iter().any(is_open), "Squeeze without axes, of the sizes {shape:?}");
                Ok(shape.iter().enumerate().filter(|(_, dim)| dim.is_one()).map(|(axis, _)| axis).collect())
            }
        }
    }
}

impl Expansion for Squeeze {
    fn name(&self) -> StaticName {
        "Squeeze".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let (input, output) = (&inputs[0], &outputs[0]);
        s.equals(&input.datum_type, &output.datum_type)?;
        s.given(&input.shape, move |s, shape| {
            let conclude = move |s: &mut Solver<'r>, given: Option<&Tensor>| {
                let axes = self.axes(&shape, given)?;
                let left = shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
                s.equals(&output.shape, left.map(|(_, dim)| dim.clone()).collect::<TVec<TDim>>())
            };
            if self.is_input {
                s.given(&inputs[1].value, move |s, given| conclude(s, Some(&given)))
            } else {
                conclude(s, None)
            }
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let given = match inputs.get(1) {
            Some(&given) => Some(model.outlet_fact(given)?.konst.clone().context("the axes have to be known")?),
            None => None,
        };
        let mut wire: TVec<OutletId> = tvec!(inputs[0]);
        for axis in self.axes(&shape, given.as_deref())?.into_iter().rev() {
            wire = model.wire_node(format!("{prefix}.axis_{axis}"), AxisOp::Rm(axis), &wire)?;
        }
        Ok(wire)
    }
}

/// `Tile` of texts, which tract's own cannot; of numbers it is tract's.
pub(super) const TILE: Operator = Operator {
    domain: "",
    name: "Tile",
    attributes: &[],
    build: |ctx, node| Ok((expand(Tile(tract_builtin(ctx, node)?)), vec![])),
};

#[derive(Clone, Debug)]
struct Tile(Box<dyn Expansion>);

impl Expansion for Tile {
    fn name(&self) -> StaticName {
        "Tile".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        if model.outlet_fact(inputs[0])?.datum_type != String::datum_type() {
            return self.0.wire(prefix, model, inputs);
        }
        let repeats = model.outlet_fact(inputs[1])?.konst.clone().context("the repeats have to be known")?;
        let repeats = values::<i64>(&repeats)?.iter().map(|&count| usize::try_from(count)).collect::<Result<_, _>>()?;
        model.wire_node(prefix, KernelOp::new(Arc::new(TiledTexts(repeats))), &inputs[..1])
    }
}

#[derive(Debug)]
struct TiledTexts(Vec<usize>);

impl Kernel for TiledTexts {
    fn name(&self) -> &'static str {
        "Tile"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let data = inputs.first().context("an input is missing")?;
        ensure!(data.shape.len() == self.0.len(), "{} repeats for the shape {:?}", self.0.len(), data.shape);
        let shape = data.shape.iter().zip(&self.0).map(|(dim, &count)| dim.clone() * count as i64).collect();
        Ok(tvec!(Spec { datum: data.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.except(|axis| self.0.get(axis) != Some(&1), "repeats the rows")
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let data = inputs.first().context("an input is missing")?;
        let along = data
            .shape()
            .iter()
            .zip(&self.0)
            .map(|(&size, &count)| (0..room(size, count).unwrap_or(0)).map(|at| at % size).collect());
        let along: Vec<Vec<usize>> = along.collect();
        let shape: TVec<usize> = along.iter().map(Vec::len).collect();
        shape.iter().try_fold(1, |all, &size| room(all, size))?;
        Ok(tvec!(pick(data, &positions(data.shape(), &along), 1, None, &shape)?))
    }
}

/// `NonMaxSuppression` and `GridSample` are tract's where these are right.
pub(super) const NON_MAX_SUPPRESSION: Operator = Operator {
    domain: "",
    name: "NonMaxSuppression",
    attributes: &["center_point_box"],
    build: |ctx, node| {
        let is_bounded = node.input.get(2).is_some_and(|name| !name.is_empty());
        ensure!(is_bounded, "without max_output_boxes_per_class it selects nothing");
        Ok((expand(Checked { builtin: tract_builtin(ctx, node)?, check: selects_some }), vec![]))
    },
};

/// tract's own takes a bound of zero for none.
fn selects_some(model: &TypedModel, inputs: &[OutletId]) -> TractResult<()> {
    let bound = model.outlet_fact(inputs[2])?.konst.clone().context("max_output_boxes_per_class has to be known")?;
    let is_positive = values::<i64>(&bound)?.first().is_some_and(|&bound| bound > 0);
    ensure!(is_positive, "a max_output_boxes_per_class of 0 selects nothing");
    Ok(())
}

/// tract's own, for inputs that it answers rightly.
#[derive(Clone, Debug)]
struct Checked {
    builtin: Box<dyn Expansion>,
    check: fn(&TypedModel, &[OutletId]) -> TractResult<()>,
}

impl Expansion for Checked {
    fn name(&self) -> StaticName {
        self.builtin.name()
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
        (self.check)(model, inputs)?;
        self.builtin.wire(prefix, model, inputs)
    }
}

pub(super) const GRID_SAMPLE: Operator = Operator {
    domain: "",
    name: "GridSample",
    attributes: &["align_corners", "mode", "padding_mode"],
    build: |ctx, node| {
        let attributes = Attributes(node);
        let is_cubic = attributes.text("mode")?.is_some_and(|mode| mode.ends_with("cubic"));
        let is_border = attributes.text("padding_mode")? == Some("border");
        ensure!(!(is_cubic && is_border), "cubic interpolation with padding_mode 'border' is not supported");
        Ok((expand(Sampled(tract_builtin(ctx, node)?)), vec![]))
    },
};

/// tract's `GridSample`, whose places are looked at: it has no answer to one that is no number.
#[derive(Clone, Debug)]
struct Sampled(Box<dyn Expansion>);

impl Expansion for Sampled {
    fn name(&self) -> StaticName {
        "GridSample".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let &[picture, grid] = inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        let grid = fit::coordinates(prefix, model, grid)?;
        self.0.wire(prefix, model, &[picture, grid])
    }
}
