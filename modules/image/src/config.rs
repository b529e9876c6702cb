//! The configuration as it stands in the file.

use image_codec::Filter;
use modelgate_module::{Datatype, Error};
use serde::Deserialize;

/// Pixels of a picture, before it is resized, unless configured.
const MAX_PIXELS: u64 = 32 << 20;

/// The longest side that may be configured.
const LONGEST: usize = 16_384;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The name of the column of files.
    pub(crate) input: String,
    /// The output's name where the bundle has no model; else it is the model's.
    pub(crate) output: String,
    /// Whether pictures are turned upright, as EXIF says.
    pub(crate) orient: bool,
    pub(crate) color: Color,
    pub(crate) resize: Option<Resize>,
    pub(crate) crop: Option<Crop>,
    pub(crate) pad: Option<Pad>,
    /// The order of the output's dimensions; by itself the model's.
    pub(crate) layout: Option<Layout>,
    /// The output's type where the bundle has no model; else it is the model's.
    pub(crate) dtype: Dtype,
    /// The factor of a sample; 1/255 by itself.
    pub(crate) scale: Option<f64>,
    /// Taken off, for each channel of the output or for all.
    pub(crate) mean: Vec<f32>,
    /// Divides then, for each channel of the output or for all.
    pub(crate) std: Vec<f32>,
    pub(crate) max_pixels: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            input: "image".into(),
            output: "pixels".into(),
            orient: false,
            color: Color::Rgb,
            resize: None,
            crop: None,
            pad: None,
            layout: None,
            dtype: Dtype::F32,
            scale: None,
            mean: Vec::new(),
            std: Vec::new(),
            max_pixels: MAX_PIXELS,
        }
    }
}

/// The channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Color {
    Rgb,
    Bgr,
    Gray,
}

impl Color {
    pub(crate) fn channels(self) -> usize {
        if self == Self::Gray { 1 } else { 3 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dtype {
    F32,
    U8,
}

impl Dtype {
    pub(crate) fn datatype(self) -> Datatype {
        match self {
            Self::F32 => Datatype::F32,
            Self::U8 => Datatype::U8,
        }
    }
}

/// The size before cropping: one of three.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resize {
    width: Option<usize>,
    height: Option<usize>,
    /// The shorter side; the longer one keeps the proportions.
    shortest: Option<usize>,
    /// Width and height that the picture fits into, with its proportions.
    fit: Option<[usize; 2]>,
    #[serde(default)]
    pub(crate) filter: Kind,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Nearest,
    Box,
    #[default]
    Bilinear,
    Bicubic,
    Lanczos,
}

impl From<Kind> for Filter {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Nearest => Self::Nearest,
            Kind::Box => Self::Box,
            Kind::Bilinear => Self::Bilinear,
            Kind::Bicubic => Self::Bicubic,
            Kind::Lanczos => Self::Lanczos,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Crop {
    /// Width and height.
    pub(crate) center: [usize; 2],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pad {
    /// Width and height.
    pub(crate) to: [usize; 2],
    /// The sample of all channels.
    #[serde(default)]
    pub(crate) value: u8,
    #[serde(default)]
    pub(crate) at: At,
}

/// The place of a picture in a larger one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum At {
    #[default]
    Center,
    TopLeft,
}

impl Resize {
    /// To the model's own size.
    pub(crate) fn to(width: usize, height: usize) -> Self {
        Self { width: Some(width), height: Some(height), ..Self::default() }
    }

    /// The size of a picture of this width and height.
    #[expect(clippy::cast_sign_loss, reason = "no side is below 0")]
    pub(crate) fn size(&self, width: usize, height: usize) -> (usize, usize) {
        if let Some(short) = self.shortest {
            // As torchvision rounds it: down.
            let long = |long: usize, side: usize| (short as u64 * long as u64 / side as u64) as usize;
            return if width <= height { (short, long(height, width)) } else { (long(width, height), short) };
        }
        if let Some([wide, high]) = self.fit {
            let scale = (wide as f64 / width as f64).min(high as f64 / height as f64);
            let side = |side: usize| ((side as f64 * scale).round_ties_even() as usize).max(1);
            return (side(width), side(height));
        }
        (self.width.unwrap_or(width), self.height.unwrap_or(height))
    }

    fn is_one_of_three(&self) -> bool {
        let by_sides = self.width.is_some() || self.height.is_some();
        let count = usize::from(by_sides) + usize::from(self.shortest.is_some()) + usize::from(self.fit.is_some());
        count == 1 && self.width.is_some() == self.height.is_some()
    }

    fn sides(&self) -> impl Iterator<Item = usize> {
        let fit = self.fit.into_iter().flatten();
        [self.width, self.height, self.shortest].into_iter().flatten().chain(fit)
    }
}

impl Config {
    /// Fails with what is wrong with the values.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::internal(format!("configuration: {message}")));
        if self.resize.as_ref().is_some_and(|resize| !resize.is_one_of_three()) {
            return refuse("`resize`: expected `width` and `height`, or `shortest`, or `fit`".into());
        }
        let sides = self.resize.iter().flat_map(Resize::sides);
        let sides = sides.chain(self.crop.iter().flat_map(|crop| crop.center));
        let sides = sides.chain(self.pad.iter().flat_map(|pad| pad.to));
        if let Some(side) = sides.into_iter().find(|side| !(1..=LONGEST).contains(side)) {
            return refuse(format!("expected sides of 1 to {LONGEST} pixels, got {side}"));
        }
        let channels = self.color.channels();
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if !(values.len() <= 1 || values.len() == channels) {
                return refuse(format!("`{name}`: expected 1 or {channels} numbers, got {}", values.len()));
            }
        }
        if self.std.contains(&0.0) {
            return refuse("`std`: nothing is divided by 0".into());
        }
        Ok(())
    }
}
