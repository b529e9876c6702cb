//! The Open Inference Protocol over REST.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Answer, BundleFolder, Gateway, PATIENCE, demo_row};

const INFER: &str = "/v2/models/modelo_covertype_vf/infer";

/// The demo's columns of numbers, all of which are FP64; the two others are BYTES.
fn is_text(name: &str) -> bool {
    matches!(name, "Wilderness_Area" | "Soil_Type")
}

/// One tensor for each feature, `rows` times the demo's row.
fn tensors(rows: usize) -> Vec<Value> {
    let row = demo_row();
    let tensor = |(name, value): (&String, &Value)| {
        let datatype = if is_text(name) { "BYTES" } else { "FP64" };
        json!({ "name": name, "shape": [rows, 1], "datatype": datatype, "data": vec![value; rows] })
    };
    row.as_object().expect("an object").iter().map(tensor).collect()
}

async fn infer(gateway: &Gateway, body: &Value) -> Answer {
    gateway.post(INFER, body.to_string().into_bytes(), &[("content-type", "application/json")]).await
}

/// A bundle of one FP32 matrix of five columns: a small network, invoked as it is.
fn matrix() -> BundleFolder {
    let onnx = std::fs::read("tests/data/models/mlp.onnx").expect("the model");
    BundleFolder::model_alone("mlp", &onnx)
}

/// A body whose tensors are binary, and its headers.
fn binary(head: &Value, blobs: &[&[u8]]) -> (Vec<u8>, String) {
    let head = head.to_string().into_bytes();
    let length = head.len().to_string();
    (
        blobs.iter().fold(head, |mut body, blob| {
            body.extend_from_slice(blob);
            body
        }),
        length,
    )
}

async fn post_binary(gateway: &Gateway, path: &str, body: Vec<u8>, length: &str) -> (u16, Value, Vec<u8>) {
    let request = gateway
        .client
        .post(gateway.url(path))
        .header("inference-header-content-length", length)
        .header("content-type", "application/octet-stream");
    let response = request.body(body).send().await.expect("an answer");
    let status = response.status().as_u16();
    let json = response.headers().get("inference-header-content-length").cloned();
    let bytes = response.bytes().await.expect("a body").to_vec();
    let json = json.map_or(bytes.len(), |length| length.to_str().expect("ASCII").parse().expect("a number"));
    (status, serde_json::from_slice(&bytes[..json]).expect("JSON"), bytes[json..].to_vec())
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_the_server_are_described() {
    let gateway = Gateway::demo(|_| {}).await;
    for path in ["/v2", "/v2/"] {
        let server = gateway.get(path).await.json();
        assert_eq!(server["name"], "modelgate");
        assert!(server["extensions"].as_array().expect("a list").contains(&"binary_tensor_data".into()), "{server}");
    }
    for path in ["/v2/models/modelo_covertype_vf", "/v2/models/modelo_covertype_vf/versions/1"] {
        let model = gateway.get(path).await.json();
        assert_eq!((&model["name"], &model["versions"]), (&"modelo_covertype_vf".into(), &json!(["1"])));
        assert_eq!(model["inputs"][0], json!({ "name": "Elevation", "datatype": "FP64", "shape": [-1] }));
        assert_eq!(model["inputs"].as_array().map(Vec::len), Some(12));
        assert_eq!(model["outputs"][1], json!({ "name": "probabilities", "datatype": "FP32", "shape": [-1, 7] }));
        let ready = gateway.get(&format!("{path}/ready")).await;
        assert_eq!((ready.status.as_u16(), &ready.json()["ready"]), (200, &true.into()));
        let config = gateway.get(&format!("{path}/config")).await.json();
        assert_eq!(
            (&config["max_batch_size"], &config["input"][0]["data_type"]),
            (&10_000.into(), &"TYPE_FP64".into())
        );
        assert!(config["dynamic_batching"].is_object(), "{config}");
    }
    for (method, path, status) in [
        (Method::GET, "/v2/models/nobody", 404),
        (Method::GET, "/v2/models/modelo_covertype_vf/versions/2", 404),
        (Method::GET, "/v2/models/modelo_covertype_vf/versions/2/ready", 404),
        (Method::POST, "/v2/models/nobody/infer", 404),
        (Method::GET, INFER, 405),
        (Method::GET, "/v2/models/%FF", 400),
        (Method::GET, "/v2/models", 404),
    ] {
        let answer = gateway.method(method, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(answer.json()["error"].is_string(), "{path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_tensors_are_answered() {
    let gateway = Gateway::demo(|_| {}).await;
    let all = infer(&gateway, &json!({ "id": "4\"2", "inputs": tensors(3) })).await;
    assert_eq!(all.status, 200, "{}", all.text);
    assert_eq!(all.header("content-type"), "application/json");
    assert_eq!(all.header("x-modelgate-version"), "1");
    let answer = all.json();
    assert_eq!((&answer["id"], &answer["model_version"]), (&"4\"2".into(), &"1".into()));
    let label = json!({ "name": "prediction", "datatype": "INT64", "shape": [3], "data": [2, 2, 2] });
    assert_eq!(answer["outputs"][0], label);
    assert_eq!(answer["outputs"][1]["shape"], json!([3, 7]));
    assert_eq!(answer["outputs"][1]["data"].as_array().map(Vec::len), Some(21));

    // One output, by a version; flat and nested, shapes with and without the column, data before its datatype.
    let only = json!([{ "name": "prediction", "parameters": { "binary_data": false } }]);
    let mut inputs = tensors(1);
    inputs[0]["shape"] = json!([1]);
    inputs[1]["data"] = json!([inputs[1]["data"]]);
    inputs.reverse();
    let body = json!({ "inputs": inputs, "outputs": only, "parameters": { "other": "x" } }).to_string();
    let path = "/v2/models/modelo_covertype_vf/versions/1/infer";
    let answer = gateway.post(path, body.clone().into(), &[]).await;
    let expected = json!([{ "name": "prediction", "datatype": "INT64", "shape": [1], "data": [2] }]);
    assert_eq!(answer.json()["outputs"], expected, "{}", answer.text);
    assert!(answer.json().get("id").is_none());
    let late = body.replace("\"datatype\"", "\"zdatatype\"");
    let late: Value = serde_json::from_str(&late).expect("JSON");
    let late = late.to_string().replace("\"zdatatype\"", "\"datatype\"");
    assert!(late.find("\"data\"") < late.find("\"datatype\""), "keys are sorted: {late}");
    assert_eq!(gateway.post(path, late.into(), &[]).await.json()["outputs"], expected);

    let statistics = gateway.get("/v2/models/modelo_covertype_vf/stats").await.json();
    let model = &statistics["model_stats"][0];
    assert_eq!((&model["inference_count"], &model["execution_count"]), (&5.into(), &3.into()), "{statistics}");
    assert_eq!(model["inference_stats"]["success"]["count"], 3);
    assert!(model["inference_stats"]["compute_infer"]["ns"].as_u64() > Some(0), "{statistics}");
    assert!(model["last_inference"].as_u64() > Some(1_700_000_000_000), "{statistics}");
    let everybody = gateway.get("/v2/models/stats").await.json();
    assert_eq!(everybody["model_stats"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_tensors_are_taken_and_given() {
    let gateway = Gateway::demo(|_| {}).await;
    let row = demo_row();
    let (mut heads, mut blobs) = (Vec::new(), Vec::new());
    for (name, value) in row.as_object().expect("an object") {
        let blob = match value.as_str() {
            Some(text) => {
                [&u32::try_from(text.len()).expect("short").to_le_bytes(), text.as_bytes()].concat().repeat(2)
            }
            None => value.as_f64().expect("a number").to_le_bytes().repeat(2),
        };
        let datatype = if is_text(name) { "BYTES" } else { "FP64" };
        let size = json!({ "binary_data_size": blob.len() });
        heads.push(json!({ "name": name, "shape": [2], "datatype": datatype, "parameters": size }));
        blobs.push(blob);
    }
    let parts: Vec<_> = blobs.iter().map(Vec::as_slice).collect();
    let (body, length) = binary(&json!({ "inputs": heads, "parameters": { "binary_data_output": true } }), &parts);
    let (status, answer, tensors) = post_binary(&gateway, INFER, body, &length).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["parameters"]["binary_data_size"], 16, "{answer}");
    assert_eq!(tensors.len(), 16 + 2 * 7 * 4);
    assert_eq!(tensors[..16], 2i64.to_le_bytes().repeat(2));
    // An output's own parameter wins over the request's.
    let outputs =
        json!([{ "name": "probabilities" }, { "name": "prediction", "parameters": { "binary_data": false } }]);
    let head = json!({ "inputs": heads, "outputs": outputs, "parameters": { "binary_data_output": true } });
    let (body, length) = binary(&head, &parts);
    let (_, answer, tensors) = post_binary(&gateway, INFER, body, &length).await;
    assert_eq!((&answer["outputs"][1]["data"], tensors.len()), (&json!([2, 2]), 56), "{answer}");
}

/// From the pieces that the socket gave into columns, and from there into the module: twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_binary_tensor_is_copied_twice() {
    let folder = matrix();
    let gateway = Gateway::serving(&[folder.path()], |_| {}).await;
    let rows = 10_000;
    let values: Vec<f32> = (0..rows * 5).map(|place| (place % 7) as f32 / 7.0).collect();
    let blob = floats(&values);
    let parameters = json!({ "binary_data_size": blob.len() });
    let name = gateway.get("/v2/models/mlp").await.json()["inputs"][0]["name"].clone();
    let head = json!({ "inputs": [
        { "name": name, "shape": [rows, 5], "datatype": "FP32", "parameters": parameters },
    ] });
    let (body, length) = binary(&head, &[&blob]);
    let copied = async || {
        let to = async |place: &str| {
            let series = format!("modelgate_copied_bytes_total{{to=\"{place}\"}}");
            gateway.metric(&series).await.unwrap_or(0.0)
        };
        to("columns").await + to("module").await
    };
    let before = copied().await;
    let (status, answer, _) = post_binary(&gateway, "/v2/models/mlp/infer", body, &length).await;
    assert_eq!(status, 200, "{answer}");
    let ratio = (copied().await - before) / blob.len() as f64;
    // The pieces that a socket gives are of any size, and the smallest are put together first.
    assert!((1.9..=2.1).contains(&ratio), "{ratio} bytes were copied for each byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_told() {
    let gateway = Gateway::demo(|_| {}).await;
    let with = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut inputs = tensors(1);
        change(&mut inputs);
        json!({ "inputs": inputs }).to_string()
    };
    let set = |key: &'static str, value: Value| with(&|inputs| inputs[0][key] = value.clone());
    let good = json!({ "inputs": tensors(1) });
    let output = |outputs: Value| {
        let mut body = good.clone();
        body["outputs"] = outputs;
        body.to_string()
    };
    let all = 10_001;
    for (body, words) in [
        (String::new(), "malformed JSON"),
        ("{".to_owned(), "malformed JSON"),
        ("[".repeat(10_000_000), "an inference request"),
        (format!("{{\"inputs\":{}", "[".repeat(10_000_000)), "a tensor"),
        (format!("{{\"other\":{}", "[".repeat(10_000_000)), "malformed JSON"),
        ("[]".to_owned(), "an inference request"),
        ("{}".to_owned(), "missing field `inputs`"),
        (r#"{"inputs":[]}"#.to_owned(), "missing input 'Elevation'"),
        (r#"{"inputs":{}}"#.to_owned(), "a list of tensors"),
        (r#"{"inputs":[],"inputs":[]}"#.to_owned(), "duplicate field"),
        (r#"{"inputs":[],"id":3}"#.to_owned(), "expected a string"),
        (set("shape", json!([2])), "its shape says 2 values, got 1"),
        (
            set("shape", json!([1, 2])),
            "unexpected shape for input 'Elevation' for model 'modelo_covertype_vf'. Expected [-1], got [1,2]",
        ),
        (set("shape", json!([-1])), "unexpected shape"),
        (set("shape", json!([0])), "at least one row"),
        (set("shape", json!([i64::MAX, 1])), "unexpected shape"),
        (set("shape", json!([4_294_967_295_u64])), "10000 rows"),
        (set("shape", json!(3)), "invalid type"),
        (set("datatype", json!("FP32")), "is of datatype 'FP32', but the model takes 'FP64'"),
        (set("datatype", json!("FP17")), "FP17"),
        (set("data", json!(["x"])), "input 'Elevation': value 0: expected a number"),
        (set("data", json!([null])), "is null"),
        (set("data", json!([[1], 2])), "beside"),
        (set("name", json!("Colour")), "unexpected input 'Colour'"),
        (set("name", json!("Slope")), "given twice"),
        (set("parameters", json!({ "binary_data_size": 8 })), "has both"),
        (set("parameters", json!({ "shared_memory_region": "x" })), "shared memory"),
        (with(&|inputs| _ = inputs.pop()), "missing input"),
        (with(&|inputs| _ = inputs[0].as_object_mut().expect("an object").remove("data")), "has neither"),
        (with(&|inputs| _ = inputs[0].as_object_mut().expect("an object").remove("shape")), "the shape is missing"),
        (json!({ "inputs": tensors(all) }).to_string(), "10000 rows"),
        (output(json!([{ "name": "colour" }])), "unexpected output 'colour'"),
        (output(json!([{ "name": "prediction" }, { "name": "prediction" }])), "twice"),
        (output(json!([{ "name": "prediction", "parameters": { "classification": 3 } }])), "classification"),
    ] {
        let shown: String = body.chars().take(200).collect();
        let answer = gateway.post(INFER, body.into_bytes(), &[]).await;
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text);
        let error = answer.json()["error"].as_str().expect("a text").to_owned();
        assert!(error.contains(words), "{shown}: {error}");
    }
    let invalid = good.to_string().replace("Rawah", "R\u{1}wah").into_bytes();
    let invalid: Vec<_> = invalid.into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
    assert_eq!(gateway.post(INFER, invalid, &[]).await.status, 400);
    assert_eq!(infer(&gateway, &good).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_binary_is_told() {
    let folder = matrix();
    let gateway = Gateway::serving(&[folder.path()], |args| args.demo = Some(true)).await;
    let name = gateway.get("/v2/models/mlp").await.json()["inputs"][0]["name"].clone();
    let blob = floats(&[0.5; 10]);
    let head = |size: Value, shape: Value| {
        let parameters = json!({ "binary_data_size": size });
        json!({ "inputs": [{ "name": name, "shape": shape, "datatype": "FP32", "parameters": parameters }] })
    };
    let path = "/v2/models/mlp/infer";
    let (good, length) = binary(&head(json!(40), json!([2, 5])), &[&blob]);
    assert_eq!(post_binary(&gateway, path, good.clone(), &length).await.0, 200);
    for ((body, length), words) in [
        (binary(&head(json!(44), json!([2, 5])), &[&blob]), "44 bytes of binary data, but 40"),
        (binary(&head(json!(u64::MAX), json!([2, 5])), &[&blob]), "but 40"),
        (binary(&head(json!(-1), json!([2, 5])), &[&blob]), "invalid value"),
        (binary(&head(json!(36), json!([2, 5])), &[&blob]), "4 bytes of binary data belong to no input"),
        (binary(&head(json!(40), json!([3, 5])), &[&blob]), "60 bytes, got 40"),
        (binary(&head(json!(40), json!([2, 4])), &[&blob]), "unexpected shape"),
        (binary(&head(json!(40), json!([i64::MAX, i64::MAX])), &[&blob]), "unexpected shape"),
        ((good.clone(), "999999".into()), "says 999999 bytes"),
        ((good.clone(), "-1".into()), "a number of bytes"),
        ((good.clone(), "3".into()), "malformed JSON"),
        ((good.clone(), good.len().to_string()), "malformed JSON"),
    ] {
        let (status, answer, _) = post_binary(&gateway, path, body, &length).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(words)), "{words}: {answer}");
    }
    // Strings: lengths past the end, too few, too many; and bytes that are no text, in a column of known texts.
    let text = |bytes: &[u8]| {
        let mut inputs = tensors(1);
        let place = inputs.iter().position(|input| input["name"] == "Soil_Type").expect("a feature of the demo");
        inputs[place].as_object_mut().expect("an object").remove("data");
        inputs[place]["parameters"] = json!({ "binary_data_size": bytes.len() });
        binary(&json!({ "inputs": inputs }), &[bytes])
    };
    for (bytes, words) in [
        (&b"\x05\0\0\0C77"[..], "is said to have 5 bytes, but 3"),
        (b"\xff\xff\xff\xffC7746", "4294967295"),
        (b"\x05\0\0", "cannot hold"),
        (b"\x01\0\0\0C\x01\0\0\0D", "follow the last"),
        (b"\x02\0\0\0\xff\xfe", "not valid UTF-8"),
    ] {
        let (body, length) = text(bytes);
        let (status, answer, _) = post_binary(&gateway, INFER, body, &length).await;
        assert_eq!(status, 400, "{bytes:?}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|text| text.contains(words)), "{words}: {answer}");
    }
    let (body, length) = text(b"\x05\0\0\0C7746");
    assert_eq!(post_binary(&gateway, INFER, body, &length).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_here_too() {
    let unruly = BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, "[limits]\ndeadline_ms = 4000");
    let gateway = Gateway::serving(&[unruly.path()], |args| {
        args.demo = Some(true);
        args.body_timeout = Some(1);
        args.max_body = Some("1MiB".into());
    })
    .await;
    // The client's own deadline, in microseconds.
    let metadata = gateway.get("/v2/models/unruly").await.json();
    let inputs: Vec<_> = metadata["inputs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|input| {
            let value = if input["datatype"] == "BYTES" { json!("loop") } else { json!(1.0) };
            json!({ "name": input["name"], "shape": [1], "datatype": input["datatype"], "data": [value] })
        })
        .collect();
    let body = json!({ "inputs": inputs, "parameters": { "timeout": 100_000, "priority": 1 } });
    let answer = gateway.post("/v2/models/unruly/infer", body.to_string().into(), &[]).await;
    assert_eq!(answer.status, 504, "{}", answer.text);
    assert!(answer.json()["error"].as_str().is_some_and(|text| text.contains("100 ms")), "{}", answer.text);

    let big = vec![b' '; 2 << 20];
    let answer = gateway.post(INFER, big.clone(), &[]).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].is_string()), (413, true), "{}", answer.text);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &big).expect("into memory");
    let answer = gateway.post(INFER, bomb.finish().expect("whole"), &[("content-encoding", "gzip")]).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].is_string()), (413, true), "{}", answer.text);

    // A chunked body that stalls, and a client of an older kind.
    let mut stalls = TcpStream::connect(&gateway.address).await.expect("connected");
    let head = format!("POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{\"inp");
    stalls.write_all(head.as_bytes()).await.expect("sent");
    let body = json!({ "inputs": tensors(1) }).to_string();
    let mut old = TcpStream::connect(&gateway.address).await.expect("connected");
    let request = format!("POST {INFER} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    old.write_all(request.as_bytes()).await.expect("sent");
    for (stream, words) in [(&mut old, "\"data\":[2]"), (&mut stalls, "408")] {
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("answered in time").ok();
        assert!(answer.contains(words), "{words}: {answer}");
    }
}
