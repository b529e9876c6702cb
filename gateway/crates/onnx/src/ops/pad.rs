//! `Pad`: adds values at the ends of axes, or takes them away where an amount is negative.

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::invalid::invalid;
use super::kernel::{Built, Kernel, Operator, Spec};
use super::pick::{FILLING, axis, pick, positions};
use super::settled::{Argument, Settle, optional, required, settled};
use super::values::room;
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator =
    Operator { domain: "", name: "Pad", attributes: &["mode", "pads", "value"], build };

fn build(ctx: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let attributes = Attributes(node);
    let mode = match attributes.text("mode")?.unwrap_or("constant") {
        "constant" => Mode::Constant,
        "edge" => Mode::Edge,
        "reflect" => Mode::Reflect,
        "wrap" => Mode::Wrap,
        other => bail!("mode '{other}' is not known"),
    };
    // Until opset 11 the amounts and the value are attributes.
    let old = ctx.onnx_operator_set_version < 11;
    let amounts = old.then(|| attributes.ints("pads").to_vec());
    let value = old.then(|| attributes.float("value").unwrap_or(0.0));
    settled(node, Arc::new(Unsized { mode, amounts, value }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Constant,
    Edge,
    Reflect,
    Wrap,
}

/// Before the amounts are known.
#[derive(Debug)]
struct Unsized {
    mode: Mode,
    amounts: Option<Vec<i64>>,
    value: Option<f32>,
}

impl Settle for Unsized {
    fn name(&self) -> &'static str {
        "Pad"
    }

    fn needs(&self) -> &'static [usize] {
        &[1, 3]
    }

    fn settle(&self, inputs: &[Option<Argument>]) -> TractResult<Arc<dyn Kernel>> {
        let rank = required(inputs, 0)?.spec.shape.len();
        let amounts = match &self.amounts {
            Some(amounts) => amounts.clone(),
            None => required(inputs, 1)?.longs()?,
        };
        let axes: Vec<usize> = match optional(inputs, 3) {
            Some(axes) => axes.longs()?.into_iter().map(|given| axis(given, rank)).collect::<TractResult<_>>()?,
            None => (0..rank).collect(),
        };
        ensure!(amounts.len() == 2 * axes.len(), "{} amounts for {} axes", amounts.len(), axes.len());
        let mut ends = vec![(0, 0); rank];
        for (index, &axis) in axes.iter().enumerate() {
            ends[axis] = (amounts[index], amounts[index + axes.len()]);
        }
        Ok(Arc::new(Pad { mode: self.mode, ends, value: self.value }))
    }
}

#[derive(Debug)]
struct Pad {
    mode: Mode,
    /// The amounts that are added before and after each axis.
    ends: Vec<(i64, i64)>,
    /// The filling, where an attribute says it.
    value: Option<f32>,
}

impl Kernel for Pad {
    fn name(&self) -> &'static str {
        "Pad"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let data = inputs.first().context("an input is missing")?;
        let padded = data.shape.iter().zip(&self.ends);
        let shape: TVec<TDim> = padded.map(|(dim, &(before, after))| dim.clone() + before + after).collect();
        for dim in &shape {
            ensure!(dim.to_i64().map_or(true, |dim| dim >= 0), "more is taken away than there is: {:?}", data.shape);
        }
        Ok(tvec!(Spec { datum: data.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.except(|axis| self.ends.get(axis) != Some(&(0, 0)), "pads the rows")
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let data = inputs.first().context("an input is missing")?;
        let along = data.shape().iter().zip(&self.ends);
        let along: Vec<Vec<usize>> =
            along.map(|(&size, &ends)| along_axis(self.mode, size, ends)).collect::<TractResult<_>>()?;
        let shape: TVec<usize> = along.iter().map(Vec::len).collect();
        shape.iter().try_fold(1, |all, &size| room(all, size))?;
        let filling = match (inputs.get(1), self.value) {
            (Some(given), _) => Some(given.clone().into_tensor()),
            (None, Some(value)) if data.datum_type().is_float() => {
                Some(tensor0(value).cast_to_dt(data.datum_type())?.into_owned())
            }
            _ => None,
        };
        // What is not padded at the end moves in blocks.
        let inner = self.ends.iter().rev().take_while(|&&ends| ends == (0, 0)).count();
        let outer = data.rank() - inner;
        let block = data.shape()[outer..].iter().product();
        let positions = positions(&data.shape()[..outer], &along[..outer]);
        Ok(tvec!(pick(data, &positions, block, filling.as_ref(), &shape)?))
    }
}

/// For each index of the padded axis the one that it shows, or [`FILLING`].
fn along_axis(mode: Mode, size: usize, (before, after): (i64, i64)) -> TractResult<Vec<usize>> {
    let padded = (size as i64).checked_add(before).and_then(|size| size.checked_add(after));
    let padded = padded.and_then(|size| usize::try_from(size).ok());
    let padded = padded.with_context(|| format!("{before} and {after} around {size} values"))?;
    room(padded, 1)?;
    // What is taken away is not there to be repeated.
    let first = -before.min(0);
    let last = size as i64 + after.min(0);
    let count = last - first;
    if mode != Mode::Constant && padded > 0 && count <= 0 {
        return Err(invalid(0, None, "there is nothing to pad with: a dimension is empty".to_owned()));
    }
    let shown = |index: i64| {
        let at = index - before - first;
        let at = match mode {
            _ if (0..count).contains(&at) => at,
            Mode::Constant => return FILLING,
            Mode::Edge => at.clamp(0, count - 1),
            Mode::Wrap => at.rem_euclid(count),
            Mode::Reflect if count == 1 => 0,
            Mode::Reflect => {
                let at = at.rem_euclid(2 * (count - 1));
                at.min(2 * (count - 1) - at)
            }
        };
        (first + at) as usize
    };
    Ok((0..padded as i64).map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_add_and_take_away() {
        let along = |mode, ends| along_axis(mode, 4, ends).unwrap();
        assert_eq!(along(Mode::Constant, (1, 1)), [FILLING, 0, 1, 2, 3, FILLING]);
        assert_eq!(along(Mode::Constant, (-1, -2)), [1]);
        assert_eq!(along(Mode::Reflect, (2, 1)), [2, 1, 0, 1, 2, 3, 2]);
        assert_eq!(along(Mode::Reflect, (1, -1)), [1, 0, 1, 2]);
        assert_eq!(along(Mode::Edge, (1, -1)), [0, 0, 1, 2]);
        assert_eq!(along(Mode::Wrap, (2, 1)), [2, 3, 0, 1, 2, 3, 0]);
        assert!(along_axis(Mode::Constant, 4, (-3, -2)).is_err());
        assert!(along_axis(Mode::Edge, 0, (1, 0)).is_err());
        assert!(along_axis(Mode::Constant, 4, (i64::MAX, 1)).is_err());
    }
}
