//! From the training step to the first answer with nothing run between: the registry, the bucket, the converter and the
//! gateway are the real ones.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    real::{ADMIN, Process, python, with_s3},
    registry::Registry,
    support::Gateway,
};

/// A conversion imports for seconds on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

const MODEL: &str = "modelo_covertype_vf";

/// The converter, as its image starts it.
fn converter(registry: &Registry, work: &Path) -> Process {
    let mut command = Command::new(python("python"));
    with_s3(&mut command, &registry.s3)
        .args(["-m", "modelgate_exporter", "watch", "--poll", "0.3", "--listen", "127.0.0.1:0", "--tag", "--work"])
        .arg(work)
        .env("MLFLOW_TRACKING_URI", &registry.mlflow.url)
        .env("MLFLOW_TRACKING_USERNAME", ADMIN.0)
        .env("MLFLOW_TRACKING_PASSWORD", ADMIN.1)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command)
}

/// A version with rows and what its pipeline says of them.
struct Trained {
    version: String,
    file: String,
    rows: Vec<Value>,
    said: Vec<Value>,
}

fn train(registry: &mut Registry, command: &str) -> Trained {
    let told = registry.script(command);
    let (version, file) = told.split_once(' ').expect("a version and a file");
    let known: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    let list = |key: &str| known[key].as_array().expect("a list").clone();
    Trained { version: version.into(), file: file.into(), rows: list("rows"), said: list("said") }
}

/// Waits until every row is answered as the pipeline answers it.
async fn answers_as(gateway: &Gateway, trained: &Trained) {
    let deadline = Instant::now() + PATIENCE;
    let body = Value::from(trained.rows.clone()).to_string();
    let expected = json!({ "predictions": trained.said });
    loop {
        let answer = gateway.predict(body.clone()).await;
        if answer.status == StatusCode::OK && answer.json() == expected {
            return;
        }
        let sources = gateway.get("/v2/repository/sources").await.text;
        assert!(
            Instant::now() < deadline,
            "{} {} {sources}",
            answer.status,
            &answer.text[..answer.text.len().min(300)]
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the index says this of a version.
async fn told(gateway: &Gateway, version: &str, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = gateway.state(MODEL, version).await;
        if now.as_ref().is_some_and(|(_, reason)| reason.contains(words)) {
            return;
        }
        assert!(Instant::now() < deadline, "{words:?} is not told, but {now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Requests for as long as they are wanted, each of which must be answered; gives how many were.
fn load(gateway: &Arc<Gateway>, row: &Value, done: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let (gateway, done, body) = (Arc::clone(gateway), Arc::clone(done), row.to_string());
    tokio::spawn(async move {
        let mut answered = 0;
        while !done.load(Ordering::Relaxed) {
            let answer = gateway.predict(body.clone()).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            answered += 1;
        }
        answered
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_training_step_registers_is_served_and_swapped() {
    let mut registry = Registry::start().await;
    let (cache, work) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let _converter = converter(&registry, work.path());
    // Straight from the bucket, as a server without a proxy has it.
    let first = train(
        &mut registry,
        &format!("search {MODEL} --stage Production --experiment direct --artifacts s3://models/direct"),
    );
    let source = format!("models:/{MODEL}/production?tracking={}", registry.mlflow.url);
    let endpoint = format!("{source}&endpoint=http://{}&anonymous=true", registry.s3.address);
    let gateway = Arc::new(Gateway::sourcing(&[endpoint], cache.path(), |_| {}).await);
    answers_as(&gateway, &first).await;

    // The next day's version, this time through the proxy.
    let done = Arc::new(AtomicBool::new(false));
    let requests = load(&gateway, &first.rows[0], &done);
    let second = train(&mut registry, &format!("search {MODEL} --seed 7 --stage Production"));
    answers_as(&gateway, &second).await;
    assert_ne!(first.said, second.said);
    let third = train(&mut registry, &format!("plain {MODEL} --seed 8 --format skops --stage Production"));
    answers_as(&gateway, &third).await;
    for (stage, trained) in [(&first.version, &first), (&second.version, &second), (&third.version, &third)] {
        assert_eq!(registry.script(&format!("consume {MODEL} {stage} {}", trained.file)), "unharmed");
    }

    // One that no conversion can be made of: what served goes on, and it is told why.
    let bad = train(&mut registry, &format!("plain {MODEL} --seed 9 --own --stage Production"));
    told(&gateway, &bad.version, "its conversion failed: cannot export step").await;
    answers_as(&gateway, &third).await;
    done.store(true, Ordering::Relaxed);
    assert!(requests.await.expect("no request failed") > 20);
    let row = json!({ "inputs": [] }).to_string();
    let path = format!("/v2/models/{MODEL}/versions/{}/infer", bad.version);
    let refused = gateway.post(&path, row.into_bytes(), &[("content-type", "application/json")]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text.contains("cannot export step"), "{}", refused.text);
    assert_eq!(gateway.get("/v2/health/ready").await.status, StatusCode::OK);
    // Back to one that was converted long ago.
    registry.script(&format!("stage {MODEL} Production {}", second.version));
    answers_as(&gateway, &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_a_conversion_is_told_with_the_command_that_converts_it() {
    let mut registry = Registry::start().await;
    let (cache, work) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let trained = train(&mut registry, &format!("plain {MODEL} --alias champion"));
    let source = format!("models:/{MODEL}@champion?tracking={}", registry.mlflow.url);
    let gateway = Gateway::sourcing(&[source], cache.path(), |_| {}).await;
    let command = format!("modelgate-export models:/{MODEL}/1 --publish");
    told(&gateway, "1", &command).await;
    // The server is as ready as it can be, and this model is not.
    gateway.ready().await;
    let ready = gateway.get(&format!("/v2/models/{MODEL}/ready")).await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.json()["reason"].as_str().is_some_and(|reason| reason.contains(&command)), "{}", ready.text);
    let body = json!({ "model": MODEL, "Slope": 1 }).to_string();
    let refused = gateway.predict(body).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text.contains(&command), "{}", refused.text);
    let models = gateway.get("/openapi.json").await.json()["x-modelgate-models"].clone();
    assert!(models[0]["reason"].as_str().is_some_and(|reason| reason.contains(&command)), "{models}");

    // What the command does.
    let run = |registry: &Registry| {
        let mut command = Command::new(python("python"));
        with_s3(&mut command, &registry.s3)
            .args(["-m", "modelgate_exporter", &format!("models:/{MODEL}/1"), "--publish"])
            .env("MLFLOW_TRACKING_URI", &registry.mlflow.url)
            .env("XDG_CACHE_HOME", work.path());
        command.output().expect("it runs")
    };
    let output = tokio::task::block_in_place(|| run(&registry));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    answers_as(&gateway, &trained).await;

    // A record of another version, or of another MLmodel, is not served.
    let published = String::from_utf8_lossy(&output.stdout);
    let key = published.trim().strip_prefix("published as mlflow-artifacts:/").expect("an address");
    let key = format!("proxied/{key}");
    let record = registry.s3.signed(reqwest::Method::GET, &format!("models/{key}")).send().await.expect("an answer");
    let mut record: Value = record.json().await.expect("JSON");
    record["mlmodel_sha256"] = "0".repeat(64).into();
    registry.s3.put(&key, record.to_string().into_bytes()).await;
    let cache = TempDir::new().expect("a folder");
    let source = format!("models:/{MODEL}@champion?tracking={}", registry.mlflow.url);
    let other = Gateway::sourcing(&[source], cache.path(), |_| {}).await;
    told(&other, "1", "its conversion is stale").await;
    // A pipeline that is logged with its bundle needs none of that.
    assert_eq!(registry.script("whole churn"), "1");
    let cache = TempDir::new().expect("a folder");
    let source = format!("models:/churn@champion?converted=none&tracking={}", registry.mlflow.url);
    Gateway::sourcing(&[source], cache.path(), |_| {}).await.becomes("churn", "1", "READY", "").await;
    // Nowhere to look.
    let cache = TempDir::new().expect("a folder");
    let source = format!("models:/{MODEL}@champion?converted=none&tracking={}", registry.mlflow.url);
    let other = Gateway::sourcing(&[source], cache.path(), |_| {}).await;
    told(&other, "1", &command).await;
}
