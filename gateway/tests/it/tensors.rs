//! Models whose inputs and outputs are no rows of a table: served with the shapes that their files declare.

use std::{fs, path::Path};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, BundleFolder, Gateway};

fn onnx(name: &str) -> Vec<u8> {
    fs::read(format!("tests/data/tensors/{name}.onnx")).expect("the model")
}

async fn serving(name: &str) -> (Gateway, BundleFolder) {
    let bundle = BundleFolder::model_alone(name, &onnx(name));
    (Gateway::serving(&[bundle.path()], |_| {}).await, bundle)
}

async fn infer(gateway: &Gateway, model: &str, inputs: Value) -> Answer {
    let body = json!({ "inputs": inputs }).to_string().into_bytes();
    gateway.post(&format!("/v2/models/{model}/infer"), body, &[("content-type", "application/json")]).await
}

#[expect(clippy::needless_pass_by_value, reason = "made by a macro at each call")]
fn tensor(name: &str, datatype: &str, shape: &[usize], data: Value) -> Value {
    json!({ "name": name, "datatype": datatype, "shape": shape, "data": data })
}

/// The inputs of `state` for a batch.
fn state(batch: usize) -> Value {
    json!([
        tensor("x", "FP32", &[batch, 3], json!(vec![1.0; batch * 3])),
        tensor("state", "FP32", &[2, batch, 3], json!(vec![0.5; batch * 6])),
        tensor("rate", "INT64", &[], json!([2])),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_are_those_of_the_file() {
    let (gateway, _bundle) = serving("state").await;
    let metadata = gateway.get("/v2/models/state").await.json();
    let shapes = |side: &str| -> Vec<Value> {
        metadata[side].as_array().expect("a list").iter().map(|tensor| tensor["shape"].clone()).collect()
    };
    assert_eq!(shapes("inputs"), [json!([-1, 3]), json!([2, -1, 3]), json!([])]);
    assert_eq!(shapes("outputs"), [json!([2, -1, 3]), json!([])]);
    let config = gateway.get("/v2/models/state/config").await.json();
    assert_eq!((&config["max_batch_size"], &config["input"][1]["dims"]), (&json!(0), &json!([2, -1, 3])));
    assert!(config.get("dynamic_batching").is_none(), "{config}");

    for batch in [1, 4] {
        let answer = infer(&gateway, "state", state(batch)).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        let outputs = &answer.json()["outputs"];
        assert_eq!(outputs[0]["shape"], json!([2, batch, 3]));
        assert_eq!(outputs[0]["data"], json!(vec![3.0; batch * 6]));
        assert_eq!((&outputs[1]["shape"], &outputs[1]["data"]), (&json!([]), &json!([18.0 * batch as f64])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_in_binary_too() {
    let (gateway, _bundle) = serving("state").await;
    let mut head = json!({ "inputs": state(2), "parameters": { "binary_data_output": true } });
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    for (place, bytes) in [vec![0x3f80_0000_u32; 6], vec![0x3f00_0000; 12]].into_iter().enumerate() {
        let bytes: Vec<u8> = bytes.into_iter().flat_map(u32::to_le_bytes).collect();
        let input = &mut head["inputs"][place];
        input.as_object_mut().expect("an object").remove("data");
        input["parameters"] = json!({ "binary_data_size": bytes.len() });
        blobs.push(bytes);
    }
    let head = head.to_string();
    let length = head.len().to_string();
    let body = [head.into_bytes(), blobs.concat()].concat();
    let request = gateway.client.post(gateway.url("/v2/models/state/infer"));
    let request = request.header("inference-header-content-length", length).body(body);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let body = answer.bytes().await.expect("a body");
    let values = &body[body.len() - 13 * 4..];
    let values: Vec<f32> = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!((values[0], values[11], values[12]), (3.0, 3.0, 36.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_that_do_not_fit_are_told() {
    let (gateway, _bundle) = serving("state").await;
    let mut inputs = state(2);
    inputs[1] = tensor("state", "FP32", &[3, 2, 3], json!(vec![0.5; 18]));
    let answer = infer(&gateway, "state", inputs).await;
    assert_eq!(answer.status, 400);
    let text = answer.json().to_string();
    assert!(text.contains("Expected [2,-1,3], got [3,2,3]"), "{text}");
    // Sizes that only together do not fit.
    let mut inputs = state(2);
    inputs[0] = tensor("x", "FP32", &[3, 3], json!(vec![1.0; 9]));
    let answer = infer(&gateway, "state", inputs).await;
    assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.text);
    assert_eq!(infer(&gateway, "state", state(2)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predict_request_is_one_set_of_tensors() {
    let (gateway, _bundle) = serving("state").await;
    let row = json!({ "x": [[1, 1, 1]], "state": [[[0, 0, 0]], [[1, 1, 1]]], "rate": 2 });
    let answer = gateway.post("/predict?outputs=all", row.to_string().into_bytes(), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let two = gateway.predict(json!([row, row]).to_string()).await;
    assert!(two.status.is_client_error(), "{}", two.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_size_gets_its_plan() {
    let (gateway, _bundle) = serving("sizes").await;
    for (height, width, moved) in [(1, 3, 7.0), (2, 2, 5.0), (1, 5, 16.0), (2, 2, 5.0)] {
        let image: Vec<f64> = (0..height * width).map(|at| at as f64 + 1.0).collect();
        let shape = [1, 1, height, width];
        let answer = infer(&gateway, "sizes", json!([tensor("image", "FP32", &shape, json!(image))])).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        let output = &answer.json()["outputs"][0];
        assert_eq!((&output["shape"], &output["data"][0]), (&json!(shape), &json!(moved)), "{height} by {width}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_may_ask_for_tensors() {
    let bundle = BundleFolder::model_alone("mlp", &fs::read("tests/data/models/mlp.onnx").expect("the model"));
    bundle.edit_manifest("[model]\n", "[model]\nmode = \"tensors\"\n");
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    assert_eq!(gateway.get("/v2/models/mlp").await.json()["inputs"][0]["shape"], json!([-1, 5]));
    let input = tensor("X", "FP32", &[3, 5], json!(vec![0.5; 15]));
    let answer = infer(&gateway, "mlp", json!([input])).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outputs"][0]["shape"][0]), (200, &json!(3)));
    assert_eq!(gateway.method(Method::GET, "/v2/models/mlp/ready").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_file_is_served_as_it_is() {
    let gateway = Gateway::serving(&[Path::new("tests/data/tensors/state.onnx")], |_| {}).await;
    assert_eq!(infer(&gateway, "state", state(1)).await.status, 200);
}
