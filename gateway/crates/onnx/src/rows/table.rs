//! The flow of rows through tract's operators. An operator that does not stand here is not known to keep rows apart.

use tract_onnx::tract_hir::internal::tract_core::axes::AxesMapping;
use tract_onnx::tract_hir::internal::tract_core::ops::array::{
    CumSum, DynSlice, Gather, GatherElements, GatherNd, MultiBroadcastTo, OneHot, Pad, ScatterElements, Slice, Tile,
    Topk, Trilu, TypedConcat,
};
use tract_onnx::tract_hir::internal::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_hir::internal::tract_core::ops::cast::Cast;
use tract_onnx::tract_hir::internal::tract_core::ops::change_axes::{AxisOp, InOut};
use tract_onnx::tract_hir::internal::tract_core::ops::cnn::{Conv, Deconv, MaxPool, SumPool};
use tract_onnx::tract_hir::internal::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_hir::internal::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_hir::internal::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_hir::internal::tract_core::ops::identity::Identity;
use tract_onnx::tract_hir::internal::tract_core::ops::logic::Iff;
use tract_onnx::tract_hir::internal::tract_core::ops::nn::{GridSample, Reduce, RmsNorm, Softmax};
use tract_onnx::tract_hir::internal::tract_core::ops::quant::DequantizeLinearF32;
use tract_onnx::tract_hir::internal::{DimLike, TDim, ToDim, TypedNode, tvec};

use super::flow::{
    Along, Flow, Inputs, MEETS, MIXES, NORMALISES, NUMBERS, ONE_SCALE, Outcome, PICKS, mentions, reshaped,
};
use crate::ops::KernelOp;

const UNKNOWN: &str = "is not known to keep rows apart";

/// Where the rows are in the outputs of a node.
pub(super) fn through(node: &TypedNode, inputs: &Inputs<'_>) -> Outcome {
    // These may give rows to what has none.
    if let Some(op) = node.op_as::<MultiBroadcastTo>() {
        return spread(inputs, &op.shape.to_tvec());
    }
    if let Some(op) = node.op_as::<Tile>() {
        return tiled(inputs, &op.multipliers);
    }
    let name = node.op.name();
    if ["Random", "Multinomial"].iter().any(|random| name.contains(random)) {
        return Err("gives other values each time".into());
    }
    if let Some(outcome) = inputs.without_rows() {
        return outcome;
    }
    if let Some(op) = node.op_as::<KernelOp>() {
        return op.rows(inputs);
    }
    let values = by_value(node, inputs).or_else(|| along_axes(node, inputs));
    values.or_else(|| between(node, inputs)).unwrap_or_else(|| Err(reason(&name).into()))
}

/// The reason given for an operator that is not in the table.
fn reason(name: &str) -> &'static str {
    match name {
        "DynamicQuantizeLinearU8" => ONE_SCALE,
        "NonZero" => NUMBERS,
        "ScatterNd" => PICKS,
        _ => UNKNOWN,
    }
}

/// Operators that compute each value from those at its place, and those that only move values.
fn by_value(node: &TypedNode, inputs: &Inputs<'_>) -> Option<Outcome> {
    let op = &node.op;
    if let Some(op) = op.downcast_ref::<AxisOp>() {
        return Some(axes_changed(op, inputs));
    }
    if op.is::<Identity>() || op.name() == "Dropout" {
        return Some(inputs.handed_on(str::to_owned));
    }
    let elementwise = op.is::<ElementWiseOp>()
        || op.is::<TypedBinOp>()
        || op.is::<Cast>()
        || op.is::<Iff>()
        || op.is::<DequantizeLinearF32>();
    elementwise.then(|| inputs.elementwise())
}

/// Operators that work along some axes of one input and keep the others.
fn along_axes(node: &TypedNode, inputs: &Inputs<'_>) -> Option<Outcome> {
    let op = &node.op;
    let rank = inputs.facts.first().map_or(0, |fact| fact.rank());
    Some(if let Some(op) = op.downcast_ref::<Reduce>() {
        inputs.except(|axis| op.axes.contains(&axis), "reduces over the rows")
    } else if let Some(op) = op.downcast_ref::<Softmax>() {
        inputs.except(|axis| op.axes.contains(&axis), NORMALISES)
    } else if let Some(op) = op.downcast_ref::<RmsNorm>() {
        inputs.except(|axis| axis == op.axis, NORMALISES)
    } else if let Some(op) = op.downcast_ref::<CumSum>() {
        inputs.except(|axis| axis == op.axis, "adds row after row")
    } else if let Some(op) = op.downcast_ref::<Topk>() {
        inputs.except(|axis| axis == op.axis, "sorts the rows")
    } else if let Some(op) = op.downcast_ref::<Slice>() {
        inputs.except(|axis| axis == op.axis, PICKS)
    } else if let Some(op) = op.downcast_ref::<DynSlice>() {
        inputs.except(|axis| axis == op.axis, PICKS)
    } else if let Some(op) = op.downcast_ref::<Downsample>() {
        inputs.except(|axis| axis == op.axis, PICKS)
    } else if let Some(op) = op.downcast_ref::<Pad>() {
        inputs.except(|axis| op.pads.get(axis) != Some(&(0, 0)), "pads the rows")
    } else if op.is::<Trilu>() {
        inputs.except(|axis| axis + 2 >= rank, PICKS)
    } else if let Some(op) = op.downcast_ref::<OneHot>() {
        inputs.shifted(|axis| axis + usize::from(axis >= op.axis))
    } else if let Some(op) = op.downcast_ref::<Conv>() {
        inputs.except(|axis| axis != 0 || !op.pool_spec.data_format.has_n(), MIXES)
    } else if let Some(op) = op.downcast_ref::<Deconv>() {
        inputs.except(|axis| axis != 0 || !op.pool_spec.data_format.has_n(), MIXES)
    } else if let Some(op) = op.downcast_ref::<SumPool>() {
        inputs.except(|axis| axis != 0 || !op.pool_spec.data_format.has_n(), MIXES)
    } else if let Some(op) = op.downcast_ref::<MaxPool>() {
        if op.with_index_outputs.is_some() {
            return Some(Err(NUMBERS.into()));
        }
        inputs.except(|axis| axis != 0 || !op.pool_spec.data_format.has_n(), MIXES)
    } else if ["Lrn", "Resize", "NearestUpsample"].contains(&&*op.name()) {
        // Along the rows' axis, the size stays (as the shapes are checked to say) and each place is its own source.
        inputs.except(|axis| axis != 0 || rank < 3, MIXES)
    } else {
        return None;
    })
}

/// Operators of several inputs that may have rows.
fn between(node: &TypedNode, inputs: &Inputs<'_>) -> Option<Outcome> {
    let op = &node.op;
    Some(if let Some(op) = op.downcast_ref::<EinSum>() {
        product(&op.axes, inputs)
    } else if let Some(op) = op.downcast_ref::<TypedConcat>() {
        inputs.aligned(op.axis, "joins values along the rows' axis")
    } else if let Some(op) = op.downcast_ref::<Gather>() {
        inputs.gathered(op.axis)
    } else if let Some(op) = op.downcast_ref::<GatherElements>() {
        inputs.aligned(op.axis, PICKS)
    } else if let Some(op) = op.downcast_ref::<ScatterElements>() {
        inputs.aligned(op.axis, PICKS)
    } else if let Some(op) = op.downcast_ref::<GatherNd>() {
        inputs.gathered_by_list(op.batch_dims)
    } else if op.is::<GridSample>() {
        inputs
            .elementwise()
            .and_then(|found| if found[0] == Flow::first_axis() { Ok(found) } else { Err(MIXES.into()) })
    } else {
        return None;
    })
}

fn axes_changed(op: &AxisOp, inputs: &Inputs<'_>) -> Outcome {
    let [Flow::Rows(along)] = inputs.flows else { return Err(UNKNOWN.into()) };
    let flow = match op {
        AxisOp::Reshape(at, from, to) => reshaped(along, *at, from, to, inputs.rows)?,
        op => along.on(op.transform_axis(along.axis).ok_or(MIXES)?),
    };
    Ok(tvec![flow])
}

/// A product in which the rows' axis is not summed over.
fn product(axes: &AxesMapping, inputs: &Inputs<'_>) -> Outcome {
    let mut found: Option<(char, Flow)> = None;
    for (slot, along) in inputs.with_rows()? {
        let axis = axes.axes(InOut::In(slot)).find(|axis| axis.inputs[slot].contains(&along.axis));
        let axis = axis.ok_or(UNKNOWN)?;
        let index = match (&*axis.inputs[slot], &*axis.outputs[0]) {
            (_, []) => return Err("multiplies and sums over the rows".into()),
            ([_], &[index]) => index,
            _ => return Err(MEETS.into()),
        };
        let flow = (axis.repr, along.on(index));
        if found.get_or_insert_with(|| flow.clone()) != &flow {
            return Err("multiplies rows by rows".into());
        }
    }
    Ok(tvec![found.map_or(Flow::Constant, |(_, flow)| flow)])
}

/// Repeats what has one place along an axis.
fn spread(inputs: &Inputs<'_>, shape: &[TDim]) -> Outcome {
    let [fact] = inputs.facts else { return Err(UNKNOWN.into()) };
    match inputs.flows {
        [Flow::Rows(along)] if along.pad.is_none() && shape.len() >= fact.rank() => {
            Ok(tvec![along.on(along.axis + shape.len() - fact.rank())])
        }
        [Flow::Constant] => Ok(tvec![same_for_each(shape, inputs)?]),
        _ => Err(UNKNOWN.into()),
    }
}

/// Values that are the same for each row: any axis that has them may be taken for the rows'.
fn same_for_each(shape: &[TDim], inputs: &Inputs<'_>) -> Result<Flow, String> {
    let Some(axis) = shape.iter().position(|dim| mentions(dim, inputs.rows)) else { return Ok(Flow::Constant) };
    let rows = inputs.rows.to_dim();
    let (inner, rest) = shape[axis].maybe_div(&rows).map_err(|_| MIXES)?;
    if rest != 1 || mentions(&inner, inputs.rows) {
        return Err(MIXES.into());
    }
    Ok(Flow::Rows(Along { axis, outer: 1.to_dim(), inner, pad: None }))
}

fn tiled(inputs: &Inputs<'_>, multipliers: &[TDim]) -> Outcome {
    let [fact] = inputs.facts else { return Err(UNKNOWN.into()) };
    match inputs.flows {
        [Flow::Rows(along)] if multipliers.get(along.axis).is_some_and(TDim::is_one) && along.pad.is_none() => {
            Ok(tvec![along.on(along.axis)])
        }
        [Flow::Rows(_)] => Err("repeats the rows".into()),
        [Flow::Constant] => {
            let shape: Vec<TDim> =
                fact.shape.dims().iter().zip(multipliers).map(|(dim, times)| dim.clone() * times).collect();
            let flow = same_for_each(&shape, inputs)?;
            // A list that is repeated goes round with each row only if it is repeated once for each.
            match &flow {
                Flow::Rows(along) if multipliers[along.axis] != inputs.rows.to_dim() => Err(MIXES.into()),
                _ => Ok(tvec![flow]),
            }
        }
        _ => Err(UNKNOWN.into()),
    }
}
