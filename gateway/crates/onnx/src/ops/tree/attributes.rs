//! The attributes of `TreeEnsembleClassifier` and `TreeEnsembleRegressor`, which share all but the names of the votes.

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::tract_hir::internal::{TractResult, ensure};

use super::super::attributes::Attributes;
use super::super::labels::Labels;
use super::super::post::PostTransform;
use super::arrays::{Arrays, Floats, Ints, Modes};
use super::regressor::{Aggregate, Target};
use super::score::Scoring;
use super::spec::{Spec, TreeError, TreeLimits};

/// Far more than trees predict.
const MOST_TARGETS: usize = 1 << 20;

/// Reads and checks a `TreeEnsembleClassifier` node, as of version 1 or 3 of `ai.onnx.ml`.
pub(super) fn classifier(ctx: &ParsingContext<'_>, node: Attributes<'_>) -> TractResult<(Spec, Scoring, Labels)> {
    let labels = Labels::read(node, "classlabels_strings", "classlabels_int64s")?;
    let arrays = Arrays {
        votes_treeids: ints(node, "class_treeids"),
        votes_nodeids: ints(node, "class_nodeids"),
        votes_classes: ints(node, "class_ids"),
        votes_weights: floats(ctx, node, "class_weights", "class_weights_as_tensor")?,
        ..nodes(ctx, node)?
    };
    let post = PostTransform::from_attribute(node.text("post_transform")?)?;
    let base = floats(ctx, node, "base_values", "base_values_as_tensor")?.iter().collect();
    let spec = Spec::new(&arrays, labels.len(), &TreeLimits::default())?;
    let scoring = Scoring::new(&spec, post, base)?;
    Ok((spec, scoring, labels))
}

/// Reads and checks a `TreeEnsembleRegressor` node, as of version 1 or 3 of `ai.onnx.ml`.
pub(super) fn regressor(ctx: &ParsingContext<'_>, node: Attributes<'_>) -> TractResult<(Spec, Target)> {
    let arrays = Arrays {
        votes_treeids: ints(node, "target_treeids"),
        votes_nodeids: ints(node, "target_nodeids"),
        votes_classes: ints(node, "target_ids"),
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
    let base = floats(ctx, node, "base_values", "base_values_as_tensor")?.iter().collect();
    let spec = Spec::new(&arrays, targets(node)?, &TreeLimits::default())?;
    Ok((spec, Target { aggregate, base, post }))
}

/// The attribute `n_targets`.
pub(super) fn targets(node: Attributes<'_>) -> Result<usize, TreeError> {
    let targets = node.int("n_targets").unwrap_or(1);
    usize::try_from(targets)
        .ok()
        .filter(|targets| (1..=MOST_TARGETS).contains(targets))
        .ok_or_else(|| TreeError::Attribute("n_targets", format!("expected 1 to {MOST_TARGETS}, got {targets}")))
}

fn nodes<'a>(ctx: &ParsingContext<'_>, node: Attributes<'a>) -> TractResult<Arrays<'a>> {
    Ok(Arrays {
        nodes_treeids: ints(node, "nodes_treeids"),
        nodes_nodeids: ints(node, "nodes_nodeids"),
        nodes_featureids: ints(node, "nodes_featureids"),
        nodes_modes: match node.packed("nodes_modes", AttributeType::Strings) {
            Some(packed) => Modes::Packed(packed),
            None => Modes::Listed(node.bytes("nodes_modes")),
        },
        nodes_values: floats(ctx, node, "nodes_values", "nodes_values_as_tensor")?,
        nodes_truenodeids: ints(node, "nodes_truenodeids"),
        nodes_falsenodeids: ints(node, "nodes_falsenodeids"),
        nodes_missing_value_tracks_true: ints(node, "nodes_missing_value_tracks_true"),
        ..Arrays::default()
    })
}

/// A list of whole numbers, empty if absent.
pub(super) fn ints<'a>(node: Attributes<'a>, name: &str) -> Ints<'a> {
    match node.packed(name, AttributeType::Ints) {
        Some(packed) => Ints::Packed(packed),
        None => Ints::Listed(node.ints(name)),
    }
}

fn floats<'a>(
    ctx: &ParsingContext<'_>,
    node: Attributes<'a>,
    name: &str,
    tensor_name: &str,
) -> TractResult<Floats<'a>> {
    let (packed, listed) = (node.packed(name, AttributeType::Floats), node.floats(name));
    let Some(doubles) = node.doubles(ctx, tensor_name)? else {
        return Ok(packed.map_or(Floats::Listed(listed), Floats::Packed));
    };
    ensure!(packed.is_none() && listed.is_empty(), "both '{name}' and '{tensor_name}' are given");
    Ok(Floats::Doubles(doubles))
}
