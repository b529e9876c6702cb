//! The values that leaves add to a row's sums.

use crate::layout::Value;

/// The type of sums and leaf values.
pub(crate) trait Sum: Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// One more.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// The product with a feature's value.
    #[must_use]
    fn times(self, value: f64) -> Self;
}

impl Sum for f32 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline]
    fn times(self, value: f64) -> Self {
        self * value as Self
    }
}

impl Sum for f64 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline]
    fn times(self, value: f64) -> Self {
        self * value
    }
}

/// The values that leaves add, by their numbers.
#[derive(Clone, Debug)]
pub(crate) enum Leaves<V> {
    /// A value for the score of the leaf's tree.
    Scalar(Vec<V>),
    /// A value for each score.
    Vector(Vec<V>),
    /// A linear function of the row, for the score of the leaf's tree.
    Linear(Vec<LinearLeaf<V>>),
}

/// A leaf of LightGBM's linear trees.
#[derive(Clone, Debug)]
pub(crate) struct LinearLeaf<V> {
    /// The value where a feature is missing.
    pub(crate) value: V,
    /// The value where all features are 0.
    pub(crate) constant: V,
    /// (feature, coefficient), added in this order.
    pub(crate) terms: Vec<(u32, V)>,
}

impl<V: Sum> LinearLeaf<V> {
    /// Only LightGBM has them, so sums and features are doubles.
    pub(crate) fn value<T: Value>(&self, row: &[T]) -> V {
        let mut sum = self.constant;
        for &(feature, coefficient) in &self.terms {
            let value = row[feature as usize].double();
            if value.is_nan() {
                return self.value;
            }
            sum = sum.plus(coefficient.times(value));
        }
        sum
    }
}
