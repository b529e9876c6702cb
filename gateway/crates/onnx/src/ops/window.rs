//! Windows that move over images of any rank: their attributes, and where each of their taps falls.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::pick::{FILLING, each_coordinate, positions};

/// The padding of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Padding {
    /// Before and after each axis; nothing if empty.
    Given(Vec<(usize, usize)>),
    /// As many outputs as strides fit in; what is left over goes to the end, or to the beginning.
    Same { upper: bool },
}

/// The attributes of an operator with a window.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    strides: Vec<usize>,
    dilations: Vec<usize>,
    padding: Padding,
    /// Whether a window that begins inside of the image may end outside of the padding.
    ceil: bool,
    /// Whether a window may be larger than the image with its padding, by less than a stride.
    is_pool: bool,
    pub(super) group: usize,
}

/// The sizes of one image.
#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) image: TVec<usize>,
    pub(super) kernel: TVec<usize>,
    pub(super) outputs: TVec<usize>,
    before: TVec<usize>,
    after: TVec<usize>,
    strides: TVec<usize>,
    dilations: TVec<usize>,
}

fn sizes(node: Attributes<'_>, name: &str) -> TractResult<Vec<usize>> {
    let given = node.ints(name).iter().map(|&size| usize::try_from(size));
    given.collect::<Result<_, _>>().with_context(|| format!("attribute '{name}' is negative"))
}

impl Geometry {
    pub(super) fn new(node: &NodeProto) -> TractResult<Self> {
        let attributes = Attributes(node);
        let (strides, dilations) = (sizes(attributes, "strides")?, sizes(attributes, "dilations")?);
        ensure!(!strides.contains(&0) && !dilations.contains(&0), "strides and dilations are at least 1");
        let pads = sizes(attributes, "pads")?;
        let padding = match attributes.text("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" => {
                let (before, after) = pads.split_at(pads.len() / 2);
                Padding::Given(before.iter().copied().zip(after.iter().copied()).collect())
            }
            "VALID" => Padding::Given(vec![]),
            "SAME_UPPER" => Padding::Same { upper: true },
            "SAME_LOWER" => Padding::Same { upper: false },
            other => bail!("auto_pad '{other}' is not known"),
        };
        let group = usize::try_from(attributes.int("group").unwrap_or(1)).ok().filter(|&group| group > 0);
        let is_same = matches!(padding, Padding::Same { .. });
        let is_pool = node.op_type.ends_with("Pool");
        ensure!(
            !(is_same && is_pool && dilations.iter().any(|&dilation| dilation > 1)),
            "auto_pad with dilations, whose sizes the standard and ONNX Runtime tell differently"
        );
        let ceil = attributes.int("ceil_mode").unwrap_or(0) != 0;
        let group = group.context("attribute 'group' is not positive")?;
        Ok(Self { strides, dilations, padding, ceil, is_pool, group })
    }

    fn stride(&self, axis: usize) -> usize {
        self.strides.get(axis).copied().unwrap_or(1)
    }

    /// The extent of a window along an axis.
    fn reach(&self, axis: usize, kernel: usize) -> TractResult<usize> {
        let dilation = self.dilations.get(axis).copied().unwrap_or(1);
        let reach = kernel.checked_sub(1).and_then(|steps| steps.checked_mul(dilation)).map(|reach| reach + 1);
        reach.context("a window without values")
    }

    /// The number of windows along an axis of a size with its padding.
    fn count(&self, padded: usize, before: usize, after: usize, stride: usize, reach: usize) -> TractResult<usize> {
        let Some(left) = padded.checked_sub(reach) else {
            // ONNX Runtime rounds towards zero: what is too small for a window by less than a stride still has one.
            let missing = if self.is_pool { (reach - padded) / stride } else { usize::MAX };
            return 1usize.checked_sub(missing).context("a window larger than the image");
        };
        if !self.ceil {
            return Ok(left / stride + 1);
        }
        let count = left.div_ceil(stride) + 1;
        let size = padded - before - after;
        // One that begins behind the image has nothing in it.
        Ok(if (count - 1) * stride >= size + before { count - 1 } else { count })
    }

    /// The sizes of the result, some of them symbols.
    pub(super) fn outputs(&self, image: &[TDim], kernel: &[usize]) -> TractResult<TVec<TDim>> {
        let axes = image.iter().zip(kernel).enumerate();
        axes.map(|(axis, (size, &kernel))| {
            let (stride, reach) = (self.stride(axis), self.reach(axis, kernel)?);
            Ok(match &self.padding {
                Padding::Same { .. } => size.clone().divceil(stride),
                Padding::Given(pads) => {
                    let (before, after) = pads.get(axis).copied().unwrap_or_default();
                    let padded = size.clone() + before + after;
                    match padded.to_usize() {
                        Ok(padded) => self.count(padded, before, after, stride, reach)?.to_dim(),
                        Err(_) => {
                            ensure!(!self.ceil, "ceil_mode over an axis of any size");
                            (padded - reach) / stride + 1
                        }
                    }
                }
            })
        })
        .collect()
    }

    /// The sizes of one image.
    pub(super) fn sizes(&self, image: &[usize], kernel: &[usize]) -> TractResult<Sizes> {
        let (mut outputs, mut starts, mut ends) = (tvec!(), tvec!(), tvec!());
        for (axis, (&size, &kernel)) in image.iter().zip(kernel).enumerate() {
            let (stride, reach) = (self.stride(axis), self.reach(axis, kernel)?);
            let (count, before, after) = match &self.padding {
                Padding::Same { upper } => {
                    let count = size.div_ceil(stride);
                    let missing = (count.saturating_sub(1) * stride + reach).saturating_sub(size);
                    let before = if *upper { missing / 2 } else { missing.div_ceil(2) };
                    (count, before, missing - before)
                }
                Padding::Given(pads) => {
                    let (before, after) = pads.get(axis).copied().unwrap_or_default();
                    (self.count(size + before + after, before, after, stride, reach)?, before, after)
                }
            };
            outputs.push(count);
            starts.push(before);
            ends.push(after);
        }
        Ok(Sizes {
            image: image.into(),
            kernel: kernel.into(),
            outputs,
            before: starts,
            after: ends,
            strides: (0..image.len()).map(|axis| self.stride(axis)).collect(),
            dilations: (0..image.len()).map(|axis| self.dilations.get(axis).copied().unwrap_or(1)).collect(),
        })
    }
}

/// Neighbouring outputs that one tap of the window meets inside of the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The first output.
    pub(super) output: usize,
    /// The index that it meets; each output after it meets a stride further on.
    pub(super) image: usize,
    pub(super) count: usize,
    /// The index of the window's tap.
    pub(super) tap: usize,
}

impl Sizes {
    /// From all that there is to know.
    pub(super) fn new(
        image: &[usize],
        kernel: &[usize],
        outputs: &[usize],
        before: TVec<usize>,
        strides: TVec<usize>,
        dilations: TVec<usize>,
    ) -> Self {
        let after = tvec!(0; image.len());
        Self { image: image.into(), kernel: kernel.into(), outputs: outputs.into(), before, after, strides, dilations }
    }

    /// The distance between the values that neighbouring outputs meet.
    pub(super) fn step(&self) -> usize {
        self.strides.last().copied().unwrap_or(1)
    }

    /// All that windows meet, tap by tap.
    pub(super) fn runs(&self) -> TractResult<Vec<Run>> {
        let (mut runs, mut number) = (Vec::new(), 0);
        let Some(last) = self.image.len().checked_sub(1) else { return Ok(runs) };
        each_coordinate(&self.kernel, |tap| {
            number += 1;
            each_coordinate(&self.outputs[..last], |at| {
                let index = |axis: usize, output: usize| {
                    let index = output * self.strides[axis] + tap[axis] * self.dilations[axis];
                    index.checked_sub(self.before[axis]).filter(|&index| index < self.image[axis])
                };
                let outer = at
                    .iter()
                    .enumerate()
                    .try_fold(0, |outer, (axis, &output)| Some(outer * self.image[axis] + index(axis, output)?));
                let inside = (0..self.outputs[last]).filter_map(|output| Some((output, index(last, output)?)));
                let (mut inside, count) = (inside.clone(), inside.count());
                if let (Some(outer), Some((output, image))) = (outer, inside.next()) {
                    let row = at.iter().zip(&self.outputs).fold(0, |row, (&at, &size)| row * size + at);
                    let output = row * self.outputs[last] + output;
                    runs.push(Run { output, image: outer * self.image[last] + image, count, tap: number - 1 });
                }
                Ok(())
            })
        })?;
        Ok(runs)
    }

    /// For each tap of the window, where in the image it falls at each output: [`FILLING`] outside of the image.
    pub(super) fn each_tap(&self, mut visit: impl FnMut(&[usize])) -> TractResult<()> {
        each_coordinate(&self.kernel, |tap| {
            let along = self.outputs.iter().enumerate().map(|(axis, &count)| {
                let start = tap[axis] * self.dilations[axis];
                let index = |output: usize| (output * self.strides[axis] + start).checked_sub(self.before[axis]);
                let inside = |index: usize| index < self.image[axis];
                (0..count).map(|output| index(output).filter(|&index| inside(index)).unwrap_or(FILLING)).collect()
            });
            visit(&positions(&self.image, &along.collect::<Vec<Vec<usize>>>()));
            Ok(())
        })
    }

    /// The number of taps of each window that fall into the image, or into the image with its padding.
    pub(super) fn counts(&self, include_padding: bool) -> Vec<usize> {
        let mut counts = vec![1];
        for axis in 0..self.image.len() {
            let inside = |output: usize, tap: usize| {
                let index = output * self.strides[axis] + tap * self.dilations[axis];
                if include_padding {
                    return index < self.before[axis] + self.image[axis] + self.after[axis];
                }
                index.checked_sub(self.before[axis]).is_some_and(|index| index < self.image[axis])
            };
            let along =
                (0..self.outputs[axis]).map(|output| (0..self.kernel[axis]).filter(|&tap| inside(output, tap)).count());
            let along: Vec<usize> = along.collect();
            counts = counts.iter().flat_map(|&count| along.iter().map(move |&own| count * own)).collect();
        }
        counts
    }
}
