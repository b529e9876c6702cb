//! A graph with open sizes beside plain tract with the sizes written in: `open_sizes FILE SIZES [FILE SIZES …]`, with sizes
//! such as `1x3x48x320`.
//!
//! Prints for each file the processor time of one run in both, and their ratio: the median over rounds in which the two
//! take turns. Give it a release build and a machine that does nothing else.

#![expect(clippy::print_stdout, reason = "its output is the result")]
#![allow(clippy::wildcard_imports, reason = "tract's methods come from many traits")]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use modelgate_columns::Writer;
use modelgate_onnx::{Mode, Model, ModelLimits, Session};
use tract_onnx::tract_hir::internal::*;

/// Rounds of a comparison; in each, both run for about as long as [`ROUND`].
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(150);

/// Time that a session runs before it is measured; its plan for the sizes is built meanwhile.
const WARM_UP: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ensure!(!arguments.is_empty() && arguments.len().is_multiple_of(2), "usage: open_sizes FILE SIZES [FILE SIZES …]");
    for pair in arguments.chunks_exact(2) {
        let sizes = pair[1].split('x').map(str::parse).collect::<Result<Vec<usize>, _>>().context("sizes")?;
        println!("{}", compare(&pair[0], &sizes).with_context(|| pair[0].clone())?);
    }
    Ok(())
}

fn compare(file: &str, sizes: &[usize]) -> Result<String> {
    let values: Vec<f32> =
        (0..sizes.iter().product::<usize>()).map(|index| (index * 37 % 255) as f32 / 255.0).collect();
    let mut ours = Ours::new(file, sizes, &values)?;
    let plain = Plain::new(file, sizes, &values)?;
    let start = Instant::now();
    while start.elapsed() < WARM_UP {
        ours.run()?;
    }
    plain.run()?;
    let (mut one, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (first, second) = (time(|| ours.run())?, time(|| plain.run())?);
        ratios.push(first / second);
        one.push(first);
        other.push(second);
    }
    let [one, other] = [one, other].map(|mut times| median(&mut times) * 1e3);
    let ratio = median(&mut ratios);
    let (least, most) = (ratios[0], ratios[ROUNDS - 1]);
    let name = file.rsplit('/').next().unwrap_or(file);
    Ok(format!("{name} {sizes:?}: {one:.2} ms, plain tract {other:.2} ms, ratio {ratio:.3} ({least:.3} to {most:.3})"))
}

/// Seconds of processor time that one run takes.
fn time(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let (start, mut runs) = (Instant::now(), 0u32);
    let before = processor_time()?;
    while start.elapsed() < ROUND {
        run()?;
        runs += 1;
    }
    Ok(processor_time()?.saturating_sub(before).as_secs_f64() / f64::from(runs))
}

/// Processor time of this thread.
fn processor_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split_whitespace().next().context("no time in schedstat")?.parse()?))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Ours {
    session: Session,
    rows: u32,
    words: Vec<u64>,
}

impl Ours {
    fn new(file: &str, sizes: &[usize], values: &[f32]) -> Result<Self> {
        let model = Model::load_as(Mode::Auto, fs::read(file)?, BTreeMap::new(), &ModelLimits::default())?;
        let column = model.signature().inputs.first().context("no input")?;
        let lead = usize::from(!model.is_tensors());
        let varying = column.inner_shape().iter().zip(&sizes[lead..]).filter(|&(&dim, _)| dim < 0);
        let mut writer = Writer::default();
        writer.dims(&varying.map(|(_, &size)| size as u64).collect::<Vec<_>>());
        writer.fixed(values);
        let rows = if lead == 1 { u32::try_from(sizes[0])? } else { 1 };
        Ok(Self { session: Arc::new(model).session(), rows, words: writer.finish() })
    }

    fn run(&mut self) -> Result<()> {
        self.session.compute(self.rows, &self.words, None)?;
        Ok(())
    }
}

struct Plain {
    plan: Arc<TypedRunnableModel>,
    input: Tensor,
}

impl Plain {
    fn new(file: &str, sizes: &[usize], values: &[f32]) -> Result<Self> {
        let onnx = tract_onnx::onnx().with_ignore_output_types(true).with_ignore_value_info(true);
        let model = onnx.model_for_path(file)?.with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), sizes))?;
        let plan = model.into_optimized()?.into_runnable()?;
        Ok(Self { plan, input: Tensor::from_shape(sizes, values)? })
    }

    fn run(&self) -> Result<()> {
        self.plan.run(tvec!(self.input.clone().into_tvalue()))?;
        Ok(())
    }
}
