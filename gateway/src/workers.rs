//! Where inference runs.
//!
//! Each worker thread owns its instances of every live generation's stages and its own model state, and takes work from
//! one bounded queue, so that health checks never wait behind inference.
//!
//! Handing a request to another thread and back costs more than a small model's answer. So a few rows of a generation
//! that has been quick so far are run where they were read, by that thread's own instances, for [`INLINE_BUDGET`] at
//! most: what takes longer is stopped there and run again by a worker. Modules have no effects but their answer.

mod runners;

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use self::runners::Runners;
pub use self::runners::sweep;
use crate::{
    error::Error,
    generation::Generation,
    metrics::{Metrics, Outcome},
    shadow::{self, Target},
    tensor::Batch,
    wasm::instance::{ChainError, TrapCause},
};

/// Stack of a thread that runs inference: what wasm may use (512 KiB) and ample room for the model's native code.
pub const STACK: usize = 8 << 20;

/// Rows of a request that may be run where it was read.
const INLINE_ROWS: u32 = 16;

/// A generation is quick while its small requests take less than this on average.
const INLINE_COST: Duration = Duration::from_micros(100);

/// How long a request may be run where it was read. No health check waits much longer than this.
const INLINE_BUDGET: Duration = Duration::from_millis(10);

/// Copies of requests for a release on trial are made only while less work than this waits.
const MAX_COPIES: usize = 16;

thread_local! {
    /// The instances of a thread that reads sockets. Never dropped by the thread's own end, when what wasmtime keeps for
    /// the thread may be gone already: see [`release_inline`].
    static INLINE: RefCell<ManuallyDrop<Runners>> = RefCell::default();
}

/// Lets go of the instances that this thread keeps for what it runs itself. To be called before the thread ends.
pub fn release_inline() {
    drop(INLINE.with_borrow_mut(|runners| ManuallyDrop::into_inner(std::mem::take(runners))));
}

/// How many, and how much may wait.
#[derive(Clone, Copy, Debug)]
pub struct WorkersConfig {
    /// Threads.
    pub count: usize,
    /// Jobs that may wait.
    pub queue: usize,
    /// Bytes of batches that may wait.
    pub queue_bytes: usize,
}

/// A batch for one generation. Its permit travels with it: dropping it frees its place in the queue.
struct Job {
    generation: Arc<Generation>,
    batch: Batch,
    deadline: Instant,
    queued: Instant,
    reply: oneshot::Sender<Result<Batch, Error>>,
}

enum Work {
    Run(Job),
    Task(Box<dyn FnOnce() + Send>),
}

impl Work {
    fn size(&self) -> usize {
        match self {
            Self::Run(job) => job.batch.size(),
            Self::Task(_) => 0,
        }
    }
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    bytes: usize,
    idle: usize,
    closed: bool,
}

/// The queue before the workers.
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    config: WorkersConfig,
    metrics: Arc<Metrics>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, work: Work) -> Result<(), Error> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Error::NotReady);
        }
        let bytes = waiting.bytes.saturating_add(work.size());
        // One large batch is let in where nothing else waits.
        if waiting.work.len() >= self.config.queue || (bytes > self.config.queue_bytes && waiting.bytes > 0) {
            return Err(Error::Overloaded);
        }
        waiting.bytes = bytes;
        waiting.work.push_back(work);
        self.metrics.queue_depth.set(waiting.work.len() as i64);
        let wake = waiting.idle > 0;
        drop(waiting);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// The next work; `None` once the queue is closed and empty.
    fn pop(&self) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = waiting.work.pop_front() {
                waiting.bytes -= work.size();
                self.metrics.queue_depth.set(waiting.work.len() as i64);
                return Some(work);
            }
            if waiting.closed {
                return None;
            }
            waiting.idle += 1;
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

/// The threads and their queue. Dropping it lets them finish what waits and joins them.
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
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            config,
            metrics: Arc::clone(metrics),
        });
        let threads = (0..config.count)
            .map(|number| {
                let queue = Arc::clone(&queue);
                thread::Builder::new().name(format!("worker-{number}")).stack_size(STACK).spawn(move || work(&queue))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { queue, threads })
    }

    /// Runs a batch through a generation. Counts how it ends, also where the caller goes away first.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once if the queue is full, [`Error::Deadline`] when the deadline passes.
    pub async fn run(&self, generation: &Arc<Generation>, batch: Batch, deadline: Instant) -> Result<Batch, Error> {
        let pending = Pending::new(generation);
        let copy = generation.shadow.next().map(|target| (target, batch.clone()));
        let result = match self.run_inline(generation, &batch, deadline) {
            Some(result) => result,
            None => self.run_queued(generation, batch, deadline).await,
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
        if self.queue.lock().work.len() >= MAX_COPIES {
            target.skipped.inc();
            return;
        }
        let (reply, copied) = oneshot::channel();
        let now = Instant::now();
        let deadline = now + target.generation.limits.deadline;
        let job = Job { generation: Arc::clone(&target.generation), batch, deadline, queued: now, reply };
        if self.queue.push(Work::Run(job)).is_err() {
            target.skipped.inc();
            return;
        }
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
    fn run_inline(
        &self,
        generation: &Arc<Generation>,
        batch: &Batch,
        deadline: Instant,
    ) -> Option<Result<Batch, Error>> {
        if batch.rows > INLINE_ROWS || generation.cost() >= INLINE_COST {
            return None;
        }
        let start = Instant::now();
        let budget = start + INLINE_BUDGET;
        let result = INLINE.with_borrow_mut(|runners| {
            runners.run(generation, batch.clone(), deadline.min(budget), &self.queue.metrics)
        });
        if matches!(result, Err(ChainError::Trap { cause: TrapCause::Deadline, .. })) && deadline > budget {
            generation.metrics.handovers.inc();
            generation.overran();
            return None;
        }
        generation.metrics.queue.observe(0.0);
        generation.metrics.total.observe(start.elapsed().as_secs_f64());
        Some(result.map_err(|error| runners::explain(error, generation)))
    }

    async fn run_queued(&self, generation: &Arc<Generation>, batch: Batch, deadline: Instant) -> Result<Batch, Error> {
        let (reply, answer) = oneshot::channel();
        let job = Job { generation: Arc::clone(generation), batch, deadline, queued: Instant::now(), reply };
        self.queue.push(Work::Run(job))?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(result)) => result,
            // The worker dropped the reply: its own code panicked.
            Ok(Err(_)) => Err(Error::Internal),
            Err(_) => Err(generation.deadline_passed()),
        }
    }

    /// Runs something slow that is not inference, such as decoding a large body, where it delays no health check.
    pub async fn call<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Work::Task(Box::new(move || {
            if !reply.is_closed() {
                _ = reply.send(task());
            }
        })))?;
        answer.await.map_err(|_| Error::Internal)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // A worker catches panics, so joining fails only if the thread was ended from outside.
            _ = thread.join();
        }
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
        if matches!(outcome, Outcome::Failed | Outcome::Deadline) {
            self.generation.tally.failed();
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

fn work(queue: &Queue) {
    let mut runners = Runners::default();
    while let Some(work) = queue.pop() {
        match work {
            Work::Run(job) => run(job, &mut runners, &queue.metrics),
            Work::Task(task) => {
                if catch_unwind(AssertUnwindSafe(task)).is_err() {
                    queue.metrics.panics.inc();
                }
            }
        }
    }
}

fn run(job: Job, runners: &mut Runners, metrics: &Metrics) {
    let Job { generation, batch, deadline, queued, reply } = job;
    // Nobody waits for the answer any more.
    if reply.is_closed() {
        return;
    }
    let start = Instant::now();
    if start >= deadline {
        _ = reply.send(Err(generation.deadline_passed()));
        return;
    }
    generation.metrics.queue.observe((start - queued).as_secs_f64());
    let result = runners.run(&generation, batch, deadline, metrics);
    let result = result.map_err(|error| runners::explain(error, &generation));
    // Before the reply, so that whoever reads the metrics after an answer finds it counted.
    generation.metrics.total.observe(queued.elapsed().as_secs_f64());
    _ = reply.send(result);
}
