//! Where inference runs.
//!
//! Each worker thread owns its instances of every live generation's stages and its own model state, and takes work from
//! bounded queues, one for each model, so that health checks never wait behind inference, and no model behind another's
//! flood of requests or behind one that runs for long: see [`fair_queue`] and [`substitutes`].
//!
//! Handing a request to another thread and back costs more than a small model's answer. So requests to a generation that
//! has been quick so far are run where they were read, by that thread's own instances, for [`INLINE_BUDGET`] at most:
//! what takes longer is stopped there and run again by a worker. Modules have no effects but their answer. What a thread
//! has read by the time that it turns to such a request is run with it: see [`gathered`].

mod caller;
mod config;
mod fair_queue;
mod gathered;
mod lanes;
mod queue;
mod runners;
mod substitutes;
mod threads;
mod together;
mod work;

use std::{
    fmt,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use self::{
    caller::{Awaited, Caller},
    queue::{Job, Queue, Task, Work},
};
pub use self::{
    config::{Priority, Weights, WorkersConfig},
    gathered::{begin, release},
    runners::sweep,
    substitutes::most as most_substitutes,
    work::STACK,
};
use crate::{
    error::Error,
    generation::Generation,
    metrics::{Metrics, Outcome},
    shadow::{self, Target},
    tensor::{Batch, parts},
};

/// Rows of a request that may be run where it was read.
const INLINE_ROWS: u32 = 1_024;

/// A request is quick if others of its size have taken less than this, interruptions aside.
const INLINE_COST: Duration = Duration::from_micros(100);

/// The time for which a request may be run where it was read. No health check waits much longer than this.
const INLINE_BUDGET: Duration = Duration::from_millis(10);

/// Copies of requests for a release on trial are made only while less work than this waits.
const MAX_COPIES: usize = 16;

/// Under which terms a request runs.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// When its answer is of no more use.
    pub deadline: Instant,
    /// Whether it goes before others that wait.
    pub priority: Priority,
}

impl From<Instant> for Terms {
    fn from(deadline: Instant) -> Self {
        Self { deadline, priority: Priority::DEFAULT }
    }
}

/// The model of work that is of none.
pub const NO_MODEL: &str = "";

/// The threads and their queues. Dropping it lets them finish what waits and joins them.
pub struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("config", &self.queue.config).finish_non_exhaustive()
    }
}

impl Workers {
    /// Starts the threads.
    pub fn start(config: WorkersConfig, metrics: &Arc<Metrics>) -> std::io::Result<Self> {
        metrics.workers.set(config.count as i64);
        metrics.queue_capacity.set(config.queue as i64);
        metrics.queue_bytes_capacity.set(config.queue_bytes as i64);
        let count = config.count;
        let queue = Arc::new(Queue::new(config, substitutes::most(count), Arc::clone(metrics)));
        let mut threads = (0..count)
            .map(|number| {
                let queue = Arc::clone(&queue);
                let run = move || work::worker(&queue, number);
                thread::Builder::new().name(format!("worker-{number}")).stack_size(STACK).spawn(run)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let watched = Arc::clone(&queue);
        threads.push(thread::Builder::new().name("watchdog".into()).spawn(move || substitutes::watch(&watched))?);
        Ok(Self { queue, threads })
    }

    /// Runs a batch through a generation. Counts how it ends, also where the caller goes away first.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the model's share of the queue is full, [`Error::Deadline`] when the deadline passes.
    pub async fn run(
        &self,
        generation: &Arc<Generation>,
        batch: Batch,
        terms: impl Into<Terms>,
    ) -> Result<Batch, Error> {
        let terms = terms.into();
        let pending = Pending::new(generation);
        let copy = generation.shadow.next().map(|target| (target, batch.clone()));
        let result = match self.run_here(generation, &batch, terms.deadline).await {
            Some(result) => result,
            None => self.run_queued(generation, batch, terms).await,
        };
        pending.ended(result.as_ref().err().map_or(Outcome::Success, Error::outcome));
        if let (Some((target, batch)), Ok(answer)) = (copy, &result) {
            self.run_copy(generation, &target, batch, answer.clone());
        }
        result
    }

    /// Runs a copy of a request by a generation on trial and counts how its answer compares. Nobody waits for it, and it
    /// is left out where other work waits.
    fn run_copy(&self, generation: &Arc<Generation>, target: &Arc<Target>, batch: Batch, answer: Batch) {
        if !target.takes(generation) {
            // A request written for the one may be none for the other.
            target.incompatible.inc();
            return;
        }
        if self.queue.len() >= MAX_COPIES {
            target.skipped.inc();
            return;
        }
        let terms = Terms::from(Instant::now() + target.generation.limits.deadline);
        let Ok(copied) = self.enqueue(&target.generation, batch, terms) else {
            target.skipped.inc();
            return;
        };
        let (generation, target) = (Arc::clone(generation), Arc::clone(target));
        tokio::spawn(async move {
            match copied.await {
                Ok(Ok(copied)) if shadow::same(&generation, &answer, &target.generation, &copied) => target.same.inc(),
                Ok(Ok(_)) => target.different.inc(),
                Ok(Err(_)) | Err(_) => target.failed.inc(),
            }
        });
    }

    /// On this thread, if it will be quick; `None` if a worker should do it.
    async fn run_here(
        &self,
        generation: &Arc<Generation>,
        batch: &Batch,
        deadline: Instant,
    ) -> Option<Result<Batch, Error>> {
        let cost = generation.cost(batch.rows);
        if batch.rows > INLINE_ROWS || cost >= INLINE_COST {
            return None;
        }
        let (job, answer) = job(generation, batch.clone(), deadline, None).ok()?;
        if !gathered::run(job, cost, &self.queue) {
            return None;
        }
        // Dropped where it took too long.
        answer.await.ok()
    }

    async fn run_queued(&self, generation: &Arc<Generation>, batch: Batch, terms: Terms) -> Result<Batch, Error> {
        let answer = self.enqueue(generation, batch, terms)?;
        match tokio::time::timeout_at(terms.deadline.into(), answer).await {
            Ok(Ok(result)) => result,
            // The worker dropped the reply: its own code panicked.
            Ok(Err(_)) => Err(Error::Internal),
            Err(_) => Err(generation.deadline_passed()),
        }
    }

    fn enqueue(
        &self,
        generation: &Arc<Generation>,
        batch: Batch,
        terms: Terms,
    ) -> Result<Awaited<Result<Batch, Error>>, Error> {
        let caller = Caller::default();
        let (job, answer) = job(generation, batch, terms.deadline, Some(caller.clone()))?;
        let priority = if self.queue.config.request_priority { terms.priority } else { Priority::DEFAULT };
        self.queue.push(&generation.name, Work::Run(job), priority)?;
        Ok(Awaited::new(answer, caller))
    }

    /// Runs something slow that is not inference, such as decoding a large body, where it delays no health check. It waits
    /// among the work of `model`, the name of one that is served, or [`NO_MODEL`]. `size` is what it keeps in memory while
    /// it waits, in bytes.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the model's share of the queue is full, [`Error::Deadline`] when the deadline passes; what
    /// has not begun by then is not run.
    pub async fn call<T: Send + 'static>(
        &self,
        model: &str,
        size: usize,
        deadline: Instant,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let queued = Instant::now();
        let passed = Error::Deadline(deadline.saturating_duration_since(queued).as_millis());
        let (reply, answer) = oneshot::channel();
        let run = move |refused: Option<Error>| {
            if !reply.is_closed() {
                _ = reply.send(refused.map_or_else(|| Ok(task()), Err));
            }
        };
        let task = Task { size, queued, deadline, run: Box::new(run) };
        self.queue.push(model, Work::Task(task), Priority::DEFAULT)?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) if Instant::now() < deadline => Err(Error::Internal),
            Ok(Err(_)) | Err(_) => Err(passed),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
        work::join(self.threads.drain(..));
    }
}

/// A request admitted and not yet answered.
struct Pending<'a> {
    generation: &'a Generation,
    ended: bool,
}

impl<'a> Pending<'a> {
    fn new(generation: &'a Generation) -> Self {
        generation.metrics.pending.inc();
        Self { generation, ended: false }
    }

    fn ended(mut self, outcome: Outcome) {
        self.ended = true;
        match outcome {
            Outcome::Failed | Outcome::Deadline => self.generation.tally.failed(),
            Outcome::Invalid => self.generation.tally.invalid(),
            Outcome::Success | Outcome::Shed | Outcome::Cancelled => {}
        }
        self.generation.metrics.ended(outcome);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.generation.metrics.pending.dec();
        if !self.ended {
            self.generation.metrics.ended(Outcome::Cancelled);
        }
    }
}

fn job(
    generation: &Arc<Generation>,
    batch: Batch,
    deadline: Instant,
    caller: Option<Caller>,
) -> Result<(Job, oneshot::Receiver<Result<Batch, Error>>), Error> {
    let (reply, answer) = oneshot::channel();
    let dims = parts::dims(&batch, &generation.signature.inputs).map_err(|error| {
        tracing::error!(model = generation.name, %error, "a batch is not what its model takes");
        Error::Internal
    })?;
    let job = Job { generation: Arc::clone(generation), batch, dims, deadline, queued: Instant::now(), caller, reply };
    Ok((job, answer))
}
