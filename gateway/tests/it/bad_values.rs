//! Values that a graph cannot take are the caller's to mend: told with the column and the row on every surface, and
//! answered as ONNX Runtime answers where it has an answer.

use serde_json::{Value, json};

use crate::support::{BundleFolder, Gateway, grpc};

fn model(name: &str) -> BundleFolder {
    let onnx = std::fs::read(format!("tests/data/bad_values/{name}.onnx")).expect("a graph");
    BundleFolder::model_alone(name, &onnx)
}

async fn predict(gateway: &Gateway, body: &Value) -> (u16, Value) {
    let answer = gateway.predict(body.to_string()).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_out_of_range_names_its_column_and_row() {
    let bundle = model("embedding");
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    for index in [5, -6, i64::MAX, i64::MIN] {
        let (status, answer) = predict(&gateway, &json!({ "x": index })).await;
        assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", "x"])), "{index}: {answer}");
        assert!(answer["detail"][0]["msg"].as_str().is_some_and(|text| text.contains("out of range")), "{answer}");
    }
    let (status, answer) = predict(&gateway, &json!([{ "x": 0 }, { "x": 4 }, { "x": 7 }])).await;
    assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", 2, "x"])), "{answer}");
    let (status, answer) = predict(&gateway, &json!([{ "x": 1 }, { "x": -1 }])).await;
    assert_eq!((status, answer.to_string().contains("8.0,9.0")), (200, true), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_surface_tells_it_in_its_own_shape() {
    let bundle = model("embedding");
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    let json_body = [("content-type", "application/json")];
    let tensors = json!({ "inputs": [{ "name": "x", "shape": [2], "datatype": "INT64", "data": [1, 9] }] });
    let open = gateway.post("/v2/models/embedding/infer", tensors.to_string().into(), &json_body).await;
    assert_eq!(open.status, 400, "{}", open.text);
    assert!(open.json()["error"].as_str().is_some_and(|text| text.contains("row 1, column 'x'")), "{}", open.text);
    let records = json!({ "dataframe_records": [{ "x": 9 }] });
    let scoring = gateway.post("/invocations", records.to_string().into(), &json_body).await;
    assert_eq!(scoring.status, 400, "{}", scoring.text);
    assert!(scoring.json()["message"].as_str().is_some_and(|text| text.contains("column 'x'")), "{}", scoring.text);
    // model_name = "embedding"; one input "x" of INT64, shape [1], int64_contents [9].
    let contents = b"\x1a\x01\x09";
    let input = [b"\x0a\x01x\x12\x05INT64\x1a\x01\x01\x2a\x03".as_slice(), contents].concat();
    let length = u8::try_from(input.len()).expect("short");
    let message = [b"\x0a\x09embedding\x2a".as_slice(), &[length], &input].concat();
    assert_eq!(grpc(&gateway.address, "ModelInfer", &message, &[]).0, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_a_column_is_all_off() {
    let bundle = model("one_hot");
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    for (index, on) in
        [(9, "[0.0,0.0,0.0,0.0]"), (-5, "[0.0,0.0,0.0,0.0]"), (-1, "[0.0,0.0,0.0,1.0]"), (1, "[0.0,1.0,0.0,0.0]")]
    {
        let (status, answer) = predict(&gateway, &json!({ "x": index })).await;
        assert!(status == 200 && answer.to_string().contains(on), "{index}: {status} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_mean_nothing_to_the_graph_are_told() {
    for (name, good, bad) in [("categories", "a", "zz"), ("number", "1.5", "abc")] {
        let bundle = model(name);
        let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
        assert_eq!(predict(&gateway, &json!({ "x": good })).await.0, 200, "{name}");
        let (status, answer) = predict(&gateway, &json!([{ "x": good }, { "x": bad }])).await;
        assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", 1, "x"])), "{name}: {answer}");
    }
}
