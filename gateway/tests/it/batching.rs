//! Requests that run together.

use std::{num::NonZeroUsize, sync::Arc};

use serde_json::{Value, json};

use crate::support::{BundleFolder, Gateway, eventually};

/// One worker, and a module that does what each row says.
async fn unruly(manifest: &str) -> (BundleFolder, Arc<Gateway>) {
    let folder = BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, manifest);
    let gateway = Gateway::serving(&[folder.path()], |args| args.workers = NonZeroUsize::new(1)).await;
    (folder, Arc::new(gateway))
}

fn ask(gateway: &Arc<Gateway>, act: &str, x: f64) -> tokio::task::JoinHandle<(u16, Value)> {
    let (gateway, body) = (Arc::clone(gateway), json!({ "act": act, "x": x }).to_string());
    tokio::spawn(async move {
        let answer = gateway.predict(body).await;
        (answer.status.as_u16(), serde_json::from_str(&answer.text).unwrap_or_default())
    })
}

async fn depth(gateway: &Gateway) -> Option<f64> {
    gateway.metric("modelgate_queue_depth").await
}

/// Keeps the worker busy for half a second, so that what comes next waits.
async fn occupy(gateway: &Arc<Gateway>) -> tokio::task::JoinHandle<u16> {
    let (busy, body) = (
        Arc::clone(gateway),
        json!({
            "inputs": [
                { "name": "act", "shape": [1], "datatype": "BYTES", "data": ["loop"] },
                { "name": "x", "shape": [1], "datatype": "FP64", "data": [0] },
            ],
            "parameters": { "timeout": 500_000 },
        }),
    );
    let busy = tokio::spawn(async move {
        busy.post("/v2/models/unruly/infer", body.to_string().into(), &[]).await.status.as_u16()
    });
    eventually("the worker is busy", || async {
        let pending = "nv_inference_pending_request_count{model=\"unruly\",version=\"1\"}";
        gateway.metric(pending).await == Some(1.0) && depth(gateway).await == Some(0.0)
    })
    .await;
    busy
}

async fn runs(gateway: &Gateway) -> f64 {
    gateway.metric("modelgate_batch_rows_count{model=\"unruly\",version=\"1\"}").await.unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_runs_together_and_each_gets_its_own_rows() {
    let (_folder, gateway) = unruly("").await;
    let busy = occupy(&gateway).await;
    let before = runs(&gateway).await;
    let waiting: Vec<_> = (0..20).map(|x| ask(&gateway, "", f64::from(x))).collect();
    eventually("all wait", || async { depth(&gateway).await == Some(20.0) }).await;
    assert_eq!(busy.await.expect("an answer"), 504);
    for (x, task) in waiting.into_iter().enumerate() {
        let (status, answer) = task.await.expect("an answer");
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["prediction"].as_f64(), Some(x as f64), "{answer}");
    }
    assert!((1.0..=3.0).contains(&(runs(&gateway).await - before)), "{} runs", runs(&gateway).await - before);
    let rows = gateway.metric("modelgate_request_rows_count{model=\"unruly\",version=\"1\"}").await;
    assert_eq!(rows, Some(20.0), "each request is counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_harms_none_of_those_beside_it() {
    let (_folder, gateway) = unruly("").await;
    let busy = occupy(&gateway).await;
    let good: Vec<_> = (0..8).map(|x| ask(&gateway, "", f64::from(x))).collect();
    let bad = [ask(&gateway, "panic", 1.0), ask(&gateway, "panic", 2.0)];
    eventually("all wait", || async { depth(&gateway).await == Some(10.0) }).await;
    busy.await.expect("an answer");
    for (x, task) in good.into_iter().enumerate() {
        assert_eq!(task.await.expect("an answer"), (200, json!({ "prediction": x as f64 })));
    }
    for task in bad {
        assert_eq!(task.await.expect("an answer").0, 500);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_may_say_no() {
    let (_folder, gateway) = unruly("[batching]\nenabled = false").await;
    let busy = occupy(&gateway).await;
    let before = runs(&gateway).await;
    let waiting: Vec<_> = (0..5).map(|x| ask(&gateway, "", f64::from(x))).collect();
    eventually("all wait", || async { depth(&gateway).await == Some(5.0) }).await;
    busy.await.expect("an answer");
    for task in waiting {
        assert_eq!(task.await.expect("an answer").0, 200);
    }
    assert!((runs(&gateway).await - before - 5.0).abs() < 0.5);
}

async fn requests(gateway: &Gateway) -> f64 {
    gateway.metric("modelgate_request_rows_count{model=\"unruly\",version=\"1\"}").await.unwrap_or(0.0)
}

/// Sends bursts that no queue sees, and checks every answer, until some were run together.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_in_one_turn_runs_together() {
    let (_folder, gateway) = unruly("").await;
    let (gateway, next) = (&gateway, &std::sync::atomic::AtomicU32::new(0));
    eventually("fewer runs than requests", || async move {
        let burst: Vec<_> = (0..32)
            .map(|_| next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
            .map(|x| (x, ask(gateway, "", f64::from(x))))
            .collect();
        for (x, task) in burst {
            assert_eq!(task.await.expect("an answer"), (200, json!({ "prediction": f64::from(x) })));
        }
        runs(gateway).await < requests(gateway).await
    })
    .await;
    assert_eq!(gateway.metric("modelgate_handovers_total{model=\"unruly\",version=\"1\"}").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_instance_of_its_own_a_request_is_never_run_with_others() {
    let (_folder, gateway) = unruly("[run]\nisolation = \"request\"").await;
    for _ in 0..5 {
        let burst: Vec<_> = (0..32).map(|x| ask(&gateway, "", f64::from(x))).collect();
        for (x, task) in burst.into_iter().enumerate() {
            assert_eq!(task.await.expect("an answer"), (200, json!({ "prediction": x as f64 })));
        }
    }
    assert!((runs(&gateway).await - requests(&gateway).await).abs() < 0.5);
}

/// One that never ends is handed to a worker alone; those read or waiting with it are answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_keep_those_beside_it() {
    let folder = BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, "[limits]\ndeadline_ms = 2000");
    let gateway = Gateway::serving(&[folder.path()], |args| args.workers = NonZeroUsize::new(2)).await;
    let gateway = &Arc::new(gateway);
    eventually("some were run together", || async move {
        let before = (runs(gateway).await, requests(gateway).await);
        let endless = ask(gateway, "loop", 0.0);
        let good: Vec<_> = (0..16).map(|x| ask(gateway, "", f64::from(x))).collect();
        for (x, task) in good.into_iter().enumerate() {
            assert_eq!(task.await.expect("an answer"), (200, json!({ "prediction": x as f64 })));
        }
        assert_eq!(endless.await.expect("an answer").0, 504);
        runs(gateway).await - before.0 < requests(gateway).await - before.1
    })
    .await;
    assert!(gateway.metric("modelgate_handovers_total{model=\"unruly\",version=\"1\"}").await > Some(0.0));
}
