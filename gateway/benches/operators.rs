//! CPU time of a model through `Session::compute`, packing and unpacking included, and what loading it takes.
//!
//! `operators.py` runs it against ONNX Runtime. By itself: `OPERATORS_MODEL=m.onnx OPERATORS_ROWS=rows.json
//! OPERATORS_SIZES=1,64 cargo bench --bench operators`; the rows are a list of `{"name", "width", "values"}`.

#![expect(clippy::print_stdout, reason = "its output is the result")]

use std::sync::Arc;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use modelgate::allocator;
use modelgate_columns::{Column, Datatype, Writer};
use modelgate_onnx::{Model, ModelLimits};
use serde::Deserialize;
use serde_json::{Value, json};

/// Long against the grain of the clock, which is a scheduler tick.
const SECONDS: f64 = 0.5;

#[derive(Deserialize)]
struct Input {
    name: String,
    /// Values in each row.
    width: usize,
    values: Vec<Value>,
}

fn main() -> Result<()> {
    allocator::set_up();
    let (Some(model), Some(rows)) = (env::var_os("OPERATORS_MODEL"), env::var_os("OPERATORS_ROWS")) else {
        println!("set OPERATORS_MODEL and OPERATORS_ROWS, or run benches/operators.py");
        return Ok(());
    };
    let sizes = env::var_os("OPERATORS_SIZES").unwrap_or_else(|| "1".into());
    let sizes = sizes.to_str().context("OPERATORS_SIZES")?.split(',').map(str::parse);
    let sizes: Vec<usize> = sizes.collect::<Result<_, _>>().context("OPERATORS_SIZES")?;

    // Loaded first, on a fresh heap: what it leaves resident is the model's.
    let before = resident_bytes()?;
    let bytes = fs::read(&model).context("OPERATORS_MODEL")?;
    let start = Instant::now();
    let model = Arc::new(Model::load(&bytes, &ModelLimits::default())?);
    let load_ms = start.elapsed().as_secs_f64() * 1e3;
    drop(bytes);
    let held = model.resident_bytes();
    let peak = peak_bytes()?.saturating_sub(before);
    allocator::give_back();
    let grown = resident_bytes()?.saturating_sub(before);

    let inputs: Vec<Input> = serde_json::from_slice(&fs::read(rows).context("OPERATORS_ROWS")?)?;
    let rows = inputs.first().map_or(0, |input| input.values.len() / input.width);
    let mut session = model.session();
    let mut result =
        json!({ "load_ms": load_ms, "held_mib": mib(held), "grown_mib": mib(grown), "peak_mib": mib(peak) });
    for size in sizes {
        // Rows vary: each call has the next ones, so that neither caches nor branch predictors learn them.
        let starts = (0..(rows / size).max(1)).map(|batch| batch * size);
        let batches = starts.map(|start| pack(&model.signature().inputs, &inputs, start, size));
        let batches: Vec<Vec<u64>> = batches.collect::<Result<_>>()?;
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

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn pack(columns: &[Column], inputs: &[Input], start: usize, rows: usize) -> Result<Vec<u64>> {
    let mut writer = Writer::default();
    for column in columns {
        let input = inputs.iter().find(|input| input.name == column.name).context("an input is missing")?;
        let values = &input.values[start * input.width..(start + rows) * input.width];
        let numbers = || values.iter().map(|value| value.as_f64().unwrap_or(f64::NAN));
        match column.datatype {
            Datatype::F32 => writer.fixed(&numbers().map(|value| value as f32).collect::<Vec<_>>()),
            Datatype::F64 => writer.fixed(&numbers().collect::<Vec<_>>()),
            Datatype::I64 => writer.fixed(&numbers().map(|value| value as i64).collect::<Vec<_>>()),
            Datatype::Bytes => writer.strings(values.iter().map(|value| value.as_str().unwrap_or("").as_bytes()))?,
            other => bail!("no benchmark has {other} inputs"),
        }
    }
    Ok(writer.finish())
}

/// Time this thread has spent on a processor.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = stat.split(' ').next().context("an empty schedstat")?.parse()?;
    Ok(nanoseconds / 1e9)
}

/// The most that was ever resident.
fn peak_bytes() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse::<usize>()? << 10)
}

fn resident_bytes() -> Result<usize> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).context("an empty statm")?.parse()?;
    Ok(pages * 4096)
}
