//! Pictures of other sizes, as Pillow's `Image.resize` makes them.
//!
//! A sample is a weighted sum of samples around its place: first along rows, then along columns, with 8 bits between. A filter
//! is stretched where the picture shrinks, so that every sample has its part (antialiasing). Weights have 22 fractional bits.

#![expect(clippy::cast_sign_loss, reason = "places are clamped to those of the picture, sums to samples")]

use crate::{Picture, Refusal, memory::zeros};

/// Fractional bits of a weight: a sum of products with 8-bit samples stays within 32 bits, overshoot of a filter included.
const BITS: u32 = 22;

/// The way in which samples are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The nearest sample alone.
    Nearest,
    /// All within half a sample, alike.
    Box,
    /// Linear to nothing at the distance of one sample.
    Bilinear,
    /// Keys' cubic with a = -0.5, within two samples.
    Bicubic,
    /// A sinc, windowed by a wider one, within three samples.
    Lanczos,
}

impl Filter {
    /// The distance, in samples, from which on all have no weight.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at a distance.
    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Nearest => 1.0,
            // The half on the left is open.
            Self::Box => f64::from(u8::from(distance > -0.5 && distance <= 0.5)),
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Self::Lanczos if x < 3.0 => sinc(distance) * sinc(distance / 3.0),
            Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// A picture of another size.
///
/// # Errors
/// [`Refusal::NoMemory`].
pub fn resize(picture: Picture, width: usize, height: usize, filter: Filter) -> Result<Picture, Refusal> {
    if width == 0 || height == 0 {
        return Err(Refusal::file(format!("a picture of {width} x {height} has no pixels")));
    }
    if filter == Filter::Nearest {
        return nearest(&picture, width, height);
    }
    let along_rows = (width != picture.width).then(|| Weights::new(picture.width, width, filter)).transpose()?;
    let along_columns = (height != picture.height).then(|| Weights::new(picture.height, height, filter)).transpose()?;
    let wide = match along_rows {
        Some(weights) if picture.channels == 3 => rows::<3>(&picture, &weights)?,
        Some(weights) => rows::<1>(&picture, &weights)?,
        None => picture,
    };
    match along_columns {
        Some(weights) => columns(&wide, &weights),
        None => Ok(wide),
    }
}

/// The weights of the samples that one sample is made of, for each of a row or a column.
#[derive(Debug)]
struct Weights {
    /// For each sample, the first that it is made of, and the end of its weights.
    spans: Vec<(usize, usize)>,
    weights: Vec<i32>,
}

impl Weights {
    fn new(from: usize, to: usize, filter: Filter) -> Result<Self, Refusal> {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let most = (support.ceil() as usize).saturating_mul(2).saturating_add(1).min(from);
        let mut weights: Vec<i32> = Vec::new();
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let bytes = to.saturating_mul(most.saturating_mul(size_of::<i32>()) + size_of::<(usize, usize)>());
        let no_memory = |_| Refusal::NoMemory { bytes };
        weights.try_reserve_exact(to.saturating_mul(most)).map_err(no_memory)?;
        spans.try_reserve_exact(to).map_err(no_memory)?;
        let mut exact = Vec::with_capacity(most);
        for place in 0..to {
            let centre = (place as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            exact.clear();
            exact.extend((first..end).map(|at| filter.weight((at as f64 - centre + 0.5) * (1.0 / stretch))));
            let sum: f64 = exact.iter().sum();
            weights.extend(exact.iter().map(|weight| {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                // To the nearest, halves away from 0.
                (weight * f64::from(1 << BITS)).round() as i32
            }));
            spans.push((first, weights.len()));
        }
        Ok(Self { spans, weights })
    }

    /// For each sample, the first that it is made of, and their weights.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let mut start = 0;
        self.spans.iter().map(move |&(first, end)| {
            let weights = &self.weights[start..end];
            start = end;
            (first, weights)
        })
    }
}

/// The sum of samples and weights as a sample.
#[inline]
fn sample(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// Half of the lowest bit that is kept.
const HALF: i32 = 1 << (BITS - 1);

/// Along rows.
fn rows<const CHANNELS: usize>(picture: &Picture, weights: &Weights) -> Result<Picture, Refusal> {
    let width = weights.spans.len();
    let mut made = Picture::black(width, picture.height, CHANNELS)?;
    for (to, from) in made.samples.chunks_exact_mut(width * CHANNELS).zip(picture.rows()) {
        let from = from.as_chunks::<CHANNELS>().0;
        for (pixel, (first, weights)) in to.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(weights.iter()) {
            let mut sums = [HALF; CHANNELS];
            for (pixel, weight) in from[first..].iter().zip(weights) {
                for (sum, sample) in sums.iter_mut().zip(pixel) {
                    *sum = sum.wrapping_add(i32::from(*sample).wrapping_mul(*weight));
                }
            }
            *pixel = sums.map(sample);
        }
    }
    Ok(made)
}

/// Along columns.
fn columns(picture: &Picture, weights: &Weights) -> Result<Picture, Refusal> {
    let stride = picture.width * picture.channels;
    let mut made = Picture::black(picture.width, weights.spans.len(), picture.channels)?;
    let mut sums = zeros::<i32>(stride)?;
    for (to, (first, weights)) in made.samples.chunks_exact_mut(stride).zip(weights.iter()) {
        sums.fill(HALF);
        for (from, weight) in picture.samples[first * stride..].chunks_exact(stride).zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(from) {
                *sum = sum.wrapping_add(i32::from(*sample).wrapping_mul(*weight));
            }
        }
        to.iter_mut().zip(&sums).for_each(|(to, sum)| *to = sample(*sum));
    }
    Ok(made)
}

/// The nearest sample of each.
fn nearest(picture: &Picture, width: usize, height: usize) -> Result<Picture, Refusal> {
    // Pillow adds up the steps, and their rounding.
    let places = |from: usize, to: usize| {
        let step = from as f64 / to as f64;
        std::iter::successors(Some(step * 0.5), move |place| Some(place + step))
            .map(move |place| (place as usize).min(from - 1))
            .take(to)
    };
    let channels = picture.channels;
    let mut made = Picture::black(width, height, channels)?;
    let rows = made.samples.chunks_exact_mut(width * channels);
    for (to, y) in rows.zip(places(picture.height, height)) {
        let from = &picture.samples[y * picture.width * channels..][..picture.width * channels];
        for (pixel, x) in to.chunks_exact_mut(channels).zip(places(picture.width, width)) {
            pixel.copy_from_slice(&from[x * channels..][..channels]);
        }
    }
    Ok(made)
}
