//! The mean and the spread of a row.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Sub};

use tract_onnx::tract_hir::internal::*;

/// Singles or doubles.
pub(super) trait Float:
    Datum
    + Copy
    + PartialEq
    + From<f32>
    + AddAssign
    + MulAssign
    + Add<Output = Self>
    + Div<Output = Self>
    + Mul<Output = Self>
    + Sub<Output = Self>
{
    /// The mean of a row, and the mean of the squares of what it differs from `from`.
    fn mean(row: &[Self]) -> Self;
    fn variance(row: &[Self], from: Self) -> Self;
    fn inverse_root(self, epsilon: Self) -> Self;
    fn root(self) -> Self;
    fn size(self) -> Self;
    fn zero() -> Self;
}

/// Sums in lanes, so that vectors are used; which value is in which lane depends on its place in the row alone.
const LANES: usize = 8;

macro_rules! floats {
    ($($float:ident)*) => { $(
        impl Float for $float {
            fn mean(row: &[Self]) -> Self {
                let (chunks, rest) = row.as_chunks::<LANES>();
                let mut lanes: [Self; LANES] = [0.0; LANES];
                for chunk in chunks {
                    lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += value);
                }
                (lanes.iter().sum::<Self>() + rest.iter().sum::<Self>()) / row.len() as Self
            }

            fn variance(row: &[Self], from: Self) -> Self {
                let (chunks, rest) = row.as_chunks::<LANES>();
                let mut lanes: [Self; LANES] = [0.0; LANES];
                for chunk in chunks {
                    lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane += (value - from) * (value - from));
                }
                let rest: Self = rest.iter().map(|&value| (value - from) * (value - from)).sum();
                (lanes.iter().sum::<Self>() + rest) / row.len() as Self
            }

            fn inverse_root(self, epsilon: Self) -> Self {
                1.0 / (self + epsilon).sqrt()
            }

            fn root(self) -> Self {
                self.sqrt()
            }

            fn size(self) -> Self {
                self.abs()
            }

            fn zero() -> Self {
                0.0
            }
        }
    )* };
}
floats!(f32 f64);

/// Takes the mean out of a row, if wanted, and divides by the spread; tells the mean and the inverse of the spread.
pub(super) fn normalise<T: Float>(row: &mut [T], centred: bool, epsilon: T) -> (T, T) {
    let mean = if centred { T::mean(row) } else { T::zero() };
    let inverse = T::variance(row, mean).inverse_root(epsilon);
    for value in row {
        *value = *value - mean;
        *value *= inverse;
    }
    (mean, inverse)
}
