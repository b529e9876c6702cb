//! The attributes of `TreeEnsembleClassifier` and `TreeEnsembleRegressor`, which share all but the names of the votes.

use tract_onnx::model::ParsingContext;
use tract_onnx::tract_hir::internal::{TractResult, ensure};

use super::super::attributes::Attributes;
use super::super::labels::Labels;
use super::super::post::PostTransform;
use super::regressor::{Aggregate, Target};
use super::score::Scoring;
use super::spec::{Arrays, Mode, Spec, TreeError, TreeLimits};

/// Reads and checks a `TreeEnsembleClassifier` node, as of version 1 or 3 of `ai.onnx.ml`.
pub(super) fn classifier(ctx: &ParsingContext<'_>, node: Attributes<'_>) -> TractResult<(Spec, Scoring, Labels)> {
    let labels = Labels::read(node, "classlabels_strings", "classlabels_int64s")?;
    let arrays = Arrays {
        votes_treeids: node.ints("class_treeids"),
        votes_nodeids: node.ints("class_nodeids"),
        votes_classes: node.ints("class_ids"),
        votes_weights: floats(ctx, node, "class_weights", "class_weights_as_tensor")?,
        ..nodes(ctx, node)?
    };
    let post = PostTransform::from_attribute(node.text("post_transform")?)?;
    let base = floats(ctx, node, "base_values", "base_values_as_tensor")?;
    let spec = Spec::new(&arrays, labels.len(), &TreeLimits::default())?;
    let scoring = Scoring::new(&spec, post, base)?;
    Ok((spec, scoring, labels))
}

/// Reads and checks a `TreeEnsembleRegressor` node, as of version 1 or 3 of `ai.onnx.ml`.
pub(super) fn regressor(ctx: &ParsingContext<'_>, node: Attributes<'_>) -> TractResult<(Spec, Target)> {
    let arrays = Arrays {
        votes_treeids: node.ints("target_treeids"),
        votes_nodeids: node.ints("target_nodeids"),
        votes_classes: node.ints("target_ids"),
        votes_weights: floats(ctx, node, "target_weights", "target_weights_as_tensor")?,
        ..nodes(ctx, node)?
    };
    let name = node.text("aggregate_function")?.unwrap_or("SUM");
    let aggregate = match name {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        _ => return Err(TreeError::Attribute("aggregate_function", format!("unknown function '{name}'")).into()),
    };
    let post = PostTransform::from_attribute(node.text("post_transform")?)?;
    let base = floats(ctx, node, "base_values", "base_values_as_tensor")?;
    let spec = Spec::new(&arrays, targets(node)?, &TreeLimits::default())?;
    Ok((spec, Target { aggregate, base, post }))
}

/// The attribute `n_targets`.
pub(super) fn targets(node: Attributes<'_>) -> Result<usize, TreeError> {
    let targets = node.int("n_targets").unwrap_or(1);
    usize::try_from(targets)
        .ok()
        .filter(|&targets| targets > 0)
        .ok_or_else(|| TreeError::Attribute("n_targets", format!("expected at least 1, got {targets}")))
}

fn nodes<'a>(ctx: &ParsingContext<'_>, node: Attributes<'a>) -> TractResult<Arrays<'a>> {
    let modes = node.bytes("nodes_modes").iter().map(|name| {
        Mode::from_name(name).ok_or_else(|| {
            TreeError::Attribute("nodes_modes", format!("unknown mode '{}'", String::from_utf8_lossy(name)))
        })
    });
    Ok(Arrays {
        nodes_treeids: node.ints("nodes_treeids"),
        nodes_nodeids: node.ints("nodes_nodeids"),
        nodes_featureids: node.ints("nodes_featureids"),
        nodes_modes: modes.collect::<Result<_, _>>()?,
        nodes_values: floats(ctx, node, "nodes_values", "nodes_values_as_tensor")?,
        nodes_truenodeids: node.ints("nodes_truenodeids"),
        nodes_falsenodeids: node.ints("nodes_falsenodeids"),
        nodes_missing_value_tracks_true: node.ints("nodes_missing_value_tracks_true"),
        ..Arrays::default()
    })
}

fn floats(ctx: &ParsingContext<'_>, node: Attributes<'_>, name: &str, tensor_name: &str) -> TractResult<Vec<f64>> {
    let floats = node.floats(name);
    let Some(doubles) = node.doubles(ctx, tensor_name)? else {
        return Ok(floats.iter().copied().map(f64::from).collect());
    };
    ensure!(floats.is_empty(), "both '{name}' and '{tensor_name}' are given");
    Ok(doubles)
}
