//! The trial: rows through the whole chain, alone and together.
//!
//! The rows are those of the golden examples and others that are made up. Rows that the chain refuses say nothing. A trial
//! takes a part of the time that the load took: rows of a slow model are tried in smaller batches, and where not even two
//! fit in, they are not joined.

use std::time::{Duration, Instant};

use modelgate_throttle::give_way;

use super::{BatchingDecision, Cause, compare::difference, milliseconds, sample};
use crate::{
    batching::Batching,
    generation::{Generation, Runner},
    json::decode::{self, Keys},
    tensor::{Batch, parts},
    wasm::{
        instance::{ChainError, TrapCause},
        module::Isolation,
    },
};

/// The time that a trial may take, besides a tenth of the load's own time.
const BUDGET: Duration = Duration::from_millis(50);

/// Golden examples tried, and rows in all.
const EXAMPLES: usize = 6;
const ROWS: usize = 12;

/// Sizes tried for dimensions that the columns leave open, until some rows can be run.
const OPEN: [u64; 3] = [4, 16, 64];

/// Batches tried, besides the largest that may be run. They fill no kernel's blocks evenly, or all of them.
const SIZES: [u32; 5] = [2, 3, 7, 16, 33];

/// The largest batch whose time is compared with that of rows alone; more rows mostly wait only where a server is full.
const TIMED: u32 = 16;

/// Runs of which the shortest counts.
const REPEATS: usize = 3;

/// Runs of a row that a trial needs at least: two rows alone, once more, and together.
const LEAST_RUNS: u32 = 6;

/// The number of times that a trial may exceed its budget where its thread must share a core.
const PATIENCE: u32 = 8;

/// Bytes of a row that is not made up: 16 rows of images of 8 megapixels.
const MOST_BYTES: usize = 64 << 20;

/// Decides whether rows are joined. `wanted` is what the manifest allows, `tolerance` how far numbers may differ beside
/// other rows, `load` the time that the load took so far.
pub fn decide(
    generation: &Generation,
    wanted: Batching,
    tolerance: f64,
    load: Duration,
) -> (BatchingDecision, Batching) {
    let before = BatchingDecision::before_trial(generation, wanted);
    let keeps_instances = !generation.custom_modules.is_empty() && generation.isolation == Isolation::Worker;
    let found = match before {
        Some(before) if !keeps_instances => Err(before),
        before => {
            let budget = BUDGET + load / 10;
            let trial = &mut Trial {
                generation,
                runner: generation.new_runner(),
                tolerance,
                budget,
                spent: Duration::ZERO,
                row: None,
                until: Instant::now() + budget * PATIENCE,
                keeps_instances,
                refusal: None,
            };
            trial.verdict(before, wanted.max_rows)
        }
    };
    match found {
        Ok((decision, max_rows)) => (decision, Batching { max_rows, ..wanted }),
        Err(decision) => (decision, Batching::OFF),
    }
}

/// A row, its answer alone, and the shortest time that took.
struct Alone {
    row: Batch,
    answer: Batch,
    took: Duration,
}

/// Why a run gave no answer.
enum NoAnswer {
    /// The run took longer than the trial may.
    Late,
    /// The chain refused it, or failed.
    Refused(String),
    /// A module ended early.
    Ended(TrapCause),
}

struct Trial<'a> {
    generation: &'a Generation,
    runner: Runner,
    tolerance: f64,
    /// The time that runs may take together.
    budget: Duration,
    /// The time that they have taken, interruptions aside.
    spent: Duration,
    /// The shortest time of a row alone.
    row: Option<Duration>,
    /// When it ends in any case.
    until: Instant,
    /// Whether a module may keep something from one request to the next.
    keeps_instances: bool,
    /// The reason why a row could not be run.
    refusal: Option<String>,
}

impl Trial<'_> {
    /// The most rows that are joined, or why none are; `before` if that is decided already.
    fn verdict(
        &mut self,
        before: Option<BatchingDecision>,
        max_rows: u32,
    ) -> Result<(BatchingDecision, u32), BatchingDecision> {
        let mut rows = match (self.alone(), &before) {
            (Ok(rows), _) => rows,
            (Err(_), Some(before)) => return Err(before.clone()),
            (Err(late), None) => return Err(late),
        };
        if let Err(found) = self.again(&mut rows) {
            return Err(match before {
                Some(before) if found.cause != Cause::Stateful => before,
                _ => found,
            });
        }
        if let Some(before) = before {
            return Err(before);
        }
        if rows.is_empty() {
            let refusal = self.refusal.as_deref().unwrap_or("there are none");
            let detail = format!("no row of the trial could be run: {refusal}");
            if !self.generation.custom_modules.is_empty() {
                return Err(BatchingDecision::new(Cause::Untried, detail));
            }
            let detail = format!("up to {max_rows} rows at once, by analysis of the graph alone; {detail}");
            return Ok((BatchingDecision::new(Cause::Analysed, detail), max_rows));
        }
        self.compare_batches(&rows, max_rows)
    }

    /// Runs rows alone; none where the chain refuses all.
    fn alone(&mut self) -> Result<Vec<Alone>, BatchingDecision> {
        let generation = self.generation;
        let columns = &generation.signature.inputs;
        let examples = generation.golden.examples.iter().take(EXAMPLES);
        let examples: Vec<Batch> = examples.filter_map(|example| golden_row(generation, &example.input)).collect();
        let is_open = columns.iter().any(|column| column.row_size().is_none());
        let mut rows: Vec<Alone> = Vec::new();
        let mut dims: Option<Vec<u64>> = None;
        for open in OPEN.into_iter().take(if is_open { OPEN.len() } else { 1 }) {
            let fits = sample::row_bytes(columns, open).is_some_and(|bytes| bytes <= MOST_BYTES);
            let made_up = if fits { sample::rows(columns, open, ROWS).unwrap_or_default() } else { Vec::new() };
            for row in examples.iter().cloned().chain(made_up) {
                // Only rows of the same sizes run together.
                let Ok(sizes) = parts::dims(&row, columns) else { continue };
                if rows.len() == ROWS || dims.as_ref().is_some_and(|dims| *dims != sizes) {
                    continue;
                }
                match self.run(&row) {
                    Ok((answer, took)) => {
                        dims = Some(sizes);
                        rows.push(Alone { row, answer, took });
                    }
                    Err(NoAnswer::Refused(why)) => self.refusal = Some(why),
                    Err(NoAnswer::Ended(cause)) => self.refusal = Some(ended(cause)),
                    Err(NoAnswer::Late) if rows.is_empty() => return Err(self.too_slow()),
                    Err(NoAnswer::Late) => return Ok(rows),
                }
                // The first run makes instances, and any may lose its core for a while.
                for _ in 1..REPEATS {
                    if self.is_slow() && !rows.is_empty() {
                        _ = self.run(&rows[0].row);
                    }
                }
                if self.is_slow() {
                    return Err(self.too_slow());
                }
                // The larger part is for batches.
                if self.left() < self.budget * 3 / 4 && rows.len() > 1 {
                    return Ok(rows);
                }
            }
            if !rows.is_empty() {
                break;
            }
        }
        Ok(rows)
    }

    /// Runs the rows again in another order, and some by an instance that has seen no other.
    fn again(&mut self, rows: &mut [Alone]) -> Result<(), BatchingDecision> {
        for repeat in 1..REPEATS {
            if repeat == 1 && self.keeps_instances {
                self.runner = self.generation.new_runner();
            }
            for index in (0..rows.len()).rev() {
                if (repeat > 1 || !self.keeps_instances) && self.left() < self.budget / 2 {
                    return Ok(());
                }
                let row = &mut rows[index];
                let run = self.run(&row.row);
                let found = match run {
                    Ok((answer, took)) => {
                        row.took = row.took.min(took);
                        difference(&self.generation.signature.outputs, &row.answer, &answer, 0.0)
                    }
                    Err(NoAnswer::Late) => return Ok(()),
                    Err(NoAnswer::Ended(cause)) => return Err(BatchingDecision::new(Cause::Untried, ended(cause))),
                    Err(NoAnswer::Refused(why)) => Some(format!("a row is answered at first and refused later: {why}")),
                };
                if let Some(difference) = found {
                    return Err(if self.keeps_instances {
                        let detail = format!(
                            "a module keeps something of earlier requests, so each gets instances of its own \
                             ({difference} after other rows)"
                        );
                        BatchingDecision::new(Cause::Stateful, detail)
                    } else {
                        let detail = format!("the same row is not answered alike each time: {difference} later");
                        BatchingDecision::new(Cause::Differs, detail)
                    });
                }
            }
        }
        Ok(())
    }

    /// Runs the rows in batches, and compares answers and time.
    fn compare_batches(&mut self, rows: &[Alone], max_rows: u32) -> Result<(BatchingDecision, u32), BatchingDecision> {
        let sizes = SIZES.into_iter().filter(|&size| size < max_rows).chain([max_rows]);
        // The largest batch, the largest that is timed, and its time.
        let (mut largest, mut timed) = (0, None);
        for size in sizes {
            if self.left() < self.expected(size) {
                break;
            }
            match self.batch(rows, size) {
                Ok(took) if size <= TIMED => timed = Some((size, took)),
                Ok(_) => {}
                Err(Ok(differs)) => return Err(differs),
                Err(Err(NoAnswer::Ended(cause))) if largest < 2 => {
                    return Err(BatchingDecision::new(Cause::Untried, ended(cause)));
                }
                Err(Err(NoAnswer::Refused(why))) if largest < 2 => {
                    return Err(BatchingDecision::new(
                        Cause::Differs,
                        format!("{size} rows are refused together: {why}"),
                    ));
                }
                Err(Err(_)) => break,
            }
            largest = size;
        }
        let Some((size, took)) = timed else { return Err(self.too_slow()) };
        let mut best = took;
        for _ in 1..REPEATS {
            if self.left() > took
                && let Ok(took) = self.batch(rows, size)
            {
                best = best.min(took);
            }
        }
        let alone: Duration = picked(rows, size).map(|row| row.took).sum();
        let ratio = best.as_secs_f64() / alone.as_secs_f64().max(1e-9);
        if best > alone {
            let detail = format!("{size} rows together take {ratio:.2} times as long as one after another");
            return Err(BatchingDecision::new(Cause::Slower, detail));
        }
        let same = if self.tolerance > 0.0 {
            format!("the same numbers within {}", self.tolerance)
        } else {
            "the same bits".to_owned()
        };
        let detail = format!(
            "up to {largest} rows at once; {} rows of a trial gave {same} in batches of 2 to {largest} as alone, and {size} \
             at once took {ratio:.2} of the time",
            rows.len()
        );
        Ok((BatchingDecision::new(Cause::Tried, detail), largest))
    }

    /// So many rows at once, each compared with its answer alone; the time they took. An inner error is a verdict.
    fn batch(&mut self, rows: &[Alone], size: u32) -> Result<Duration, Result<BatchingDecision, NoAnswer>> {
        let signature = &self.generation.signature;
        let failed = |error: modelgate_columns::LayoutError| Err(NoAnswer::Refused(error.to_string()));
        let batches: Vec<_> = picked(rows, size).map(|row| &row.row).collect();
        let rows_of_all = parts::join(&batches, &signature.inputs).map_err(failed)?;
        let (answer, took) = self.run(&rows_of_all).map_err(Err)?;
        let counts = vec![1; batches.len()];
        let answers = parts::split(&answer, &signature.outputs, &counts).map_err(failed)?;
        for (row, answer) in picked(rows, size).zip(&answers) {
            if let Some(difference) = difference(&signature.outputs, &row.answer, answer, self.tolerance) {
                let detail = format!("{difference} among {size} rows");
                return Err(Ok(BatchingDecision::new(Cause::Differs, detail)));
            }
        }
        Ok(took)
    }

    fn run(&mut self, batch: &Batch) -> Result<(Batch, Duration), NoAnswer> {
        give_way();
        let (rows, batch, start) = (batch.rows, batch.clone(), Instant::now());
        let deadline = self.until.min(start + self.generation.limits.deadline);
        if deadline <= start {
            return Err(NoAnswer::Late);
        }
        let answer = self.generation.run(&mut self.runner, batch, deadline);
        let took = start.elapsed();
        // A thread that loses its core for a while has not spent the time.
        self.spent += took.min(self.expected(rows).saturating_mul(2)).min(self.budget);
        if rows == 1 && answer.is_ok() {
            self.row = self.row.into_iter().chain([took]).min();
        }
        answer.map(|answer| (answer, took)).map_err(|error| match error {
            ChainError::Trap { cause: TrapCause::Deadline, .. } => NoAnswer::Late,
            ChainError::Invalid(problems) => {
                let problems: Vec<_> = problems.into_iter().take(1).map(|problem| problem.message).collect();
                NoAnswer::Refused(problems.join("; "))
            }
            ChainError::Trap { cause, .. } => NoAnswer::Ended(cause),
            ChainError::Failed(message) | ChainError::Start(message) => NoAnswer::Refused(message),
        })
    }

    /// Whether the trial has no time for what it needs at least.
    fn is_slow(&self) -> bool {
        self.row.is_some_and(|row| row.saturating_mul(LEAST_RUNS) > self.budget)
    }

    /// The time that so many rows take one after another, as far as is known.
    fn expected(&self, rows: u32) -> Duration {
        self.row.map_or(Duration::MAX, |row| row.saturating_mul(rows))
    }

    fn left(&self) -> Duration {
        if Instant::now() < self.until { self.budget.saturating_sub(self.spent) } else { Duration::ZERO }
    }

    fn too_slow(&self) -> BatchingDecision {
        let budget = milliseconds(self.budget);
        let detail = match self.row {
            Some(row) => format!("a row takes {}, too much for a trial of {budget}", milliseconds(row)),
            None => format!("a row takes longer than the {budget} of a trial"),
        };
        BatchingDecision::new(Cause::Untried, detail)
    }
}

fn ended(cause: TrapCause) -> String {
    format!("a module ended early ({cause})")
}

/// The rows of a batch of that size: all of them in turn, begun elsewhere for each size.
fn picked(rows: &[Alone], size: u32) -> impl Iterator<Item = &Alone> {
    rows.iter().cycle().skip(size as usize % rows.len().max(1)).take(size as usize)
}

/// The row of a golden example; `None` if it is none for this signature, which the examples' own check tells.
fn golden_row(generation: &Generation, input: &serde_json::Map<String, serde_json::Value>) -> Option<Batch> {
    let body = serde_json::to_vec(input).ok()?;
    let decoded = decode::rows(&body, generation.inputs(), Keys::Given(&generation.name), generation.policy(false));
    decoded.ok().map(|decoded| decoded.batch)
}
