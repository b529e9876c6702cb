//! The log: every failure with the id of its request, in the form that was asked for, and no flood.

use std::{
    fs,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    flowers::{flowers, place},
    support::{BundleFolder, PATIENCE, Process, grpc},
};

const LIMITS: &str = "[limits]\nmemory = \"32MiB\"\ndeadline_ms = 400";

/// A module that misbehaves on request, and the arguments that serve it.
struct Unruly {
    folder: BundleFolder,
}

impl Unruly {
    fn new() -> Self {
        Self { folder: BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, LIMITS) }
    }

    fn serve(&self, args: &[&str]) -> Process {
        let bundle = self.folder.path().display().to_string();
        Process::serve(&[&["--bundle", &bundle, "--workers", "2"], args].concat())
    }
}

fn act(act: &str) -> String {
    json!({ "model": "unruly", "act": act, "x": 1.5 }).to_string()
}

/// The lines of the log about a request. Waits until there is one with these words in its message.
async fn lines(process: &Process, id: &str, message: &str) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = process.log();
        // The last one may be half written.
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let of: Vec<_> = lines.into_iter().filter(|line| line["request_id"] == id).collect();
        if of.iter().any(|line| line["message"].as_str().is_some_and(|words| words.contains(message))) {
            return of;
        }
        assert!(Instant::now() < deadline, "no line of {id} has {message:?}:\n{log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_logged_with_its_request_whatever_the_access_log_is() {
    let unruly = Unruly::new();
    let process = unruly.serve(&["--access-log", "0"]);
    for (name, status, cause) in [
        ("trap", 500, "a module ended early"),
        ("error", 500, "a module or the model failed"),
        ("loop", 504, "a request failed"),
    ] {
        let id = format!("id-{name}");
        let answer = process.post("/predict", act(name), &[("x-request-id", &id)]).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        lines(&process, &id, cause).await;
        let of = lines(&process, &id, "a request failed").await;
        assert!(of.iter().any(|line| line["status"] == status), "{of:?}");
    }
    // An id that the gateway made is the one of the answer.
    let answer = process.post("/predict", act("trap"), &[]).await;
    let of = lines(&process, answer.header("x-request-id"), "a module ended early").await;
    assert_eq!((&of[0]["model"], &of[0]["cause"]), (&"unruly".into(), &"unreachable".into()));
    // So are the lines of the module itself, also of a request that succeeds.
    let answer = process.post("/predict", act("log-huge"), &[("x-request-id", "id-log")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    lines(&process, "id-log", "dropped").await;
    let answer = process.post("/predict", act(""), &[("x-request-id", "id-good")]).await;
    assert_eq!(answer.status, 200);
    let answer = process.post("/predict", "{}".into(), &[("x-request-id", "id-invalid")]).await;
    assert_eq!(answer.status, 422);
    let log = process.log();
    assert!(!log.contains("id-good") && !log.contains("id-invalid"), "{log}");
}

/// The parts of gRPC's messages that are needed here.
#[derive(Clone, PartialEq, Message)]
struct InferRequest {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    contents: Option<Contents>,
}

#[derive(Clone, PartialEq, Message)]
struct Contents {
    #[prost(double, repeated, tag = "7")]
    numbers: Vec<f64>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    texts: Vec<Vec<u8>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_over_grpc_is_logged_with_its_request() {
    let unruly = Unruly::new();
    let process = unruly.serve(&[]);
    let tensor = |name: &str, datatype: &str, contents: Contents| Tensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: vec![1],
        contents: Some(contents),
    };
    let request = InferRequest {
        model_name: "unruly".into(),
        inputs: vec![
            tensor("act", "BYTES", Contents { texts: vec![b"trap".to_vec()], ..Contents::default() }),
            tensor("x", "FP64", Contents { numbers: vec![1.5], ..Contents::default() }),
        ],
    };
    let (status, _) = grpc(&process.address, "ModelInfer", &request.encode_to_vec(), &["x-request-id: id-grpc"]);
    assert_eq!(status, "13");
    lines(&process, "id-grpc", "a module ended early").await;
    lines(&process, "id-grpc", "a request failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_logged_with_the_request_that_asked_for_it() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("good", "1"), &root.path().join("good/1"));
    let bad = flowers("bad", "1");
    let golden = fs::read_to_string(bad.file("golden.json")).expect("golden examples");
    bad.replace("golden.json", golden.replace("versicolor-1", "setosa-1").as_bytes());
    place(&bad, &root.path().join("bad/1"));
    let (source, cache) = (root.path().display().to_string(), cache.path().display().to_string());
    let process = Process::serve(&["--source", &source, "--bundle-cache", &cache, "--lazy-load"]);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = process.post("/v2/repository/index", String::new(), &[]).await.text;
        if answer.contains("good") && answer.contains("bad") && !answer.contains("being fetched") {
            break;
        }
        assert!(Instant::now() < deadline, "{answer}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut row = crate::flowers::row();
    row["model"] = "bad".into();
    let answer = process.post("/predict", row.to_string(), &[("x-request-id", "id-bad")]).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    let of = lines(&process, "id-bad", "failed to load").await;
    assert!(of.iter().any(|line| line["model"] == "bad" && line["action"] == "refused"), "{of:?}");
    lines(&process, "id-bad", "a request failed").await;
    row["model"] = "good".into();
    let answer = process.post("/predict", row.to_string(), &[("x-request-id", "id-load")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let log = process.log();
    let loaded = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut loaded = loaded.filter(|line| line["action"] == "loaded" && line["model"] == "good");
    assert_eq!(loaded.next().expect("an audit line")["request_id"], "id-load");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_turned_away_do_not_flood_the_log() {
    let unruly = Unruly::new();
    let process = unruly.serve(&["--queue", "2", "--access-log", "0.01"]);
    let start = Instant::now();
    let (mut away, mut late) = (0, 0);
    while away < 300 {
        let answers = join_all((0..50).map(|_| process.post("/predict", act("loop"), &[]))).await;
        away += answers.iter().filter(|answer| answer.status == 503).count();
        late += answers.iter().filter(|answer| answer.status == 504).count();
        assert!(start.elapsed() < PATIENCE, "{away} of them were turned away");
    }
    let log = process.log();
    let told: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let count = |status: u16| {
        told.iter().filter(|line| line["message"] == "a request failed" && line["status"] == status).count()
    };
    let most = 10 * (usize::try_from(start.elapsed().as_secs()).expect("few") + 2);
    assert!((1..=most).contains(&count(503)), "{} lines about {away} requests", count(503));
    assert_eq!(count(504), late, "other failures are all told");
    let access = told.iter().filter(|line| line["target"] == "modelgate::access" && line["status"] == 503).count();
    assert!(access <= away / 10, "{access} lines about {away} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_and_backtraces_are_there_for_who_asks() {
    let unruly = Unruly::new();
    let process = unruly.serve(&["--log-format", "text", "--guest-backtraces"]);
    let answer = process.post("/predict", act("trap"), &[("x-request-id", "id-text")]).await;
    assert_eq!(answer.status, 500);
    let log = process.log();
    let line = log.lines().find(|line| line.contains("a module ended early")).expect("a line");
    assert!(line.contains(" WARN ") && line.ends_with(" request_id=id-text"), "{line}");
    assert!(line.contains("wasm backtrace") && !line.starts_with('{'), "{line}");
    // Callers hear nothing of it.
    assert!(!answer.text.contains("backtrace"), "{}", answer.text);

    let process = unruly.serve(&[]);
    assert_eq!(process.post("/predict", act("trap"), &[("x-request-id", "id-json")]).await.status, 500);
    let of = lines(&process, "id-json", "a module ended early").await;
    assert!(!of[0]["detail"].as_str().expect("text").contains("backtrace"), "{of:?}");
}
