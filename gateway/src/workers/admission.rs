//! Requests admitted to the workers' queues.

use std::{sync::Arc, time::Instant};

use super::{
    caller::{Awaited, Caller},
    config::Priority,
    job::Job,
    queue::{Queue, Work},
};
use crate::{error::Error, generation::Generation, tensor::Batch};

/// The wishes of a request beside its answer.
#[derive(Clone, Copy, Debug)]
pub struct RequestOptions {
    /// When its answer is of no more use.
    pub deadline: Instant,
    /// Whether it goes before others that wait.
    pub priority: Priority,
}

impl From<Instant> for RequestOptions {
    fn from(deadline: Instant) -> Self {
        Self { deadline, priority: Priority::DEFAULT }
    }
}

/// Admits a request to its model's queue.
///
/// # Errors
/// [`Error::Overloaded`] if the model's share of the queue is full.
pub(super) fn admit(
    queue: &Queue,
    generation: &Arc<Generation>,
    batch: Batch,
    options: RequestOptions,
) -> Result<Awaited<Result<Batch, Error>>, Error> {
    let caller = Caller::default();
    let (job, answer) = Job::new(generation, batch, options.deadline, Some(caller.clone()))?;
    let priority = if queue.config.request_priority { options.priority } else { Priority::DEFAULT };
    queue.push(&generation.name, Work::Run(job), priority)?;
    Ok(Awaited::new(answer, caller))
}

/// The answer to an admitted request.
///
/// # Errors
/// [`Error::Deadline`] when the deadline passes first.
pub(super) async fn answered(
    answer: Awaited<Result<Batch, Error>>,
    generation: &Generation,
    deadline: Instant,
) -> Result<Batch, Error> {
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(Ok(result)) => result,
        // The worker dropped the reply: its own code panicked.
        Ok(Err(_)) => Err(Error::Internal),
        Err(_) => Err(generation.deadline_passed()),
    }
}
