//! A request's batch on its way through one of the places of execution.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;

use super::caller::Caller;
use crate::{
    error::Error,
    generation::Generation,
    telemetry::request_id::RequestId,
    tensor::{Batch, parts},
};

/// The channel on which a job is answered. Closed without an answer where the job was dropped.
pub(super) type Answer = oneshot::Receiver<Result<Batch, Error>>;

/// A batch for one generation.
pub(super) struct Job {
    pub(super) generation: Arc<Generation>,
    pub(super) batch: Batch,
    /// The dimensions that its columns leave open: only batches that agree in them run together.
    pub(super) dims: Vec<u64>,
    pub(super) deadline: Instant,
    pub(super) queued: Instant,
    /// `None` for a job of a thread that reads sockets.
    pub(super) caller: Option<Caller>,
    /// The request that it is for.
    pub(super) request: Option<RequestId>,
    reply: oneshot::Sender<Result<Batch, Error>>,
}

impl Job {
    /// A job of the current request, and the channel on which it is answered.
    ///
    /// # Errors
    /// [`Error::Internal`] where the batch is not packed as the generation's columns are.
    pub(super) fn new(
        generation: &Arc<Generation>,
        batch: Batch,
        deadline: Instant,
        caller: Option<Caller>,
    ) -> Result<(Self, Answer), Error> {
        let (reply, answer) = oneshot::channel();
        let dims = parts::dims(&batch, &generation.signature.inputs).map_err(|error| {
            tracing::error!(model = generation.name, %error, "a batch is not what its model takes");
            Error::Internal
        })?;
        let generation = Arc::clone(generation);
        let (queued, request) = (Instant::now(), RequestId::current());
        let job = Self { generation, batch, dims, deadline, queued, caller, request, reply };
        Ok((job, answer))
    }

    /// Whether the job may run together with `jobs`.
    pub(super) fn fits(&self, jobs: &[Self]) -> bool {
        let rows = jobs.iter().fold(self.batch.rows, |rows, job| rows.saturating_add(job.batch.rows));
        rows <= self.generation.batching.max_rows
            && jobs.first().is_some_and(|first| first.generation.id == self.generation.id && first.dims == self.dims)
    }

    /// The job, unless nobody waits for its answer any more or its deadline has passed, which its caller is told.
    pub(super) fn if_wanted(self, now: Instant) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        if now >= self.deadline {
            let passed = self.generation.deadline_passed();
            self.refuse(passed);
            return None;
        }
        Some(self)
    }

    /// Answers a job that ran.
    pub(super) fn answer(self, result: Result<Batch, Error>) {
        // Before the reply, so that a reader of the metrics after an answer finds it counted.
        if result.is_ok() {
            self.generation.metrics.rows.observe(f64::from(self.batch.rows));
        }
        self.generation.metrics.total.observe(self.queued.elapsed().as_secs_f64());
        _ = self.reply.send(result);
    }

    /// Answers a job that did not run.
    pub(super) fn refuse(self, error: Error) {
        _ = self.reply.send(Err(error));
    }

    /// Answers jobs that ran together, each with its own rows.
    pub(super) fn answer_all(jobs: Vec<Self>, answers: Vec<Batch>) {
        let Some(first) = jobs.first() else { return };
        let (total, rows) = (first.generation.metrics.total.local(), first.generation.metrics.rows.local());
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
    }
}
