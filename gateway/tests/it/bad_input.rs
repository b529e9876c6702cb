//! Wrong requests get a clear answer, and the next request is right.

use std::{fs, io::Write};

use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{BundleFolder, Gateway, demo_row};

fn without(mut row: Value, field: &str) -> Value {
    row.as_object_mut().expect("an object").remove(field);
    row
}

fn with(mut row: Value, field: &str, value: Value) -> Value {
    row[field] = value;
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_told_as_fastapi_tells_them() {
    let gateway = Gateway::demo(|_| {}).await;
    let row = demo_row();
    for (body, kind, place) in [
        (without(row.clone(), "Slope"), "missing", json!(["body", "Slope"])),
        (with(row.clone(), "Colour", json!("red")), "extra_forbidden", json!(["body", "Colour"])),
        (with(row.clone(), "Elevation", json!("high")), "float_parsing", json!(["body", "Elevation"])),
        (with(row.clone(), "Elevation", json!(null)), "float_type", json!(["body", "Elevation"])),
        (with(row.clone(), "Elevation", json!([1])), "float_type", json!(["body", "Elevation"])),
        (with(row.clone(), "Soil_Type", json!(7746)), "string_type", json!(["body", "Soil_Type"])),
        (with(row.clone(), "model", json!(7)), "string_type", json!(["body", "model"])),
        (json!([row, without(row.clone(), "Aspect")]), "missing", json!(["body", 1, "Aspect"])),
    ] {
        let answer = gateway.predict(body.to_string()).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
        let detail = answer.detail();
        assert_eq!(detail[0]["type"], kind, "{body}: {detail}");
        assert_eq!(detail[0]["loc"], place, "{body}: {detail}");
        assert!(detail[0]["msg"].is_string());
    }
    let several = with(without(without(row.clone(), "Slope"), "Aspect"), "Colour", json!("red"));
    assert_eq!(gateway.predict(several.to_string()).await.detail().as_array().map(Vec::len), Some(3));
    assert_eq!(gateway.predict(row.to_string()).await.json(), json!({ "prediction": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_rows_is_refused() {
    let gateway = Gateway::demo(|_| {}).await;
    let row = demo_row().to_string();
    for (body, status, words) in [
        ("[]".to_owned(), 422, "empty list"),
        ("3".to_owned(), 422, "a number"),
        ("null".to_owned(), 422, "null"),
        ("[1]".to_owned(), 422, "numbers"),
        (String::new(), 400, "line 1"),
        ("{".to_owned(), 400, "line 1 column 1"),
        (row.replace("2723", "nan"), 400, "line 1 column"),
        (row.replace("2723", "-inf"), 400, "line 1 column"),
        (row.replace("2723", "NaNs"), 400, "line 1 column"),
        (row.replace("2723", "1e999"), 400, "number out of range"),
        (format!("{row}{row}"), 400, "trailing"),
        ("[".repeat(10_000_000), 400, "EOF"),
        (row.replace('}', ",\"model\":\"nobody\"}"), 404, "nobody"),
        (row.replace('}', ",\"model\":\"\"}"), 404, "not known"),
    ] {
        let shown: String = body.chars().take(60).collect();
        let answer = gateway.predict(body).await;
        assert_eq!(answer.status, status, "{shown}: {}", answer.text);
        assert!(answer.text.contains(words), "{shown}: {}", answer.text);
        assert!(!answer.detail().is_null(), "{shown}: {}", answer.text);
    }
    // Invalid UTF-8.
    let mut bytes = row.clone().into_bytes();
    let place = row.find("Rawah").expect("an area");
    bytes[place] = 0xff;
    assert_eq!(gateway.post("/predict", bytes, &[]).await.status, 400);
    assert_eq!(gateway.predict(row).await.json(), json!({ "prediction": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_rows_are_refused_by_number() {
    let gateway = Gateway::demo(|_| {}).await;
    let row = demo_row().to_string();
    let rows = format!("[{}]", vec![row.as_str(); 100_001].join(","));
    let answer = gateway.predict(rows).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert!(answer.text.contains("10000 rows"), "{}", answer.text);
    assert_eq!(gateway.predict(row).await.json(), json!({ "prediction": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_category_is_refused_where_the_module_says_so() {
    let house = BundleFolder::copy_of("tests/data/bundles/house_like");
    let gateway = Gateway::serving(&[house.path()], |_| {}).await;
    let golden = fs::read(house.file("golden.json")).expect("golden examples");
    let golden: Value = serde_json::from_slice(&golden).expect("JSON");
    let row = golden["examples"][0]["input"].clone();
    let text = row.as_object().expect("an object").iter().find(|(_, value)| value.is_string());
    let (field, known) = text.map(|(field, known)| (field.clone(), known.clone())).expect("a categorical field");
    let answer = gateway.predict(json!([row, with(row.clone(), &field, json!("nowhere"))]).to_string()).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.detail()[0]["loc"], json!(["body", 1, field]), "{}", answer.text);
    assert!(answer.text.contains(known.as_str().expect("text")), "the known values are told: {}", answer.text);
    assert_eq!(gateway.predict(row.to_string()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_paths_and_methods_are_checked() {
    let gateway = Gateway::demo(|args| args.max_body = Some("64KiB".into())).await;
    let row = demo_row().to_string();
    let post = async |kind: &str, body: &str| {
        gateway.post("/predict", body.as_bytes().to_vec(), &[("content-type", kind)]).await
    };
    assert_eq!(post("application/json; charset=utf-8", &row).await.status, 200);
    for kind in ["text/csv", "application/x-www-form-urlencoded", "application/octet-stream"] {
        let answer = post(kind, &row).await;
        assert_eq!(answer.status, 415, "{}", answer.text);
        assert!(answer.text.contains(kind) && answer.text.contains("application/json"), "{}", answer.text);
    }
    let answer = gateway.post("/predict", row.clone().into_bytes(), &[("content-encoding", "br")]).await;
    assert_eq!(answer.status, 415, "{}", answer.text);
    let answer = gateway.post("/predict", b"not gzip".to_vec(), &[("content-encoding", "gzip")]).await;
    assert_eq!(answer.status, 400, "{}", answer.text);

    let answer = post("application/json", &" ".repeat(70_000)).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert!(answer.text.contains("65536"), "{}", answer.text);
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b' '; 50 << 20]).expect("into memory");
    let answer = gateway.post("/predict", bomb.finish().expect("whole"), &[("content-encoding", "gzip")]).await;
    assert_eq!(answer.status, 413, "{}", answer.text);

    for (method, path, allow) in [
        (Method::GET, "/predict", "POST"),
        (Method::POST, "/metrics", "GET,HEAD"),
        (Method::DELETE, "/predict", "POST"),
    ] {
        let answer = gateway.method(method.clone(), path).await;
        assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text);
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        assert_eq!(answer.detail(), "Method Not Allowed");
    }
    assert_eq!(gateway.get("/nothing").await.detail(), "Not Found");
    let answer = gateway.get("/v2/nothing").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (404, Some("Not Found")));
    assert_eq!(gateway.post("/predict?outputs=some", row.into(), &[]).await.status, 400);
}
