//! A version that has shown that it is good goes on answering, whatever comes, is unloaded, or is on trial beside it.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    faulty::{Fault, Wire},
    flowers::{Load, flowers, other_model, place, row},
    real::{S3, modelgate},
    support::{BundleFolder, Gateway, eventually, sha256},
};

fn folders() -> (TempDir, TempDir) {
    (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"))
}

async fn on(root: &Path, cache: &Path, change: impl FnOnce(&mut modelgate::config::ServeArgs)) -> Arc<Gateway> {
    let gateway = Gateway::sourcing(&[root.display().to_string()], cache, change).await;
    gateway.ready().await;
    Arc::new(gateway)
}

async fn again(
    gateway: Arc<Gateway>,
    root: &Path,
    cache: &Path,
    change: impl FnOnce(&mut modelgate::config::ServeArgs),
) -> Arc<Gateway> {
    Arc::into_inner(gateway).expect("the only one").stopped().await;
    on(root, cache, change).await
}

/// The version that answers a row which names the model, or none.
async fn answer(gateway: &Gateway, model: Option<&str>) -> String {
    let mut row = row();
    if let Some(model) = model {
        row["model"] = model.into();
    }
    let answer = gateway.predict(row.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["prediction"].as_str().expect("a label").to_owned()
}

async fn call(gateway: &Gateway, model: &str, call: &str) -> String {
    let answer = gateway.post(&format!("/v2/repository/models/{model}/{call}"), Vec::new(), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

async fn lets_go(gateway: &Gateway, model: &str, version: &str) {
    gateway.becomes(model, version, "UNAVAILABLE", "not resident").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_answer_is_not_the_default() {
    let (root, cache) = folders();
    place(&flowers("iris", "1"), &root.path().join("iris"));
    let gateway = on(root.path(), cache.path(), |_| {}).await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    // First by its name; half copied, and then of no use.
    let bad = flowers("aaa", "1");
    bad.replace("model.onnx", b"none");
    begin_to_copy(&bad, &root.path().join("aaa"));
    gateway.becomes("aaa", "1", "UNAVAILABLE", "missing").await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    place(&bad, &root.path().join("aaa"));
    gateway.becomes("aaa", "1", "UNAVAILABLE", "corrupt").await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_does_not_answer_for_one_that_was_let_go_of() {
    let (root, cache) = folders();
    for version in ["1", "2"] {
        place(&flowers("iris", version), &root.path().join(version));
    }
    let gateway = on(root.path(), cache.path(), |args| {
        args.version_policy = Some("all".into());
        args.idle_unload = Some(1.0);
    })
    .await;
    assert_eq!(answer(&gateway, None).await, "versicolor-2");
    let first = async || {
        let body = json!({ "instances": [row()] }).to_string().into_bytes();
        let asked = gateway.post("/v1/models/iris/versions/1:predict", body, &[("content-type", "application/json")]);
        assert_eq!(asked.await.status, 200);
    };
    eventually("the newest is let go of", || async {
        first().await;
        gateway.state("iris", "2").await.is_some_and(|(_, reason)| reason.contains("not resident"))
    })
    .await;
    first().await;
    assert_eq!(answer(&gateway, None).await, "versicolor-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_at_the_start_keeps_its_files() {
    let ((first, second), cache) = (folders(), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &first.path().join("iris"));
    let rose = flowers("rose", "1");
    other_model(&rose, "of a rose");
    place(&rose, &second.path().join("rose"));
    let sources = [("first", &first), ("second", &second)].map(|(name, of)| format!("{name}={}", of.path().display()));
    let gateway = Gateway::sourcing(&sources, cache.path(), |_| {}).await;
    gateway.ready().await;
    gateway.stopped().await;
    let day = SystemTime::now() - Duration::from_hours(24);
    for file in fs::read_dir(cache.path().join("files")).expect("a folder") {
        let file = fs::File::options().write(true).open(file.expect("an entry").path()).expect("a file");
        file.set_modified(day).expect("made older");
    }
    fs::rename(second.path(), second.path().with_extension("away")).expect("moved");
    // Another gateway that uses this cache and knows nothing of the second source cleans it up.
    let other = Gateway::sourcing(&sources[..1], cache.path(), |_| {}).await;
    other.ready().await;
    other.stopped().await;
    let gateway = Gateway::sourcing(&sources, cache.path(), |_| {}).await;
    gateway.ready().await;
    assert_eq!(answer(&gateway, Some("rose")).await, "versicolor-1");
    fs::remove_dir_all(second.path().with_extension("away")).expect("removed");
}

fn gate(args: &mut modelgate::config::ServeArgs) {
    args.canary = Some(0.2);
    args.canary_requests = Some(1_000_000);
    args.canary_timeout = Some(600.0);
}

async fn is_on_trial(gateway: &Gateway, version: &str) {
    gateway.becomes("iris", version, "LOADING", "on trial").await;
    let mut of_old = 0;
    for _ in 0..40 {
        of_old += u32::from(answer(gateway, Some("iris")).await == "versicolor-1");
    }
    assert!((20..40).contains(&of_old), "{of_old} of 40");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_leads_past_a_trial() {
    let (root, cache) = folders();
    place(&flowers("iris", "1"), &root.path().join("1"));
    let serve = |args: &mut modelgate::config::ServeArgs| {
        gate(args);
        args.version_policy = Some("all".into());
    };
    let gateway = on(root.path(), cache.path(), serve).await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    is_on_trial(&gateway, "2").await;
    for wish in ["unload", "load"] {
        call(&gateway, "iris", wish).await;
    }
    is_on_trial(&gateway, "2").await;
    let gateway = again(gateway, root.path(), cache.path(), serve).await;
    is_on_trial(&gateway, "2").await;
    // The third version comes while the second is on trial: that is tried after all once the third is withdrawn.
    place(&flowers("iris", "3"), &root.path().join("3"));
    is_on_trial(&gateway, "3").await;
    call(&gateway, "iris", "rollback").await;
    is_on_trial(&gateway, "2").await;
    call(&gateway, "iris", "promote").await;
    assert_eq!(answer(&gateway, None).await, "versicolor-2");
    let gateway = again(gateway, root.path(), cache.path(), serve).await;
    gateway.becomes("iris", "2", "READY", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_idle_is_tried_too_and_keeps_no_memory_without_requests() {
    let (root, cache) = folders();
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |args| {
        gate(args);
        args.idle_unload = Some(1.0);
    })
    .await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    lets_go(&gateway, "iris", "1").await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    gateway.becomes("iris", "2", "UNAVAILABLE", "").await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    is_on_trial(&gateway, "2").await;
    eventually("both are let go of", || async { gateway.metric("modelgate_resident_generations").await == Some(0.0) })
        .await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    is_on_trial(&gateway, "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_refuses_what_the_old_one_takes_is_withdrawn() {
    let (root, cache) = folders();
    place(&BundleFolder::unruly("unruly", "{}", ""), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |args| {
        args.canary = Some(0.3);
        args.canary_requests = Some(30);
    })
    .await;
    let bundle = BundleFolder::unruly("unruly", r#"{"when":"process","do":"invalid"}"#, "");
    bundle.edit_manifest("version = \"1\"", "version = \"2\"");
    place(&bundle, &root.path().join("2"));
    gateway.becomes("unruly", "2", "LOADING", "on trial").await;
    let body = json!({ "model": "unruly", "act": "echo", "x": 1.5 }).to_string();
    eventually("it is withdrawn", || async {
        gateway.predict(body.clone()).await;
        gateway.state("unruly", "2").await.is_some_and(|(_, reason)| reason.contains("for invalid"))
    })
    .await;
    for _ in 0..20 {
        assert_eq!(gateway.predict(body.clone()).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_not_made_for_what_takes_other_columns() {
    let (root, cache) = folders();
    place(&BundleFolder::unruly("iris", "{}", ""), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |args| args.shadow = Some(1.0)).await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    gateway.becomes("iris", "2", "LOADING", "on trial").await;
    let body = json!({ "model": "iris", "act": "echo", "x": 1.5 }).to_string();
    assert_eq!(gateway.predict(body).await.status, 200);
    let counted = async |outcome: &str| {
        let series = format!("modelgate_shadow_requests_total{{model=\"iris\",outcome=\"{outcome}\"}}");
        gateway.metric(&series).await.unwrap_or(0.0)
    };
    eventually("it is counted", || async { counted("incompatible").await > 0.0 }).await;
    assert_eq!((counted("same").await, counted("different").await), (0.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_works_after_the_earlier_one_was_let_go_of_and_outlives_a_start() {
    let (root, cache) = folders();
    let serve = |args: &mut modelgate::config::ServeArgs| args.idle_unload = Some(1.0);
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), serve).await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    place(&flowers("iris", "2"), &root.path().join("2"));
    gateway.becomes("iris", "2", "READY", "").await;
    eventually("the earlier one is let go of", || async {
        answer(&gateway, None).await;
        gateway.metric("modelgate_resident_generations").await == Some(1.0)
    })
    .await;
    call(&gateway, "iris", "rollback").await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    gateway.becomes("iris", "2", "UNAVAILABLE", "rolled back").await;
    let gateway = again(gateway, root.path(), cache.path(), serve).await;
    gateway.becomes("iris", "1", "READY", "").await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    place(&flowers("iris", "3"), &root.path().join("3"));
    gateway.becomes("iris", "3", "READY", "").await;
    assert_eq!(answer(&gateway, None).await, "versicolor-3");
}

/// The manifest alone, as where a copy has only begun.
fn begin_to_copy(bundle: &BundleFolder, at: &Path) {
    fs::create_dir_all(at).expect("made");
    fs::copy(bundle.file("bundle.toml"), at.join("bundle.toml")).expect("copied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_during_a_trial_is_ready_with_what_answered() {
    let (root, cache) = folders();
    place(&flowers("iris", "1"), &root.path().join("iris"));
    let gateway = on(root.path(), cache.path(), gate).await;
    place(&flowers("iris", "2"), &root.path().join("iris"));
    is_on_trial(&gateway, "2").await;
    let gateway = again(gateway, root.path(), cache.path(), gate).await;
    is_on_trial(&gateway, "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promotion_and_going_back_do_not_wait_for_what_is_on_its_way() {
    let (root, cache) = folders();
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |args| {
        gate(args);
        args.version_policy = Some("latest:2".into());
        args.idle_unload = Some(1.0);
    })
    .await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    is_on_trial(&gateway, "2").await;
    begin_to_copy(&flowers("iris", "3"), &root.path().join("3"));
    gateway.becomes("iris", "3", "UNAVAILABLE", "missing").await;
    call(&gateway, "iris", "promote").await;
    eventually("the first is let go of", || async {
        assert_eq!(answer(&gateway, None).await, "versicolor-2");
        gateway.metric("modelgate_resident_generations").await == Some(1.0)
    })
    .await;
    call(&gateway, "iris", "rollback").await;
    for _ in 0..20 {
        assert_eq!(answer(&gateway, None).await, "versicolor-1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_let_go_of_answers_while_a_newer_one_cannot_be_had() {
    let (root, cache) = folders();
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |args| args.idle_unload = Some(1.0)).await;
    begin_to_copy(&flowers("iris", "2"), &root.path().join("2"));
    gateway.becomes("iris", "2", "UNAVAILABLE", "missing").await;
    for _ in 0..2 {
        eventually("it is let go of", || async { gateway.metric("modelgate_resident_generations").await == Some(0.0) })
            .await;
        assert_eq!(answer(&gateway, None).await, "versicolor-1");
    }
    place(&flowers("iris", "2"), &root.path().join("2"));
    eventually("the newer one answers", || async { answer(&gateway, None).await == "versicolor-2" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answered_on_demand_does_so_after_a_start() {
    let (root, cache) = folders();
    let serve = |args: &mut modelgate::config::ServeArgs| args.lazy_load = Some(true);
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), serve).await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    let gateway = again(gateway, root.path(), cache.path(), serve).await;
    gateway.becomes("iris", "1", "UNAVAILABLE", "not resident").await;
    let bad = flowers("iris", "2");
    bad.replace("golden.json", &fs::read(flowers("iris", "1").file("golden.json")).expect("examples"));
    place(&bad, &root.path().join("2"));
    gateway.becomes("iris", "2", "UNAVAILABLE", "not resident").await;
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
    // By hand, too: what is wanted is still of no use.
    for wish in ["unload", "load"] {
        call(&gateway, "iris", wish).await;
    }
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
}

/// Copied beside its place, and then moved there.
#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_was_moved_is_fetched_where_it_is() {
    let (root, cache) = folders();
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = on(root.path(), cache.path(), |_| {}).await;
    let bundle = flowers("iris", "2");
    begin_to_copy(&bundle, &root.path().join("2.new"));
    gateway.becomes("iris", "2", "UNAVAILABLE", "missing").await;
    fs::rename(root.path().join("2.new"), root.path().join("2")).expect("moved");
    for file in ["model.onnx", "preprocess.json", "predict.json", "golden.json"] {
        fs::copy(bundle.file(file), root.path().join("2").join(file)).expect("copied");
    }
    gateway.becomes("iris", "2", "READY", "").await;
}

/// Somebody goes back from the second version while the third is half copied.
#[tokio::test(flavor = "multi_thread")]
async fn going_back_lets_pass_what_is_on_its_way() {
    let (root, cache) = folders();
    for version in ["1", "2"] {
        place(&flowers("iris", version), &root.path().join(version));
    }
    fs::remove_dir_all(root.path().join("2")).expect("removed");
    let gateway = on(root.path(), cache.path(), |_| {}).await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    load.hears("2").await;
    let third = flowers("iris", "3");
    begin_to_copy(&third, &root.path().join("3"));
    gateway.becomes("iris", "3", "UNAVAILABLE", "missing").await;
    call(&gateway, "iris", "rollback").await;
    load.hears("1").await;
    place(&third, &root.path().join("3"));
    load.hears("3").await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_is_not_let_go_of_for_what_may_be_of_no_use() {
    let (root, cache) = folders();
    place(&flowers("iris", "1"), &root.path().join("1"));
    // Two stages on three threads: room for one generation.
    let gateway = on(root.path(), cache.path(), |args| args.max_instances = Some(14)).await;
    let load = Load::start(&gateway, "iris");
    load.hears("1").await;
    let bundle = flowers("iris", "2");
    bundle.replace("golden.json", &fs::read(flowers("iris", "1").file("golden.json")).expect("examples"));
    place(&bundle, &root.path().join("2"));
    gateway.becomes("iris", "2", "UNAVAILABLE", "golden").await;
    let evicted = gateway.metric("modelgate_evictions_total{reason=\"budget\"}").await;
    assert!(evicted.is_none_or(|count| count < 1.0), "{evicted:?}");
    load.hears("1").await;
    load.end().await;
}

/// Tools that make archives alike set all times, and a new file may get the number of one that has gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_the_time_and_length_of_the_one_before_is_read() {
    let (root, cache) = folders();
    let at = root.path().join("iris");
    let day = SystemTime::now() - Duration::from_hours(24);
    let put = |version: &str| {
        let bundle = flowers("iris", version);
        fs::create_dir_all(&at).expect("made");
        for file in ["model.onnx", "preprocess.json", "predict.json", "golden.json", "bundle.toml"] {
            // Into the files that are there.
            fs::write(at.join(file), fs::read(bundle.file(file)).expect("a file")).expect("written");
            let file = fs::File::options().write(true).open(at.join(file)).expect("a file");
            file.set_modified(day).expect("made older");
        }
    };
    put("1");
    let gateway = on(root.path(), cache.path(), |_| {}).await;
    let load = Load::start(&gateway, "iris");
    for version in ["2", "3", "4"] {
        put(version);
        load.hears(version).await;
    }
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_fetched_again_within_the_request() {
    let (root, cache) = folders();
    let bundle = flowers("iris", "1");
    place(&bundle, &root.path().join("iris"));
    let gateway = on(root.path(), cache.path(), |args| {
        args.lazy_load = Some(true);
        args.poll = Some(60.0);
    })
    .await;
    let model = cache.path().join("files").join(sha256(&fs::read(bundle.file("model.onnx")).expect("a model")));
    fs::write(&model, b"damaged").expect("written");
    assert_eq!(answer(&gateway, None).await, "versicolor-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_tell_all_leaves_what_it_had_at_a_start() {
    let (s3, cache) = (S3::start().await, TempDir::new().expect("a folder"));
    let bundle = flowers("iris", "1");
    let pushed = modelgate(&s3, &["push", bundle.path().to_str().expect("text"), "s3://models/live"]);
    assert!(pushed.status.success(), "{pushed:?}");
    let wire = Wire::to(&s3.address).await;
    let source = s3.source("live").replace(&s3.address, &wire.address);
    let start = async || Arc::new(Gateway::sourcing(std::slice::from_ref(&source), cache.path(), |_| {}).await);
    let gateway = start().await;
    gateway.ready().await;
    Arc::into_inner(gateway).expect("the only one").stopped().await;
    let hangs = Fault::StallAfter(0);
    for fault in [Fault::refusal(403, "AccessDenied").on("bundle.toml"), hangs] {
        wire.fail(fault);
        let gateway = start().await;
        gateway.becomes("iris", "1", "READY", "").await;
        assert_eq!(answer(&gateway, Some("iris")).await, "versicolor-1");
        Arc::into_inner(gateway).expect("the only one").stopped().await;
    }
    // Another place under the same name is another source.
    let away = source.replace("/live", "/elsewhere");
    assert_ne!(away, source);
    wire.fail(Fault::Closed);
    let gateway = Gateway::sourcing(&[away], cache.path(), |_| {}).await;
    eventually("it is known to be down", || async {
        gateway.get("/v2/repository/sources").await.json()["sources"][0]["state"] == "unreachable"
    })
    .await;
    assert_eq!(gateway.state("iris", "1").await, None);
}
