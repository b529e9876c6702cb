//! Bundles from an S3 server: published, replaced under load, and every way in which the store can be of no use.

use std::{fs, sync::Arc};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    faulty::{Fault, Wire},
    flowers::{Load, flowers, row},
    real::{S3, modelgate, source_at},
    support::{BundleFolder, Gateway, eventually, sha256},
};

async fn serve(source: String, cache: &TempDir) -> Arc<Gateway> {
    Arc::new(Gateway::sourcing(&[source], cache.path(), |_| {}).await)
}

/// Uploads with the command that people use.
fn push(s3: &S3, bundle: &BundleFolder, prefix: &str) -> String {
    let folder = bundle.path().to_str().expect("text").to_owned();
    let output = modelgate(s3, &["push", &folder, &format!("s3://models/{prefix}")]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_to_a_bucket_serves() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    let told = push(&s3, &flowers("iris", "1"), "live");
    assert!(told.contains("model.onnx: 7867 of 7867 bytes") && told.contains("live/iris/1/bundle.toml"), "{told}");
    let gateway = serve(s3.source("live"), &cache).await;
    gateway.ready().await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;

    // Of the next one, what is there already is neither sent nor fetched again.
    let fetched = || gateway.metric("modelgate_source_fetched_bytes_total{source=\"store\"}");
    let before = fetched().await.expect("a counter");
    let told = push(&s3, &flowers("iris", "2"), "live");
    assert!(told.contains("model.onnx: there already") && told.contains("preprocess.json: there already"), "{told}");
    load.hears("2").await;
    let more = fetched().await.expect("a counter") - before;
    assert!((1.0..7000.0).contains(&more), "{more} bytes were fetched");

    // A bundle that another tool put there, file by file, the manifest last.
    let bundle = flowers("iris", "3");
    for file in ["model.onnx", "preprocess.json", "predict.json", "golden.json", "bundle.toml"] {
        s3.put(&format!("live/by-hand/{file}"), fs::read(bundle.file(file)).expect("there")).await;
    }
    load.hears("3").await;
    load.end().await;
    let sources = gateway.get("/v2/repository/sources").await.json();
    assert_eq!(sources["sources"][0]["state"], "ok");
    assert_eq!(sources["sources"][0]["address"], "s3://models/live");
}

/// The files of a bundle are in the folder of blobs at the prefix it was pushed to, wherever it is looked at from.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_serves_to_sources_above_and_below_its_prefix() {
    let s3 = S3::start().await;
    push(&s3, &flowers("iris", "1"), "team/live");
    for prefix in ["", "team", "team/live/iris", "team/live/iris/1"] {
        let cache = TempDir::new().expect("a folder");
        let gateway = serve(s3.source(prefix), &cache).await;
        gateway.becomes("iris", "1", "READY", "").await;
    }
}

/// A client that may read objects but not list them finds the files of earlier offers.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_listed_gives_files_that_the_cache_has_lost() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    push(&s3, &flowers("iris", "1"), "live");
    let wire = Wire::to(&s3.address).await;
    let gateway = serve(source_at(&wire.address, "live"), &cache).await;
    gateway.ready().await;
    Arc::into_inner(gateway).expect("the only one").stopped().await;
    fs::remove_dir_all(cache.path().join("files")).expect("removed");
    wire.fail(Fault::refusal(403, "AccessDenied").on("list-type=2"));
    let gateway = serve(source_at(&wire.address, "live"), &cache).await;
    gateway.becomes("iris", "1", "READY", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_bundle_is_not_pushed() {
    let s3 = S3::start().await;
    let bundle = flowers("iris", "1");
    bundle.write("model.onnx", b"something else");
    let folder = bundle.path().to_str().expect("text").to_owned();
    let output = modelgate(&s3, &["push", &folder, "s3://models/live"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("model.onnx: wrong digest"));
    assert!(!s3.has("live/iris/1/bundle.toml").await);
    let output = modelgate(&s3, &["push", &folder, "s3://nobody-has-this/live"]);
    assert!(!output.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_names_a_missing_object_never_serves() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    push(&s3, &flowers("iris", "1"), "live");
    let gateway = serve(s3.source("live"), &cache).await;
    gateway.ready().await;
    let load = Load::start(&gateway, "iris");
    let bundle = flowers("iris", "2");
    bundle.replace(
        "preprocess.json",
        format!("{}\n", fs::read_to_string(bundle.file("preprocess.json")).expect("text")).as_bytes(),
    );
    s3.put("live/2/bundle.toml", fs::read(bundle.file("bundle.toml")).expect("there")).await;
    gateway.becomes("iris", "2", "UNAVAILABLE", "missing").await;
    // Three files are; however often they are looked for, that is one piece of news.
    let polls = async || {
        let text = gateway.get("/metrics").await.text;
        let mut lines = text.lines().filter(|line| line.starts_with("modelgate_source_polls_total"));
        lines.find_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).expect("polls are counted")
    };
    let before = polls().await;
    eventually("it was looked for again", || async { polls().await > before + 8.0 }).await;
    assert_eq!(gateway.metric("modelgate_releases_total{model=\"iris\",outcome=\"fetch_failed\"}").await, Some(1.0));
    load.hears("1").await;
    // Once everything is there it serves, without anybody's help.
    for file in ["model.onnx", "preprocess.json", "predict.json", "golden.json"] {
        s3.put(&format!("live/2/{file}"), fs::read(bundle.file(file)).expect("there")).await;
    }
    load.hears("2").await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_changes_nothing_but_its_state() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    push(&s3, &flowers("iris", "1"), "live");
    let wire = Wire::to(&s3.address).await;
    let gateway = serve(source_at(&wire.address, "live"), &cache).await;
    gateway.ready().await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    let becomes = async |state: &str| {
        eventually(&format!("the source is {state}"), || async {
            gateway.get("/v2/repository/sources").await.json()["sources"][0]["state"] == state
        })
        .await;
        assert_eq!(gateway.get("/v2/health/ready").await.status, 200);
    };
    for (fault, state) in [
        (Fault::Closed, "unreachable"),
        (Fault::refusal(403, "AccessDenied"), "denied"),
        (Fault::refusal(403, "InvalidAccessKeyId"), "denied"),
        (Fault::refusal(403, "RequestTimeTooSkewed"), "clock_skew"),
        (Fault::refusal(404, "NoSuchBucket"), "missing"),
        (Fault::refusal(400, "ExpiredToken"), "denied"),
        (Fault::refusal(503, "SlowDown"), "server_error"),
        (Fault::refusal(429, "TooManyRequests"), "server_error"),
        (
            Fault::Answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n<garbage>".into()),
            "invalid_response",
        ),
    ] {
        wire.fail(fault);
        becomes(state).await;
        load.hears("1").await;
        // So that the next state is not that of a long pause.
        wire.fail(Fault::None);
        becomes("ok").await;
    }
    let failures = gateway.metric("modelgate_source_polls_total{outcome=\"denied\",source=\"store\"}").await;
    assert!(failures >= Some(2.0), "{failures:?}");

    // A body that ends early is no file; it is fetched again.
    wire.fail(Fault::CutAfter(2000));
    push(&s3, &flowers("iris", "2"), "live");
    eventually("the source is of no use", || async {
        gateway.get("/v2/repository/sources").await.json()["sources"][0]["state"] != "ok"
            || gateway.state("iris", "2").await.is_some_and(|(state, _)| state == "UNAVAILABLE")
    })
    .await;
    load.hears("1").await;
    wire.fail(Fault::None);
    load.hears("2").await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_at_the_start_leaves_the_last_good_set() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    let source = s3.source("live");
    push(&s3, &flowers("iris", "1"), "live");
    let gateway = serve(source.clone(), &cache).await;
    gateway.ready().await;
    // A bad release must not be what is remembered.
    let bad = flowers("iris", "2");
    bad.replace("model.onnx", b"not a graph");
    push(&s3, &bad, "live");
    gateway.becomes("iris", "2", "UNAVAILABLE", "model:").await;
    Arc::into_inner(gateway).expect("the only one").stopped().await;
    s3.end();

    let gateway = serve(source, &cache).await;
    gateway.ready().await;
    let mut asked = row();
    asked["model"] = "iris".into();
    assert_eq!(gateway.predict(asked.to_string()).await.json(), json!({ "prediction": "versicolor-1" }));
    let ready = gateway.get("/v2/health/ready").await.json();
    assert_eq!(ready["sources"]["store"], json!({ "state": "unreachable", "from_cache": true }), "{ready}");
    assert_eq!(gateway.metric("modelgate_source_up{source=\"store\"}").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_breaks_in_a_bucket_changes_nothing() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    push(&s3, &flowers("iris", "1"), "live");
    for file in ["model.onnx", "preprocess.json", "predict.json", "golden.json", "bundle.toml"] {
        s3.put(&format!("live/2/{file}"), fs::read(flowers("iris", "2").file(file)).expect("there")).await;
    }
    let gateway = serve(s3.source("live"), &cache).await;
    gateway.ready().await;
    let load = Load::start(&gateway, "iris");
    load.hears("2").await;
    let problems =
        async || gateway.get("/v2/repository/sources").await.json()["sources"][0]["problems"].as_array().map(Vec::len);
    for broken in [b"format = ".to_vec(), vec![b'#'; 2 << 20]] {
        s3.put("live/2/bundle.toml", broken).await;
        eventually("it is told", || async { problems().await == Some(1) }).await;
        load.hears("2").await;
        s3.put("live/2/bundle.toml", fs::read(flowers("iris", "2").file("bundle.toml")).expect("there")).await;
        eventually("it is whole", || async { problems().await.is_none() }).await;
        load.hears("2").await;
    }
    assert_eq!(load.answered("1"), 0);
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_fetched_again() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    let bundle = flowers("iris", "1");
    push(&s3, &bundle, "live");
    let gateway = serve(s3.source("live"), &cache).await;
    gateway.ready().await;
    Arc::into_inner(gateway).expect("the only one").stopped().await;
    let model = cache.path().join("files").join(sha256(&fs::read(bundle.file("model.onnx")).expect("a model")));
    fs::write(&model, b"damaged").expect("written");
    let gateway = serve(s3.source("live"), &cache).await;
    gateway.becomes("iris", "1", "READY", "").await;
    let sources: Value = gateway.get("/v2/repository/sources").await.json();
    assert_eq!(sources["sources"][0]["state"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_pushed_again_and_a_file_beside_the_manifest_takes_its_place() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    let bundle = flowers("iris", "1");
    push(&s3, &bundle, "live");
    let model = fs::read(bundle.file("model.onnx")).expect("a model");
    let blob = format!("live/blobs/{}", sha256(&model));
    s3.put(&blob, model[..1000].to_vec()).await;
    let gateway = serve(s3.source("live"), &cache).await;
    gateway.becomes("iris", "1", "UNAVAILABLE", "model.onnx: wrong digest").await;
    s3.put("live/iris/1/model.onnx", model.clone()).await;
    gateway.becomes("iris", "1", "READY", "").await;

    let told = push(&s3, &bundle, "live");
    assert!(told.contains("model.onnx: 7867 of 7867 bytes") && told.contains("golden.json: there already"), "{told}");
    let sent = gateway.client.get(s3.url(&format!("models/{blob}"))).send().await.expect("an answer");
    assert_eq!(sha256(&sent.bytes().await.expect("a body")), sha256(&model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lists_no_etags_is_followed() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    push(&s3, &flowers("iris", "1"), "live");
    let wire = Wire::to(&s3.address).await;
    wire.fail(Fault::Reword("ETag>", "None>").on("list-type=2"));
    let gateway = serve(source_at(&wire.address, "live"), &cache).await;
    gateway.becomes("iris", "1", "READY", "").await;
    // In the same place.
    push(&s3, &flowers("iris", "23"), "live");
    let manifest = fs::read(flowers("iris", "23").file("bundle.toml")).expect("there");
    s3.put("live/iris/1/bundle.toml", manifest).await;
    eventually("it is read again", || async {
        let sources = gateway.get("/v2/repository/sources").await.json();
        sources["sources"][0]["problems"].to_string().contains("a second iris version 23")
    })
    .await;
}
