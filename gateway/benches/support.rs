//! The demo's chain hard-coded in Rust: what the sandbox is measured against.

#![allow(unreachable_pub, reason = "each benchmark is a crate of its own and uses some of it")]

use std::{collections::HashMap, fs, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use modelgate::{
    artifact_cache::ArtifactCache,
    bundle::Bundle,
    generation::{Generation, NativeChain},
    metrics::Metrics,
    tensor::Batch,
    verified,
    wasm::{
        cache::CodeCache,
        engine::{PoolSize, WasmEngine},
        instance::{ChainError, TrapCause},
        module::{Compiler, Isolation},
    },
};
use modelgate_columns::{Column, Reader, Values, Writer};
use modelgate_onnx::{ComputeError, Session};
use serde_json::Value;

/// Columns of the demo's matrix.
const WIDTH: usize = 54;

/// The demo's preprocessing with its fitted constants.
#[derive(Debug)]
pub struct Preprocess {
    areas: HashMap<Vec<u8>, usize>,
    soils: HashMap<Vec<u8>, usize>,
    /// Scale and offset of the seven columns that are scaled to 0..1, in the matrix's order.
    min_max: Vec<(f64, f64)>,
    /// Mean and scale of elevation, aspect and slope.
    standard: Vec<(f64, f64)>,
}

/// One row as `/predict` names it: ten numbers in the bundle's order, then the two categories.
#[derive(Debug)]
pub struct Row<'a> {
    pub numbers: [f64; 10],
    pub area: &'a [u8],
    pub soil: &'a [u8],
}

impl Preprocess {
    pub fn read() -> Result<Self> {
        let config: Value = serde_json::from_slice(&fs::read("demo/preprocess.json")?)?;
        let step = |block: usize, name: &str| -> Result<Value> {
            let steps = config["blocks"][block]["steps"].as_array().context("steps")?;
            steps.iter().find(|step| step["op"] == name).cloned().with_context(|| format!("no {name} in block {block}"))
        };
        let pairs = |step: &Value, first: &str, second: &str| -> Result<Vec<(f64, f64)>> {
            let list = |name: &str| step[name].as_array().with_context(|| name.to_owned());
            let pair = |(a, b): (&Value, &Value)| Some((a.as_f64()?, b.as_f64()?));
            list(first)?.iter().zip(list(second)?).map(|both| pair(both).context("numbers")).collect()
        };
        let one_hot = step(0, "one_hot")?;
        let indices = |column: usize| -> Result<HashMap<Vec<u8>, usize>> {
            let names = one_hot["categories"][column].as_array().context("categories")?;
            Ok(names.iter().enumerate().filter_map(|(index, name)| Some((name.as_str()?.into(), index))).collect())
        };
        Ok(Self {
            areas: indices(0)?,
            soils: indices(1)?,
            min_max: pairs(&step(1, "min_max")?, "scale", "min")?,
            standard: pairs(&step(2, "standard")?, "mean", "scale")?,
        })
    }

    /// Fills one row of the matrix, which must be zeros.
    pub fn fill(&self, row: &Row<'_>, out: &mut [f32]) {
        if let Some(&index) = self.areas.get(row.area) {
            out[index] = 1.0;
        }
        if let Some(&index) = self.soils.get(row.soil) {
            out[4 + index] = 1.0;
        }
        // Hydrology, roadways, fire points, then the three shades: the fitted order.
        for (index, number) in [3, 4, 5, 9, 6, 7, 8].into_iter().enumerate() {
            let (scale, min) = self.min_max[index];
            out[44 + index] = (row.numbers[number].trunc() * scale + min) as f32;
        }
        for (index, &(mean, scale)) in self.standard.iter().enumerate() {
            out[51 + index] = ((row.numbers[index].trunc() - mean) / scale) as f32;
        }
    }

    /// From the demo's packed inputs to the model's.
    fn matrix(&self, columns: &[Column], batch: &Batch) -> Result<Vec<u64>, ChainError> {
        let failed = |error| ChainError::Failed(format!("{error:?}"));
        let mut reader = Reader::new(batch.rows, &batch.words);
        let mut numbers: [&[f64]; 10] = [&[]; 10];
        for (column, values) in columns.iter().zip(&mut numbers) {
            if let Values::F64(read) = reader.next(column).map_err(failed)?.values {
                *values = read;
            }
        }
        let mut categories = [None, None];
        for (column, values) in columns[10..].iter().zip(&mut categories) {
            if let Values::Bytes(read) = reader.next(column).map_err(failed)?.values {
                *values = Some(read);
            }
        }
        let [Some(areas), Some(soils)] = categories else { return Err(ChainError::Failed("columns".into())) };
        let rows = batch.rows as usize;
        let mut writer = Writer::with_capacity(rows * WIDTH / 2);
        for (index, out) in writer.fixed_with::<f32>(rows * WIDTH).chunks_exact_mut(WIDTH).enumerate() {
            let row = Row {
                numbers: numbers.map(|values| values[index]),
                area: areas.get(index).unwrap_or_default(),
                soil: soils.get(index).unwrap_or_default(),
            };
            self.fill(&row, out);
        }
        Ok(writer.finish())
    }

    /// The whole chain; the model's outputs already are the demo's.
    pub fn chain(self, columns: Vec<Column>) -> NativeChain {
        Arc::new(move |session: Option<&mut Session>, batch: Batch, deadline: Instant| {
            let matrix = self.matrix(&columns, &batch)?;
            let session = session.ok_or_else(|| ChainError::Failed("no model".into()))?;
            session.compute(batch.rows, &matrix, Some(deadline)).map_err(|error| match error {
                ComputeError::Deadline => ChainError::Trap { cause: TrapCause::Deadline, detail: String::new() },
                other => ChainError::Failed(format!("{other:?}")),
            })
        })
    }
}

/// The demo, loaded under this isolation.
pub fn demo(isolation: Isolation, metrics: &Metrics) -> Result<Generation> {
    let engine = WasmEngine::new(PoolSize { instances: 64, ..PoolSize::default() })
        .map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let compiler = Compiler::new(engine, CodeCache::off());
    let read = || Ok(Bundle { isolation, ..Bundle::demo()? });
    Ok(verified::load(&read, &ArtifactCache::new(compiler), metrics, None)?.generation)
}

/// The demo with its chain hard-coded.
pub fn native_demo(metrics: &Metrics) -> Result<Generation> {
    let demo = demo(Isolation::Worker, metrics)?;
    let columns = demo.signature.inputs.clone();
    Ok(demo.with_native_chain(Preprocess::read()?.chain(columns)))
}
