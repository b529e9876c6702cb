//! MLflow's scoring server and TensorFlow Serving's `:predict`.

use serde_json::{Value, json};

use crate::support::{Answer, BundleFolder, Gateway, demo_row};

async fn invoke(gateway: &Gateway, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    gateway.post("/invocations", body.into(), &[("content-type", kind)]).await
}

/// The demo's columns in the order in which it takes them, and the values of its row.
fn columns() -> (Vec<String>, Vec<Value>) {
    let config: Value =
        serde_json::from_slice(&std::fs::read("demo/preprocess.json").expect("the demo")).expect("JSON");
    let (row, inputs) = (demo_row(), config["inputs"].as_array().expect("a list").clone());
    let names = inputs.iter().map(|input| input["name"].as_str().expect("a name").to_owned());
    names.map(|name| (name.clone(), row[&name].clone())).unzip()
}

#[tokio::test(flavor = "multi_thread")]
async fn mlflow_clients_are_answered() {
    let gateway = Gateway::demo(|_| {}).await;
    let (row, (names, values)) = (demo_row(), columns());
    let lists: serde_json::Map<_, _> =
        names.iter().cloned().zip(values.iter().map(|value| json!([value, value]))).collect();
    for body in [
        json!({ "dataframe_records": [row, row], "params": { "a": 1 } }),
        json!({ "dataframe_split": { "columns": names, "index": [0, 1], "data": [values, values] } }),
        json!({ "instances": [row, row] }),
        json!({ "inputs": lists }),
    ] {
        let answer = invoke(&gateway, "application/json", body.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "predictions": [2, 2] })), "{body}");
    }
    let line =
        |values: &[Value]| values.iter().map(|value| value.to_string().replace('"', "")).collect::<Vec<_>>().join(",");
    let table = format!("{},extra\n{},x\n{},\n", names.join(","), line(&values), line(&values));
    for kind in ["text/csv", "text/csv; charset=utf-8"] {
        assert_eq!(invoke(&gateway, kind, table.clone()).await.json(), json!({ "predictions": [2, 2] }));
    }
    let ping = gateway.get("/ping").await;
    assert_eq!(
        (ping.status.as_u16(), ping.text.as_str(), ping.header("content-type")),
        (200, "\n", "application/json")
    );
    assert_eq!(gateway.get("/health").await.text, "\n");
    assert!(gateway.get("/version").await.text.starts_with("0."));
    let one = json!({ "instances": [row] }).to_string();
    let named = gateway
        .post(
            "/invocations",
            one.clone().into(),
            &[("content-type", "application/json"), ("x-model", "modelo_covertype_vf")],
        )
        .await;
    assert_eq!(named.json(), json!({ "predictions": [2] }));
    let path = "/models/modelo_covertype_vf/invocations";
    let by_path = gateway.post(path, one.into(), &[("content-type", "application/json")]).await;
    assert_eq!(by_path.json(), json!({ "predictions": [2] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn mlflow_errors_have_its_shape() {
    let gateway = Gateway::demo(|_| {}).await;
    let (names, values) = columns();
    let ragged = format!("{}\n{}\n", names.join(","), vec!["1"; names.len() + 1].join(","));
    for (kind, body, words) in [
        ("application/json", "{".to_owned(), "malformed JSON"),
        ("application/json", "[1]".to_owned(), "an object"),
        ("application/json", "[".repeat(10_000_000), "an object"),
        ("application/json", format!("{{\"inputs\":{}", "[".repeat(10_000_000)), "malformed JSON"),
        ("application/json", json!({ "instances": [], "inputs": [] }).to_string(), "exactly one"),
        ("application/json", json!({ "rows": [] }).to_string(), "Received dictionary with input fields: ['rows']"),
        ("application/json", json!({ "instances": [] }).to_string(), "at least one row"),
        ("application/json", json!({ "dataframe_records": [{}] }).to_string(), "row 0, column 'Elevation'"),
        (
            "application/json",
            json!({ "dataframe_split": { "columns": names, "data": [values[1..]] } }).to_string(),
            "12 values",
        ),
        ("text/csv", ragged, "Expected 12 fields in line 2, saw 13"),
        ("text/csv", "a,b\n1,2\n".to_owned(), "is missing"),
    ] {
        let answer = invoke(&gateway, kind, body).await;
        assert_eq!(answer.status, 400, "{words}: {}", answer.text);
        let answer = answer.json();
        assert_eq!(answer["error_code"], "BAD_REQUEST", "{answer}");
        assert!(answer["message"].as_str().is_some_and(|text| text.contains(words)), "{words}: {answer}");
    }
    assert_eq!(invoke(&gateway, "text/csv", b"a\xff\n".to_vec()).await.status, 400);
    for (kind, words) in [
        ("text/plain", "This predictor only supports the following content types: Types: ["),
        ("application/json; charset=latin-1", "The scoring server only supports UTF-8"),
        ("text/csv; format=split", "Unrecognized content type parameters: format"),
    ] {
        let answer = invoke(&gateway, kind, "{}").await;
        assert_eq!((answer.status.as_u16(), answer.text.contains(words)), (415, true), "{kind}: {}", answer.text);
        assert!(answer.header("content-type").starts_with("text/plain"), "{kind}");
    }
    let headers = [("content-type", "application/json"), ("x-model", "nobody")];
    let answer = gateway.post("/invocations", "{}".into(), &headers).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error_code"]), (404, &"RESOURCE_DOES_NOT_EXIST".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tensorflow_clients_are_answered() {
    let iris = BundleFolder::copy_of("tests/data/bundles/iris_like");
    let gateway = Gateway::serving(&[iris.path()], |args| args.demo = Some(true)).await;
    let (row, (names, values)) = (demo_row(), columns());
    let lists: serde_json::Map<_, _> = names.into_iter().zip(values.iter().map(|value| json!([value]))).collect();
    let path = "/v1/models/modelo_covertype_vf:predict";
    for (body, expected) in [
        (json!({ "instances": [row, row] }), json!([2, 2])),
        (json!({ "instances": [values], "signature_name": "serving_default" }), json!([2])),
        (json!({ "instances": [values], "inputs": null, "signature_name": null }), json!([2])),
    ] {
        let answer = gateway.post(path, body.to_string().into(), &[]).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text);
        // Several outputs: each row is an object of them.
        let answer = answer.json()["predictions"].clone();
        let labels: Vec<_> = answer.as_array().expect("rows").iter().map(|row| row["prediction"].clone()).collect();
        assert_eq!(Value::from(labels), expected, "{body}");
        assert_eq!(answer[0]["probabilities"].as_array().map(Vec::len), Some(7), "{body}");
    }
    let answer = gateway.post(path, json!({ "inputs": lists }).to_string().into(), &[]).await.json();
    assert_eq!(answer["outputs"]["prediction"], json!([2]), "{answer}");
    assert_eq!(answer["outputs"]["probabilities"][0].as_array().map(Vec::len), Some(7), "{answer}");
    let versioned = gateway
        .post(
            "/v1/models/iris_like/versions/1:predict",
            json!({ "instances": [[5.3, 3.4, null, 0.1]] }).to_string().into(),
            &[],
        )
        .await;
    assert_eq!(versioned.json()["predictions"][0]["prediction"], "setosa", "{}", versioned.text);
    for path in ["/v1/models/iris_like/metadata", "/v1/models/iris_like/versions/1/metadata"] {
        let told = gateway.get(path).await.json();
        assert_eq!(told["model_spec"], json!({ "name": "iris_like", "signature_name": "", "version": "1" }));
        let signature = &told["metadata"]["signature_def"]["signature_def"]["serving_default"];
        let expected = json!({
            "dtype": "DT_DOUBLE",
            "tensor_shape": { "dim": [{ "size": "-1", "name": "" }], "unknown_rank": false },
            "name": "petal_width",
        });
        assert_eq!(signature["inputs"]["petal_width"], expected);
        assert_eq!(signature["outputs"]["prediction"]["dtype"], "DT_STRING");
    }
    assert_eq!(gateway.get("/v1/models/nobody/metadata").await.status, 404);
    let status = gateway.get("/v1/models/iris_like").await.json();
    assert_eq!((&status["name"], &status["ready"]), (&"iris_like".into(), &true.into()));
    assert_eq!(status["model_version_status"][0]["state"], "AVAILABLE");
    assert_eq!(gateway.get("/v1/models").await.json()["models"], json!(["iris_like", "modelo_covertype_vf"]));
    for (path, body, status, words) in [
        (path, "{".to_owned(), 400, "malformed"),
        (path, json!({ "instances": [{ "colour": 1 }] }).to_string(), 400, "colour"),
        (path, json!({ "dataframe_records": [] }).to_string(), 400, "instances"),
        ("/v1/models/nobody:predict", "{}".to_owned(), 404, "nobody"),
        ("/v1/models/modelo_covertype_vf:explain", "{}".to_owned(), 404, "Not Found"),
        ("/v1/models/modelo_covertype_vf", "{}".to_owned(), 404, "Not Found"),
    ] {
        let answer = gateway.post(path, body.into(), &[]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.json()["error"].as_str().is_some_and(|text| text.contains(words)), "{path}: {}", answer.text);
    }
}
