//! Modules that misbehave: the caller gets a clear error, the process lives, the next request is right, and other models
//! answer throughout.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::support::{BundleFolder, Gateway, demo_row, eventually, module, refusal};

const LIMITS: &str = "[limits]\nmemory = \"32MiB\"\ndeadline_ms = 400\nhost_call_bytes = \"64MiB\"";

fn act(name: &str, act: &str) -> String {
    json!({ "model": name, "act": act, "x": 1.5 }).to_string()
}

async fn misbehave_under(isolation: &str) {
    let unruly =
        BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, &format!("{LIMITS}\n[run]\nisolation = \"{isolation}\""));
    let gateway = Arc::new(Gateway::serving(&[unruly.path()], |args| args.demo = Some(true)).await);

    // The demo answers beside it all the time.
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU32::new(0));
    let mut row = demo_row();
    row["model"] = "modelo_covertype_vf".into();
    let neighbour = tokio::spawn({
        let (gateway, done, answered) = (Arc::clone(&gateway), Arc::clone(&done), Arc::clone(&answered));
        async move {
            while !done.load(Ordering::Relaxed) {
                let answer = gateway.predict(row.to_string()).await;
                assert_eq!(answer.json(), json!({ "prediction": 2 }));
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });

    for (name, status, words, cause) in [
        ("trap", 500, "unreachable", Some("unreachable")),
        ("panic", 500, "unreachable", Some("unreachable")),
        ("loop", 504, "400 ms", Some("deadline")),
        ("allocate", 500, "memory", Some("memory")),
        ("recurse", 500, "out_of_bounds", Some("out_of_bounds")),
        ("wrong-shape", 500, "bad_output", Some("bad_output")),
        ("too-few-bytes", 500, "bad_output", Some("bad_output")),
        ("huge-result", 500, "", None),
        ("sleepless", 504, "", None),
        ("host-call-flood", 500, "host_call_bytes", Some("host_call_bytes")),
        ("error", 500, "internal error", None),
        ("model-error", 500, "internal error", None),
        ("invalid", 422, "asked to refuse it", None),
    ] {
        let series = |cause: &str| format!("modelgate_traps_total{{cause=\"{cause}\",model=\"unruly\",version=\"1\"}}");
        let before = match cause {
            Some(cause) => gateway.metric(&series(cause)).await,
            None => None,
        };
        let answer = gateway.predict(act("unruly", name)).await;
        assert_eq!(answer.status, status, "{name} under {isolation}: {}", answer.text);
        assert!(answer.text.contains(words), "{name} under {isolation}: {}", answer.text);
        // Nothing of the inside: no addresses, no backtraces, no words of the module.
        assert!(!answer.text.contains("asked to fail") && !answer.text.contains("0x"), "{name}: {}", answer.text);
        if let Some(cause) = cause {
            let counted = before.map(|before| before + 1.0);
            // A deadline is answered before the worker has stopped the module.
            eventually(name, || async { gateway.metric(&series(cause)).await == counted }).await;
        }
        let good = gateway.predict(act("unruly", "")).await;
        assert_eq!(good.json(), json!({ "prediction": 1.5 }), "after {name} under {isolation}");
    }

    // These answer as they should, and what they write too much is dropped.
    let answer = gateway.predict(act("unruly", "log-huge")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = gateway.predict(act("unruly", "problem-flood")).await;
    assert!(answer.text.len() < 100_000, "{} bytes", answer.text.len());

    done.store(true, Ordering::Relaxed);
    neighbour.await.expect("the neighbour was always answered");
    assert!(answered.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_instances_survive_each_other() {
    misbehave_under("worker").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_instances_survive_each_other() {
    misbehave_under("request").await;
}

/// Memory that a module keeps between requests is bounded, and given back when it is refused more.
#[tokio::test(flavor = "multi_thread")]
async fn hoarded_memory_is_bounded() {
    let unruly = BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, LIMITS);
    let gateway = Gateway::serving(&[unruly.path()], |args| args.workers = std::num::NonZeroUsize::new(1)).await;
    let series = "modelgate_instance_memory_bytes{model=\"unruly\",version=\"1\"}";
    let mut refused = 0;
    for _ in 0..20 {
        let answer = gateway.predict(act("unruly", "hoard")).await;
        refused += u32::from(answer.status == 500);
        let held = gateway.metric(series).await.expect("a gauge");
        // One I/O thread and one worker have their own instances, each within the limit.
        assert!(held <= f64::from(2 * (32 << 20)), "{held} bytes");
    }
    assert!(refused >= 2, "{refused} of 20 were refused");
    assert_eq!(gateway.predict(act("unruly", "")).await.json(), json!({ "prediction": 1.5 }));
}

/// A fresh instance has nothing of the last request.
#[tokio::test(flavor = "multi_thread")]
async fn fresh_instances_hoard_nothing() {
    let unruly =
        BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, &format!("{LIMITS}\n[run]\nisolation = \"request\""));
    let gateway = Gateway::serving(&[unruly.path()], |_| {}).await;
    for _ in 0..12 {
        let answer = gateway.predict(act("unruly", "hoard")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn misbehaviour_in_init_is_told_at_the_start() {
    for (name, words) in [
        ("trap", "unreachable"),
        ("loop", "deadline"),
        ("allocate", "memory"),
        ("recurse", "out_of_bounds"),
        ("error", "asked to fail"),
        ("wrong-shape", "expected a shape"),
        ("too-few-bytes", "has no name"),
    ] {
        let config = json!({ "when": "init", "do": name }).to_string();
        let told = refusal(BundleFolder::unruly("unruly", &config, "").path()).await;
        assert!(told.contains(words) && told.contains("stage 'only'"), "{name}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_import_is_refused_by_name() {
    let told = refusal(BundleFolder::custom("foreign", &module("foreign"), "", "").path()).await;
    assert!(told.contains("now"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_config_is_refused_with_its_place() {
    let demo = BundleFolder::copy_of("demo");
    let config = std::fs::read(demo.file("preprocess.json")).expect("a config");
    let mut config: Value = serde_json::from_slice(&config).expect("JSON");
    config["blocks"][0]["columns"] = json!(["Nobody"]);
    demo.replace("preprocess.json", config.to_string().as_bytes());
    let told = refusal(demo.path()).await;
    assert!(told.contains("Nobody"), "{told}");
}
