//! Sizes that the engine's kernels take as they come: products of matrices that do not fit, and windows that are larger than
//! their image, read beyond a tensor's end. Where the file tells the sizes they are looked at when a plan is built; where
//! it leaves them open, a node before the operator looks at those of each request.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::invalid::invalid;
use super::kernel::{Kernel, KernelOp, Spec};
use crate::rows::{Inputs, MIXES, Outcome};

/// Hands on the first of two tensors whose axes in each pair have the same size: of the first tensor, of the second.
pub(super) fn same_sizes(
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
    pairs: &[(usize, usize)],
) -> TractResult<TVec<OutletId>> {
    let mut checked: TVec<OutletId> = inputs.into();
    let &[one, other, ..] = inputs else { return Ok(checked) };
    let facts = [model.outlet_fact(one)?, model.outlet_fact(other)?];
    let mut open = Vec::new();
    for &(first, second) in pairs {
        let dims = [&facts[0].shape[first], &facts[1].shape[second]];
        if dims[0] == dims[1] {
            continue;
        }
        let known = dims.iter().all(|dim| dim.to_usize().is_ok());
        ensure!(!known, "a product over {} values and {}", dims[0], dims[1]);
        open.push((first, second));
    }
    if !open.is_empty() {
        let op = KernelOp::new(Arc::new(SameSizes(open)));
        checked[0] = model.wire_node(format!("{prefix}.fit"), op, &[one, other])?[0];
    }
    Ok(checked)
}

/// The axes of a product of matrices that have to have the same size; a batch of one goes with any other.
pub(super) fn of_matrices(
    model: &TypedModel,
    inputs: &[OutletId],
    transposed: [bool; 2],
) -> TractResult<Vec<(usize, usize)>> {
    let &[one, other, ..] = inputs else { return Ok(Vec::new()) };
    let facts = [model.outlet_fact(one)?, model.outlet_fact(other)?];
    let ranks = facts.map(TypedFact::rank);
    if ranks.iter().any(|&rank| rank < 2) {
        return Ok(Vec::new());
    }
    let inner = (ranks[0] - if transposed[0] { 2 } else { 1 }, ranks[1] - if transposed[1] { 1 } else { 2 });
    let batches = (3..=ranks[0].min(ranks[1])).map(|from_end| (ranks[0] - from_end, ranks[1] - from_end));
    let spread = |&(first, second): &(usize, usize)| facts[0].shape[first].is_one() || facts[1].shape[second].is_one();
    Ok(std::iter::once(inner).chain(batches.filter(|pair| !spread(pair))).collect())
}

#[derive(Debug)]
struct SameSizes(Vec<(usize, usize)>);

impl Kernel for SameSizes {
    fn name(&self) -> &'static str {
        "SameSizes"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        Ok(inputs.iter().take(1).cloned().collect())
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        Ok(tvec!(inputs.flows.first().cloned().ok_or(MIXES)?))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [one, other] = inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        for &(first, second) in &self.0 {
            let (first, second) = (one.shape()[first], other.shape()[second]);
            if first != second {
                return Err(invalid(0, None, format!("a product over {first} values and {second}")));
            }
        }
        Ok(tvec!(one.clone()))
    }
}

/// The way of a window over an image: the attributes of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pads: Vec<i64>,
    dilations: Vec<i64>,
    strides: Vec<i64>,
    /// Whether the image is filled up for the window.
    is_filled: bool,
}

impl Window {
    pub(super) fn new(node: &NodeProto) -> TractResult<Self> {
        let node = Attributes(node);
        let is_filled = node.text("auto_pad")?.is_some_and(|pad| pad.starts_with("SAME"));
        let list = |name: &str| node.ints(name).to_vec();
        Ok(Self { pads: list("pads"), dilations: list("dilations"), strides: list("strides"), is_filled })
    }

    /// The problem of an image with such a kernel, if there is one.
    fn problem(&self, kernel: &[usize], image: &[usize]) -> Option<String> {
        let at = |list: &[i64], axis: usize, default: i64| list.get(axis).copied().unwrap_or(default);
        (0..kernel.len().min(image.len())).find_map(|axis| {
            let (window, size) = (kernel[axis] as i64, image[axis] as i64);
            let field = (window - 1).saturating_mul(at(&self.dilations, axis, 1)).saturating_add(1);
            let filled = size + at(&self.pads, axis, 0) + at(&self.pads, axis + kernel.len(), 0);
            // Of nothing, a product at each place is nothing.
            let is_nothing = size == 0 && window == 1 && at(&self.strides, axis, 1) == 1;
            let fits = is_nothing || if self.is_filled { size > 0 } else { filled >= field };
            (!fits).then(|| format!("an image of the sizes {image:?} is too small for a window of {kernel:?}"))
        })
    }

    /// Hands on an image that is not too small; `inputs` are the image and the weights.
    pub(super) fn fit(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let mut checked: TVec<OutletId> = inputs.into();
        let &[image, weights, ..] = inputs else { return Ok(checked) };
        let kernel = model
            .outlet_fact(weights)?
            .shape
            .iter()
            .skip(2)
            .map(|dim| Ok(dim.to_usize()?))
            .collect::<TractResult<TVec<_>>>();
        let kernel = kernel.context("weights of sizes that the file leaves open")?;
        let sizes = model
            .outlet_fact(image)?
            .shape
            .iter()
            .skip(2)
            .map(|dim| Ok(dim.to_usize()?))
            .collect::<TractResult<TVec<_>>>();
        match sizes {
            Ok(sizes) => {
                if let Some(problem) = self.problem(&kernel, &sizes) {
                    bail!(problem);
                }
            }
            Err(_) => {
                let op = KernelOp::new(Arc::new(LargeEnough { window: self.clone(), kernel }));
                checked[0] = model.wire_node(format!("{prefix}.fit"), op, &[image])?[0];
            }
        }
        Ok(checked)
    }
}

#[derive(Debug)]
struct LargeEnough {
    window: Window,
    kernel: TVec<usize>,
}

impl Kernel for LargeEnough {
    fn name(&self) -> &'static str {
        "LargeEnough"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        Ok(inputs.into())
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.handed_on(str::to_owned)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [image] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        match self.window.problem(&self.kernel, image.shape().get(2..).unwrap_or_default()) {
            Some(problem) => Err(invalid(0, None, problem)),
            None => Ok(tvec!(image.clone())),
        }
    }

    fn checks(&self) -> &[usize] {
        &[0]
    }
}

/// Hands on coordinates in pictures, each of them a number that a coordinate can be.
pub(super) fn coordinates(prefix: &str, model: &mut TypedModel, grid: OutletId) -> TractResult<OutletId> {
    Ok(model.wire_node(format!("{prefix}.places"), KernelOp::new(Arc::new(Coordinates)), &[grid])?[0])
}

#[derive(Debug)]
struct Coordinates;

/// Coordinates beyond this are no whole numbers any more.
const FARTHEST: f64 = 1e6;

impl Kernel for Coordinates {
    fn name(&self) -> &'static str {
        "Places"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        Ok(inputs.into())
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.handed_on(str::to_owned)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [grid] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        let numbers = grid.cast_to::<f64>()?;
        let numbers = numbers.try_as_plain_ram()?;
        let bad = numbers.as_slice::<f64>()?.iter().position(|at| at.is_nan() || at.abs() > FARTHEST);
        match bad {
            Some(position) => Err(invalid(0, Some(position), "it is no place in a picture".to_owned())),
            None => Ok(tvec!(grid.clone())),
        }
    }

    fn checks(&self) -> &[usize] {
        &[0]
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn a_window_fits_into_its_image() {
        let window = |pads: &[i64], dilations: &[i64], strides: &[i64], is_filled| Window {
            pads: pads.to_vec(),
            dilations: dilations.to_vec(),
            strides: strides.to_vec(),
            is_filled,
        };
        for (window, kernel, image, fits) in [
            (window(&[], &[], &[], false), 5, 5, true),
            (window(&[], &[], &[], false), 5, 4, false),
            (window(&[1, 0], &[], &[4], false), 5, 4, true),
            (window(&[], &[3], &[], false), 3, 7, true),
            (window(&[], &[3], &[], false), 3, 6, false),
            (window(&[], &[], &[2], true), 5, 1, true),
            (window(&[], &[], &[], true), 5, 0, false),
            (window(&[], &[], &[], false), 1, 0, true),
            (window(&[], &[], &[2], false), 1, 0, false),
        ] {
            assert_eq!(window.problem(&[kernel], &[image]).is_none(), fits, "{window:?} {kernel} {image}");
        }
    }
}
