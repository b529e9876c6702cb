//! Graphs as they come from elsewhere: a whole pipeline of scikit-learn, texts and numbers in and labels out, without a
//! module that prepares; and weights in files of their own.

use std::fs;

use prost::Message;
use serde_json::{Value, json};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};

use crate::support::{BundleFolder, Gateway, refusal, sha256};

/// The rows of a conformance case as objects, and what the library said to them.
fn case(name: &str) -> (Vec<u8>, Vec<Value>, Vec<Value>) {
    let folder = format!("{}/tests/data/conformance", env!("CARGO_MANIFEST_DIR"));
    let graph = fs::read(format!("{folder}/{name}.onnx")).expect("the graph");
    let case: Value =
        serde_json::from_slice(&fs::read(format!("{folder}/{name}.json")).expect("the case")).expect("JSON");
    let inputs = case["inputs"].as_array().expect("inputs");
    let count = inputs[0]["values"].as_array().map_or(0, Vec::len);
    let rows = (0..count).map(|row| {
        let fields = inputs.iter().map(|input| (input["name"].as_str().expect("a name"), &input["values"][row]));
        Value::Object(fields.map(|(name, value)| (name.to_owned(), value.clone())).collect())
    });
    (graph, rows.collect(), case["library"][0]["values"].as_array().expect("labels").clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_go_in_and_labels_come_out() {
    let (graph, rows, labels) = case("pipeline_one_hot_logistic");
    let bundle = BundleFolder::copy_of("demo");
    bundle.write("model.onnx", &graph);
    let manifest = format!(
        "format = 1\nname = \"whole\"\nversion = \"1\"\n[model]\nfile = \"model.onnx\"\nsha256 = \"{}\"\n\
         [[stage]]\nname = \"predict\"\nmodule = \"builtin:predict\"\n",
        sha256(&graph)
    );
    bundle.write("bundle.toml", manifest.as_bytes());
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    let answer = gateway.predict(json!(rows).to_string()).await;
    assert_eq!(answer.json(), json!({ "predictions": labels }), "{}", answer.text);
    assert_eq!(gateway.predict(rows[0].to_string()).await.json(), json!({ "prediction": labels[0] }));

    // A list of one is the same, anything else is told.
    let mut row = rows[0].clone();
    row["color"] = json!([row["color"]]);
    assert_eq!(gateway.predict(row.to_string()).await.json(), json!({ "prediction": labels[0] }));
    row["color"] = json!(["red", "blue"]);
    assert_eq!(gateway.predict(row.to_string()).await.detail()[0]["type"], "list_length");
    row["color"] = json!(3);
    assert_eq!(gateway.predict(row.to_string()).await.detail()[0]["type"], "string_type");
}

/// The weights of a graph in a file of their own: taken if the bundle lists it, else the graph is refused.
#[tokio::test(flavor = "multi_thread")]
async fn weights_come_from_files_of_the_bundle() {
    let bundle = BundleFolder::copy_of("demo");
    let data: Vec<u8> = [10.0f32, 20.0, 30.0].into_iter().flat_map(f32::to_le_bytes).collect();
    let graph = adder();
    bundle.write("model.onnx", &graph);
    bundle.write("weights.bin", &data);
    let manifest = |data: &str| {
        format!(
            "format = 1\nname = \"adder\"\nversion = \"1\"\n[model]\nfile = \"model.onnx\"\nsha256 = \"{}\"\n{data}\n\
             [[stage]]\nname = \"predict\"\nmodule = \"builtin:predict\"\n",
            sha256(&graph)
        )
    };
    bundle.write("bundle.toml", manifest("").as_bytes());
    let refused = refusal(bundle.path()).await;
    assert!(refused.contains("which the bundle does not list"), "{refused}");

    let listed = format!("data = [{{ file = \"weights.bin\", sha256 = \"{}\" }}]", sha256(&data));
    bundle.write("bundle.toml", manifest(&listed).as_bytes());
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    let answer = gateway.predict(json!({ "x": [1, 2, 3] }).to_string()).await;
    assert_eq!(answer.json(), json!({ "prediction": [11.0, 22.0, 33.0] }), "{}", answer.text);
}

/// `y = x + w` for three columns, with `w` in `weights.bin`.
fn adder() -> Vec<u8> {
    let value = |name: &str| {
        let dim = |dim| tensor_shape_proto::Dimension { value: Some(dim), ..Default::default() };
        let rows = dim(tensor_shape_proto::dimension::Value::DimParam("n".into()));
        let shape = TensorShapeProto { dim: vec![rows, dim(tensor_shape_proto::dimension::Value::DimValue(3))] };
        let tensor = type_proto::Tensor { elem_type: 1, shape: Some(shape) };
        let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
    };
    let external_data = vec![StringStringEntryProto { key: "location".into(), value: "weights.bin".into() }];
    let weights = TensorProto {
        name: "w".into(),
        dims: vec![3],
        data_type: 1,
        data_location: Some(1),
        external_data,
        ..Default::default()
    };
    let add = NodeProto {
        op_type: "Add".into(),
        input: vec!["x".into(), "w".into()],
        output: vec!["y".into()],
        ..Default::default()
    };
    let graph = GraphProto {
        name: "g".into(),
        node: vec![add],
        initializer: vec![weights],
        input: vec![value("x")],
        output: vec![value("y")],
        ..Default::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, graph: Some(graph), opset_import, ..Default::default() }.encode_to_vec()
}
