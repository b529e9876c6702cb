//! Texts in, embeddings out: against the Python package `tokenizers` and ONNX Runtime (`tests/data/make_texts.py`), and
//! through OpenAI's client.

use std::{collections::BTreeMap, fs, process::Command, thread};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::support::{BundleFolder, Gateway, sha256};

const TEXTS: &str = "tests/data/texts";

fn reference() -> Value {
    serde_json::from_slice(&fs::read(format!("{TEXTS}/reference.json")).expect("committed")).expect("JSON")
}

/// A bundle that `modelgate wrap` makes of a model and the tokenizer.
struct Wrapped(TempDir);

impl Wrapped {
    fn new(model: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let out = folder.path().join("bundle");
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
        command.arg("wrap").arg(format!("{TEXTS}/{model}")).arg(&out);
        command.args(["--tokenizer", &format!("{TEXTS}/wordpiece.json")]).args(options);
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(folder)
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("bundle")
    }
}

/// `builtin:text` alone.
fn tokenizer(name: &str, config: &str) -> BundleFolder {
    let folder = BundleFolder::custom(name, b"", config, "");
    folder.edit_manifest(&format!("sha256 = \"{}\"\nconfig =", sha256(b"")), "config =");
    folder.edit_manifest("module.wasm", "builtin:text");
    folder
}

/// The ids and types of each row, without padding.
fn tokens(answer: &Value) -> Vec<Value> {
    let row = |row: usize| {
        let column = |name: &str| answer["outputs"][name][row].as_array().expect("a list").clone();
        let mask = column("attention_mask");
        let kept = |values: Vec<Value>| -> Vec<Value> {
            values.into_iter().zip(&mask).filter(|(_, mask)| **mask == json!(1)).map(|(value, _)| value).collect()
        };
        json!([kept(column("input_ids")), kept(column("token_type_ids"))])
    };
    (0..answer["outputs"]["input_ids"].as_array().expect("rows").len()).map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_those_of_the_python_package() {
    let reference = reference();
    for name in ["wordpiece", "bpe", "unigram"] {
        let file = fs::read_to_string(format!("{TEXTS}/{name}.json")).expect("committed");
        let single = tokenizer("single", &file);
        let pairs = tokenizer("pairs", &format!("{{\"inputs\": [\"a\", \"b\"], \"tokenizer\": {file}}}"));
        let gateway = Gateway::serving(&[single.path(), pairs.path()], |_| ()).await;

        let texts = reference["texts"].as_array().expect("texts");
        let rows: Vec<_> = texts.iter().map(|text| json!({ "text": text })).collect();
        let answer = gateway.post("/predict/single?outputs=all", json!(rows).to_string().into(), &JSON).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        for ((text, tokens), ids) in texts.iter().zip(tokens(&answer.json())).zip(list(&reference["ids"][name])) {
            assert_eq!(tokens[0], *ids, "{name}: {text}");
        }

        let rows: Vec<_> = texts.iter().zip(&texts[3..]).map(|(a, b)| json!({ "a": a, "b": b })).collect();
        let answer = gateway.post("/predict/pairs?outputs=all", json!(rows).to_string().into(), &JSON).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        for ((row, tokens), pair) in rows.iter().zip(tokens(&answer.json())).zip(list(&reference["pairs"][name])) {
            assert_eq!(tokens, *pair, "{name}: {row}");
        }
    }
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

async fn embed(gateway: &Gateway, body: &Value) -> Value {
    let answer = gateway.post("/v1/embeddings", body.to_string().into(), &JSON).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn floats(values: &Value) -> Vec<f64> {
    list(values).map(|value| value.as_f64().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_those_of_onnx_runtime() {
    let reference = reference();
    let bundle = Wrapped::new("encoder.onnx", &["--name", "sentences"]);
    let gateway = Gateway::serving(&[&bundle.path()], |_| ()).await;
    // OpenAI takes no empty text.
    let known: Vec<_> = list(&reference["texts"]).zip(list(&reference["embeddings"])).collect();
    let known: Vec<_> = known.into_iter().zip(list(&reference["ids"]["wordpiece"])).skip(1).collect();
    let texts: Vec<_> = known.iter().map(|((text, _), _)| *text).collect();
    let answer = embed(&gateway, &json!({ "model": "sentences", "input": texts })).await;
    let mut tokens = 0;
    for (((text, expected), ids), got) in known.iter().zip(list(&answer["data"])) {
        let (expected, got) = (floats(expected), floats(&got["embedding"]));
        assert_eq!(expected.len(), got.len());
        let difference = expected.iter().zip(&got).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
        assert!(difference <= 1e-4, "{text}: {difference}");
        tokens += list(ids).count();
    }
    assert_eq!(answer["usage"], json!({ "prompt_tokens": tokens, "total_tokens": tokens }));
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("sentences")));
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(texts.len()));

    // Not a bit of a text's embedding depends on the texts beside it.
    for place in [0, 3, 23, 30] {
        let alone = embed(&gateway, &json!({ "model": "sentences", "input": texts[place] })).await;
        assert_eq!(alone["data"][0]["embedding"], answer["data"][place]["embedding"], "{}", texts[place]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_encodings_hold_the_same_floats() {
    let bundle = Wrapped::new("encoder.onnx", &["--name", "e", "--pooling", "max", "--normalize", "false"]);
    let gateway = Gateway::serving(&[&bundle.path()], |_| ()).await;
    let plain = embed(&gateway, &json!({ "input": ["The sunny day", "日本"], "encoding_format": "float" })).await;
    let coded = embed(&gateway, &json!({ "input": ["The sunny day", "日本"], "encoding_format": "base64" })).await;
    for (plain, coded) in list(&plain["data"]).zip(list(&coded["data"])) {
        let bytes = BASE64_STANDARD.decode(coded["embedding"].as_str().expect("a text")).expect("base64");
        let numbers: Vec<_> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let plain_numbers: Vec<_> = floats(&plain["embedding"]).into_iter().map(|value| value as f32).collect();
        assert_eq!(plain_numbers, numbers);
        assert_eq!(plain["index"], coded["index"]);
    }
}

/// Rows of strangers would be as long as the longest of them all, which a trial of a few short rows does not show.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_strangers_are_padded_together_only_to_a_fixed_length() {
    let open = Wrapped::new("encoder.onnx", &["--name", "open", "--pooling", "none"]);
    let fixed = Wrapped::new("encoder16.onnx", &["--name", "fixed", "--pooling", "none"]);
    let gateway = Gateway::serving(&[&open.path(), &fixed.path()], |_| ()).await;
    let batching = async |name: &str| {
        let told = gateway.get(&format!("/v2/models/{name}")).await.json();
        told["properties"]["batching"].as_str().expect("a text").to_owned()
    };
    let (open, fixed) = (batching("open").await, batching("fixed").await);
    assert_eq!(open, "off: stage 'text' makes all rows as long as the longest of them");
    assert!(!fixed.contains("as long as the longest"), "{fixed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_shape_of_openai() {
    let bundle = Wrapped::new("encoder.onnx", &["--name", "e"]);
    let iris = BundleFolder::copy_of("tests/data/bundles/iris_like");
    let gateway = Gateway::serving(&[&bundle.path(), iris.path()], |args| args.max_body = Some("1MiB".into())).await;
    let many: Vec<_> = (0..2049).map(|_| "a").collect();
    let long = "a ".repeat(40_000);
    for (body, status, parameter, code, message) in [
        (json!({ "input": "a", "model": "nobody" }), 404, "model", "model_not_found", "'nobody' is not known"),
        (json!({ "input": "a", "model": "iris_like" }), 400, "model", "", "gives no embeddings"),
        (json!({ "input": "a", "model": 7 }), 400, "model", "", "expected a model's name"),
        (json!({ "input": "", "model": "e" }), 400, "input", "", "an empty one"),
        (json!({ "input": [[1, 2]], "model": "e" }), 400, "input", "", "token ids are not taken"),
        (json!({ "input": many, "model": "e" }), 400, "input", "", "at most 2048"),
        (json!({ "input": ["a", long], "model": "e" }), 400, "input", "", "at most 65536 bytes"),
        (json!({ "input": "a", "model": "e", "dimensions": 8 }), 400, "dimensions", "", "gives 16 dimensions"),
        (json!({ "input": "a", "encoding_format": "hex" }), 400, "encoding_format", "", "float or base64"),
        (json!({ "input": "a".repeat(2 << 20), "model": "e" }), 413, "", "", "over the limit"),
        (json!(["a"]), 400, "", "", "malformed JSON"),
    ] {
        let shown: String = body.to_string().chars().take(80).collect();
        let answer = gateway.post("/v1/embeddings", body.to_string().into(), &JSON).await;
        assert_eq!(answer.status.as_u16(), status, "{shown}: {}", answer.text);
        let error = &answer.json()["error"];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        assert_eq!((text("param").as_str(), text("code").as_str()), (parameter, code), "{shown}: {error}");
        assert_eq!(text("type"), "invalid_request_error", "{shown}");
        assert!(text("message").contains(message), "{shown}: {error}");
    }
    let answer = gateway.get("/v1/embeddings").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
    assert_eq!(answer.json()["error"]["message"], "Method Not Allowed");
    embed(&gateway, &json!({ "input": "a", "model": "e", "dimensions": 16, "user": "u" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_is_bounded_and_answered() {
    let bundle = Wrapped::new("encoder.onnx", &["--name", "e"]);
    let gateway = Gateway::serving(&[&bundle.path()], |args| args.max_body = Some("16MiB".into())).await;
    let texts: Vec<_> = (0..2048).map(|place| format!("the sunny day {place} {}", "word ".repeat(40))).collect();
    let answer = embed(&gateway, &json!({ "input": texts, "model": "e" })).await;
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(2048));
    assert_eq!(answer["usage"]["total_tokens"], 2048 * 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_client() {
    let bundle = Wrapped::new("encoder.onnx", &["--name", "sentences"]);
    let gateway = Gateway::serving(&[&bundle.path()], |_| ()).await;
    let url = gateway.url("");
    crate::clients::python("openai-venv", vec!["tests/py/openai_client.py".into(), url, TEXTS.into()]).await;
}

/// As a person calls it.
#[tokio::test(flavor = "multi_thread")]
async fn curl() {
    let bundle = Wrapped::new("encoder.onnx", &["--name", "sentences"]);
    let gateway = Gateway::serving(&[&bundle.path()], |_| ()).await;
    let url = gateway.url("/v1/embeddings");
    let (done, output) = oneshot::channel();
    thread::spawn(move || {
        let body = r#"{"model": "sentences", "input": "The sunny day"}"#;
        let headers = ["-H", "Content-Type: application/json", "-H", "Authorization: Bearer none"];
        done.send(Command::new("curl").args(["-sS", "-d", body, &url]).args(headers).output().expect("curl runs"))
    });
    let output = output.await.expect("it ran");
    let answer: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["data"][0]["embedding"].as_array().map(Vec::len), Some(16));
    assert_eq!(answer.keys().map(String::as_str).collect::<Vec<_>>(), ["data", "model", "object", "usage"]);
}
