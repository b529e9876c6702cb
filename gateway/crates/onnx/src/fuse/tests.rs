use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

use super::fuse;
use crate::tests::graph_parts::{int, longs, node, rows_of, singles};

/// The rest of a graph: operators and the number of constants.
fn fused(node: Vec<NodeProto>, outputs: &[&str], version: i64) -> (Vec<String>, usize) {
    let graph = GraphProto {
        node,
        initializer: vec![
            singles("v", &[2, 3], &[1.0; 6]),
            singles("w", &[3, 3], &[1.0; 9]),
            singles("b", &[1, 3], &[1.0; 3]),
            singles("wide", &[2, 3, 3], &[1.0; 18]),
            longs("classes", &[7, 8, 9]),
            longs("flat", &[-1]),
            longs("column", &[-1, 1]),
        ],
        input: vec![rows_of("x", 2)],
        output: outputs.iter().map(|name| rows_of(name, 3)).collect(),
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version }];
    let mut model = ModelProto { opset_import, graph: Some(graph), ..ModelProto::default() };
    fuse(&mut model);
    let graph = model.graph.unwrap();
    (graph.node.into_iter().map(|node| node.op_type).collect(), graph.initializer.len())
}

fn network() -> Vec<NodeProto> {
    vec![
        node("MatMul", &["x", "v"], "a", vec![]),
        node("Add", &["a", "b"], "c", vec![]),
        node("Relu", &["c"], "d", vec![]),
        node("MatMul", &["d", "w"], "e", vec![]),
        node("Softmax", &["e"], "y", vec![]),
    ]
}

#[test]
fn layers_that_follow_each_other_are_one_node() {
    assert_eq!(fused(network(), &["y"], 13), (vec!["ModelgateLayers".to_owned()], 4));
    // Before version 13 it is over all but the first dimension, which is the last of two.
    assert_eq!(fused(network(), &["y"], 9).0, ["ModelgateLayers"]);
}

#[test]
fn what_somebody_else_reads_stays() {
    assert_eq!(fused(network(), &["y", "e"], 13).0, ["ModelgateLayers", "Softmax"]);
    assert_eq!(fused(network(), &["y", "d"], 13).0, ["ModelgateLayers", "ModelgateLayers"]);
    let mut twice = network();
    twice.push(node("Mul", &["c", "b"], "z", vec![]));
    let (operators, constants) = fused(twice, &["y", "z"], 13);
    assert_eq!(operators, ["ModelgateLayers", "Relu", "ModelgateLayers", "Mul"]);
    // The bias is read by another, so it stays beside the copy.
    assert_eq!(constants, 5);
}

#[test]
fn what_is_no_layer_stays() {
    let wide = vec![node("MatMul", &["x", "wide"], "y", vec![])];
    assert_eq!(fused(wide, &["y"], 13).0, ["MatMul"]);
    let across = vec![node("MatMul", &["x", "v"], "a", vec![]), node("Softmax", &["a"], "y", vec![int("axis", 0)])];
    assert_eq!(fused(across, &["y"], 13).0, ["ModelgateLayers", "Softmax"]);
}

#[test]
fn the_label_of_the_greatest_score_is_one_node() {
    let label = |axis, shape| {
        vec![
            node("ArgMax", &["x"], "place", vec![int("axis", axis)]),
            node("ArrayFeatureExtractor", &["classes", "place"], "picked", vec![]),
            node("Reshape", &["picked", shape], "reshaped", vec![]),
            node("Cast", &["reshaped"], "y", vec![int("to", 7)]),
        ]
    };
    assert_eq!(fused(label(1, "flat"), &["y"], 13).0, ["ModelgateLabel"]);
    assert_eq!(fused(label(0, "flat"), &["y"], 13).0.len(), 4);
    assert_eq!(fused(label(1, "column"), &["y"], 13).0.len(), 4);
    assert_eq!(fused(label(1, "flat"), &["y", "reshaped"], 13).0, ["ModelgateLabel", "Cast"]);
}
