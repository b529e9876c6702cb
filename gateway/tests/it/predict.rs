//! Right answers.

use std::{fs, io::Write};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use serde_json::{Value, json};

use crate::support::{BundleFolder, Gateway, demo_row};

#[tokio::test(flavor = "multi_thread")]
async fn one_object_gets_one_prediction() {
    let gateway = Gateway::demo(|_| {}).await;
    let mut row = demo_row();
    let answer = gateway.predict(row.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json(), json!({ "prediction": 2 }));
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-modelgate-version"), "1");
    assert!(!answer.header("x-modelgate-generation").is_empty());
    assert_eq!(answer.header("x-request-id").len(), 16);

    row["model"] = "modelo_covertype_vf".into();
    assert_eq!(gateway.predict(row.to_string()).await.json(), json!({ "prediction": 2 }));
    assert_eq!(gateway.predict(json!([row, row]).to_string()).await.json(), json!({ "predictions": [2, 2] }));
    let all = gateway.post("/predict?outputs=all", row.to_string().into(), &[]).await.json();
    assert_eq!(all["prediction"], 2);
    assert_eq!(all["outputs"]["probabilities"].as_array().map(Vec::len), Some(7));
    assert_eq!(gateway.get("/listar_modelos").await.json(), json!({ "modelos_disponibles": ["modelo_covertype_vf"] }));
}

/// Labels identical to scikit-learn's and probabilities within 1e-5, in one batch and one by one, under both isolations.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rows_agree_with_scikit_learn() {
    let text = fs::read("tests/data/covertype_1000.json").expect("the rows");
    let expected: Value = serde_json::from_slice(&text).expect("JSON");
    let request = BundleFolder::copy_of("demo");
    request.edit_manifest("name = \"modelo_covertype_vf\"", "name = \"fresh\"");
    request.write(
        "bundle.toml",
        format!("{}\n[run]\nisolation = \"request\"\n", fs::read_to_string(request.file("bundle.toml")).expect("text"))
            .as_bytes(),
    );
    let gateway = Gateway::serving(&[request.path()], |args| args.demo = Some(true)).await;
    let rows = rows_of(&expected);
    assert_eq!(rows.len(), 1_000);
    for model in ["modelo_covertype_vf", "fresh"] {
        let named: Vec<Value> = rows
            .iter()
            .map(|(row, ..)| {
                let mut row = row.clone();
                row["model"] = model.into();
                row
            })
            .collect();
        let answer = gateway.post("/predict?outputs=all", json!(named).to_string().into(), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer = answer.json();
        for (place, (_, label, probabilities)) in rows.iter().enumerate() {
            assert_eq!(answer["predictions"][place], *label, "label of row {place} by {model}");
            let ours = answer["outputs"]["probabilities"][place].as_array().expect("a list");
            assert_eq!(ours.len(), probabilities.len());
            for (ours, theirs) in ours.iter().zip(probabilities) {
                let (ours, theirs) = (ours.as_f64().expect("a number"), theirs.as_f64().expect("a number"));
                assert!((ours - theirs).abs() <= 1e-5, "row {place} by {model}: {ours} and {theirs}");
            }
        }
        for (row, (_, label, _)) in named.iter().zip(&rows).step_by(37) {
            assert_eq!(gateway.predict(row.to_string()).await.json(), json!({ "prediction": label }));
        }
    }
}

/// Input, label and probabilities of each row.
fn rows_of(expected: &Value) -> Vec<(Value, Value, Vec<Value>)> {
    let columns = expected["columns"].as_array().expect("columns");
    let rows = expected["rows"].as_array().expect("rows");
    let labels = expected["predictions"].as_array().expect("labels");
    let probabilities = expected["probabilities"].as_array().expect("probabilities");
    rows.iter()
        .zip(labels)
        .zip(probabilities)
        .map(|((row, label), probabilities)| {
            let names = columns.iter().map(|name| name.as_str().expect("a name").to_owned());
            let row: serde_json::Map<_, _> = names.zip(row.as_array().expect("a row").iter().cloned()).collect();
            (row.into(), label.clone(), probabilities.as_array().expect("a list").clone())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_models_are_told_apart_by_name() {
    let iris = BundleFolder::copy_of("tests/data/bundles/iris_like");
    let house = BundleFolder::copy_of("tests/data/bundles/house_like");
    let gateway = Gateway::serving(&[iris.path(), house.path()], |args| args.demo = Some(true)).await;
    for name in ["iris_like", "house_like"] {
        let golden = fs::read(format!("tests/data/bundles/{name}/golden.json")).expect("golden examples");
        let golden: Value = serde_json::from_slice(&golden).expect("JSON");
        let mut row = golden["examples"][0]["input"].clone();
        row["model"] = name.into();
        let answer = gateway.predict(row.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let expected = &golden["examples"][0]["output"]["prediction"];
        let prediction = &answer.json()["prediction"];
        match (expected.as_f64(), prediction.as_f64()) {
            (Some(expected), Some(prediction)) => {
                assert!((expected - prediction).abs() <= 1e-4 * expected.abs(), "{expected} {prediction}");
            }
            _ => assert_eq!(expected, prediction),
        }
    }
    let mixed = json!([{ "model": "iris_like" }, { "model": "house_like" }]).to_string();
    let answer = gateway.predict(mixed).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("same model"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_taken() {
    let gateway = Gateway::demo(|_| {}).await;
    let body = demo_row().to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body.as_bytes()).expect("into memory");
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(body.as_bytes()).expect("into memory");
    for (coding, body) in [
        ("gzip", gzip.finish().expect("whole")),
        ("deflate", deflate.finish().expect("whole")),
        ("identity", body.into()),
    ] {
        let answer = gateway.post("/predict", body, &[("content-encoding", coding)]).await;
        assert_eq!(answer.json(), json!({ "prediction": 2 }), "{coding}");
    }
}

/// Bodies over 64 KiB are decoded by a worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_answered() {
    let gateway = Gateway::demo(|_| {}).await;
    let rows = vec![demo_row(); 10_000];
    let answer = gateway.predict(json!(rows).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["predictions"], json!(vec![2; 10_000]));
}
