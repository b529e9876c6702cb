//! The classifier as a plain struct, usable without a graph around it.

use std::sync::Arc;

use super::super::labels::Labels;
use super::forest::Forest;
use super::layout::Scalar;
use super::score::Scoring;
use super::spec::{Spec, TreeError};

/// A forest that names a class and its scores, from feature values of type `T`.
#[derive(Clone, Debug)]
pub struct Classifier<T: Scalar> {
    forest: Forest<T>,
    scoring: Scoring,
    labels: Arc<Labels>,
}

impl<T: Scalar> Classifier<T> {
    /// Packs a checked ensemble.
    pub fn new(spec: &Spec, scoring: Scoring, labels: Arc<Labels>) -> Result<Self, TreeError> {
        Ok(Self { forest: Forest::new(spec)?, scoring, labels })
    }

    /// The trees.
    pub fn forest(&self) -> &Forest<T> {
        &self.forest
    }

    /// The classes, in the order of their scores.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Hands the place of each row's class to `each(row, class)`, and writes the scores of all classes for each row.
    ///
    /// `rows` holds rows of `width` values, at least [`Forest::features`]; `scores` has room for each class of each row.
    pub fn predict(&self, rows: &[T], width: usize, scores: &mut [f32], mut each: impl FnMut(usize, usize)) {
        let classes = self.forest.classes();
        self.forest.sum(rows, width, |row, sums| {
            if let Some(scores) = scores.get_mut(row * classes..(row + 1) * classes) {
                each(row, self.scoring.finish::<T>(sums, scores));
            }
        });
    }
}
