//! Many models known, few resident: activation on the first request, eviction, idle unload.

use std::{
    process::{Command, Stdio},
    sync::Arc,
};

use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    flowers::{flowers, other_model, place, row},
    real::Served,
    support::{Gateway, client, eventually, grpc},
};

/// Names a model in the row.
fn row_for(model: &str) -> String {
    let mut row = row();
    row["model"] = model.into();
    row.to_string()
}

async fn known(
    models: usize,
    change: impl FnOnce(&mut modelgate::config::ServeArgs),
) -> (TempDir, TempDir, Arc<Gateway>) {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    for number in 0..models {
        place(&flowers(&format!("m{number}"), "1"), &root.path().join(format!("m{number}")));
    }
    let gateway = Gateway::sourcing(&[root.path().display().to_string()], cache.path(), |args| {
        args.lazy_load = Some(true);
        change(args);
    })
    .await;
    gateway.ready().await;
    (root, cache, Arc::new(gateway))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_loads_a_model_once() {
    let (_root, _cache, gateway) = known(3, |_| {}).await;
    gateway.becomes("m1", "1", "UNAVAILABLE", "not resident").await;
    assert_eq!(gateway.metric("modelgate_known_versions").await, Some(3.0));
    let listed = gateway.get("/listar_modelos").await.json();
    assert_eq!(listed, json!({ "modelos_disponibles": ["m0", "m1", "m2"] }));
    assert_eq!(gateway.get("/v1/models").await.json()["models"], json!(["m0", "m1", "m2"]));
    assert_eq!(gateway.metric("modelgate_resident_generations").await, Some(0.0));
    // The document has them too, as far as they are known; it makes none resident.
    let cards = async || {
        let cards = gateway.get("/openapi.json").await.json()["x-modelgate-models"].clone();
        let told = cards.as_array().expect("a list").iter();
        told.map(|card| (card["name"].clone(), card["resident"].clone(), card["inputs"].as_array().map(Vec::len)))
            .collect::<Vec<_>>()
    };
    let unseen = |name: &str| (name.into(), false.into(), Some(0));
    assert_eq!(cards().await, [unseen("m0"), unseen("m1"), unseen("m2")]);
    // Many at once: one load, and all get its answer.
    let answers = join_all((0..32).map(|_| gateway.predict(row_for("m1")))).await;
    for answer in answers {
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "prediction": "versicolor-1" })));
    }
    // The default model was not loaded for a body that names another one.
    assert_eq!(gateway.metric("modelgate_activations_total{outcome=\"success\"}").await, Some(1.0));
    assert_eq!(gateway.metric("modelgate_resident_generations").await, Some(1.0));
    gateway.becomes("m1", "1", "READY", "").await;
    let seen = |name: &str| (name.into(), true.into(), Some(4));
    assert_eq!(cards().await, [unseen("m0"), seen("m1"), unseen("m2")]);
    // The default model, which nobody named, too.
    assert_eq!(gateway.predict(row().to_string()).await.status, 200);
    assert_eq!(gateway.predict(row_for("nobody")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_asks_loads_nothing() {
    let (root, _cache, gateway) = known(2, |_| {}).await;
    for path in ["/v2/models/m0/ready", "/v2/models/m0/versions/1/ready", "/v1/models/m0"] {
        let answer = gateway.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()["ready"].clone()), (200, json!(true)), "{path}");
        assert_eq!(gateway.get(&path.replace("m0", "nobody")).await.status, 404);
    }
    let statistics = gateway.get("/v2/models/m0/stats").await.json()["model_stats"].clone();
    assert_eq!((&statistics[0]["name"], &statistics[0]["inference_count"]), (&json!("m0"), &json!(0)));
    let ready = |model: &str| grpc(&gateway.address, "ModelReady", &[b"\x0a\x02", model.as_bytes()].concat(), &[]);
    let (yes, no) = (("0".to_owned(), vec![8, 1]), ("0".to_owned(), vec![]));
    assert_eq!(ready("m0"), yes);
    assert_eq!(gateway.metric("modelgate_resident_generations").await, Some(0.0));

    // Unloaded by hand, or of no use: that is an answer, too.
    assert_eq!(gateway.post("/v2/repository/models/m0/unload", Vec::new(), &[]).await.status, 200);
    let bad = flowers("m2", "1");
    bad.replace("model.onnx", b"not a graph");
    place(&bad, &root.path().join("m2"));
    eventually("it is known", || async { gateway.state("m2", "1").await.is_some() }).await;
    assert_eq!(gateway.predict(row_for("m2")).await.status, 503);
    for model in ["m0", "m2"] {
        assert_eq!(gateway.get(&format!("/v2/models/{model}/ready")).await.status, 503, "{model}");
        assert_eq!(ready(model), no, "{model}");
    }
    assert_eq!(ready("m9"), no);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_asks_keeps_nothing_resident() {
    let (_root, _cache, gateway) = known(1, |args| args.idle_unload = Some(0.3)).await;
    assert_eq!(gateway.predict(row_for("m0")).await.status, 200);
    let described = gateway.get("/v2/models/m0").await;
    eventually("it is let go", || async {
        for path in ["", "/ready", "/stats"] {
            assert_eq!(gateway.get(&format!("/v2/models/m0{path}")).await.status, 200, "{path}");
        }
        gateway.metric("modelgate_resident_generations").await == Some(0.0)
    })
    .await;
    // What it takes and gives is known without it.
    assert_eq!(gateway.get("/v2/models/m0").await.json(), described.json());
    assert_eq!(gateway.metric("modelgate_resident_generations").await, Some(0.0));
    assert_eq!(gateway.metric("modelgate_activations_total{outcome=\"success\"}").await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_longest_unused_goes_where_the_pool_is_full() {
    // Two stages on three threads each, and eight kept free: four models fill a pool of 32.
    let (_root, _cache, gateway) = known(8, |args| args.max_instances = Some(32)).await;
    for round in 0..3 {
        for number in 0..8 {
            let answer = gateway.predict(row_for(&format!("m{number}"))).await;
            assert_eq!(answer.json(), json!({ "prediction": "versicolor-1" }), "round {round}");
        }
    }
    let resident = gateway.metric("modelgate_resident_generations").await.expect("a gauge");
    assert!((1.0..=4.0).contains(&resident), "{resident}");
    assert!(gateway.metric("modelgate_evictions_total{reason=\"budget\"}").await >= Some(16.0));
    gateway.becomes("m7", "1", "READY", "").await;
    gateway.becomes("m0", "1", "UNAVAILABLE", "not resident").await;
    eventually("evicted ones are released", || async {
        gateway.metric("modelgate_draining_generations").await == Some(0.0)
    })
    .await;
}

/// A process of its own: what it takes is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_stays_within_its_memory_budget() {
    const MODELS: usize = 30;
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    for number in 0..MODELS {
        let bundle = flowers(&format!("m{number}"), "1");
        other_model(&bundle, &format!("model {number}"));
        place(&bundle, &root.path().join(format!("m{number}")));
    }
    let client = client();
    let serve = async |budget: Option<usize>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
        command
            .args(["serve", "--source", root.path().to_str().expect("text"), "--lazy-load", "--listen", "127.0.0.1:0"])
            .args(["--workers", "2", "--io-threads", "2", "--access-log", "0"])
            .args(["--code-cache", concat!(env!("CARGO_TARGET_TMPDIR"), "/code")])
            .arg("--bundle-cache")
            .arg(cache.path())
            .stderr(Stdio::null());
        if let Some(bytes) = budget {
            command.args(["--memory-budget", &bytes.to_string()]);
        }
        let served = Served::start(&mut command);
        eventually("all are known", || async {
            let ready = client.get(format!("http://{}/v2/health/ready", served.address)).send().await;
            ready.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        let known = served.memory("VmRSS");
        for round in 0..3 {
            for number in 0..MODELS {
                let url = format!("http://{}/predict", served.address);
                let row = row_for(&format!("m{number}"));
                let answer = client.post(url).header("content-type", "application/json").body(row).send().await;
                assert_eq!(answer.expect("an answer").status(), 200, "round {round}, model {number}");
            }
        }
        let metrics = client.get(format!("http://{}/metrics", served.address)).send().await.expect("an answer");
        let metrics = metrics.text().await.expect("text");
        let value = |series: &str| -> f64 {
            metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or_default()
        };
        let (evicted, resident) =
            (value("modelgate_evictions_total{reason=\"budget\"}"), value("modelgate_resident_generations"));
        (known, served, evicted, resident)
    };
    let (known, served, evicted, resident) = serve(None).await;
    let full = served.memory("VmHWM");
    assert_eq!((evicted, resident), (0.0, MODELS as f64));
    let budget = usize::midpoint(known, full);
    let (_, served, evicted, resident) = serve(Some(budget)).await;
    assert!(evicted > 0.0 && resident >= 1.0, "{evicted} {resident}");
    // What a burst of loads takes too much is seen within a tenth of a second and given back.
    let what = format!("at most {budget} bytes and a tenth; without a budget {known} to {full}");
    eventually(&what, || async { served.memory("VmRSS") <= budget + budget / 10 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_nobody_asks_for_is_let_go() {
    let (_root, _cache, gateway) = known(1, |args| args.idle_unload = Some(0.3)).await;
    assert_eq!(gateway.predict(row_for("m0")).await.status, 200);
    eventually("it is let go", || async {
        gateway.metric("modelgate_evictions_total{reason=\"idle\"}").await == Some(1.0)
    })
    .await;
    assert_eq!(gateway.metric("modelgate_resident_generations").await, Some(0.0));
    // What it told of itself is remembered.
    let card = gateway.get("/openapi.json").await.json()["x-modelgate-models"][0].clone();
    assert_eq!((&card["resident"], &card["inputs"][0]), (&json!(false), &json!("sepal_length")), "{card}");
    assert_eq!(gateway.predict(row_for("m0")).await.status, 200);
    assert_eq!(gateway.metric("modelgate_activations_total{outcome=\"success\"}").await, Some(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_loaded_says_so_to_requests_and_keeps_its_last_good_release() {
    let (root, _cache, gateway) = known(1, |args| args.idle_unload = Some(0.3)).await;
    assert_eq!(gateway.predict(row_for("m0")).await.status, 200);
    eventually("it is let go", || async { gateway.metric("modelgate_resident_generations").await == Some(0.0) }).await;
    let bad = flowers("m0", "2");
    bad.replace("model.onnx", b"not a graph");
    place(&bad, &root.path().join("m0"));
    eventually("it is known", || async { gateway.state("m0", "2").await.is_some() }).await;
    // The request tries the new release, and gets the answer of the last good one.
    let answer = gateway.predict(row_for("m0")).await;
    assert_eq!(answer.json(), json!({ "prediction": "versicolor-1" }), "{}", answer.text);
    gateway.becomes("m0", "2", "UNAVAILABLE", "model:").await;
    // It stays, and is not loaded anew for each request.
    assert_eq!(gateway.state("m0", "1").await.expect("known").0, "READY");
    let again = gateway.predict(row_for("m0")).await;
    assert_eq!(again.header("x-modelgate-generation"), answer.header("x-modelgate-generation"));

    let alone = flowers("alone", "1");
    alone.replace("model.onnx", b"not a graph");
    place(&alone, &root.path().join("alone"));
    eventually("it is known", || async { gateway.state("alone", "1").await.is_some() }).await;
    let answer = gateway.predict(row_for("alone")).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.detail().as_str().is_some_and(|words| words.contains("/v2/repository/index")), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_taken_away_goes_on_serving_until_it_is_unloaded() {
    let (root, _cache, gateway) = known(2, |args| args.idle_unload = Some(0.3)).await;
    assert_eq!(gateway.predict(row_for("m0")).await.status, 200);
    std::fs::remove_dir_all(root.path().join("m0")).expect("removed");
    std::fs::remove_dir_all(root.path().join("m1")).expect("removed");
    // Nobody has ever asked for this one.
    eventually("the other one is gone", || async { gateway.state("m1", "1").await.is_none() }).await;
    assert_eq!(gateway.predict(row_for("m1")).await.status, 404);
    for _ in 0..2 {
        eventually("it is let go", || async { gateway.metric("modelgate_resident_generations").await == Some(0.0) })
            .await;
        assert_eq!(gateway.state("m0", "1").await.expect("known").0, "UNAVAILABLE");
        let answer = gateway.predict(row_for("m0")).await;
        assert_eq!(answer.json(), json!({ "prediction": "versicolor-1" }), "{}", answer.text);
        assert_eq!(gateway.state("m0", "1").await.expect("known").0, "READY");
    }
    assert_eq!(gateway.post("/v2/repository/models/m0/unload", Vec::new(), &[]).await.status, 200);
    assert_eq!(gateway.predict(row_for("m0")).await.status, 404);
}
