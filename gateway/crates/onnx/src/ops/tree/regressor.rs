//! The regressor as a plain struct, usable without a graph around it.

use super::super::post::PostTransform;
use super::forest::Forest;
use super::layout::Scalar;
use super::spec::{Spec, TreeError};

/// The way in which the votes of all trees for a target become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the ONNX operator")]
pub enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// The way from an ensemble's votes to values.
#[derive(Clone, Debug)]
pub struct Target {
    /// Over all trees.
    pub aggregate: Aggregate,
    /// Added to each target in the end; empty for none.
    pub base: Vec<f64>,
    /// Applied last.
    pub post: PostTransform,
}

/// A forest that gives a value for each target, from feature values of type `T`.
#[derive(Clone, Debug)]
pub struct Regressor<T: Scalar> {
    forest: Forest<T>,
    target: Target,
    /// The factor of sums.
    scale: f64,
}

impl<T: Scalar> Regressor<T> {
    /// Packs a checked ensemble.
    pub fn new(spec: &Spec, target: Target) -> Result<Self, TreeError> {
        let (found, expected) = (target.base.len(), spec.classes);
        if ![0, expected].contains(&found) {
            return Err(TreeError::Length { name: "base_values", found, expected });
        }
        let forest = match target.aggregate {
            Aggregate::Sum | Aggregate::Average => Forest::new(spec)?,
            Aggregate::Min => Forest::extreme(spec, false)?,
            Aggregate::Max => Forest::extreme(spec, true)?,
        };
        let scale = if target.aggregate == Aggregate::Average { 1.0 / spec.trees.len() as f64 } else { 1.0 };
        Ok(Self { forest, target, scale })
    }

    /// The trees.
    pub fn forest(&self) -> &Forest<T> {
        &self.forest
    }

    /// Hands each row's values to `each(row, values)`.
    ///
    /// `rows` holds rows of `width` values, at least [`Forest::features`].
    pub fn predict(&self, rows: &[T], width: usize, mut each: impl FnMut(usize, &[f64])) {
        let mut values = vec![0.0; self.forest.classes()];
        let mut scores = vec![0.0; self.forest.classes()];
        self.forest.sum(rows, width, |row, sums| {
            let base = self.target.base.iter().copied().chain(std::iter::repeat(0.0));
            for ((value, &sum), base) in values.iter_mut().zip(sums).zip(base) {
                *value = sum * self.scale + base;
            }
            if self.target.post != PostTransform::None {
                scores.iter_mut().zip(&values).for_each(|(score, &value)| *score = value as f32);
                self.target.post.apply(&mut scores);
                values.iter_mut().zip(&scores).for_each(|(value, &score)| *value = score.into());
            }
            each(row, &values);
        });
    }
}
