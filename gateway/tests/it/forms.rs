//! Forms of a request that the reference servers take, over a real socket.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Answer, BundleFolder, Gateway, demo_row};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A bundle of one FP32 matrix of five columns: a small network, invoked as it is.
fn matrix() -> BundleFolder {
    BundleFolder::model_alone("mlp", &fs::read("tests/data/models/mlp.onnx").expect("the model"))
}

async fn post(gateway: &Gateway, path: &str, kind: &str, body: impl Into<String>) -> Answer {
    gateway.post(path, body.into().into_bytes(), &[("content-type", kind)]).await
}

/// MLflow's server hands `df.values` to a graph with one matrix.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_a_matrix_is_its_values() {
    let bundle = matrix();
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    let row = "[1.5,-2.5,3.5,4.5,0.25]";
    let expected = post(&gateway, "/invocations", "application/json", format!(r#"{{"inputs":[{row}]}}"#)).await;
    assert_eq!(expected.status, 200, "{}", expected.text);
    for (kind, body) in [
        ("application/json", format!(r#"{{"dataframe_split":{{"columns":["a","b","c","d","e"],"data":[{row}]}}}}"#)),
        ("application/json", format!(r#"{{"dataframe_split":{{"columns":[0,1,2,3,4],"data":[{row}]}}}}"#)),
        ("application/json", format!(r#"{{"dataframe_split":{{"data":[{row}]}}}}"#)),
        ("application/json", r#"{"dataframe_records":[{"a":1.5,"b":-2.5,"c":3.5,"d":4.5,"e":0.25}]}"#.to_owned()),
        ("text/csv", "a,b,c,d,e\n1.5,-2.5,3.5,4.5,0.25\n".to_owned()),
    ] {
        let answer = post(&gateway, "/invocations", kind, body.clone()).await;
        assert_eq!((answer.status, &answer.text), (expected.status, &expected.text), "{body}");
    }
    let narrow = r#"{"dataframe_split":{"columns":["a","b"],"data":[[1,2]]}}"#;
    let answer = post(&gateway, "/invocations", "application/json", narrow).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("which is 5"), "{}", answer.text);
}

/// `NaN` and the infinities as Python writes them: the value reaches the model, and each protocol says in its own way what
/// JSON cannot.
#[tokio::test(flavor = "multi_thread")]
async fn python_numbers_are_taken_on_every_surface() {
    let echo = BundleFolder::custom("echo", &crate::support::module("unruly"), "{}", "");
    let gateway = Gateway::serving(&[echo.path()], |_| {}).await;
    for (token, strict) in [("NaN", "null"), ("Infinity", "null"), ("-Infinity", "null"), ("1.5", "1.5")] {
        let record = format!(r#"{{"act":"NaN","x":{token}}}"#);
        let predicted = post(&gateway, "/predict", "application/json", record.clone()).await;
        assert_eq!(predicted.text, format!(r#"{{"prediction":{strict}}}"#), "{token}");
        for (path, body, expected) in [
            (
                "/invocations",
                format!(r#"{{"dataframe_records":[{record}]}}"#),
                format!(r#"{{"predictions":[{token}]}}"#),
            ),
            (
                "/invocations",
                format!(r#"{{"dataframe_split":{{"data":[["a",{token}]],"columns":["act","x"]}}}}"#),
                format!(r#"{{"predictions":[{token}]}}"#),
            ),
            (
                "/v1/models/echo:predict",
                format!(r#"{{"instances":[{record}]}}"#),
                format!(r#"{{"predictions":[{token}]}}"#),
            ),
            (
                "/v1/models/echo:predict",
                format!(r#"{{"inputs":{{"act":["a"],"x":[{token}]}}}}"#),
                format!(r#"{{"outputs":[{token}]}}"#),
            ),
        ] {
            let answer = post(&gateway, path, "application/json", body.clone()).await;
            assert_eq!((answer.status.as_u16(), answer.text), (200, expected), "{body}");
        }
        for order in ["\"datatype\":\"FP64\",\"data\":[X]", "\"data\":[X],\"datatype\":\"FP64\""] {
            let x = order.replace('X', token);
            let body = format!(
                r#"{{"inputs":[{{"name":"act","shape":[1],"datatype":"BYTES","data":["a"]}},{{"name":"x","shape":[1],{x}}}]}}"#
            );
            let answer = post(&gateway, "/v2/models/echo/infer", "application/json", body.clone()).await;
            assert_eq!(answer.status, 200, "{body}: {}", answer.text);
            assert!(answer.text.contains(&format!("\"data\":[{strict}]")), "{body}: {}", answer.text);
        }
    }
    let csv = post(&gateway, "/invocations", "text/csv", "act,x\na,inf\na,-inf\na,NaN\n").await;
    assert_eq!(csv.text, r#"{"predictions":[Infinity,-Infinity,NaN]}"#);
    for body in
        [r#"{"act":"a","x":nan}"#, r#"{"act":"a","x":NaN"#, r#"{"act":"a","x":+Infinity}"#, r#"{"act":NaN,"x":1}"#]
    {
        let answer = post(&gateway, "/predict", "application/json", body).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{body}: {}", answer.text);
    }
}

/// `MLServer`'s types, written by pydantic with a null for everything that is not set.
#[tokio::test(flavor = "multi_thread")]
async fn a_null_is_as_good_as_nothing() {
    let bundle = matrix();
    let gateway = Gateway::serving(&[bundle.path()], |args| args.demo = Some(true)).await;
    let path = "/v2/models/mlp/infer";
    let metadata = gateway.get("/v2/models/mlp").await.json();
    let (input, output) = (&metadata["inputs"][0]["name"], &metadata["outputs"][0]["name"]);
    let with = |extra: Value| {
        let mut body =
            json!({ "inputs": [{ "name": input, "shape": [1, 5], "datatype": "FP32", "data": [1, 2, 3, 4, 5] }] });
        let outputs = json!([{ "name": output }]);
        body["outputs"] = outputs;
        for (pointer, value) in extra.as_object().expect("an object") {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            body.pointer_mut(parent).expect("there")[key] = value.clone();
        }
        body.to_string()
    };
    let expected = post(&gateway, path, "application/json", with(json!({}))).await;
    assert_eq!(expected.status, 200, "{}", expected.text);
    for extra in [
        json!({ "/id": null, "/parameters": null }),
        json!({ "/parameters": { "binary_data_output": null, "timeout": null, "priority": null, "content_type": null } }),
        json!({ "/inputs/0/parameters": null }),
        json!({ "/inputs/0/parameters": { "binary_data_size": null, "shared_memory_region": null, "content_type": null } }),
        json!({ "/outputs/0/parameters": null, "/outputs/0/data": null }),
        json!({ "/outputs/0/parameters": { "binary_data": null, "classification": null, "shared_memory_region": null } }),
    ] {
        let answer = post(&gateway, path, "application/json", with(extra.clone())).await;
        assert_eq!((answer.status, answer.text), (expected.status, expected.text.clone()), "{extra}");
    }
    let answer = post(&gateway, path, "application/json", with(json!({ "/outputs": null }))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    // A tensor in binary whose `data` is null.
    let head = json!({ "inputs": [{
        "name": input, "shape": [1, 5], "datatype": "FP32", "data": null, "parameters": { "binary_data_size": 20 },
    }] })
    .to_string();
    let length = head.len().to_string();
    let body = [head.as_bytes(), &[0; 20]].concat();
    let answer = gateway.post(path, body, &[("inference-header-content-length", length.as_str())]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for body in [json!({ "ready": null }).to_string(), "{}".into()] {
        assert_eq!(post(&gateway, "/v2/repository/index", "application/json", body).await.status, 200);
    }
    let row = demo_row();
    let scored = json!({
        "dataframe_split": null, "dataframe_records": [row], "instances": null, "inputs": null, "params": null,
    });
    let headers = [JSON, ("x-model", "modelo_covertype_vf")];
    let answer = gateway.post("/invocations", scored.to_string().into(), &headers).await;
    assert_eq!(answer.json(), json!({ "predictions": [2] }), "{}", answer.text);
    let mut named = row;
    named["model"] = Value::Null;
    let answer = gateway.post("/predict/modelo_covertype_vf", named.to_string().into(), &[JSON]).await;
    assert_eq!(answer.json(), json!({ "prediction": 2 }), "{}", answer.text);
}

/// Values as pydantic's default mode takes them.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_taken_as_fastapi_takes_them() {
    let gateway = Gateway::demo(|_| {}).await;
    for value in [json!("2723"), json!(" 2723.0 "), json!("2_723"), json!(2723.0)] {
        let mut row = demo_row();
        row["Elevation"] = value.clone();
        let answer = gateway.predict(row.to_string()).await;
        assert_eq!(answer.json(), json!({ "prediction": 2 }), "{value}: {}", answer.text);
    }
    let mut extra = demo_row();
    extra["id"] = 7.into();
    assert_eq!(gateway.predict(extra.to_string()).await.status, 422);
    let lenient = Gateway::demo(|args| args.extra_fields = Some(modelgate::config::ExtraFields::Ignore)).await;
    assert_eq!(lenient.predict(extra.to_string()).await.json(), json!({ "prediction": 2 }));
    assert_eq!(lenient.predict(json!([extra, extra]).to_string()).await.json(), json!({ "predictions": [2, 2] }));
    // What the pipeline itself drops is refused nowhere.
    let dropping = BundleFolder::copy_of("demo");
    dropping.edit_manifest("version = \"1\"", "version = \"1\"\nignored_columns = [\"seen\", \"id\"]");
    let gateway = Gateway::serving(&[dropping.path()], |_| {}).await;
    assert_eq!(gateway.predict(extra.to_string()).await.json(), json!({ "prediction": 2 }));
    let body = json!({ "instances": [extra] }).to_string();
    let answer = gateway.post("/v1/models/modelo_covertype_vf:predict", body.into_bytes(), &[JSON]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    extra["other"] = 1.into();
    let answer = gateway.predict(extra.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.detail()[0]["loc"].clone()), (422, json!(["body", "other"])));
}

/// A request that its own size makes too large for its model's memory is told so, and is not the module's fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_too_large_for_its_model_is_413() {
    let bundle = matrix();
    let mut manifest = fs::read_to_string(bundle.file("bundle.toml")).expect("text");
    manifest.push_str("[limits]\nmemory = \"4MiB\"\nrows = 1000000\n");
    bundle.write("bundle.toml", manifest.as_bytes());
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    let input = gateway.get("/v2/models/mlp").await.json()["inputs"][0]["name"].clone();
    let infer = async |rows: usize| {
        let head = json!({ "inputs": [{
            "name": input, "shape": [rows, 5], "datatype": "FP32", "parameters": { "binary_data_size": rows * 20 },
        }] })
        .to_string();
        let body = [head.as_bytes(), &vec![0; rows * 20]].concat();
        let length = head.len().to_string();
        gateway.post("/v2/models/mlp/infer", body, &[("inference-header-content-length", length.as_str())]).await
    };
    assert_eq!(infer(1).await.status, 200);
    let answer = infer(150_000).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert!(answer.text.contains("limits.memory"), "{}", answer.text);
    assert_eq!(infer(1).await.status, 200);
    let trapped = gateway.metric("modelgate_traps_total{cause=\"memory\",model=\"mlp\",version=\"1\"}").await;
    assert!(trapped.is_none_or(|count| count == 0.0), "{trapped:?}");
}

/// Pages of the origins that are named, and of no others, whatever the answer; and never those calls that change things.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_named_origins_may_call() {
    let page = "https://app.example.com";
    let gateway = Gateway::demo(|args| args.cors_origin = vec![page.into()]).await;
    let preflight = async |gateway: &Gateway, origin: &str, path: &str| {
        let request = gateway
            .client
            .request(reqwest::Method::OPTIONS, gateway.url(path))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-model");
        let answer = request.send().await.expect("an answer");
        let of = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        (of("access-control-allow-origin"), of("access-control-allow-headers"))
    };
    assert_eq!(
        preflight(&gateway, page, "/predict").await,
        (Some(page.to_owned()), Some("content-type,x-model".to_owned()))
    );
    for (origin, path) in
        [("https://elsewhere.example.com", "/predict"), (page, "/v2/repository/models/modelo_covertype_vf/unload")]
    {
        assert_eq!(preflight(&gateway, origin, path).await.0, None, "{origin} {path}");
    }
    for (body, status) in [(demo_row().to_string(), 200), ("{".to_owned(), 400)] {
        let answer = gateway.post("/predict", body.into_bytes(), &[JSON, ("origin", page)]).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), page);
        assert!(answer.header("access-control-expose-headers").contains("x-request-id"));
    }
    let closed = Gateway::demo(|_| {}).await;
    let answer = closed.post("/predict", demo_row().to_string().into(), &[JSON, ("origin", page)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, ""));
    let open = Gateway::demo(|args| args.cors_origin = vec!["*".into()]).await;
    let answer = open.post("/predict", demo_row().to_string().into(), &[JSON, ("origin", page)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, page));
}
