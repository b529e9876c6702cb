//! `Resize` and `Upsample`: a tensor with other sizes, its values interpolated along each axis in turn.

mod coordinates;
mod interpolate;

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use self::coordinates::{Coordinates, Rounding, Scale, Transform};
use self::interpolate::{Axis, Interpolation, apply, weights};
use super::attributes::Attributes;
use super::kernel::{Built, Kernel, Operator, Spec};
use super::pick::{FILLING, axis, pick, positions};
use super::settled::{Argument, Settle, optional, required, settled};
use super::values::{room, tensor, values};
use crate::rows::{Inputs, MIXES, Outcome};

const ATTRIBUTES: [&str; 9] = [
    "antialias",
    "axes",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "keep_aspect_ratio_policy",
    "mode",
    "nearest_mode",
];

pub(super) const RESIZE: Operator = Operator { domain: "", name: "Resize", attributes: &ATTRIBUTES, build: resize };

pub(super) const UPSAMPLE: Operator =
    Operator { domain: "", name: "Upsample", attributes: &["mode", "scales"], build: upsample };

fn resize(ctx: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let attributes = Attributes(node);
    let is_first = ctx.onnx_operator_set_version < 11;
    ensure!(attributes.int("antialias").unwrap_or(0) == 0, "attribute 'antialias' is not supported");
    let transform = match attributes.text("coordinate_transformation_mode")? {
        // Before the attribute, it was this one.
        _ if is_first => Transform::Asymmetric,
        None | Some("half_pixel") => Transform::HalfPixel,
        Some("pytorch_half_pixel") => Transform::TorchHalfPixel,
        Some("half_pixel_symmetric") => Transform::HalfPixelSymmetric,
        Some("align_corners") => Transform::AlignCorners,
        Some("asymmetric") => Transform::Asymmetric,
        Some("tf_half_pixel_for_nn") => Transform::HalfPixelForNearest,
        Some("tf_crop_and_resize") => Transform::Crop,
        Some(other) => bail!("coordinate_transformation_mode '{other}' is not known"),
    };
    let rounding = match attributes.text("nearest_mode")? {
        _ if is_first => Rounding::Simple,
        None | Some("round_prefer_floor") => Rounding::PreferFloor,
        Some("round_prefer_ceil") => Rounding::PreferCeil,
        Some("floor") => Rounding::Floor,
        Some("ceil") => Rounding::Ceil,
        Some(other) => bail!("nearest_mode '{other}' is not known"),
    };
    let policy = match attributes.text("keep_aspect_ratio_policy")? {
        None | Some("stretch") => Policy::Stretch,
        Some("not_larger") => Policy::NotLarger,
        Some("not_smaller") => Policy::NotSmaller,
        Some(other) => bail!("keep_aspect_ratio_policy '{other}' is not known"),
    };
    let interpolation = match attributes.text("mode")?.unwrap_or("nearest") {
        "nearest" => Interpolation::Nearest(rounding),
        "linear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic {
            coefficient: attributes.float("cubic_coeff_a").unwrap_or(-0.75),
            exclude_outside: attributes.int("exclude_outside").unwrap_or(0) != 0,
        },
        other => bail!("mode '{other}' is not known"),
    };
    let extrapolation = attributes.float("extrapolation_value").unwrap_or(0.0);
    let axes = attributes.ints("axes").to_vec();
    let slots =
        if is_first { InputSlots { roi: 8, scales: 1, sizes: 8 } } else { InputSlots { roi: 1, scales: 2, sizes: 3 } };
    settled(node, Arc::new(Unsized { interpolation, transform, policy, extrapolation, axes, slots, scales: vec![] }))
}

fn upsample(_: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let attributes = Attributes(node);
    let interpolation = match attributes.text("mode")?.unwrap_or("nearest") {
        "nearest" => Interpolation::Nearest(Rounding::Simple),
        "linear" | "bilinear" => Interpolation::Linear,
        other => bail!("mode '{other}' is not known"),
    };
    settled(
        node,
        Arc::new(Unsized {
            interpolation,
            transform: Transform::Asymmetric,
            policy: Policy::Stretch,
            extrapolation: 0.0,
            axes: vec![],
            slots: InputSlots { roi: 8, scales: 1, sizes: 8 },
            scales: attributes.floats("scales").to_vec(),
        }),
    )
}

/// The treatment of the ratio of sizes that are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// The index of each input.
#[derive(Clone, Copy, Debug)]
struct InputSlots {
    roi: usize,
    scales: usize,
    sizes: usize,
}

/// Before the sizes are known.
#[derive(Debug)]
struct Unsized {
    interpolation: Interpolation,
    transform: Transform,
    policy: Policy,
    extrapolation: f32,
    axes: Vec<i64>,
    slots: InputSlots,
    /// By the attribute of old.
    scales: Vec<f32>,
}

impl Settle for Unsized {
    fn name(&self) -> &'static str {
        "Resize"
    }

    fn needs(&self) -> &'static [usize] {
        &[1, 2, 3]
    }

    fn settle(&self, inputs: &[Option<Argument>]) -> TractResult<Arc<dyn Kernel>> {
        let shape = &required(inputs, 0)?.spec.shape;
        let rank = shape.len();
        let axes: Vec<usize> = match &*self.axes {
            [] => (0..rank).collect(),
            axes => axes.iter().map(|&given| axis(given, rank)).collect::<TractResult<_>>()?,
        };
        let scales = match optional(inputs, self.slots.scales) {
            Some(scales) => scales.singles()?,
            None => self.scales.clone(),
        };
        let mut targets = vec![Target::Same; rank];
        if scales.is_empty() {
            let sizes = required(inputs, self.slots.sizes)?;
            self.by_sizes(shape, &axes, sizes, &mut targets)?;
        } else {
            ensure!(scales.len() == axes.len(), "{} scales for {} axes", scales.len(), axes.len());
            for (&axis, &scale) in axes.iter().zip(&scales) {
                ensure!(scale > 0.0 && scale.is_finite(), "a scale of {scale}");
                targets[axis] = Target::Scale(scale);
            }
        }
        let roi = match optional(inputs, self.slots.roi) {
            Some(roi) if self.transform == Transform::Crop => roi.singles()?,
            _ => vec![],
        };
        let mut regions = vec![(0.0, 1.0); rank];
        if !roi.is_empty() {
            ensure!(roi.len() == 2 * axes.len(), "a region of {} numbers for {} axes", roi.len(), axes.len());
            for (index, &axis) in axes.iter().enumerate() {
                regions[axis] = (roi[index], roi[index + axes.len()]);
            }
        }
        Ok(Arc::new(Resize {
            interpolation: self.interpolation,
            transform: self.transform,
            extrapolation: self.extrapolation,
            targets,
            regions,
        }))
    }
}

impl Unsized {
    fn by_sizes(&self, shape: &[TDim], axes: &[usize], sizes: &Argument, targets: &mut [Target]) -> TractResult<()> {
        let value = sizes.value.as_ref().context("the sizes are not known")?;
        let sizes = value.cast_to::<TDim>()?;
        let sizes = sizes.try_as_plain_ram()?;
        let sizes = sizes.as_slice::<TDim>()?;
        ensure!(sizes.len() == axes.len(), "{} sizes for {} axes", sizes.len(), axes.len());
        if self.policy != Policy::Stretch {
            let pairs = axes.iter().zip(sizes).map(|(&axis, size)| Ok((shape[axis].to_usize()?, size.to_usize()?)));
            let pairs = pairs.collect::<TractResult<Vec<_>>>().context("sizes that keep a ratio have to be known")?;
            let ratios = pairs.iter().map(|&(from, to)| to as f32 / from as f32);
            let ratio = if self.policy == Policy::NotLarger {
                ratios.fold(f32::INFINITY, f32::min)
            } else {
                ratios.fold(0.0, f32::max)
            };
            for (&axis, &(from, _)) in axes.iter().zip(&pairs) {
                targets[axis] = Target::Ratio(ratio, (ratio * from as f32).round() as usize);
            }
            return Ok(());
        }
        for (&axis, size) in axes.iter().zip(sizes) {
            // An axis of any size, the rows for instance, may only stay as it is.
            targets[axis] = match size.to_usize() {
                _ if *size == shape[axis] => Target::Same,
                Ok(size) => Target::Size(size),
                Err(_) => bail!("a size of {size} is not known"),
            };
        }
        Ok(())
    }
}

/// The resized form of an axis.
#[derive(Clone, Copy, Debug)]
enum Target {
    Same,
    Scale(f32),
    Size(usize),
    /// A scale, and the size that it comes to.
    Ratio(f32, usize),
}

impl Target {
    fn size(self, from: usize) -> usize {
        match self {
            Self::Same => from,
            Self::Scale(scale) => (from as f32 * scale).floor() as usize,
            Self::Size(size) | Self::Ratio(_, size) => size,
        }
    }

    fn scale(self, from: usize) -> f32 {
        match self {
            Self::Same => 1.0,
            Self::Scale(scale) | Self::Ratio(scale, _) => scale,
            Self::Size(size) => size as f32 / from as f32,
        }
    }

    /// Whether it leaves each value where it is.
    fn is_same(self) -> bool {
        match self {
            Self::Same => true,
            Self::Scale(scale) => scale.to_bits() == 1.0f32.to_bits(),
            Self::Size(_) | Self::Ratio(..) => false,
        }
    }
}

#[derive(Debug)]
struct Resize {
    interpolation: Interpolation,
    transform: Transform,
    extrapolation: f32,
    targets: Vec<Target>,
    /// Start and end of what is cropped, as parts of each axis.
    regions: Vec<(f32, f32)>,
}

impl Kernel for Resize {
    fn name(&self) -> &'static str {
        "Resize"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let data = inputs.first().context("an input is missing")?;
        ensure!(data.datum.is_number(), "values of type {:?} are not supported", data.datum);
        let sizes = data.shape.iter().zip(&self.targets).map(|(dim, &target)| match dim.to_usize() {
            _ if target.is_same() => Ok(dim.clone()),
            Ok(size) => Ok(target.size(size).to_dim()),
            Err(_) => match target {
                Target::Scale(scale) if scale.fract().to_bits() == 0 => Ok(dim.clone() * scale as i64),
                Target::Size(size) | Target::Ratio(_, size) => Ok(size.to_dim()),
                _ => bail!("an axis of any size times {target:?}"),
            },
        });
        Ok(tvec!(Spec { datum: data.datum, shape: sizes.collect::<TractResult<_>>()? }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.except(|axis| !self.targets.get(axis).is_some_and(|target| target.is_same()), MIXES)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let data = inputs.first().context("an input is missing")?;
        let shape: TVec<usize> = data.shape().iter().zip(&self.targets).map(|(&from, to)| to.size(from)).collect();
        shape.iter().try_fold(1, |all, &size| room(all, size))?;
        if shape.contains(&0) {
            return Ok(tvec!(Tensor::zero_dt(data.datum_type(), &shape)?.into()));
        }
        ensure!(!data.shape().contains(&0), "nothing to interpolate between: a dimension is empty");
        let coordinates = (0..data.rank()).map(|axis| self.coordinates(axis, data.shape()[axis], shape[axis]));
        let coordinates: Vec<Option<Coordinates>> = coordinates.collect();
        if let Interpolation::Nearest(rounding) = self.interpolation {
            return Ok(tvec!(self.nearest(data, rounding, &coordinates, &shape)?));
        }
        Ok(tvec!(if data.datum_type() == f64::datum_type() {
            self.interpolated::<f64>(data, &coordinates, &shape)?
        } else {
            self.interpolated::<f32>(data, &coordinates, &shape)?
        }))
    }
}

impl Resize {
    /// Where each index of an axis comes from; `None` where the axis stays as it is.
    fn coordinates(&self, axis: usize, from: usize, to: usize) -> Option<Coordinates> {
        let target = self.targets[axis];
        // Even where a region is given, as in ONNX Runtime.
        if target.is_same() || from == to && target.scale(from).to_bits() == 1.0f32.to_bits() {
            return None;
        }
        let scale = Scale { from, to, scale: target.scale(from), region: self.regions[axis] };
        Some(Coordinates::new(self.transform, scale))
    }

    fn nearest(
        &self,
        data: &Tensor,
        rounding: Rounding,
        coordinates: &[Option<Coordinates>],
        shape: &[usize],
    ) -> TractResult<TValue> {
        let along = coordinates.iter().zip(data.shape()).map(|(coordinates, &size)| match coordinates {
            None => (0..size).collect(),
            Some(coordinates) => coordinates.nearest(rounding, self.transform == Transform::Crop),
        });
        let along: Vec<Vec<usize>> = along.collect();
        let filling = tensor0(self.extrapolation).cast_to_dt(data.datum_type())?.into_owned();
        pick(data, &positions(data.shape(), &along), 1, Some(&filling), shape)
    }

    fn interpolated<T: interpolate::Real>(
        &self,
        data: &Tensor,
        coordinates: &[Option<Coordinates>],
        shape: &[usize],
    ) -> TractResult<TValue> {
        let mut now: TVec<usize> = data.shape().into();
        let mut all = values::<T>(data)?.into_owned();
        for (axis, coordinates) in coordinates.iter().enumerate() {
            let Some(coordinates) = coordinates else { continue };
            let outer = now[..axis].iter().product();
            let inner = now[axis + 1..].iter().product();
            let weights = weights(self.interpolation, coordinates);
            all = apply(&all, Axis { outer, from: now[axis], inner }, &weights);
            now[axis] = shape[axis];
        }
        if self.transform == Transform::Crop {
            let outside = |(coordinates, &size): (&Option<Coordinates>, &usize)| match coordinates {
                None => vec![0; size],
                Some(coordinates) => coordinates.outside(FILLING),
            };
            let along: Vec<Vec<usize>> = coordinates.iter().zip(shape).map(outside).collect();
            for (value, position) in all.iter_mut().zip(positions(shape, &along)) {
                if position == FILLING {
                    *value = T::from_f32(self.extrapolation);
                }
            }
        }
        let wanted = data.datum_type();
        let result = tensor(shape, all)?;
        // Whole numbers lose what is behind the point.
        Ok(if wanted == T::datum_type() { result } else { result.cast_to_dt(wanted)?.into_owned().into() })
    }
}
