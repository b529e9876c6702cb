//! Reductions over axes, and the places of the greatest and least.

mod folds;

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use self::folds::{How, Number};
use super::attributes::Attributes;
use super::invalid::invalid;
use super::kernel::{Built, Kernel, KernelOp, Operator, Spec};
use super::rows::{axis, gathered};
use super::values::{tensor, values};
use crate::rows::{Inputs, Outcome};

macro_rules! operators {
    ($($constant:ident $name:literal $how:ident $since:literal;)*) => {
        $(pub(super) const $constant: Operator = Operator {
            domain: "",
            name: $name,
            attributes: &["axes", "keepdims", "noop_with_empty_axes"],
            build: |ctx, node| built(ctx, node, How::$how, $since),
        };)*
    };
}
// With the first opset in which the axes are an input.
operators! {
    L1 "ReduceL1" L1 18; L2 "ReduceL2" L2 18; LOG_SUM "ReduceLogSum" LogSum 18;
    LOG_SUM_EXP "ReduceLogSumExp" LogSumExp 18; MAX "ReduceMax" Max 18; MEAN "ReduceMean" Mean 18;
    MIN "ReduceMin" Min 18; PROD "ReduceProd" Prod 18; SUM "ReduceSum" Sum 13;
    SUM_SQUARE "ReduceSumSquare" SumSquare 18;
}

pub(super) const ARG_MAX: Operator = Operator {
    domain: "",
    name: "ArgMax",
    attributes: &["axis", "keepdims", "select_last_index"],
    build: |_, node| arg_extreme(node, true),
};

pub(super) const ARG_MIN: Operator = Operator { name: "ArgMin", build: |_, node| arg_extreme(node, false), ..ARG_MAX };

#[expect(clippy::unnecessary_wraps, reason = "the type of a builder")]
fn built(ctx: &ParsingContext<'_>, node: &NodeProto, how: How, since: i64) -> Built {
    let keep = Attributes(node).int("keepdims").unwrap_or(1) != 0;
    let noop = Attributes(node).int("noop_with_empty_axes").unwrap_or(0) != 0;
    let by_input = ctx.onnx_operator_set_version >= since && node.input.get(1).is_some_and(|name| !name.is_empty());
    let axes = Attributes(node).ints("axes").to_vec();
    Ok((expand(Reduction { how, keep, noop, axes, by_input }), vec![]))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of a builder")]
fn arg_extreme(node: &NodeProto, greatest: bool) -> Built {
    let node = Attributes(node);
    let last = node.int("select_last_index").unwrap_or(0) != 0;
    let how = if greatest { How::ArgMax { last } } else { How::ArgMin { last } };
    let keep = node.int("keepdims").unwrap_or(1) != 0;
    let axes = vec![node.int("axis").unwrap_or(0)];
    Ok((expand(Reduction { how, keep, noop: false, axes, by_input: false }), vec![]))
}

/// The node before the axes are known.
#[derive(Clone, Debug)]
struct Reduction {
    how: How,
    keep: bool,
    /// Whether no axes are none, not all.
    noop: bool,
    axes: Vec<i64>,
    /// Whether the axes are the second input.
    by_input: bool,
}

impl Reduction {
    fn kernel(&self, axes: &[i64]) -> Reduce {
        Reduce { how: self.how, keep: self.keep, noop: self.noop, axes: axes.to_vec() }
    }
}

impl Expansion for Reduction {
    fn name(&self) -> StaticName {
        self.how.name().into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        if !self.by_input {
            return KernelOp::new(Arc::new(self.kernel(&self.axes))).rules(s, &inputs[..1], outputs);
        }
        s.given(&inputs[1].value, move |s, axes| {
            let axes = axes.cast_to::<i64>()?;
            let kernel = self.kernel(axes.try_as_plain_ram()?.as_slice()?);
            KernelOp::new(Arc::new(kernel)).rules(s, &inputs[..1], outputs)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let kernel = if self.by_input {
            let axes = model.outlet_fact(inputs[1])?.konst.clone().context("the axes have to be constants")?;
            let axes = axes.cast_to::<i64>()?;
            self.kernel(axes.try_as_plain_ram()?.as_slice()?)
        } else {
            self.kernel(&self.axes)
        };
        model.wire_node(prefix, KernelOp::new(Arc::new(kernel)), &inputs[..1])
    }
}

#[derive(Debug)]
struct Reduce {
    how: How,
    keep: bool,
    noop: bool,
    axes: Vec<i64>,
}

impl Reduce {
    /// In ascending order.
    fn axes(&self, rank: usize) -> TractResult<Vec<usize>> {
        if self.axes.is_empty() {
            return Ok(if self.noop { Vec::new() } else { (0..rank).collect() });
        }
        let axes = self.axes.iter().map(|&wanted| axis(wanted, rank));
        let mut axes = axes.collect::<TractResult<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    fn shape<D: Clone>(&self, shape: &[D], axes: &[usize], one: D) -> TVec<D> {
        let dims = shape.iter().enumerate().filter(|(axis, _)| self.keep || !axes.contains(axis));
        dims.map(|(axis, dim)| if axes.contains(&axis) { one.clone() } else { dim.clone() }).collect()
    }

    fn apply<T: Datum + Copy, O: Datum>(&self, input: &Tensor, row: impl Fn(&[T]) -> O) -> TractResult<TValue> {
        let shape = input.shape();
        let axes = self.axes(shape.len())?;
        let length: usize = axes.iter().map(|&axis| shape[axis]).product();
        let values = values::<T>(input)?;
        let rows = gathered(&values, shape, &axes)?;
        let shape = self.shape(shape, &axes, 1);
        let count = shape.iter().product();
        if self.how.is_index() && length == 0 && count > 0 {
            return Err(invalid(0, None, "no values to find the place of one in".to_owned()));
        }
        let reduced = (0..count).map(|at| row(&rows[at * length..(at + 1) * length])).collect();
        tensor(&shape, reduced)
    }

    /// Where the axes are neighbours and others come after them: sums of columns, taken as they lie.
    fn columns<T: Number>(&self, input: &Tensor) -> TractResult<Option<TValue>> {
        let shape = input.shape();
        let axes = self.axes(shape.len())?;
        let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else { return Ok(None) };
        let width: usize = shape[last + 1..].iter().product();
        let block = shape[first..].iter().product::<usize>();
        if last - first + 1 != axes.len() || width < 2 || block == 0 {
            return Ok(None);
        }
        let values = values::<T>(input)?;
        let blocks = values.chunks_exact(block).map(|block| T::fold_columns(self.how, block, width));
        let Some(sums) = blocks.collect::<Option<Vec<_>>>() else { return Ok(None) };
        tensor(&self.shape(shape, &axes, 1), sums.concat()).map(Some)
    }

    fn folded<T: Number>(&self, input: &Tensor) -> TractResult<TValue> {
        if let Some(sums) = self.columns::<T>(input)? {
            return Ok(sums);
        }
        if self.how.is_index() {
            self.apply::<T, i64>(input, |row| self.how.index(row))
        } else {
            self.apply::<T, T>(input, |row| T::fold(self.how, row))
        }
    }
}

impl Kernel for Reduce {
    fn name(&self) -> &'static str {
        self.how.name()
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        let datum = if input.datum == TDim::datum_type() { DatumType::I64 } else { input.datum };
        let truths = datum == bool::datum_type() && matches!(self.how, How::Max | How::Min);
        ensure!(datum.is_float() || datum.is_integer() || truths, "{datum:?} is not supported");
        let axes = self.axes(input.shape.len())?;
        let shape = self.shape(&input.shape, &axes, 1.to_dim());
        if let How::ArgMax { .. } | How::ArgMin { .. } = self.how {
            let empty = axes.iter().any(|&axis| input.shape[axis] == 0.to_dim());
            ensure!(!empty, "no values to find the place of one in");
        }
        let datum = if self.how.is_index() { DatumType::I64 } else { datum };
        Ok(tvec!(Spec { datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let along = inputs.only_first()?;
        let axes = self.axes(inputs.facts[0].rank()).map_err(|error| error.to_string())?;
        if axes.contains(&along.axis) {
            return Err("reduces over the rows".into());
        }
        let gone = if self.keep { 0 } else { axes.iter().filter(|&&axis| axis < along.axis).count() };
        Ok(tvec!(along.on(along.axis - gone)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let outcome = match input.datum_type() {
            DatumType::F32 => self.folded::<f32>(input),
            DatumType::F64 => self.folded::<f64>(input),
            // Computed with singles.
            DatumType::F16 if self.how.is_index() => self.folded::<f32>(input),
            DatumType::F16 => Ok(self.folded::<f32>(input)?.cast_to::<f16>()?.into_owned().into()),
            DatumType::I8 => self.folded::<i8>(input),
            DatumType::I16 => self.folded::<i16>(input),
            DatumType::I32 => self.folded::<i32>(input),
            DatumType::U8 => self.folded::<u8>(input),
            DatumType::U16 => self.folded::<u16>(input),
            DatumType::U32 => self.folded::<u32>(input),
            DatumType::U64 => self.folded::<u64>(input),
            DatumType::Bool => {
                let bytes = input.cast_to::<u8>()?;
                Ok(self.folded::<u8>(&bytes)?.cast_to::<bool>()?.into_owned().into())
            }
            _ => self.folded::<i64>(input),
        };
        Ok(tvec!(outcome?))
    }
}
