//! Requests for one generation run together, and each given its own rows of the answer.
//!
//! Whatever goes wrong with them together is not told to anybody: each is then run alone, so that one bad request costs
//! those beside it time and nothing else.

use std::time::Instant;

use super::{
    queue::Job,
    runners::{Runners, explain},
};
use crate::{
    metrics::Metrics,
    tensor::{Batch, parts},
};

/// Runs jobs of one generation that agree in their open dimensions.
pub(super) fn run(jobs: Vec<Job>, runners: &mut Runners, metrics: &Metrics) {
    let start = Instant::now();
    let mut jobs: Vec<_> = jobs.into_iter().filter_map(|job| still_wanted(job, start)).collect();
    for job in &jobs {
        job.generation.metrics.queue.observe((start - job.queued).as_secs_f64());
    }
    if jobs.len() > 1 {
        match run_joined(&jobs, runners, metrics, start) {
            Some(answers) => {
                for (job, answer) in jobs.drain(..).zip(answers) {
                    reply(job, Ok(answer));
                }
            }
            // Some of them may not be wanted any more.
            None => jobs = jobs.into_iter().filter_map(|job| still_wanted(job, Instant::now())).collect(),
        }
    }
    for job in jobs {
        let result = runners.run(&job.generation, job.batch.clone(), job.deadline, metrics);
        let result = result.map_err(|error| explain(error, &job.generation));
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

/// One run for all; `None` where it fails. It may take half of the time that is left to the first to expire, so that the
/// other half is left to run alone.
fn run_joined(jobs: &[Job], runners: &mut Runners, metrics: &Metrics, start: Instant) -> Option<Vec<Batch>> {
    let generation = &jobs.first()?.generation;
    let first = jobs.iter().map(|job| job.deadline).min()?;
    let batches: Vec<_> = jobs.iter().map(|job| &job.batch).collect();
    let rows: Vec<_> = batches.iter().map(|batch| batch.rows).collect();
    let joined = parts::join(&batches, &generation.signature.inputs).ok()?;
    let answer = runners.run(generation, joined, start + (first - start) / 2, metrics).ok()?;
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
