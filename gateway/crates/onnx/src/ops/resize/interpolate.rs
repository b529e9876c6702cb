//! Sums of neighbours along an axis.

use tract_onnx::tract_hir::internal::*;

use super::coordinates::{Coordinates, Rounding};

/// The function between values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Interpolation {
    Nearest(Rounding),
    Linear,
    Cubic { coefficient: f32, exclude_outside: bool },
}

/// The type that values are summed in.
pub(super) trait Real: Datum + Copy + tract_num_traits::Float {
    fn from_f32(value: f32) -> Self;
}

impl Real for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Real for f64 {
    fn from_f32(value: f32) -> Self {
        value.into()
    }
}

/// The neighbours of one index and their weights.
pub(super) type Neighbours = Vec<(usize, f32)>;

/// The neighbours of each index.
pub(super) fn weights(interpolation: Interpolation, coordinates: &Coordinates) -> Vec<Neighbours> {
    let size = coordinates.scale.from;
    let taps = |&value: &f32| match interpolation {
        Interpolation::Cubic { coefficient, exclude_outside } => cubic(value, size, coefficient, exclude_outside),
        Interpolation::Linear | Interpolation::Nearest(_) => linear(value, size),
    };
    coordinates.values.iter().map(taps).collect()
}

fn linear(value: f32, size: usize) -> Neighbours {
    let value = value.clamp(0.0, (size - 1) as f32);
    let first = (value as usize).min(size - 1);
    let second = (first + 1).min(size - 1);
    if first == second {
        return vec![(first, 1.0)];
    }
    let part = value - first as f32;
    vec![(first, 1.0 - part), (second, part)]
}

fn cubic(value: f32, size: usize, a: f32, exclude_outside: bool) -> Neighbours {
    let first = value.floor();
    let part = value - first;
    let near = |x: f32| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    let weights = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
    let indices = [-1, 0, 1, 2].map(|step| first as i64 + step);
    let inside = |index: i64| (0..size as i64).contains(&index);
    let pairs = indices.into_iter().zip(weights);
    if !exclude_outside {
        return pairs.map(|(index, weight)| (index.clamp(0, size as i64 - 1) as usize, weight)).collect();
    }
    let kept: Vec<(i64, f32)> = pairs.filter(|&(index, _)| inside(index)).collect();
    let sum: f32 = kept.iter().map(|&(_, weight)| weight).sum();
    kept.into_iter().map(|(index, weight)| (index as usize, weight / sum)).collect()
}

/// A tensor as one axis sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) outer: usize,
    pub(super) from: usize,
    pub(super) inner: usize,
}

/// The sums along an axis.
pub(super) fn apply<T: Real>(all: &[T], Axis { outer, from, inner }: Axis, weights: &[Neighbours]) -> Vec<T> {
    let mut out = vec![T::zero(); outer * weights.len() * inner];
    for (outer, out) in out.chunks_exact_mut((weights.len() * inner).max(1)).enumerate() {
        let all = &all[outer * from * inner..][..from * inner];
        for (out, neighbours) in out.chunks_exact_mut(inner.max(1)).zip(weights) {
            for &(index, weight) in neighbours {
                for (out, &value) in out.iter_mut().zip(&all[index * inner..][..inner]) {
                    *out = *out + T::from_f32(weight) * value;
                }
            }
        }
    }
    out
}
