//! The time that the sandbox adds to one request, in one process and one thread: the demo's two stages as wasm modules
//! under both isolations, against the same chain hard-coded in Rust. Rows vary. Prints JSON.

#![expect(clippy::print_stdout, reason = "its output is the result")]

mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use modelgate::{
    generation::{Generation, Runner},
    json::decode::{self, Keys},
    metrics::Metrics,
    tensor::Batch,
    wasm::module::Isolation,
};
use serde_json::{Value, json};

const ROUNDS: usize = 15;
const CALLS: usize = 4_000;

fn main() -> Result<()> {
    let metrics = Metrics::new()?;
    let chains = [
        ("native", support::native_demo(&metrics)?),
        ("worker", support::demo(Isolation::Worker, &metrics)?),
        ("request", support::demo(Isolation::Request, &metrics)?),
    ];
    let batches = rows(&chains[0].1)?;
    let mut runners: Vec<_> = chains.iter().map(|(_, generation)| generation.new_runner()).collect();
    let mut times = vec![Vec::new(); chains.len()];
    // By turns, so that a slow moment of the machine falls on all of them.
    for round in 0..=ROUNDS {
        for (index, ((_, generation), runner)) in chains.iter().zip(&mut runners).enumerate() {
            let time = measure(generation, runner, &batches)?;
            if round > 0 {
                times[index].push(time);
            }
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    println!(
        "{}",
        json!({
            "native_us": medians[0],
            "worker_us": medians[1],
            "request_us": medians[2],
            "worker_adds_us": medians[1] - medians[0],
            "request_adds_us": medians[2] - medians[0],
        })
    );
    Ok(())
}

/// The thousand rows that the tests compare, one batch each.
fn rows(generation: &Generation) -> Result<Vec<Batch>> {
    let data: Value = serde_json::from_slice(&fs::read("tests/data/covertype_1000.json")?)?;
    let names = data["columns"].as_array().context("columns")?;
    let rows = data["rows"].as_array().context("rows")?;
    rows.iter()
        .map(|row| {
            let values = row.as_array().context("a row")?;
            let names = names.iter().filter_map(|name| Some(name.as_str()?.to_owned()));
            let row: serde_json::Map<_, _> = names.zip(values.iter().cloned()).collect();
            let body = Value::from(row).to_string();
            let decoded = decode::rows(
                body.as_bytes(),
                generation.inputs(),
                Keys::Named(&generation.name),
                generation.policy(false),
            );
            Ok(decoded.map_err(|error| anyhow::anyhow!("{error:?}"))?.batch)
        })
        .collect()
}

/// Microseconds per call.
fn measure(generation: &Generation, runner: &mut Runner, batches: &[Batch]) -> Result<f64> {
    let deadline = Instant::now() + Duration::from_mins(1);
    let start = Instant::now();
    for batch in batches.iter().cycle().take(CALLS) {
        generation.run(runner, batch.clone(), deadline).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / CALLS as f64)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
