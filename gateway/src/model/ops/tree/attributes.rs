//! The attributes of the ONNX operator.

use tract_onnx::pb::{AttributeProto, NodeProto};
use tract_onnx::tract_hir::internal::{TractErrorContext, TractResult, bail, ensure};

use super::classifier::Labels;
use super::score::{PostTransform, Scoring};
use super::spec::{Arrays, Mode, Spec, TreeError, TreeLimits};

/// Reads and checks a `TreeEnsembleClassifier` node, as of version 1 or 3 of `ai.onnx.ml`.
pub(super) fn classifier(node: &NodeProto) -> TractResult<(Spec, Scoring, Labels)> {
    let labels = match (strings(node, "classlabels_strings"), ints(node, "classlabels_int64s")) {
        ([], []) => bail!("neither 'classlabels_strings' nor 'classlabels_int64s' is given"),
        ([], ints) => Labels::Ints(ints.to_vec()),
        (names, _) => Labels::Strings(
            names
                .iter()
                .map(|name| String::from_utf8(name.clone()).context("a class label is not UTF-8"))
                .collect::<TractResult<_>>()?,
        ),
    };
    let modes = strings(node, "nodes_modes")
        .iter()
        .map(|name| {
            Mode::from_name(name).ok_or_else(|| {
                TreeError::Attribute("nodes_modes", format!("unknown mode '{}'", String::from_utf8_lossy(name)))
            })
        })
        .collect::<Result<_, _>>()?;
    let arrays = Arrays {
        nodes_treeids: ints(node, "nodes_treeids"),
        nodes_nodeids: ints(node, "nodes_nodeids"),
        nodes_featureids: ints(node, "nodes_featureids"),
        nodes_modes: modes,
        nodes_values: floats(node, "nodes_values", "nodes_values_as_tensor")?,
        nodes_truenodeids: ints(node, "nodes_truenodeids"),
        nodes_falsenodeids: ints(node, "nodes_falsenodeids"),
        nodes_missing_value_tracks_true: ints(node, "nodes_missing_value_tracks_true"),
        votes_treeids: ints(node, "class_treeids"),
        votes_nodeids: ints(node, "class_nodeids"),
        votes_classes: ints(node, "class_ids"),
        votes_weights: floats(node, "class_weights", "class_weights_as_tensor")?,
    };
    let name = find(node, "post_transform").map_or(&b"NONE"[..], |attribute| &attribute.s);
    let post = PostTransform::from_name(name).ok_or_else(|| {
        TreeError::Attribute("post_transform", format!("unknown transform '{}'", String::from_utf8_lossy(name)))
    })?;
    let base = floats(node, "base_values", "base_values_as_tensor")?;
    let spec = Spec::new(&arrays, labels.len(), &TreeLimits::default())?;
    let scoring = Scoring::new(&spec, post, base)?;
    Ok((spec, scoring, labels))
}

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    find(node, name).map_or(&[], |attribute| &attribute.ints)
}

fn strings<'a>(node: &'a NodeProto, name: &str) -> &'a [Vec<u8>] {
    find(node, name).map_or(&[], |attribute| &attribute.strings)
}

fn floats(node: &NodeProto, name: &str, tensor_name: &str) -> TractResult<Vec<f64>> {
    let floats = find(node, name).map_or(&[][..], |attribute| &attribute.floats);
    let Some(tensor) = find(node, tensor_name).and_then(|attribute| attribute.t.as_ref()) else {
        return Ok(floats.iter().copied().map(f64::from).collect());
    };
    ensure!(floats.is_empty(), "both '{name}' and '{tensor_name}' are given");
    let tensor = tract_onnx::tensor::load_tensor(&tract_onnx::data_resolver::FopenDataResolver, tensor, None)
        .with_context(|| format!("attribute '{tensor_name}'"))?;
    Ok(tensor.cast_to::<f64>()?.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())
}
