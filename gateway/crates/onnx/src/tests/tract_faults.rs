//! Graphs that tract by itself answers wrongly, or never.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use modelgate_columns::{Reader, Values, Writer};
use prost::Message;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, attribute_proto};

use super::graph_parts::{doubles, doubles_of, int, longs, node, rows_of, tensor};
use crate::{Model, ModelLimits, Session};

fn load(graph: GraphProto) -> Arc<Model> {
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 13 }];
    let model = ModelProto { ir_version: 7, opset_import, graph: Some(graph), ..ModelProto::default() };
    Arc::new(Model::load(&model.encode_to_vec(), &ModelLimits::default()).unwrap())
}

/// One output of doubles.
fn compute(session: &mut Session, rows: u32, values: &[f64]) -> Vec<f64> {
    let mut writer = Writer::default();
    writer.fixed(values);
    let words = session.compute(rows, &writer.finish(), None).unwrap();
    let mut reader = Reader::new(rows, &words);
    let Values::F64(values) = reader.next(&session.signature().outputs[0]).unwrap().values else {
        panic!("no doubles")
    };
    values.to_vec()
}

fn assert_near(ours: &[f64], expected: &[f64]) {
    let near = ours.len() == expected.len() && ours.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-9);
    assert!(near, "{ours:?} for {expected:?}");
}

/// As many rows of five twos as `x` has, times a matrix, plus `x`; the twos are spread out by such a node.
fn spread(by: NodeProto) -> Arc<Model> {
    load(GraphProto {
        node: vec![
            node("Shape", &["x"], "shape", vec![]),
            node("Gather", &["shape", "zero"], "count", vec![]),
            node("Concat", &["count", "five"], "wanted", vec![int("axis", 0)]),
            by,
            node("MatMul", &["twos", "w"], "product", vec![]),
            node("Add", &["product", "x"], "y", vec![]),
        ],
        initializer: vec![
            longs("zero", &[0]),
            longs("five", &[5]),
            doubles("two", &[1, 1], &[2.0]),
            doubles("w", &[5, 2], &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0, 5.0, 50.0]),
        ],
        input: vec![rows_of("x", 2)],
        output: vec![rows_of("y", 2)],
        ..GraphProto::default()
    })
}

#[test]
fn a_product_of_what_was_spread_out_sums_all_of_it() {
    let of_shape = node("ConstantOfShape", &["wanted"], "twos", vec![tensor("value", doubles("", &[1], &[2.0]))]);
    for by in [of_shape, node("Expand", &["two", "wanted"], "twos", vec![])] {
        let mut session = spread(by).session();
        for rows in 1..4 {
            let expected = [30.5, 300.5].repeat(rows);
            assert_near(&compute(&mut session, rows as u32, &vec![0.5; rows * 2]), &expected);
        }
    }
}

#[test]
fn a_loop_begins_anew_with_each_request() {
    // The sum of each row's values, begun with the row's first.
    let body = GraphProto {
        node: vec![node("Add", &["before", "next"], "after", vec![]), node("Identity", &["after"], "all", vec![])],
        input: vec![rows_of("before", 2), doubles_of("next", &[Some(2)])],
        output: vec![rows_of("after", 2), rows_of("all", 2)],
        ..GraphProto::default()
    };
    let r#type = attribute_proto::AttributeType::Graph as i32;
    let body = AttributeProto { name: "body".into(), r#type, g: Some(body), ..AttributeProto::default() };
    let mut scan = node("Scan", &["x", "steps"], "last", vec![body, int("num_scan_inputs", 1)]);
    scan.output.push("each".into());
    let model = load(GraphProto {
        node: vec![scan, node("Identity", &["last"], "y", vec![])],
        initializer: vec![doubles("steps", &[3, 2], &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0])],
        input: vec![rows_of("x", 2)],
        output: vec![rows_of("y", 2)],
        ..GraphProto::default()
    });
    let mut session = model.session();
    for start in [0.0, 100.0, 7.0] {
        assert_near(&compute(&mut session, 1, &[start, start]), &[start + 6.0, start + 60.0]);
        assert_near(&compute(&mut session, 2, &[start, 0.0, 0.0, start]), &[start + 6.0, 60.0, 6.0, start + 60.0]);
    }
}

#[test]
fn optimising_comes_to_an_end() {
    // Each row's two numbers, one below the other, times a matrix of one row; an input is that matrix, so that it has more
    // rows in a batch, where the product is none.
    let product = GraphProto {
        node: vec![node("MatMul", &["x", "w"], "y", vec![])],
        input: vec![doubles_of("x", &[None, Some(2), Some(1)]), rows_of("w", 4)],
        output: vec![doubles_of("y", &[None, Some(2), Some(4)])],
        ..GraphProto::default()
    };
    let (sender, receiver) = mpsc::channel();
    // Left alone if it takes too long.
    thread::spawn(move || sender.send(load(product)));
    let model = receiver.recv_timeout(Duration::from_secs(30)).expect("optimised for ever, or refused");
    let columns = [3.0, 5.0, 1.0, 10.0, 100.0, 1000.0];
    assert_near(&compute(&mut model.session(), 1, &columns), &[3.0, 30.0, 300.0, 3000.0, 5.0, 50.0, 500.0, 5000.0]);
}
