//! From training to answer: a real pipeline, a real MLflow server with its artifacts on a real S3 server, and MLflow's own
//! client moving the alias while requests flow.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    faulty::{Fault, Wire},
    real::{Served, with_s3},
    registry::Registry,
    support::{Gateway, client, eventually},
};

async fn predict(client: &Client, address: &str, body: &Value) -> (StatusCode, String, Value) {
    let answer = client.post(format!("http://{address}/predict")).json(body).send().await.expect("an answer");
    let version = answer.headers().get("x-modelgate-version").and_then(|version| version.to_str().ok());
    let (status, version) = (answer.status(), version.unwrap_or_default().to_owned());
    (status, version, answer.json().await.expect("JSON"))
}

/// Of a registry, to whatever is asked.
fn says(status: &str, body: &str) -> Fault {
    let length = body.len();
    Fault::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn from_training_to_answer() {
    let mut registry = Registry::start().await;
    // The first version is behind the tracking server's proxy, the second in the bucket itself.
    assert_eq!(registry.script("train churn a --alias champion"), "1");
    assert_eq!(registry.script("train churn b --experiment direct --artifacts s3://models/direct"), "2");
    assert_eq!(registry.script("weights product"), "1");

    let cache = TempDir::new().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    with_s3(&mut command, &registry.s3)
        .args(["serve", "--source", "models:/churn@champion", "--poll", "0.2", "--listen", "127.0.0.1:0"])
        .arg("--bundle-cache")
        .arg(cache.path())
        .args(["--workers", "2", "--max-instances", "32", "--code-cache"])
        .arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/code"))
        .env("MLFLOW_TRACKING_URI", &registry.mlflow.url)
        .stderr(Stdio::null());
    let served = Served::start(&mut command);
    let client = client();
    let row = json!({ "age": 30, "plan": "basic", "model": "churn" });
    let address = served.address.clone();
    eventually("version 1 answers", || async { predict(&client, &address, &row).await.0 == 200 }).await;
    let (_, version, answer) = predict(&client, &address, &row).await;
    assert_eq!((version.as_str(), answer), ("1", json!({ "prediction": "leaves-a" })));

    // The alias moves while requests flow: every answer is of the version it names, none fails.
    let done = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (client, address, row, done) = (client.clone(), address.clone(), row.clone(), Arc::clone(&done));
        async move {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let (status, version, answer) = predict(&client, &address, &row).await;
                let word = if version == "1" { "leaves-a" } else { "leaves-b" };
                assert_eq!((status, &answer), (StatusCode::OK, &json!({ "prediction": word })), "{version}");
                if seen.last() != Some(&version) {
                    seen.push(version);
                }
            }
            seen
        }
    });
    for version in ["2", "1", "2"] {
        registry.script(&format!("alias churn champion {version}"));
        eventually("the alias is followed", || async { predict(&client, &address, &row).await.1 == version }).await;
    }
    done.store(true, Ordering::Relaxed);
    assert_eq!(load.await.expect("no wrong answer"), ["1", "2", "1", "2"]);

    // A version that is only a graph, by every way of naming it; then a registry that answers garbage.
    assert_eq!(registry.script("bare bare best"), "1");
    let wire = Wire::to(registry.mlflow.url.trim_start_matches("http://")).await;
    let tracking = format!("tracking=http://{}&endpoint=http://{}", wire.address, registry.s3.address);
    assert_eq!(registry.script("heavy heavy best"), "1");
    let sources =
        ["models:/bare@best", "models:/churn/1", "models:/heavy@best", "models:/churn/latest", "models:/churn@nobody"]
            .map(|model| format!("{model}?{tracking}"));
    let cache = TempDir::new().expect("a folder");
    let gateway = Gateway::sourcing(&sources[..3], cache.path(), |_| {}).await;
    // A first look that failed is followed by another one.
    gateway.becomes("bare", "1", "READY", "").await;
    let infer = json!({ "X": [0.9, 0.1, 0.1], "model": "bare" }).to_string();
    let answer = gateway.predict(infer.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-modelgate-version")), (200, "1"), "{}", answer.text);
    assert_eq!(answer.json(), json!({ "prediction": 1 }));
    gateway.becomes("churn", "1", "READY", "").await;
    gateway.becomes("heavy", "1", "READY", "").await;
    // Fetched again where the local cache has lost it.
    assert_eq!(gateway.post("/v2/repository/models/bare/unload", Vec::new(), &[]).await.status, 200);
    for file in std::fs::read_dir(cache.path().join("files")).expect("a folder").flatten() {
        std::fs::remove_file(file.path()).expect("removed");
    }
    let loaded = gateway.post("/v2/repository/models/bare/load", Vec::new(), &[]).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text);
    assert_eq!(gateway.predict(infer.clone()).await.json(), json!({ "prediction": 1 }));
    let state = async |gateway: &Gateway, place: usize| {
        gateway.get("/v2/repository/sources").await.json()["sources"][place]["state"].clone()
    };
    let (gateway, done) = (Arc::new(gateway), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn({
        let (gateway, done, infer) = (Arc::clone(&gateway), Arc::clone(&done), infer.clone());
        async move {
            let mut answers = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = gateway.predict(infer.clone()).await;
                assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "prediction": 1 })));
                answers += 1;
            }
            answers
        }
    });
    // A page where people log in, behind a redirect, and one that redirects to itself.
    let page = Wire::to(&registry.s3.address).await;
    page.fail(says("200 OK", "<html>who are you?</html>"));
    let redirect = |to: &str| says(&format!("302 Found\r\nLocation: {to}"), "");
    for (fault, kind) in [
        (says("200 OK", "<html>a proxy's page</html>"), "invalid_response"),
        (says("200 OK", "{\"model_version\":{}}"), "invalid_response"),
        (says("200 OK", "{\"model_version\":{\"version\":\"../..\"}}"), "invalid_response"),
        (Fault::Answer("not HTTP\r\n\r\n".into()), "invalid_response"),
        (Fault::Closed, "unreachable"),
        (says("429 Too Many Requests", "{}"), "server_error"),
        (redirect("/login"), "denied"),
        (redirect(&format!("http://{}/login", page.address)), "denied"),
    ] {
        wire.fail(fault);
        eventually(kind, || async { state(&gateway, 0).await == kind }).await;
        wire.fail(Fault::None);
        eventually("it is over", || async { state(&gateway, 0).await == "ok" }).await;
    }
    done.store(true, Ordering::Relaxed);
    assert!(load.await.expect("no wrong answer") > 20);
    Arc::into_inner(gateway).expect("the only one").stopped().await;
    let cache = TempDir::new().expect("a folder");
    let gateway = Gateway::sourcing(&sources[3..], cache.path(), |_| {}).await;
    eventually("the newest version serves", || async { gateway.app.catalog.version("churn", "2").is_some() }).await;
    eventually("the alias is missing", || async { state(&gateway, 1).await == "missing" }).await;
}
