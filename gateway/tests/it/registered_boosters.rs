//! Versions of a registry that have the flavour of XGBoost, LightGBM or CatBoost alone: served from the library's own file,
//! with the answers of MLflow's `pyfunc`.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    registry::Registry,
    support::{Gateway, eventually},
};

/// A version with rows and the answers of `pyfunc`.
struct Logged {
    version: String,
    rows: Vec<Value>,
    said: Vec<Value>,
}

fn log(registry: &mut Registry, kind: &str, place: &str) -> Logged {
    let answer = registry.script(&format!("booster {kind} {kind} --alias champion {place}"));
    let (version, file) = answer.split_once(' ').expect("a version and a file");
    let known: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    let list = |key: &str| known[key].as_array().expect("a list").clone();
    Logged { version: version.to_owned(), rows: list("rows"), said: list("said") }
}

/// Whether two answers are the same: numbers to single precision, since a library's singles are written as doubles.
fn is_same(found: &Value, said: &Value) -> bool {
    match (found, said) {
        (Value::Array(found), Value::Array(said)) => {
            found.len() == said.len() && found.iter().zip(said).all(|(found, said)| is_same(found, said))
        }
        (Value::Number(found), Value::Number(said)) => {
            let (found, said) = (found.as_f64().expect("a number"), said.as_f64().expect("a number"));
            (found - said).abs() <= 1e-6 * said.abs().max(1e-3)
        }
        (found, said) => found == said,
    }
}

async fn answers_as(gateway: &Gateway, kind: &str, logged: &Logged, output: &str) {
    let path = format!("/v1/models/{kind}:predict");
    let body = json!({ "instances": logged.rows }).to_string();
    let answer = gateway.post(&path, body.into(), &[("content-type", "application/json")]).await;
    assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
    let predictions = answer.json()["predictions"].as_array().expect("a list").clone();
    assert_eq!(predictions.len(), logged.said.len(), "{kind}");
    for (row, (found, said)) in predictions.iter().zip(&logged.said).enumerate() {
        // One output is given as it is, several by their names.
        let found = found.get(output).unwrap_or(found);
        assert!(is_same(found, said), "{kind}, row {row}: {found} for {said}");
    }
    // The first output is the prediction.
    let mut row = logged.rows[0].clone();
    row["model"] = json!(kind);
    let answer = gateway.predict(row.to_string()).await;
    assert!(is_same(&answer.json()["prediction"], &logged.said[0]), "{kind}: {}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn boosters_of_a_registry_answer_as_pyfunc_does() {
    let kinds = [
        ("xgb-classes", "label"),
        ("xgb-array", "label"),
        ("xgb-regressor", "prediction"),
        ("xgb-booster", "prediction"),
        ("lgb-booster", "prediction"),
        ("lgb-many", "prediction"),
        ("cat-words", "label"),
        ("cat-flags", "label"),
        ("cat-categories", "label"),
        ("cat-counts", "prediction"),
        ("cat-raw", "prediction"),
    ];
    let mut registry = Registry::start().await;
    let mut logged = Vec::new();
    for (place, (kind, output)) in kinds.into_iter().enumerate() {
        // Behind the tracking server's proxy, or straight from the bucket.
        let artifacts = if place % 2 == 0 { "" } else { "--experiment direct --artifacts s3://models/direct" };
        logged.push((kind, output, log(&mut registry, kind, artifacts)));
    }
    let tracking = format!("tracking={}&endpoint=http://{}&anonymous=true", registry.mlflow.url, registry.s3.address);
    let of = |kind: &str| format!("models:/{kind}@champion?{tracking}");
    // A few at once: a gateway of the tests has room for so many instances.
    for group in logged.chunks(3) {
        let cache = TempDir::new().expect("a folder");
        let sources: Vec<_> = group.iter().map(|(kind, ..)| of(kind)).collect();
        let gateway = Gateway::sourcing(&sources, cache.path(), |_| {}).await;
        for (kind, output, logged) in group {
            gateway.becomes(kind, &logged.version, "READY", "").await;
            answers_as(&gateway, kind, logged, output).await;
        }
        gateway.stopped().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boosters_that_are_refused_name_the_command_and_others_swap() {
    let mut registry = Registry::start().await;
    for kind in ["xgb-linear", "lgb-object", "xgb-classes"] {
        log(&mut registry, kind, "");
    }
    let raw = log(&mut registry, "cat-raw", "");
    let tracking = format!("tracking={}&endpoint=http://{}&anonymous=true", registry.mlflow.url, registry.s3.address);
    let sources = ["xgb-linear", "lgb-object", "xgb-classes", "cat-raw"]
        .map(|kind| format!("models:/{kind}@champion?{tracking}"));
    let cache = TempDir::new().expect("a folder");
    let gateway = Gateway::sourcing(&sources, cache.path(), |_| {}).await;
    gateway.becomes("cat-raw", "1", "READY", "").await;

    // Refused with the reason and the command that mends it: when it is loaded, and before anything is fetched.
    for (kind, state, why) in [
        ("xgb-linear", "UNAVAILABLE", "a linear booster (gblinear)"),
        ("lgb-object", "UNAVAILABLE", "as a Python object"),
    ] {
        gateway.becomes(kind, "1", state, why).await;
        gateway.becomes(kind, "1", state, &format!("`modelgate-export models:/{kind}/1 --publish`")).await;
        let answer = gateway.predict(json!({ "model": kind }).to_string()).await;
        assert_eq!(answer.status, 503, "{kind}: {}", answer.text);
        // A load that failed tells callers where its reason stands, a source's reason is told itself.
        let told = if kind == "lgb-object" { "modelgate-export" } else { "/v2/repository/index" };
        assert!(answer.text.contains(told), "{}", answer.text);
    }

    // A second version swaps in, and a file that the cache has lost is fetched again.
    let next = registry.script("booster xgb-classes xgb-classes --seed 5 --alias champion");
    assert!(next.starts_with("2 "), "{next}");
    eventually("version 2 serves", || async { gateway.app.catalog.version("xgb-classes", "2").is_some() }).await;
    for file in std::fs::read_dir(cache.path().join("files")).expect("a folder").flatten() {
        std::fs::remove_file(file.path()).expect("removed");
    }
    assert_eq!(gateway.post("/v2/repository/models/cat-raw/unload", Vec::new(), &[]).await.status, 200);
    let loaded = gateway.post("/v2/repository/models/cat-raw/load", Vec::new(), &[]).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text);
    answers_as(&gateway, "cat-raw", &raw, "prediction").await;
}
