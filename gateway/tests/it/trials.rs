//! Release gates: a share of the requests, or copies of them, before a release answers all.

use std::{path::Path, sync::Arc};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    flowers::{Load, flowers, place, row},
    support::{BundleFolder, Gateway, eventually},
};

async fn on(root: &Path, cache: &Path, change: impl FnOnce(&mut modelgate::config::ServeArgs)) -> Arc<Gateway> {
    let gateway = Gateway::sourcing(&[root.display().to_string()], cache, change).await;
    gateway.ready().await;
    Arc::new(gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_canary_is_promoted() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |args| {
        args.canary = Some(0.2);
        args.canary_requests = Some(400);
    })
    .await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    // Both answer while it is on trial.
    load.hears("2").await;
    load.hears("1").await;
    gateway.becomes("iris", "2", "READY", "").await;
    assert_eq!(gateway.metric("modelgate_releases_total{model=\"iris\",outcome=\"promoted\"}").await, Some(1.0));
    assert_eq!(gateway.app.catalog.get("iris").expect("live").version, "2");
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_canary_is_withdrawn() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let unruly = |version: &str, act: &str| {
        let bundle = BundleFolder::unruly("unruly", &format!(r#"{{"when":"process","do":"{act}"}}"#), "");
        bundle.edit_manifest("version = \"1\"", &format!("version = \"{version}\""));
        bundle
    };
    place(&BundleFolder::unruly("unruly", "{}", ""), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |args| {
        args.canary = Some(0.1);
        args.canary_requests = Some(50);
    })
    .await;
    place(&unruly("2", "trap"), &root.path().join("2"));
    eventually("it is on trial", || async {
        gateway.state("unruly", "2").await.is_some_and(|(_, reason)| reason == "on trial")
    })
    .await;
    let (mut failed, mut asked) = (0, 0);
    let body = json!({ "model": "unruly", "act": "echo", "x": 1.5 }).to_string();
    while gateway.state("unruly", "2").await.is_some_and(|(_, reason)| reason == "on trial") && asked < 2_000 {
        for _ in 0..20 {
            asked += 1;
            let answer = gateway.predict(body.clone()).await;
            if answer.status == 500 {
                failed += 1;
            } else {
                assert_eq!(answer.json(), json!({ "prediction": 1.5 }));
            }
        }
    }
    gateway.becomes("unruly", "2", "UNAVAILABLE", "canary:").await;
    assert!((1..=asked / 5).contains(&failed), "{failed} of {asked}");
    for _ in 0..50 {
        assert_eq!(gateway.predict(body.clone()).await.status, 200);
    }
    assert_eq!(gateway.metric("modelgate_releases_total{model=\"unruly\",outcome=\"withdrawn\"}").await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_compared_and_never_returned() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |args| args.shadow = Some(1.0)).await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    let shadow = |outcome: &str| format!("modelgate_shadow_requests_total{{model=\"iris\",outcome=\"{outcome}\"}}");
    eventually("answers differ", || async { gateway.metric(&shadow("different")).await > Some(10.0) }).await;
    assert_eq!(gateway.metric(&shadow("same")).await, Some(0.0));
    assert_eq!(load.answered("2"), 0);
    // Nor to a request that names it.
    let infer = json!({ "instances": [row()] }).to_string().into_bytes();
    let json = [("content-type", "application/json")];
    assert_eq!(gateway.post("/v1/models/iris/versions/2:predict", infer, &json).await.status, 503);
    // Somebody looks at the counts and wants it all the same.
    let promoted = gateway.post("/v2/repository/models/iris/promote", Vec::new(), &[]).await;
    assert_eq!(promoted.status, 200, "{}", promoted.text);
    load.hears("2").await;
    // The same answers under another number this time.
    let again = flowers("iris", "2");
    again.edit_manifest("version = \"2\"", "version = \"3\"");
    place(&again, &root.path().join("3"));
    load.end().await;
    let row = {
        let mut row = row();
        row["model"] = "iris".into();
        row.to_string()
    };
    eventually("answers are the same", || async {
        assert_eq!(gateway.predict(row.clone()).await.header("x-modelgate-version"), "2");
        gateway.metric(&shadow("same")).await > Some(10.0)
    })
    .await;
    let withdrawn = gateway.post("/v2/repository/models/iris/rollback", Vec::new(), &[]).await;
    assert_eq!(withdrawn.status, 200);
    gateway.becomes("iris", "3", "UNAVAILABLE", "by hand").await;
}
