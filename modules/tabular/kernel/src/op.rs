//! The operations on the numbers of a lane, with scikit-learn's own formulas in its own order of operations.

use crate::table::Numbers;

/// A value that no category of the table stands for, where such values are refused.
#[derive(Debug)]
pub struct Unknown;

/// One operation on numbers.
#[derive(Clone, Debug)]
pub enum Op {
    /// Toward zero. NaN stays NaN.
    Truncate,
    /// Round to single precision.
    Single,
    /// Put this where one is missing.
    Fill(f64),
    /// 1 where one is missing, else 0.
    Missing,
    /// `x - center`
    Subtract(f64),
    /// `x / scale`
    Divide(f64),
    /// `(x - center) / scale`
    Standard {
        /// The subtrahend.
        center: f64,
        /// The divisor.
        scale: f64,
    },
    /// `x * scale + min`
    MinMax {
        /// The factor.
        scale: f64,
        /// The summand.
        min: f64,
    },
    /// Not below the first, not above the second.
    Clamp(f64, f64),
    /// The place of a category, or of its one-hot column.
    Find(Numbers),
}

impl Op {
    pub(crate) fn apply(&self, values: &mut [f64]) -> Result<(), Unknown> {
        // A match outside the loops: each loop is then short enough to be made into vector instructions.
        match self {
            // The sum turns -0 into 0, as a cast to an integer and back does.
            Self::Truncate => each(values, |x| x.trunc() + 0.0),
            Self::Single => each(values, |x| f64::from(x as f32)),
            Self::Fill(value) => each(values, |x| if x.is_nan() { *value } else { x }),
            Self::Missing => each(values, |x| if x.is_nan() { 1.0 } else { 0.0 }),
            Self::Subtract(center) => each(values, |x| x - center),
            Self::Divide(scale) => each(values, |x| x / scale),
            Self::Standard { center, scale } => each(values, |x| (x - center) / scale),
            Self::MinMax { scale, min } => each(values, |x| x * scale + min),
            Self::Clamp(low, high) => each(values, |x| x.clamp(*low, *high)),
            Self::Find(table) => {
                for value in values {
                    *value = table.find(*value)?;
                }
            }
        }
        Ok(())
    }
}

#[inline]
fn each(values: &mut [f64], one: impl Fn(f64) -> f64) {
    for value in values {
        *value = one(*value);
    }
}
