//! Small graphs of each kind, and what is found about their rows.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto, type_proto,
};

use crate::tests::graph_parts::{int, longs, node, singles};
use crate::{Model, ModelLimits};

const SINGLE: i32 = 1;
const LONG: i32 = 7;
const TEXT: i32 = 8;

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Ints as i32, ints: ints.into(), ..Default::default() }
}

fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::String as i32, s: text.into(), ..Default::default() }
}

fn texts(name: &str, texts: &[&str]) -> AttributeProto {
    let strings = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    AttributeProto { name: name.into(), r#type: AttributeType::Strings as i32, strings, ..Default::default() }
}

fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Floats as i32,
        floats: floats.into(),
        ..Default::default()
    }
}

fn ml(op: &str, input: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let output = outputs.iter().map(|&name| name.to_owned()).collect();
    NodeProto { domain: "ai.onnx.ml".into(), output, ..node(op, input, outputs[0], attribute) }
}

/// A value of rows; the other sizes may be open.
fn value(name: &str, elem_type: i32, inner: &[Option<i64>]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension};
    let dim = |size: &Option<i64>| Dimension { value: size.map(dimension::Value::DimValue), ..Dimension::default() };
    let shape = Some(TensorShapeProto { dim: [None].iter().chain(inner).map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type, shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
}

/// A model of one input `x` and one output `y`.
struct Graph {
    inner: Vec<Option<i64>>,
    input: i32,
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
}

fn graph(inner: &[i64], nodes: Vec<NodeProto>, tensors: Vec<TensorProto>) -> Graph {
    Graph { inner: inner.iter().copied().map(Some).collect(), input: SINGLE, nodes, tensors }
}

impl Graph {
    /// Why its rows depend on each other.
    fn reason(self) -> Option<String> {
        let graph = GraphProto {
            name: "g".into(),
            node: self.nodes,
            initializer: self.tensors,
            input: vec![value("x", self.input, &self.inner)],
            output: vec![ValueInfoProto { name: "y".into(), ..value("y", SINGLE, &[]) }],
            ..GraphProto::default()
        };
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
        let opset_import = vec![opset("", 17), opset("ai.onnx.ml", 3), opset("com.microsoft", 1)];
        let model = ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..ModelProto::default() };
        let model = Model::load(&model.encode_to_vec(), &ModelLimits::default()).unwrap();
        model.rows().reason().map(ToOwned::to_owned)
    }
}

#[track_caller]
fn independent(graph: Graph) {
    assert_eq!(graph.reason(), None);
}

/// Dependent, with these words in the reason.
#[track_caller]
fn dependent(graph: Graph, words: &[&str]) {
    let reason = graph.reason().expect("found to be independent");
    assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
}

fn weights(name: &str, rows: i64, columns: i64) -> TensorProto {
    let values: Vec<f32> = (0..rows * columns).map(|index| index as f32 / 8.0 - 1.0).collect();
    singles(name, &[rows, columns], &values)
}

#[test]
fn layers_keep_rows_apart() {
    let tensors = || vec![weights("w", 4, 8), weights("v", 8, 3), singles("b", &[8], &[0.5; 8])];
    independent(graph(
        &[4],
        vec![
            node("Gemm", &["x", "w", "b"], "h", vec![]),
            node("Relu", &["h"], "r", vec![]),
            node("MatMul", &["r", "v"], "s", vec![]),
            node("Softmax", &["s"], "y", vec![int("axis", -1)]),
        ],
        tensors(),
    ));
    // Not fused, and by tract's own product.
    independent(graph(
        &[4],
        vec![
            node("Sub", &["x", "m"], "c", vec![]),
            node("Tanh", &["c"], "t", vec![]),
            node("MatMul", &["t", "w"], "h", vec![]),
            node("Add", &["h", "b"], "y", vec![]),
        ],
        [tensors(), vec![singles("m", &[1, 4], &[0.5; 4])]].concat(),
    ));
}

#[test]
fn a_scale_for_all_rows_does_not() {
    let mut quantised = node("DynamicQuantizeLinear", &["x"], "q", vec![]);
    quantised.output.extend(["scale".to_owned(), "zero".to_owned()]);
    let nodes =
        vec![quantised, node("Cast", &["q"], "f", vec![int("to", 1)]), node("Mul", &["f", "scale"], "y", vec![])];
    dependent(graph(&[4], nodes, vec![]), &["'DynamicQuantizeLinear'", "(node q", "computes one scale over all rows"]);
}

#[test]
fn statistics_over_the_rows_do_not() {
    for (axes, keep) in [(vec![], 1), (vec![0], 1), (vec![0, 1], 1)] {
        let axes = if axes.is_empty() { vec![] } else { vec![ints("axes", &axes)] };
        let attributes = [axes, vec![int("keepdims", keep)]].concat();
        for op in ["ReduceMax", "ReduceMean", "ReduceSumSquare", "ReduceL2"] {
            let nodes = vec![node(op, &["x"], "m", attributes.clone()), node("Div", &["x", "m"], "y", vec![])];
            dependent(graph(&[4], nodes, vec![]), &["(node m", "over the rows"]);
        }
    }
    let by_row = vec![node("ReduceMax", &["x"], "m", vec![ints("axes", &[1])]), node("Div", &["x", "m"], "y", vec![])];
    independent(graph(&[4], by_row, vec![]));
    dependent(graph(&[4], vec![node("Softmax", &["x"], "y", vec![int("axis", 0)])], vec![]), &["normalises"]);
    dependent(graph(&[4], vec![node("LogSoftmax", &["x"], "y", vec![int("axis", 0)])], vec![]), &["y"]);
    independent(graph(&[4], vec![node("LogSoftmax", &["x"], "y", vec![int("axis", 1)])], vec![]));
}

#[test]
fn what_orders_or_sums_up_rows_does_not() {
    let axis = |axis: i64| TensorProto { dims: vec![], ..longs("axis", &[axis]) };
    let cumulative = |at: i64| graph(&[4], vec![node("CumSum", &["x", "axis"], "y", vec![])], vec![axis(at)]);
    dependent(cumulative(0), &["CumSum"]);
    independent(cumulative(1));
    let greatest = |axis: i64| {
        let mut top = node("TopK", &["x", "k"], "values", vec![int("axis", axis)]);
        top.output.push("places".into());
        let nodes =
            vec![top, node("ReduceSum", &["values", "axis"], "s", vec![]), node("Add", &["x", "s"], "y", vec![])];
        graph(&[4], nodes, vec![longs("k", &[1]), longs("axis", &[axis])])
    };
    dependent(greatest(0), &["'TopK'", "sorts the rows"]);
    independent(greatest(1));
}

#[test]
fn rows_that_meet_rows_are_found() {
    let product = vec![
        node("Transpose", &["x"], "t", vec![ints("perm", &[1, 0])]),
        node("MatMul", &["x", "t"], "all", vec![]),
        node("MatMul", &["all", "x"], "y", vec![]),
    ];
    dependent(graph(&[4], product, vec![]), &["rows"]);
    let distances = vec![
        node("Unsqueeze", &["x", "first"], "one", vec![]),
        node("Unsqueeze", &["x", "second"], "other", vec![]),
        node("Sub", &["one", "other"], "d", vec![]),
        node("ReduceMax", &["d"], "y", vec![ints("axes", &[0]), int("keepdims", 0)]),
    ];
    dependent(graph(&[4], distances, vec![longs("first", &[0]), longs("second", &[1])]), &["every row"]);
    let shifted =
        vec![node("Slice", &["x", "none", "one", "none"], "first", vec![]), node("Add", &["x", "first"], "y", vec![])];
    dependent(graph(&[4], shifted, vec![longs("none", &[0]), longs("one", &[1])]), &["picks among the rows"]);
    let columns =
        vec![node("Slice", &["x", "none", "one", "one"], "first", vec![]), node("Add", &["x", "first"], "y", vec![])];
    independent(graph(&[4], columns, vec![longs("none", &[0]), longs("one", &[1])]));
}

#[test]
fn the_number_of_rows_is_no_value() {
    let counted = |index: i64| {
        let nodes = vec![
            node("Shape", &["x"], "shape", vec![]),
            node("Gather", &["shape", "place"], "n", vec![]),
            node("Cast", &["n"], "f", vec![int("to", 1)]),
            node("Mul", &["x", "f"], "y", vec![]),
        ];
        graph(&[4], nodes, vec![longs("place", &[index])])
    };
    dependent(counted(0), &["computes with the number of rows"]);
    independent(counted(1));
}

#[test]
fn a_loop_over_the_rows_is_found() {
    let recurrent = |perm: Option<&[i64]>| {
        let mut nodes: Vec<NodeProto> =
            perm.map(|perm| node("Transpose", &["x"], "t", vec![ints("perm", perm)])).into_iter().collect();
        let input = if perm.is_some() { "t" } else { "x" };
        let mut lstm = node("LSTM", &[input, "w", "r", "b", "", "h0", "h0"], "all", vec![int("hidden_size", 3)]);
        lstm.output.push("last".into());
        nodes.push(lstm);
        nodes.push(node("Squeeze", &["all", "axis"], "s", vec![]));
        nodes.push(node(
            "Transpose",
            &["s"],
            "y",
            vec![ints("perm", if perm.is_some() { &[1, 0, 2] } else { &[0, 1, 2] })],
        ));
        let size = |dims: &[i64]| dims.iter().product::<i64>() as usize;
        let tensor = |name: &str, dims: &[i64]| singles(name, dims, &vec![0.1; size(dims)]);
        let batch = if perm.is_some() { 1 } else { 5 };
        let tensors = vec![
            tensor("w", &[1, 12, 2]),
            tensor("r", &[1, 12, 3]),
            tensor("b", &[1, 24]),
            tensor("h0", &[1, batch, 3]),
            longs("axis", &[1]),
        ];
        graph(&[5, 2], nodes, tensors)
    };
    dependent(recurrent(None), &["one after another"]);
}

#[test]
fn convolutions_and_pools_keep_rows_apart() {
    let conv = vec![
        node("Conv", &["x", "k"], "c", vec![ints("pads", &[1, 1, 1, 1])]),
        node("Relu", &["c"], "r", vec![]),
        node("MaxPool", &["r"], "p", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("AveragePool", &["p"], "a", vec![ints("kernel_shape", &[2, 2])]),
        node("GlobalAveragePool", &["a"], "g", vec![]),
        node("Flatten", &["g"], "f", vec![int("axis", 1)]),
        node("MatMul", &["f", "w"], "y", vec![]),
    ];
    independent(graph(&[2, 6, 6], conv, vec![singles("k", &[3, 2, 3, 3], &[0.1; 54]), weights("w", 3, 2)]));
    // The rows lie where the image should.
    let over_rows = vec![
        node("Transpose", &["x"], "t", vec![ints("perm", &[1, 0])]),
        node("Unsqueeze", &["t", "first"], "u", vec![]),
        node("Conv", &["u", "k"], "c", vec![ints("pads", &[1, 1])]),
        node("Squeeze", &["c", "first"], "s", vec![]),
        node("Transpose", &["s"], "y", vec![ints("perm", &[1, 0])]),
    ];
    dependent(graph(&[2], over_rows, vec![longs("first", &[0]), singles("k", &[2, 2, 3], &[0.1; 12])]), &["mixes"]);
}

#[test]
fn attention_keeps_rows_apart() {
    let heads = |perm: &[i64]| vec![ints("perm", perm)];
    let nodes = vec![
        node("MatMul", &["x", "q"], "q0", vec![]),
        node("Reshape", &["q0", "split"], "q1", vec![]),
        node("Transpose", &["q1"], "q2", heads(&[0, 2, 1, 3])),
        node("MatMul", &["x", "k"], "k0", vec![]),
        node("Reshape", &["k0", "split"], "k1", vec![]),
        node("Transpose", &["k1"], "k2", heads(&[0, 2, 3, 1])),
        node("MatMul", &["q2", "k2"], "scores", vec![]),
        node("Softmax", &["scores"], "p", vec![int("axis", -1)]),
        node("MatMul", &["p", "q2"], "mixed", vec![]),
        node("Transpose", &["mixed"], "back", heads(&[0, 2, 1, 3])),
        node("Reshape", &["back", "join"], "joined", vec![]),
        node("LayerNormalization", &["joined", "scale", "shift"], "y", vec![int("axis", -1)]),
    ];
    let tensors = vec![
        weights("q", 4, 4),
        weights("k", 4, 4),
        longs("split", &[0, 3, 2, 2]),
        longs("join", &[0, 3, 4]),
        singles("scale", &[4], &[1.0; 4]),
        singles("shift", &[4], &[0.0; 4]),
    ];
    independent(graph(&[3, 4], nodes, tensors));
}

#[test]
fn rows_may_share_their_axis_with_what_is_within_them() {
    let there_and_back = |flat: &[i64], back: &[i64]| {
        let nodes = vec![
            node("Reshape", &["x", "flat"], "f", vec![]),
            node("MatMul", &["f", "w"], "h", vec![]),
            node("Reshape", &["h", "back"], "y", vec![]),
        ];
        graph(&[3, 4], nodes, vec![longs("flat", flat), longs("back", back), weights("w", 4, 4)])
    };
    independent(there_and_back(&[-1, 4], &[-1, 3, 4]));
    let by_transposition = |perm: &[i64]| {
        let nodes = vec![
            node("Transpose", &["x"], "t", vec![ints("perm", perm)]),
            node("Reshape", &["t", "flat"], "f", vec![]),
            node("Relu", &["f"], "r", vec![]),
            node("Reshape", &["r", "back"], "y", vec![]),
        ];
        graph(&[3, 4], nodes, vec![longs("flat", &[-1, 4]), longs("back", &[-1, 3, 4])])
    };
    // Taken for rows, the parts are those of several.
    assert!(by_transposition(&[1, 0, 2]).reason().is_some());
    independent(by_transposition(&[0, 1, 2]));
}

#[test]
fn tables_and_lists_are_looked_up_by_row() {
    let embedded = Graph {
        input: LONG,
        ..graph(
            &[3],
            vec![
                node("Gather", &["table", "x"], "e", vec![]),
                node("ReduceMean", &["e"], "y", vec![ints("axes", &[1]), int("keepdims", 0)]),
            ],
            vec![weights("table", 10, 4)],
        )
    };
    independent(embedded);
    let picked = |axis: i64| {
        let nodes =
            vec![node("Gather", &["x", "places"], "g", vec![int("axis", axis)]), node("Add", &["x", "g"], "y", vec![])];
        graph(&[4], nodes, vec![longs("places", &[0])])
    };
    dependent(picked(0), &["picks among the rows"]);
    independent(picked(1));
    let joined = |axis: i64| {
        let nodes = vec![
            node("Relu", &["x"], "r", vec![]),
            node("Concat", &["x", "r"], "c", vec![int("axis", axis)]),
            node("ReduceMax", &["c"], "m", vec![ints("axes", &[axis])]),
            node("Add", &["x", "m"], "y", vec![]),
        ];
        graph(&[4], nodes, vec![])
    };
    dependent(joined(0), &["joins values along the rows' axis"]);
    independent(joined(1));
    let same_for_all = vec![
        node("Shape", &["x"], "shape", vec![]),
        node("Expand", &["two", "shape"], "e", vec![]),
        node("Mul", &["x", "e"], "y", vec![]),
    ];
    independent(graph(&[4], same_for_all, vec![singles("two", &[1, 1], &[2.0])]));
}

#[test]
fn classical_models_keep_rows_apart() {
    let linear = vec![
        ml("Scaler", &["x"], &["s"], vec![floats("offset", &[1.0; 4]), floats("scale", &[2.0; 4])]),
        ml("Normalizer", &["s"], &["n"], vec![text("norm", "L2")]),
        ml(
            "LinearClassifier",
            &["n"],
            &["label", "y"],
            vec![
                floats("coefficients", &[0.1; 12]),
                floats("intercepts", &[0.0; 3]),
                ints("classlabels_ints", &[0, 1, 2]),
            ],
        ),
    ];
    independent(graph(&[4], linear, vec![]));
    let texts_in = |nodes| Graph { input: TEXT, ..graph(&[], nodes, vec![]) };
    let words = |vocabulary: &[&str], pad: &str| {
        let tokens = NodeProto {
            domain: "com.microsoft".into(),
            ..node(
                "Tokenizer",
                &["lower"],
                "t",
                vec![int("mark", 0), text("pad_value", pad), text("tokenexp", "[a-z#]+"), int("mincharnum", 1)],
            )
        };
        texts_in(vec![
            node("StringNormalizer", &["x"], "lower", vec![text("case_change_action", "LOWER")]),
            tokens,
            node(
                "TfIdfVectorizer",
                &["t"],
                "y",
                vec![
                    int("min_gram_length", 1),
                    int("max_gram_length", 1),
                    int("max_skip_count", 0),
                    text("mode", "TF"),
                    ints("ngram_counts", &[0]),
                    ints("ngram_indexes", &[0, 1]),
                    texts("pool_strings", vocabulary),
                ],
            ),
        ])
    };
    independent(words(&["a", "b"], "#"));
    // What fills short lists up is counted as a word.
    dependent(words(&["a", "#"], "#"), &["filled up"]);
}

#[test]
fn fixed_and_open_sizes_besides_the_rows_are_no_rows() {
    let nodes = vec![
        node("Relu", &["x"], "r", vec![]),
        node("ReduceMean", &["r"], "y", vec![ints("axes", &[1]), int("keepdims", 0)]),
    ];
    independent(Graph { inner: vec![None, Some(4)], ..graph(&[], nodes, vec![]) });
}

#[test]
fn classical_models_of_the_fixtures_keep_rows_apart() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/models");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let model = Model::load(&std::fs::read(&path).unwrap(), &ModelLimits::default()).unwrap();
            found.extend(model.rows().reason().map(|reason| format!("{}: {reason}", path.display())));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
