//! Requests for one generation run together, and each given its own rows of the answer.
//!
//! Whatever goes wrong with them together is not told to anybody: each is then run alone, so that one bad request costs
//! those beside it time and nothing else.

use std::{
    slice,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    caller::Caller,
    queue::Job,
    runners::{Runners, explain},
};
use crate::{
    generation::Generation,
    metrics::Metrics,
    tensor::{Batch, parts},
    wasm::{
        host::Until,
        instance::{ChainError, TrapCause},
    },
};

/// The factor by which a run may exceed the time of runs of its size while others wait for it to end.
const PATIENCE: u32 = 20;

/// And at least this, since a thread may lose its core for a while.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// The number of runs that may use up their budget before the rest is left to workers.
const RUNS_OVER: u32 = 3;

/// Whether a job may be run with those.
pub(super) fn fits(jobs: &[Job], job: &Job) -> bool {
    let rows = jobs.iter().fold(job.batch.rows, |rows, job| rows.saturating_add(job.batch.rows));
    rows <= job.generation.batching.max_rows
        && jobs.first().is_some_and(|first| first.generation.id == job.generation.id && first.dims == job.dims)
}

/// Runs jobs of one generation that agree in their open dimensions. Where that is done by a thread that has other things
/// to do, `budget` is what each run may take: a job that takes longer is dropped, and that tells the caller that waits for it to
/// hand it to a worker.
pub(super) fn run(jobs: Vec<Job>, runners: &mut Runners, metrics: &Metrics, budget: Option<Duration>) {
    metrics.runs.fetch_add(1, Ordering::Relaxed);
    let start = Instant::now();
    let mut jobs: Vec<_> = jobs.into_iter().filter_map(|job| still_wanted(job, start)).collect();
    let Some(generation) = jobs.first().map(|job| Arc::clone(&job.generation)) else { return };
    let waited = generation.metrics.queue.local();
    for job in &jobs {
        waited.observe((start - job.queued).as_secs_f64());
    }
    waited.flush();
    let mut hurried = budget.is_some();
    if jobs.len() > 1 {
        match run_joined(&jobs, &generation, runners, metrics, start, budget) {
            Some(answers) => {
                let total = generation.metrics.total.local();
                let rows = generation.metrics.rows.local();
                let now = Instant::now();
                // Before the replies, so that a reader of the metrics after an answer finds it counted.
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
            // Some of them may not be wanted any more, and none of them should keep the others waiting.
            None => {
                hurried = true;
                jobs = jobs.into_iter().filter_map(|job| still_wanted(job, Instant::now())).collect();
            }
        }
    }
    let mut late = Vec::new();
    for job in jobs {
        let begun = Instant::now();
        let until = if hurried {
            job.deadline.min(begun + budget.unwrap_or_else(|| patience(&generation, job.batch.rows)))
        } else {
            job.deadline
        };
        let result = match budget {
            Some(budget) if begun >= start + budget * RUNS_OVER => None,
            _ => Some(runners.run(&generation, job.batch.clone(), wanted(slice::from_ref(&job), until), 1, metrics)),
        };
        match result {
            Some(Err(ChainError::Trap { cause: TrapCause::Deadline, .. })) if until < job.deadline => {
                generation.overran();
                late.push(job);
            }
            Some(result) => {
                let result = result.map_err(|error| explain(error, &generation, &job.batch));
                reply(job, result);
            }
            None => late.push(job),
        }
    }
    if budget.is_some() {
        generation.metrics.handovers.inc_by(late.len() as u64);
        return;
    }
    for job in late.into_iter().filter_map(|job| still_wanted(job, Instant::now())) {
        let until = wanted(slice::from_ref(&job), job.deadline);
        let result = runners.run(&generation, job.batch.clone(), until, 1, metrics);
        let result = result.map_err(|error| explain(error, &generation, &job.batch));
        reply(job, result);
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

/// As long as one of the callers is there. On a thread that reads sockets that is not looked at: it would not see a caller
/// go while it runs something.
fn wanted(jobs: &[Job], deadline: Instant) -> Until {
    let callers: Option<Vec<_>> = jobs.iter().map(|job| job.caller.clone()).collect();
    let is_abandoned = callers.map(|callers| -> Arc<dyn Fn() -> bool + Send + Sync> {
        Arc::new(move || callers.iter().all(Caller::is_gone))
    });
    Until { deadline, is_abandoned }
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
    budget: Option<Duration>,
) -> Option<Vec<Batch>> {
    let first = jobs.iter().map(|job| job.deadline).min()?;
    let batches: Vec<_> = jobs.iter().map(|job| &job.batch).collect();
    let rows: Vec<_> = batches.iter().map(|batch| batch.rows).collect();
    let joined = parts::join(&batches, &generation.signature.inputs).ok()?;
    let most = budget.unwrap_or_else(|| patience(generation, joined.rows));
    let until = start + most.min(first.saturating_duration_since(start) / 2);
    let answer = runners.run(generation, joined, wanted(jobs, until), jobs.len(), metrics).ok()?;
    parts::split(&answer, &generation.signature.outputs, &rows).ok()
}

/// The time that a run of so many rows may take while others wait for it to end.
fn patience(generation: &Generation, rows: u32) -> Duration {
    generation.cost(rows).saturating_mul(PATIENCE).clamp(LEAST_PATIENCE, generation.limits.deadline.max(LEAST_PATIENCE))
}

fn reply(job: Job, result: Result<Batch, crate::error::Error>) {
    // Before the reply, so that a reader of the metrics after an answer finds it counted.
    if result.is_ok() {
        job.generation.metrics.rows.observe(f64::from(job.batch.rows));
    }
    job.generation.metrics.total.observe(job.queued.elapsed().as_secs_f64());
    _ = job.reply.send(result);
}
