//! The state of the lifecycle as an operator reads it.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    flowers::{flowers, place},
    support::{BundleFolder, Gateway, Process, client, eventually},
};

const STATE: &str = "/v2/repository/state";

/// A version of the first model.
fn version<'s>(state: &'s Value, number: &str) -> &'s Value {
    let versions = state["models"][0]["versions"].as_array().expect("a list");
    versions.iter().find(|version| version["version"] == number).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_read_the_state_and_nobody_else() {
    let gateway = Gateway::demo(|_| {}).await;
    let refused = gateway.client.get(gateway.url(STATE)).send().await.expect("an answer");
    assert_eq!(refused.status(), 403);
    let read = async || {
        let answer = gateway.operator.get(gateway.url(STATE)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.expect("JSON")
    };
    let state = read().await;
    let now = state["now"].as_u64().expect("a time");
    assert_eq!((&state["is_reconciled"], &state["sources"]), (&true.into(), &json!([])));
    assert_eq!(state["memory"]["budget_bytes"], Value::Null);
    assert!(state["memory"]["resident"]["bytes"].as_u64() > Some(100_000), "{state}");
    let model = &state["models"][0];
    assert_eq!((&model["name"], &model["desired"]), (&"modelo_covertype_vf".into(), &"loaded".into()));
    assert_eq!((&model["serving"], &model["last_known_good"]), (&json!(["1"]), &"1".into()));
    let live = version(&state, "1");
    assert_eq!((&live["state"], &live["health"]), (&"ready".into(), &"known_good".into()), "{live}");
    assert!(live["since"].as_u64().is_some_and(|since| since <= now && since + 600 > now), "{live}");
    assert!(live["generation"].as_u64().is_some() && live["source"].is_null(), "{live}");

    let unloaded = gateway.post("/v2/repository/models/modelo_covertype_vf/unload", Vec::new(), &[]).await;
    assert_eq!(unloaded.status, 200);
    let state = read().await;
    let model = &state["models"][0];
    assert_eq!((&model["desired"], &model["serving"]), (&"unloaded".into(), &json!([])));
    let gone = version(&state, "1");
    assert_eq!((&gone["state"], gone.get("generation")), (&"unloaded".into(), None), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_refusals_and_sources_are_in_the_state() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &root.path().join("1"));
    let gateway = Gateway::sourcing(&[format!("here={}", root.path().display())], cache.path(), |args| {
        args.canary = Some(0.25);
        args.memory_budget = Some("4GiB".into());
        args.lazy_load = Some(false);
    })
    .await;
    gateway.ready().await;
    let state = async || {
        let answer = gateway.operator.get(gateway.url(STATE)).send().await.expect("an answer");
        answer.json::<Value>().await.expect("JSON")
    };
    place(&flowers("iris", "2"), &root.path().join("2"));
    eventually("a rollout", || async { state().await["models"][0]["rollout"]["requests"].is_object() }).await;
    let told = state().await;
    let rollout = &told["models"][0]["rollout"];
    assert_eq!((&rollout["canary"], &rollout["baseline"]), (&"2".into(), &"1".into()), "{rollout}");
    assert_eq!((&rollout["canary_share"], &rollout["requests"]["canary"]), (&0.25.into(), &0.into()), "{rollout}");
    assert_eq!((&version(&told, "2")["health"], &version(&told, "2")["source"]), (&"unproven".into(), &"here".into()));
    assert_eq!((&told["sources"][0]["name"], &told["sources"][0]["state"]), (&"here".into(), &"ok".into()));
    assert_eq!(told["memory"]["budget_bytes"], 4_u64 << 30);

    let bad = flowers("iris", "3");
    let golden = std::fs::read_to_string(bad.file("golden.json")).expect("golden examples");
    bad.replace("golden.json", golden.replace("versicolor-3", "setosa-3").as_bytes());
    place(&bad, &root.path().join("3"));
    eventually("a refusal", || async { version(&state().await, "3")["state"] == "failed" }).await;
    let told = state().await;
    let refused = version(&told, "3");
    assert_eq!((&refused["health"], &refused["failures"]), (&"rejected".into(), &1.into()), "{refused}");
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("golden")), "{refused}");
    assert_eq!(refused.get("retry"), None, "only an operator can have it tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_the_state() {
    let unruly = BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, "");
    let process = Process::serve(&["--bundle", &unruly.path().display().to_string()]);
    let run =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_modelgate")).args(args).output().expect("the binary runs");
    let socket = process.socket().display().to_string();
    let output = run(&["state", "--socket", &socket]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let state: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(state["models"][0]["name"], "unruly");
    assert!(String::from_utf8_lossy(&output.stdout).lines().count() > 20, "for a person, too");
    // Without the socket or a token there is no way.
    let output = run(&["state", "--bundle-cache", "/nonexistent", "--listen", &process.address]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--socket"), "{output:?}");
    let public = client().get(format!("http://{}{STATE}", process.address)).send().await.expect("an answer");
    assert_eq!(public.status(), 403);
}
