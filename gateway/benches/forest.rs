//! CPU time of a model through `Session::compute`, packing and unpacking included, at 1, 64 and 1,024 rows.
//!
//! `forest.py` runs it against ONNX Runtime. By itself: `FOREST_MODEL=m.onnx FOREST_ROWS=rows.f32 cargo bench --bench
//! forest`; the rows are raw little-endian floats, as wide as the model's one input.

#![expect(clippy::print_stdout, reason = "its output is the result")]

use std::sync::Arc;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result};
use modelgate::model::{Model, ModelLimits};
use serde_json::json;

/// Long against the grain of the clock, which is a scheduler tick.
const SECONDS: f64 = 0.5;

fn main() -> Result<()> {
    let Some(model) = env::var_os("FOREST_MODEL") else {
        println!("set FOREST_MODEL and FOREST_ROWS, or run benches/forest.py");
        return Ok(());
    };
    let bytes = fs::read(&model).context("FOREST_MODEL")?;
    let rows = fs::read(env::var_os("FOREST_ROWS").context("FOREST_ROWS is not set")?).context("FOREST_ROWS")?;

    let start = Instant::now();
    let model = Arc::new(Model::load(&bytes, &ModelLimits::default())?);
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    let row_bytes = model.signature().inputs[0].row_size().context("the input varies in size")? * size_of::<f32>();
    let mut session = model.session();
    let mut result = json!({ "load_ms": load_ms, "resident_mib": model.resident_bytes() as f64 / f64::from(1 << 20) });
    for size in [1, 64, 1024] {
        // Rows vary: each call has the next ones, so that neither caches nor branch predictors learn them.
        let batches: Vec<Vec<u64>> = rows.chunks_exact(row_bytes * size).map(words).collect();
        for batch in &batches {
            session.compute(size as u32, batch, None)?;
        }
        let (start, cpu_start) = (Instant::now(), cpu_seconds()?);
        let mut calls = 0;
        while start.elapsed().as_secs_f64() < SECONDS {
            for batch in &batches {
                session.compute(size as u32, batch, None)?;
            }
            calls += batches.len();
        }
        result[size.to_string()] = json!((cpu_seconds()? - cpu_start) * 1e6 / calls as f64);
    }
    println!("{result}");
    Ok(())
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    bytes.chunks(8).map(word).collect()
}

/// Time this thread has spent on a processor.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = stat.split(' ').next().context("an empty schedstat")?.parse()?;
    Ok(nanoseconds / 1e9)
}
