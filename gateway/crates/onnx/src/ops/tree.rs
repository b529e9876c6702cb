//! Tree ensembles: `TreeEnsembleClassifier`, `TreeEnsembleRegressor` and `TreeEnsemble` of `ai.onnx.ml`.
//!
//! tract's own operator walks the leaf table for each leaf (100 ms a row for a forest that takes 1 µs here), and is wrong
//! on binary forests and some branch modes. The parts can be used by themselves: [`spec`] checks what a file says,
//! [`classifier`] and [`regressor`] answer.

pub mod arrays;
mod attributes;
pub mod classifier;
mod ensemble;
pub mod forest;
mod kernel;
mod layout;
pub mod mode;
pub mod regressor;
mod score;
pub mod spec;
#[cfg(test)]
mod tests;
mod traverse;

use std::sync::Arc;

use self::kernel::{Answer, Unpacked};
pub use self::layout::Scalar;
pub use self::score::Scoring;
use super::attributes::Attributes;
use super::kernel::{ML, Operator, built};

pub(super) const CLASSIFIER: Operator = Operator {
    domain: ML,
    name: "TreeEnsembleClassifier",
    attributes: &[
        "base_values",
        "base_values_as_tensor",
        "class_ids",
        "class_nodeids",
        "class_treeids",
        "class_weights",
        "class_weights_as_tensor",
        "classlabels_int64s",
        "classlabels_strings",
        "nodes_falsenodeids",
        "nodes_featureids",
        "nodes_hitrates",
        "nodes_hitrates_as_tensor",
        "nodes_missing_value_tracks_true",
        "nodes_modes",
        "nodes_nodeids",
        "nodes_treeids",
        "nodes_truenodeids",
        "nodes_values",
        "nodes_values_as_tensor",
        "post_transform",
    ],
    build: |ctx, node| {
        let (spec, scoring, labels) = attributes::classifier(ctx, Attributes(node))?;
        let answer = Answer::Classes(scoring, Arc::new(labels));
        built(node, Arc::new(Unpacked::new("TreeEnsembleClassifier", spec, answer)))
    },
};

pub(super) const REGRESSOR: Operator = Operator {
    domain: ML,
    name: "TreeEnsembleRegressor",
    attributes: &[
        "aggregate_function",
        "base_values",
        "base_values_as_tensor",
        "n_targets",
        "nodes_falsenodeids",
        "nodes_featureids",
        "nodes_hitrates",
        "nodes_hitrates_as_tensor",
        "nodes_missing_value_tracks_true",
        "nodes_modes",
        "nodes_nodeids",
        "nodes_treeids",
        "nodes_truenodeids",
        "nodes_values",
        "nodes_values_as_tensor",
        "post_transform",
        "target_ids",
        "target_nodeids",
        "target_treeids",
        "target_weights",
        "target_weights_as_tensor",
    ],
    build: |ctx, node| {
        let (spec, target) = attributes::regressor(ctx, Attributes(node))?;
        built(node, Arc::new(Unpacked::new("TreeEnsembleRegressor", spec, Answer::Targets(target, false))))
    },
};

pub(super) const ENSEMBLE: Operator = Operator {
    domain: ML,
    name: "TreeEnsemble",
    attributes: &[
        "aggregate_function",
        "leaf_targetids",
        "leaf_weights",
        "membership_values",
        "n_targets",
        "nodes_falseleafs",
        "nodes_falsenodeids",
        "nodes_featureids",
        "nodes_hitrates",
        "nodes_missing_value_tracks_true",
        "nodes_modes",
        "nodes_splits",
        "nodes_trueleafs",
        "nodes_truenodeids",
        "post_transform",
        "tree_roots",
    ],
    build: |ctx, node| {
        let (spec, target) = ensemble::ensemble(ctx, Attributes(node))?;
        built(node, Arc::new(Unpacked::new("TreeEnsemble", spec, Answer::Targets(target, true))))
    },
};
