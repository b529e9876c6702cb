//! Small files that ask for much, and models that rightly fold a lot.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, attribute_proto,
};

use crate::tests::graph_parts::{doubles, int, longs, node, rows_of, singles, tensor};
use crate::{Model, ModelLimits};

/// A model of these nodes, whose `big` is summed and added to the input.
fn load(mut nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> Result<Model, String> {
    nodes.push(node("ReduceSum", &["big"], "sum", vec![int("keepdims", 0)]));
    nodes.push(node("Cast", &["sum"], "number", vec![int("to", 11)]));
    nodes.push(node("Add", &["x", "number"], "y", vec![]));
    let graph = GraphProto {
        node: nodes,
        initializer,
        input: vec![rows_of("x", 2)],
        output: vec![rows_of("y", 2)],
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 13 }];
    let model = ModelProto { ir_version: 7, opset_import, graph: Some(graph), ..ModelProto::default() };
    Model::load(&model.encode_to_vec(), &ModelLimits::default()).map_err(|error| error.to_string())
}

fn refused(what: &str, nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) {
    let error = load(nodes, initializer).expect_err(what);
    assert!(error.contains("asks for too much") && error.contains(what), "{what}: {error}");
}

fn text(name: &str, text: &str) -> AttributeProto {
    let r#type = attribute_proto::AttributeType::String as i32;
    AttributeProto { name: name.into(), r#type, s: text.as_bytes().to_vec(), ..AttributeProto::default() }
}

fn scalar(name: &str, value: i64) -> TensorProto {
    TensorProto { dims: vec![], ..longs(name, &[value]) }
}

const SIDE: i64 = 1 << 16;

fn of_shape(shape: &str, output: &str) -> NodeProto {
    node("ConstantOfShape", &[shape], output, vec![tensor("value", singles("", &[1], &[1.0]))])
}

/// Ways to a shape of two large sides; none of them shows in the file alone.
fn shapes() -> Vec<(Vec<NodeProto>, Vec<TensorProto>)> {
    vec![
        (
            // A product.
            vec![node("Mul", &["a", "b"], "s", vec![])],
            vec![longs("a", &[SIDE, 1]), longs("b", &[1, SIDE])],
        ),
        (vec![node("Add", &["a", "a"], "s", vec![])], vec![longs("a", &[SIDE / 2, SIDE / 2])]),
        (vec![node("Concat", &["a", "a"], "s", vec![int("axis", 0)])], vec![longs("a", &[SIDE])]),
        (
            // Floats.
            vec![node("Exp", &["a"], "e", vec![]), node("Cast", &["e"], "s", vec![int("to", 7)])],
            vec![doubles("a", &[2], &[11.1, 11.1])],
        ),
        (
            // The input's own width.
            vec![
                node("Shape", &["x"], "shape", vec![]),
                node("Gather", &["shape", "one"], "width", vec![]),
                node("Mul", &["width", "a"], "s", vec![]),
            ],
            vec![longs("one", &[1]), longs("a", &[SIDE, SIDE])],
        ),
        (
            // The size of another constant.
            vec![
                of_shape("a", "c"),
                node("Shape", &["c"], "shape", vec![]),
                node("Concat", &["shape", "shape"], "s", vec![int("axis", 0)]),
            ],
            vec![longs("a", &[SIDE])],
        ),
    ]
}

#[test]
fn a_shape_is_bounded_wherever_it_comes_from() {
    for (nodes, tensors) in shapes() {
        let with = |more: Vec<NodeProto>, others: Vec<TensorProto>| {
            ([nodes.clone(), more].concat(), [tensors.clone(), others].concat())
        };
        let (all, values) = with(vec![of_shape("s", "big")], vec![]);
        refused("ConstantOfShape", all, values);
        let (all, values) = with(vec![node("Expand", &["v", "s"], "big", vec![])], vec![doubles("v", &[1], &[1.0])]);
        refused("Expand", all, values);
        let (all, values) = with(vec![node("Tile", &["v", "s"], "big", vec![])], vec![doubles("v", &[1, 1], &[1.0])]);
        refused("Tile", all, values);
    }
}

#[test]
fn whatever_makes_much_of_little_is_bounded() {
    let square = || longs("s", &[SIDE, SIDE]);
    let big = |op: &str, input: &[&str], attributes| node(op, input, "big", attributes);
    // What the file says outright is refused before anything is built.
    for (op, input) in [("ConstantOfShape", &["s"][..]), ("Expand", &["v", "s"])] {
        let message = load(vec![big(op, input, vec![])], vec![square(), singles("v", &[1, 1], &[1.0])]);
        assert!(message.is_err(), "{op}");
    }
    let doubled = || node("Mul", &["half", "two"], "s", vec![]);
    let half = |values: &[i64]| vec![longs("half", values), longs("two", &[2])];
    let alone = |value: i64| vec![scalar("half", value), scalar("two", 2)];
    refused(
        "Range",
        vec![doubled(), big("Range", &["zero", "s", "one"], vec![])],
        [alone(1 << 32), vec![scalar("zero", 0), scalar("one", 1)]].concat(),
    );
    refused(
        "Range",
        vec![doubled(), big("Range", &["s", "zero", "back"], vec![])],
        [alone(1 << 32), vec![scalar("zero", 0), scalar("back", -1)]].concat(),
    );
    refused(
        "Pad",
        vec![doubled(), big("Pad", &["v", "s"], vec![])],
        [half(&[0, 0, 1 << 15, 1 << 16]), vec![singles("v", &[1, 1], &[1.0])]].concat(),
    );
    refused(
        "OneHot",
        vec![doubled(), big("OneHot", &["at", "s", "values"], vec![])],
        [alone(1 << 31), vec![longs("at", &[1, 2]), singles("values", &[2], &[0.0, 1.0])]].concat(),
    );
    refused(
        "Resize",
        vec![doubled(), big("Resize", &["v", "", "", "s"], vec![text("mode", "nearest")])],
        [half(&[1, 1, 1 << 15, 1 << 15]), vec![singles("v", &[2, 2, 1, 1], &[1.0; 4])]].concat(),
    );
    refused(
        "Gather",
        vec![
            of_shape("rows", "v"),
            of_shape("many", "at"),
            node("Cast", &["at"], "places", vec![int("to", 7)]),
            big("Gather", &["v", "places"], vec![]),
        ],
        vec![longs("rows", &[2, 1 << 16]), longs("many", &[1 << 10])],
    );
    refused(
        "MatMul",
        vec![of_shape("tall", "a"), of_shape("wide", "b"), big("MatMul", &["a", "b"], vec![])],
        vec![longs("tall", &[1 << 16, 1]), longs("wide", &[1, 1 << 16])],
    );
}

#[test]
fn constants_are_bounded_together() {
    // Each is small enough by itself.
    let mut nodes = vec![of_shape("s", "c0")];
    for n in 0..100 {
        nodes.push(node("Add", &[&format!("c{n}"), "one"], &format!("c{}", n + 1), vec![]));
    }
    nodes.push(node("Identity", &["c100"], "big", vec![]));
    refused("Add", nodes, vec![longs("s", &[1 << 20]), singles("one", &[1], &[1.0])]);

    let mut nodes = vec![of_shape("s", "c0")];
    for n in 0..30 {
        nodes.push(node("Concat", &[format!("c{n}").as_str(); 2], &format!("c{}", n + 1), vec![int("axis", 0)]));
    }
    nodes.push(node("Identity", &["c30"], "big", vec![]));
    refused("Concat", nodes, vec![longs("s", &[16])]);
}

#[test]
fn work_is_bounded_too() {
    let mut nodes = vec![of_shape("s", "m0")];
    for n in 0..1000 {
        nodes.push(node("MatMul", &[&format!("m{n}"), "m0"], &format!("m{}", n + 1), vec![]));
    }
    nodes.push(node("Identity", &["m1000"], "big", vec![]));
    refused("MatMul", nodes, vec![longs("s", &[1024, 1024])]);

    refused(
        "Conv",
        vec![of_shape("image", "i"), of_shape("filter", "f"), node("Conv", &["i", "f"], "big", vec![])],
        vec![longs("image", &[1, 1, 1500, 1500]), longs("filter", &[1, 1, 700, 700])],
    );
}

#[test]
fn what_one_row_takes_while_it_runs_is_bounded() {
    refused(
        "Expand",
        vec![
            node("Mul", &["a", "b"], "s", vec![]),
            node("Cast", &["x"], "f", vec![int("to", 1)]),
            node("ReduceSum", &["f"], "all", vec![int("keepdims", 0)]),
            node("Expand", &["all", "s"], "big", vec![]),
        ],
        vec![longs("a", &[SIDE, 1]), longs("b", &[1, SIDE])],
    );
}

#[test]
fn what_models_really_fold_is_folded() {
    // A mask of positions, as transformers have it.
    let mask =
        load(vec![of_shape("s", "ones"), node("Trilu", &["ones"], "big", vec![])], vec![longs("s", &[1024, 1024])]);
    assert!(mask.is_ok(), "{mask:?}");
    // Weights that are merged while the model loads.
    let side = 256;
    let weights = |name: &str| singles(name, &[side, side], &vec![0.5; (side * side) as usize]);
    let merged = load(vec![node("MatMul", &["a", "b"], "big", vec![])], vec![weights("a"), weights("b")]);
    assert!(merged.is_ok(), "{merged:?}");
}
