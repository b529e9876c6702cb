//! Access to a bucket, faults of networks in its bodies, and uploads that were broken off.

use std::{
    fs,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    faulty::{Fault, Wire},
    flowers::{Load, flowers, other_model},
    real::{S3, Served, modelgate, modelgate_at, python, source_at, with_s3},
    support::{BundleFolder, Gateway, client, eventually, sha256},
};

fn push(s3: &S3, bundle: &BundleFolder) {
    let output = modelgate(s3, &["push", bundle.path().to_str().expect("text"), "s3://models/live"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A gateway that follows this source with these variables, and no others that say who it is.
fn follow(source: &str, cache: &TempDir, variables: &[(&str, &str)]) -> Served {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command
        .args(["serve", "--source", source, "--poll", "0.2", "--listen", "127.0.0.1:0"])
        .args([
            "--workers",
            "1",
            "--max-instances",
            "16",
            "--code-cache",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/code"),
        ])
        .arg("--bundle-cache")
        .arg(cache.path())
        .envs(variables.iter().copied())
        .stderr(Stdio::null());
    Served::start(&mut command)
}

async fn source_becomes(operator: &Client, address: &str, state: &str) {
    eventually(&format!("the store is {state}"), || async {
        let sources = operator.get(format!("http://{address}/v2/repository/sources")).send().await.expect("an answer");
        sources.json::<Value>().await.expect("JSON")["sources"][0]["state"] == state
    })
    .await;
    let metrics = client().get(format!("http://{address}/metrics")).send().await.expect("an answer");
    let (metrics, up) = (metrics.text().await.expect("text"), u8::from(state == "ok"));
    assert!(metrics.contains(&format!("modelgate_source_up{{source=\"store\"}} {up}")), "{state}");
    assert!(
        metrics.contains(&format!("modelgate_source_polls_total{{outcome=\"{state}\",source=\"store\"}}")),
        "{state}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_checks_who_asks_is_read_with_the_right_credentials_only() {
    let (s3, client) = (S3::start().await, client());
    push(&s3, &flowers("iris", "1"));
    let mut people = Command::new(python("python"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/py/s3_people.py");
    let told = with_s3(&mut people, &s3).arg(script).output().expect("it runs");
    let people: Value = serde_json::from_slice(&told.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&told.stderr)));
    let text = |who: &str, what: &str| people[who][what].as_str().expect("text").to_owned();
    // From now on the server checks signatures.
    let strict = client.post(s3.url("moto-api/reset-auth")).body("0").send().await.expect("an answer");
    assert_eq!(strict.status(), StatusCode::OK);

    let source = format!("store=s3://models/live?endpoint=http://{}", s3.address);
    let (key, secret) = (text("user", "key"), text("user", "secret"));
    let (session_key, session_secret) = (text("session", "key"), text("session", "secret"));
    let token = text("session", "token");
    // The same keys in the file that Amazon's tools share.
    let home = TempDir::new().expect("a folder");
    let file = home.path().join("credentials").display().to_string();
    fs::write(&file, format!("[reader]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"))
        .expect("written");
    let profile = "reader".to_owned();
    let cases = [
        (vec![("AWS_ACCESS_KEY_ID", &key), ("AWS_SECRET_ACCESS_KEY", &secret)], "ok"),
        (vec![("AWS_PROFILE", &profile), ("AWS_SHARED_CREDENTIALS_FILE", &file)], "ok"),
        (vec![("AWS_ACCESS_KEY_ID", &key), ("AWS_SECRET_ACCESS_KEY", &session_secret)], "denied"),
        (
            vec![
                ("AWS_ACCESS_KEY_ID", &session_key),
                ("AWS_SECRET_ACCESS_KEY", &session_secret),
                ("AWS_SESSION_TOKEN", &token),
            ],
            "ok",
        ),
        (vec![("AWS_ACCESS_KEY_ID", &session_key), ("AWS_SECRET_ACCESS_KEY", &session_secret)], "denied"),
    ];
    for (variables, state) in cases {
        let cache = TempDir::new().expect("a folder");
        let variables: Vec<_> = variables.into_iter().map(|(name, value)| (name, value.as_str())).collect();
        let served = follow(&source, &cache, &variables);
        source_becomes(&served.operator, &served.address, state).await;
        let status = if state == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        eventually("it is ready, or not", || async {
            let ready = client.get(format!("http://{}/v2/health/ready", served.address)).send().await;
            ready.expect("an answer").status() == status
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_requests_are_not_signed_and_others_are_with_their_token() {
    let s3 = S3::start().await;
    push(&s3, &flowers("iris", "1"));
    let wire = Wire::to(&s3.address).await;
    let keys = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_SESSION_TOKEN", "the-token")];
    let address = wire.address.clone();
    let signed = format!("store=s3://models/live?endpoint=http://{address}");
    for (source, fault, state) in [
        (source_at(&address, "live"), Fault::refusal(403, "AccessDenied").on("\r\nauthorization:"), "ok"),
        (signed.clone(), Fault::refusal(403, "AccessDenied").on("\r\nauthorization:"), "denied"),
        (signed.clone(), Fault::refusal(403, "InvalidToken").unless("\r\nx-amz-security-token: the-token\r\n"), "ok"),
        // Without the token being signed it would be of no use.
        (signed, Fault::refusal(403, "InvalidToken").unless(";x-amz-security-token"), "ok"),
    ] {
        wire.fail(fault);
        let cache = TempDir::new().expect("a folder");
        let served = follow(&source, &cache, &keys);
        source_becomes(&served.operator, &served.address, state).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_missing_until_it_is_made() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    let source = format!("store=s3://later/live?endpoint=http://{}&anonymous=true", s3.address);
    let gateway = Gateway::sourcing(&[source], cache.path(), |_| {}).await;
    source_becomes(&gateway.operator, &gateway.address, "missing").await;
    assert_eq!(gateway.get("/v2/health/ready").await.status, 503);
    assert_eq!(gateway.client.put(s3.url("later")).send().await.expect("an answer").status(), StatusCode::OK);
    source_becomes(&gateway.operator, &gateway.address, "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_never_comes_hides_no_others() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    push(&s3, &flowers("iris", "1"));
    push(&s3, &flowers("stuck", "1"));
    let wire = Wire::to(&s3.address).await;
    wire.fail(Fault::StallAfter(0).on("get /models/live/stuck/1/bundle.toml"));
    let gateway = Gateway::sourcing(&[source_at(&wire.address, "live")], cache.path(), |_| {}).await;
    gateway.becomes("iris", "1", "READY", "").await;
    let sources = gateway.get("/v2/repository/sources").await.json();
    assert_eq!(sources["sources"][0]["state"], "ok", "{sources}");
    assert!(sources["sources"][0]["problems"].to_string().contains("stuck/1/bundle.toml: timeout"), "{sources}");
}

/// Eight at once, four seconds each: ten rounds, where a look has time for seven.
#[tokio::test(flavor = "multi_thread")]
async fn more_manifests_than_one_look_has_time_for_are_read_by_the_next() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    for number in 0..80 {
        let manifest = fs::read_to_string(flowers("many", &number.to_string()).file("bundle.toml")).expect("text");
        s3.put(&format!("late/{number}/bundle.toml"), manifest.into_bytes()).await;
    }
    let wire = Wire::to(&s3.address).await;
    wire.fail(Fault::Late(Duration::from_secs(4)).on("/bundle.toml"));
    let gateway = Gateway::sourcing(&[source_at(&wire.address, "late")], cache.path(), |_| {}).await;
    source_becomes(&gateway.operator, &gateway.address, "timeout").await;
    source_becomes(&gateway.operator, &gateway.address, "ok").await;
    let sources = gateway.get("/v2/repository/sources").await.json();
    assert_eq!(sources["sources"][0]["releases"], 80, "{sources}");
}

/// Under load, with a new version whose graph comes slowly, ends early, or stops coming.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_slow_come_and_bodies_that_stop_are_fetched_again() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    push(&s3, &flowers("iris", "1"));
    let wire = Wire::to(&s3.address).await;
    let gateway = Arc::new(Gateway::sourcing(&[source_at(&wire.address, "live")], cache.path(), |_| {}).await);
    gateway.ready().await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    let next = |version: &str| {
        let bundle = flowers("iris", version);
        other_model(&bundle, version);
        let graph = sha256(&fs::read(bundle.file("model.onnx")).expect("a graph"));
        (bundle, format!("get /models/live/blobs/{graph}"))
    };
    let (bundle, graph) = next("2");
    wire.fail(Fault::Slow(500).on(&graph));
    push(&s3, &bundle);
    load.hears("2").await;

    let (bundle, graph) = next("3");
    wire.fail(Fault::CutAfter(2000).on(&graph));
    push(&s3, &bundle);
    gateway.becomes("iris", "3", "UNAVAILABLE", "model.onnx: invalid_response: the body ended early").await;
    load.hears("2").await;
    wire.fail(Fault::None);
    load.hears("3").await;

    let (bundle, graph) = next("4");
    wire.fail(Fault::StallAfter(2000).on(&graph));
    push(&s3, &bundle);
    gateway.becomes("iris", "4", "UNAVAILABLE", "model.onnx: timeout").await;
    load.hears("3").await;
    // The source itself is well: it was looked at all the while.
    source_becomes(&gateway.operator, &gateway.address, "ok").await;
    wire.fail(Fault::None);
    load.hears("4").await;
    load.end().await;
    let failed = gateway.metric("modelgate_releases_total{model=\"iris\",outcome=\"fetch_failed\"}").await;
    assert!(failed >= Some(2.0), "{failed:?}");
}

/// 40 MiB go in three parts, of which the last cannot be sent at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_broken_off_goes_on_where_it_was() {
    let (s3, bundle) = (S3::start().await, flowers("iris", "1"));
    let graph: Vec<u8> = (0..40_u32 << 20).map(|place| place.to_le_bytes()[place as usize % 3]).collect();
    bundle.replace("model.onnx", &graph);
    // The tests' server calls this answer otherwise than S3 and MinIO do.
    let words = Wire::to(&s3.address).await;
    words.fail(Fault::Reword("ListPartsResponse", "ListPartsResult  ").on("x-id=listparts"));
    let wire = Wire::to(&words.address).await;
    wire.fail(Fault::refusal(403, "AccessDenied").on("partnumber=3"));
    let arguments = ["push", bundle.path().to_str().expect("text"), "s3://models/live"];
    let output = modelgate_at(&wire.address, &arguments);
    let (told, problem) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && told.contains("33554432 of 41943040 bytes"), "{told}{problem}");
    assert!(problem.contains("push it again"), "{problem}");
    assert!(!s3.has("live/iris/1/bundle.toml").await);

    // What was sent is not sent again.
    wire.fail(Fault::refusal(403, "AccessDenied").on("partnumber=1"));
    let output = modelgate_at(&wire.address, &arguments);
    let (told, problem) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{problem}");
    assert!(told.contains("model.onnx: 33554432 of 41943040 bytes are there already"), "{told}");
    let blob = s3.url(&format!("models/live/blobs/{}", sha256(&graph)));
    let sent = client().get(blob).send().await.expect("an answer").bytes().await.expect("a body");
    assert_eq!(sha256(&sent), sha256(&graph));
    assert!(s3.has("live/iris/1/bundle.toml").await);

    // And of a whole bundle nothing is sent.
    wire.fail(Fault::refusal(403, "AccessDenied").on("put /models/live/blobs/"));
    let output = modelgate_at(&wire.address, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("model.onnx: there already"));
}

/// They go on with one upload, and the first to be done ends it for both.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_of_one_file_at_once_all_end_well() {
    let (s3, bundle) = (S3::start().await, flowers("iris", "1"));
    let graph = vec![7; 17 << 20];
    bundle.replace("model.onnx", &graph);
    let blob = format!("models/live/blobs/{}", sha256(&graph));
    // The tests' server calls this answer otherwise than S3 and MinIO do.
    let words = Wire::to(&s3.address).await;
    words.fail(Fault::Reword("ListPartsResponse", "ListPartsResult  ").on("x-id=listparts"));
    let wire = Wire::to(&words.address).await;
    let folder = bundle.path().to_str().expect("text").to_owned();
    let push = |address: &str| {
        let (address, folder) = (address.to_owned(), folder.clone());
        tokio::spawn(async move {
            let output = modelgate_at(&address, &["push", &folder, "s3://models/live"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        })
    };
    wire.fail(Fault::Late(Duration::from_secs(4)).on("partnumber=2"));
    let slow = push(&wire.address);
    eventually("an upload was begun", || async {
        let uploads = s3.signed(Method::GET, "models?uploads").send().await.expect("an answer");
        uploads.text().await.expect("text").contains(&sha256(&graph))
    })
    .await;
    push(&words.address).await.expect("it ends well");
    slow.await.expect("it ends well");
    assert!(s3.has("live/iris/1/bundle.toml").await);

    // An upload that is gone, with nothing left of it, is begun anew.
    let deleted = s3.signed(Method::DELETE, &blob).send().await.expect("an answer");
    assert!(deleted.status().is_success());
    let begun = s3.signed(Method::POST, &format!("{blob}?uploads")).send().await.expect("an answer");
    let begun = begun.text().await.expect("text");
    let id = begun.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).expect("an id");
    wire.fail(Fault::refusal(404, "NoSuchUpload").on(&format!("partnumber=1&uploadid={id}")));
    push(&wire.address).await.expect("it ends well");
    let sent = client().get(s3.url(&blob)).send().await.expect("an answer").bytes().await.expect("a body");
    assert_eq!(sha256(&sent), sha256(&graph));
}

#[test]
fn what_no_source_can_use_is_refused_at_the_start() {
    let cache = TempDir::new().expect("a folder");
    let start = |source: &str, variable: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_modelgate"))
            .args(["serve", "--listen", "127.0.0.1:0", "--source", source])
            .arg("--bundle-cache")
            .arg(cache.path())
            .env_clear()
            .env(variable, "key")
            .output()
            .expect("the binary runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for source in ["store=s3://models/live?endpoint=127.0.0.1:20000", "store=models:/iris/1?endpoint=minio"] {
        let told = start(source, "NOTHING");
        assert!(told.contains("source store: endpoint: expected http://HOST:PORT or https://HOST"), "{told}");
    }
    let told = start("ftp://u:secret@h/x", "NOTHING");
    assert!(told.contains("got ftp://h/x") && !told.contains("secret"), "{told}");
    for (set, missing) in
        [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")]
    {
        let told = start("store=s3://models/live?endpoint=http://127.0.0.1:1", set);
        assert!(told.contains(&format!("source store: {set} is set, {missing} is missing")), "{told}");
    }
}
