//! Requests for one generation run together, and each given its own rows of the answer.
//!
//! Whatever goes wrong with them together is not told to anybody: each is then run alone, so that one bad request costs
//! those beside it time and nothing else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    queue::Job,
    runners::{Runners, explain},
};
use crate::{
    generation::Generation,
    metrics::Metrics,
    tensor::{Batch, parts},
    wasm::instance::{ChainError, TrapCause},
};

/// How many times what runs of its size take a joined run may take.
const PATIENCE: u32 = 20;

/// And at least this, since a thread may lose its core for a while.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// Whether a job may be run with those.
pub(super) fn fits(jobs: &[Job], job: &Job) -> bool {
    let rows = jobs.iter().fold(job.batch.rows, |rows, job| rows.saturating_add(job.batch.rows));
    rows <= job.generation.batching.max_rows
        && jobs.first().is_some_and(|first| first.generation.id == job.generation.id && first.dims == job.dims)
}

/// Runs jobs of one generation that agree in their open dimensions. Where they are run by a thread that has other things
/// to do, `budget` is when it must turn to them: what is not done by then is dropped, and that tells whoever waits for it
/// to hand it to a worker.
pub(super) fn run(jobs: Vec<Job>, runners: &mut Runners, metrics: &Metrics, budget: Option<Instant>) {
    let start = Instant::now();
    let mut jobs: Vec<_> = jobs.into_iter().filter_map(|job| still_wanted(job, start)).collect();
    let Some(generation) = jobs.first().map(|job| Arc::clone(&job.generation)) else { return };
    let waited = generation.metrics.queue.local();
    for job in &jobs {
        waited.observe((start - job.queued).as_secs_f64());
    }
    waited.flush();
    if jobs.len() > 1 {
        match run_joined(&jobs, &generation, runners, metrics, start, budget) {
            Some(answers) => {
                let total = generation.metrics.total.local();
                let rows = generation.metrics.rows.local();
                let now = Instant::now();
                // Before the replies, so that whoever reads the metrics after an answer finds it counted.
                for job in &jobs {
                    rows.observe(f64::from(job.batch.rows));
                    total.observe((now - job.queued).as_secs_f64());
                }
                rows.flush();
                total.flush();
                for (job, answer) in jobs.into_iter().zip(answers) {
                    _ = job.reply.send(Ok(answer));
                }
                return;
            }
            // One of them takes long, or this thread lost its core: workers will see.
            None if budget.is_some_and(|budget| Instant::now() >= budget) => {
                generation.metrics.handovers.inc_by(jobs.len() as u64);
                return;
            }
            // Some of them may not be wanted any more.
            None => jobs = jobs.into_iter().filter_map(|job| still_wanted(job, Instant::now())).collect(),
        }
    }
    for job in jobs {
        let until = budget.map_or(job.deadline, |budget| budget.min(job.deadline));
        let result = runners.run(&generation, job.batch.clone(), until, 1, metrics);
        if matches!(result, Err(ChainError::Trap { cause: TrapCause::Deadline, .. })) && until < job.deadline {
            generation.metrics.handovers.inc();
            generation.overran();
            continue;
        }
        reply(job, result.map_err(|error| explain(error, &generation)));
    }
}

/// Not if nobody waits for its answer any more, or its time is up.
fn still_wanted(job: Job, now: Instant) -> Option<Job> {
    if job.reply.is_closed() {
        return None;
    }
    if now >= job.deadline {
        let passed = job.generation.deadline_passed();
        _ = job.reply.send(Err(passed));
        return None;
    }
    Some(job)
}

/// One run for all; `None` where it fails. It may take half of the time that is left to the first to expire, so that the
/// other half is left to run alone, and not much longer than such runs take: where one of them never ends, the others
/// should not wait for it long.
fn run_joined(
    jobs: &[Job],
    generation: &Arc<Generation>,
    runners: &mut Runners,
    metrics: &Metrics,
    start: Instant,
    budget: Option<Instant>,
) -> Option<Vec<Batch>> {
    let first = jobs.iter().map(|job| job.deadline).min()?;
    let batches: Vec<_> = jobs.iter().map(|job| &job.batch).collect();
    let rows: Vec<_> = batches.iter().map(|batch| batch.rows).collect();
    let joined = parts::join(&batches, &generation.signature.inputs).ok()?;
    let patience = generation.cost(joined.rows).saturating_mul(PATIENCE).max(LEAST_PATIENCE);
    let half = first.saturating_duration_since(start) / 2;
    let until = start + patience.min(half);
    let until = budget.map_or(until, |budget| budget.min(until));
    let answer = runners.run(generation, joined, until, jobs.len(), metrics).ok()?;
    parts::split(&answer, &generation.signature.outputs, &rows).ok()
}

fn reply(job: Job, result: Result<Batch, crate::error::Error>) {
    // Before the reply, so that whoever reads the metrics after an answer finds it counted.
    if result.is_ok() {
        job.generation.metrics.rows.observe(f64::from(job.batch.rows));
    }
    job.generation.metrics.total.observe(job.queued.elapsed().as_secs_f64());
    _ = job.reply.send(result);
}
