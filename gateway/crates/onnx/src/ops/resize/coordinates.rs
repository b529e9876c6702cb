//! Where along an axis each index of a resized axis lies.

/// The way from indices of the result to coordinates of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    HalfPixel,
    TorchHalfPixel,
    HalfPixelSymmetric,
    HalfPixelForNearest,
    AlignCorners,
    Asymmetric,
    Crop,
}

/// The way from coordinates to indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
    /// As before opset 11: down where the axis grows, up where it shrinks.
    Simple,
}

/// The sizes of an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) from: usize,
    pub(super) to: usize,
    /// As it was given; not always the ratio of the sizes.
    pub(super) scale: f32,
    /// The cropped part, as parts of the axis.
    pub(super) region: (f32, f32),
}

/// The coordinates of an axis.
#[derive(Debug)]
pub(super) struct Coordinates {
    pub(super) scale: Scale,
    pub(super) values: Vec<f32>,
}

impl Coordinates {
    pub(super) fn new(transform: Transform, scale: Scale) -> Self {
        let values = (0..scale.to).map(|index| coordinate(transform, scale, index as f32)).collect();
        Self { scale, values }
    }

    fn is_outside(&self, value: f32) -> bool {
        value < 0.0 || value > (self.scale.from - 1) as f32
    }

    /// The nearest index of each; `usize::MAX` for what lies outside, if that is to be told.
    pub(super) fn nearest(&self, rounding: Rounding, tells_outside: bool) -> Vec<usize> {
        let last = (self.scale.from - 1) as f32;
        let nearest = |&value: &f32| {
            if tells_outside && self.is_outside(value) {
                return usize::MAX;
            }
            let rounded = match rounding {
                Rounding::PreferFloor if is_half(value) => value.floor(),
                Rounding::PreferFloor | Rounding::PreferCeil => (value + 0.5).floor(),
                Rounding::Floor => value.floor(),
                Rounding::Ceil => value.ceil(),
                Rounding::Simple if self.scale.scale < 1.0 => value.ceil(),
                Rounding::Simple => value.trunc(),
            };
            rounded.clamp(0.0, last) as usize
        };
        self.values.iter().map(nearest).collect()
    }

    /// For each index 0, or `mark` where it lies outside.
    pub(super) fn outside(&self, mark: usize) -> Vec<usize> {
        self.values.iter().map(|&value| if self.is_outside(value) { mark } else { 0 }).collect()
    }
}

fn is_half(value: f32) -> bool {
    (value - value.floor()).to_bits() == 0.5f32.to_bits()
}

fn coordinate(transform: Transform, Scale { from, to, scale, region: (start, end) }: Scale, index: f32) -> f32 {
    let (from, to) = (from as f32, to as f32);
    match transform {
        Transform::HalfPixel => (index + 0.5) / scale - 0.5,
        Transform::TorchHalfPixel if to > 1.0 => (index + 0.5) / scale - 0.5,
        Transform::HalfPixelSymmetric => {
            let adjustment = to / (scale * from);
            from / 2.0 * (1.0 - adjustment) + (index + 0.5) / scale - 0.5
        }
        Transform::HalfPixelForNearest => (index + 0.5) / scale,
        Transform::AlignCorners if to > 1.0 => index * (from - 1.0) / (to - 1.0),
        Transform::TorchHalfPixel | Transform::AlignCorners => 0.0,
        Transform::Asymmetric => index / scale,
        Transform::Crop if to > 1.0 => start * (from - 1.0) + index * (end - start) * (from - 1.0) / (to - 1.0),
        Transform::Crop => 0.5 * (start + end) * (from - 1.0),
    }
}
