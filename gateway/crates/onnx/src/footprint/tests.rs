//! Values within a graph that lies inside of a node count as those around it.

use std::sync::Arc;

use modelgate_columns::{Reader, Values, Writer};
use prost::Message;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, attribute_proto};

use super::super::error::{ComputeError, ModelError};
use super::super::tests::graph_parts::{doubles, doubles_of, int, longs, node, rows_of};
use super::super::{Model, ModelLimits};

fn load(graph: GraphProto) -> Result<Arc<Model>, ModelError> {
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 12 }];
    let model = ModelProto { ir_version: 7, opset_import, graph: Some(graph), ..ModelProto::default() };
    Model::load(&model.encode_to_vec(), &ModelLimits::default()).map(Arc::new)
}

fn inner(name: &str, graph: GraphProto) -> AttributeProto {
    let r#type = attribute_proto::AttributeType::Graph as i32;
    AttributeProto { name: name.into(), r#type, g: Some(graph), ..AttributeProto::default() }
}

/// The sum of the whole numbers below a scalar.
fn sum_below(end: &str, sum: &str) -> Vec<NodeProto> {
    vec![
        node("Range", &["from", end, "by"], "numbers", vec![]),
        node("ReduceSum", &["numbers"], sum, vec![int("keepdims", 0)]),
    ]
}

/// `x` plus the sum of the numbers below its largest value, in a branch that larger values than zero take.
fn in_branch() -> Result<Arc<Model>, ModelError> {
    let then =
        GraphProto { node: sum_below("largest", "sum"), output: vec![doubles_of("sum", &[])], ..GraphProto::default() };
    let otherwise = GraphProto {
        node: vec![node("Identity", &["from"], "none", vec![])],
        output: vec![doubles_of("none", &[])],
        ..GraphProto::default()
    };
    load(GraphProto {
        node: vec![
            node("ReduceMax", &["x"], "largest", vec![int("keepdims", 0)]),
            node("Greater", &["largest", "from"], "above", vec![]),
            node("If", &["above"], "chosen", vec![inner("then_branch", then), inner("else_branch", otherwise)]),
            node("Add", &["x", "chosen"], "y", vec![]),
        ],
        initializer: vec![doubles("from", &[], &[0.0]), doubles("by", &[], &[1.0])],
        input: vec![rows_of("x", 1)],
        output: vec![rows_of("y", 1)],
        ..GraphProto::default()
    })
}

/// `x` plus what a body makes of its largest value, twice.
fn in_body(mut nodes: Vec<NodeProto>) -> Result<Arc<Model>, ModelError> {
    nodes.push(node("Mul", &["sum", "step"], "added", vec![]));
    nodes.push(node("Add", &["before", "added"], "after", vec![]));
    let body = GraphProto {
        node: nodes,
        input: vec![rows_of("before", 1), doubles_of("step", &[Some(1)])],
        output: vec![rows_of("after", 1)],
        ..GraphProto::default()
    };
    load(GraphProto {
        node: vec![
            node("ReduceMax", &["x"], "largest", vec![int("keepdims", 0)]),
            node("Scan", &["x", "steps"], "y", vec![inner("body", body), int("num_scan_inputs", 1)]),
        ],
        initializer: vec![
            doubles("from", &[], &[0.0]),
            doubles("by", &[], &[1.0]),
            longs("many", &[200_000_000, 1]),
            doubles("steps", &[2, 1], &[1.0, 1.0]),
        ],
        input: vec![rows_of("x", 1)],
        output: vec![rows_of("y", 1)],
        ..GraphProto::default()
    })
}

/// The answer to one row, as text.
fn compute(model: &Arc<Model>, value: f64) -> Result<String, ComputeError> {
    let mut writer = Writer::default();
    writer.fixed(&[value]);
    let words = model.session().compute(1, &writer.finish(), None)?;
    let mut reader = Reader::new(1, &words);
    match reader.next(&model.signature().outputs[0]).unwrap().values {
        Values::F64(values) => Ok(values[0].to_string()),
        _ => panic!("no doubles"),
    }
}

#[test]
fn a_branch_is_measured() {
    let model = in_branch().unwrap();
    assert_eq!(compute(&model, -1.0).unwrap(), "-1");
    assert_eq!(compute(&model, 4.0).unwrap(), "10");
    let refused = compute(&model, 1e9);
    assert!(matches!(refused, Err(ComputeError::Memory(_))), "{refused:?}");
    assert_eq!(compute(&model, 4.0).unwrap(), "10");
}

#[test]
fn a_body_whose_sizes_follow_from_values_is_refused() {
    let refused = in_body(sum_below("largest", "sum")).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("Scan"), "{refused}");
}

#[test]
fn a_body_is_measured() {
    let spread = vec![
        node("Expand", &["before", "many"], "spread", vec![]),
        node("ReduceMax", &["spread"], "sum", vec![int("keepdims", 0)]),
    ];
    let refused = compute(&in_body(spread).unwrap(), 4.0);
    assert!(matches!(refused, Err(ComputeError::Memory(_))), "{refused:?}");
    let same = vec![node("ReduceMax", &["before"], "sum", vec![int("keepdims", 0)])];
    assert_eq!(compute(&in_body(same).unwrap(), 4.0).unwrap(), "16");
}
