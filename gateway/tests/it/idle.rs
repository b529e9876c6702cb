//! A gateway that has nothing to do sleeps, and guests are stopped in time all the same.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    flowers::{flowers, place},
    support::{BundleFolder, PATIENCE, Process, demo_row},
};

/// Over which wake-ups are counted.
const WINDOW: Duration = Duration::from_secs(3);

/// Wake-ups in that time. An idle gateway needs no more than two a second; the rest is for what the machine adds.
const MOST: u64 = 15;

/// The number of times that the threads of a process have gone to sleep so far.
fn sleeps(process: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("threads");
    // A thread may end meanwhile.
    let statuses = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let of = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).map(str::trim);
        line.and_then(|count| count.parse::<u64>().ok()).expect("a count")
    };
    statuses.map(of).sum()
}

/// Waits for a stretch of time without more than the wake-ups of an idle gateway.
async fn falls_asleep(process: &Process) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = sleeps(process.id());
        tokio::time::sleep(WINDOW).await;
        let woken = sleeps(process.id()).saturating_sub(before);
        if woken <= MOST {
            return;
        }
        assert!(Instant::now() < deadline, "it woke {woken} times within {WINDOW:?}: {}", process.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_model_sleeps_before_and_after_requests() {
    let process = Process::serve(&["--demo"]);
    falls_asleep(&process).await;
    for _ in 0..3 {
        assert_eq!(process.post("/predict", demo_row().to_string(), &[]).await.status, 200);
    }
    falls_asleep(&process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_canary_and_a_memory_budget_sleeps() {
    let (root, cache) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    place(&flowers("iris", "1"), &root.path().join("1"));
    let (source, cache) = (root.path().display().to_string(), cache.path().display().to_string());
    let args = ["--source", &source, "--bundle-cache", &cache, "--canary", "0.1", "--memory-budget", "4GiB"];
    let process = Process::serve(&[&args[..], &["--lazy-load=false"]].concat());
    let is = async |version: &str, state: &str, words: &str| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let index = process.post("/v2/repository/index", String::new(), &[]).await.json();
            let mut entries = index.as_array().into_iter().flatten();
            let is = |entry: &Value| entry["version"] == version && entry["state"] == state && entry["reason"] == words;
            if entries.any(is) {
                return;
            }
            assert!(Instant::now() < deadline, "{version} is not {state} {words:?}: {index}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    is("1", "READY", "").await;
    place(&flowers("iris", "2"), &root.path().join("2"));
    is("2", "LOADING", "on trial").await;
    falls_asleep(&process).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_loops_is_stopped_after_a_long_sleep() {
    let limits = "[limits]\nmemory = \"32MiB\"\ndeadline_ms = 400";
    let unruly = BundleFolder::unruly("unruly", r#"{"do":"by-row"}"#, limits);
    let process = Process::serve(&["--bundle", &unruly.path().display().to_string(), "--workers", "1"]);
    let act = |act: &str| json!({ "model": "unruly", "act": act, "x": 1.5 }).to_string();
    for _ in 0..2 {
        falls_asleep(&process).await;
        assert_eq!(process.post("/predict", act("loop"), &[]).await.status, 504);
        // The only worker is free again.
        assert_eq!(process.post("/predict", act(""), &[]).await.json(), json!({ "prediction": 1.5 }));
    }
}
