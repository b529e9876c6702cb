//! The way of a request from its handler to the guest, in this one file: [`Workers::execute`] admits it to one of two places
//! of execution, and both hand it to the same [`Executor`].
//!
//! ```text
//! Workers::execute ─┬─ put aside ─▶ turn    (the I/O thread that read it)  ─┐
//!                   └─ queued ────▶ serve   (a worker of the pool)        ─┴─▶ Executor::execute_batch ─▶ attempt ─▶ guest
//! ```

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    admission::{RequestOptions, admit, answered},
    caller::Caller,
    config::{Priority, WorkersConfig},
    copies,
    failure::explain,
    in_flight::InFlight,
    in_parts,
    inline::{HERE, Inline, Put},
    instances::InstanceCache,
    job::{Answer, Job},
    queue::{Queue, Task, Work},
    retry::{RetryPolicy, patience},
    spawn, substitutes,
};
use crate::{
    error::Error,
    generation::Generation,
    metrics::{Metrics, Outcome},
    telemetry::request_id::{RequestId, enter},
    tensor::{Batch, parts},
    wasm::{
        host::Until,
        instance::{ChainError, TrapCause},
    },
};

/// Rows of a request that may be executed where it was read.
const INLINE_ROWS: u32 = 1_024;

/// A request is quick if others of its size have taken less than this, interruptions aside.
const INLINE_COST: Duration = Duration::from_micros(100);

/// The time that one attempt at a request may take where it was read. No health check waits much longer than this.
const INLINE_BUDGET: Duration = Duration::from_millis(10);

/// The time that an I/O thread executes requests before it looks after its sockets again.
const TURN: Duration = Duration::from_millis(1);

/// Generations of which a substitute keeps instances: it is there for a while only.
const KEPT_BY_SUBSTITUTES: usize = 1;

/// The time after which a run that should have been stopped counts as one that cannot be: no thread loses its core for as long.
const OVERSTAYED: Duration = Duration::from_millis(200);

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
    pub fn start(config: WorkersConfig, metrics: &Arc<Metrics>) -> io::Result<Self> {
        metrics.workers.set(config.count as i64);
        metrics.queue_capacity.set(config.queue as i64);
        metrics.queue_bytes_capacity.set(config.queue_bytes as i64);
        let count = config.count;
        let queue = Arc::new(Queue::new(config, substitutes::most(count), Arc::clone(metrics)));
        let mut threads = (0..count)
            .map(|number| {
                let queue = Arc::clone(&queue);
                spawn::spawn(format!("worker-{number}"), move || {
                    serve(&queue, number, InstanceCache::default(), Queue::pop);
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let watched = Arc::clone(&queue);
        let substitute = |queue: &Queue, number| {
            serve(queue, number, InstanceCache::keeping(KEPT_BY_SUBSTITUTES), Queue::pop_left_over);
        };
        let watch = move || substitutes::watch(&watched, substitute);
        threads.push(thread::Builder::new().name("watchdog".into()).spawn(watch)?);
        Ok(Self { queue, threads })
    }

    /// Executes a batch by a generation: on this thread if that will be quick, else by a worker. Counts how it ends, also where
    /// the caller goes away first.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the model's share of the queue is full, [`Error::Deadline`] when the deadline passes.
    pub async fn execute(
        &self,
        generation: &Arc<Generation>,
        batch: Batch,
        options: impl Into<RequestOptions>,
    ) -> Result<Batch, Error> {
        let options = options.into();
        let in_flight = InFlight::new(generation);
        let copy = generation.shadow.next().map(|target| (target, batch.clone()));
        let inline = match self.put_aside(generation, &batch, options.deadline) {
            Some((answer, put)) => {
                if put == Put::First {
                    // A task of its own, so that no caller that goes away takes it along.
                    tokio::spawn(turn(Arc::clone(&self.queue)));
                }
                // Dropped where it took too long.
                answer.await.ok()
            }
            None => None,
        };
        let result = match inline {
            Some(result) => result,
            None => match admit(&self.queue, generation, batch, options) {
                Ok(answer) => answered(answer, generation, options.deadline).await,
                Err(error) => Err(error),
            },
        };
        in_flight.end(result.as_ref().err().map_or(Outcome::Success, Error::outcome));
        if let (Some((target, batch)), Ok(answer)) = (copy, &result) {
            copies::run(&self.queue, generation, &target, batch, answer.clone());
        }
        result
    }

    /// Puts a request aside for this thread, if it will be quick; `None` if a worker should execute it.
    fn put_aside(&self, generation: &Arc<Generation>, batch: &Batch, deadline: Instant) -> Option<(Answer, Put)> {
        let cost = generation.cost(batch.rows);
        if batch.rows > INLINE_ROWS || cost >= INLINE_COST {
            return None;
        }
        let (job, answer) = Job::new(generation, batch.clone(), deadline, None).ok()?;
        let put = HERE.with_borrow_mut(|here| here.as_mut()?.put(job, cost, &self.queue.config.weights))?;
        Some((answer, put))
    }

    /// Runs something slow that is not inference, such as decoding a large body, where it delays no health check. It waits
    /// among the work of `model`, the name of one that is served, or [`NO_MODEL`](super::NO_MODEL). `size` is what it keeps in
    /// memory while it waits, in bytes.
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
        let mut request = RequestId::current();
        let run = move |refused: Option<Error>| {
            let _entered = enter(&mut request);
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
        spawn::join(self.threads.drain(..));
    }
}

/// Executes what this thread has put aside, one group right after the other: what they have in common stays in the caches.
/// Its turn comes behind all that are ready now, and after a while others have theirs.
async fn turn(queue: Arc<Queue>) {
    let (metrics, policy) = (&*queue.metrics, RetryPolicy::HandOver(INLINE_BUDGET));
    let is_more = || {
        HERE.with_borrow_mut(|here| {
            let Some(Inline { instances, lanes }) = here.as_mut() else { return false };
            let mut executor = Executor { instances, metrics, policy };
            let begun = Instant::now();
            let mut last = begun;
            while let Some((lane, jobs)) = lanes.next() {
                if catch_unwind(AssertUnwindSafe(|| executor.execute_batch(jobs))).is_err() {
                    metrics.panics.inc();
                }
                let now = Instant::now();
                lanes.charge(lane, now - last);
                last = now;
                if now - begun >= TURN {
                    break;
                }
            }
            !lanes.is_empty()
        })
    };
    while is_more() {
        tokio::task::yield_now().await;
    }
}

/// Executes what the queue has for a thread of the pool, which `next` gives, until there is no more.
fn serve(queue: &Queue, thread: usize, mut instances: InstanceCache, next: fn(&Queue, usize) -> Option<Work>) {
    while let Some(work) = next(queue, thread) {
        let run = || match work {
            Work::Run(job) => {
                let policy = RetryPolicy::TryLast;
                let mut executor = Executor { instances: &mut instances, metrics: &queue.metrics, policy };
                executor.execute_batch(queue.gather(thread, job));
            }
            // Its caller has been answered already.
            Work::Task(task) if Instant::now() >= task.deadline => drop(task),
            Work::Task(task) => (task.run)(None),
        };
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            queue.metrics.panics.inc();
        }
    }
}

/// Executes requests with the instances of one thread.
struct Executor<'t> {
    instances: &'t mut InstanceCache,
    metrics: &'t Metrics,
    policy: RetryPolicy,
}

impl Executor<'_> {
    /// Executes jobs of one generation that agree in their open dimensions, and answers them. A job that the policy hands over
    /// is dropped, and that tells the caller that waits for it.
    fn execute_batch(&mut self, jobs: Vec<Job>) {
        self.metrics.runs.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        let mut jobs: Vec<_> = jobs.into_iter().filter_map(|job| job.if_wanted(start)).collect();
        let Some(generation) = jobs.first().map(|job| Arc::clone(&job.generation)) else { return };
        let waited = generation.metrics.queue.local();
        for job in &jobs {
            waited.observe((start - job.queued).as_secs_f64());
        }
        waited.flush();
        let (policy, patience) = (self.policy, |rows| patience(generation.cost(rows), generation.limits.deadline));
        let others_wait = jobs.len() > 1;
        if others_wait {
            // Modules' log lines carry the id of the first job. After a failure each job is attempted alone.
            let mut request = jobs.first().and_then(|job| job.request.clone());
            let _entered = enter(&mut request);
            let answers = one_batch(&jobs).and_then(|(batch, first)| {
                let until = policy.for_batch(start, first, || patience(batch.rows));
                split(&jobs, &self.attempt(&generation, batch, &wanted(&jobs, until), jobs.len()).ok()?)
            });
            if let Some(answers) = answers {
                return Job::answer_all(jobs, answers);
            }
            // Some of them may not be wanted any more, and none of them should keep the others waiting.
            jobs = jobs.into_iter().filter_map(|job| job.if_wanted(Instant::now())).collect();
        }
        let mut late = Vec::new();
        for job in jobs {
            let (rows, mut request) = (job.batch.rows, job.request.clone());
            let _entered = enter(&mut request);
            match policy.for_one(start, Instant::now(), job.deadline, others_wait, || patience(rows)) {
                Some(until) => match self.attempt(&generation, job.batch.clone(), &wanted_one(&job, until), 1) {
                    Err(ChainError::Trap { cause: TrapCause::Deadline, .. }) if until < job.deadline => {
                        generation.usage.record_timeout();
                        late.push(job);
                    }
                    result => answer(job, result),
                },
                None => late.push(job),
            }
        }
        if policy.hands_over() {
            generation.metrics.handovers.inc_by(late.len() as u64);
            return;
        }
        for job in late.into_iter().filter_map(|job| job.if_wanted(Instant::now())) {
            let mut request = job.request.clone();
            let _entered = enter(&mut request);
            let result = self.attempt(&generation, job.batch.clone(), &wanted_one(&job, job.deadline), 1);
            answer(job, result);
        }
    }

    /// A batch of so many requests through the stages of a generation, timed. A panic of the gateway's own is caught and
    /// counted.
    fn attempt(
        &mut self,
        generation: &Arc<Generation>,
        batch: Batch,
        until: &Until,
        requests: usize,
    ) -> Result<Batch, ChainError> {
        let rows = batch.rows;
        let (start, deadline) = (Instant::now(), until.deadline);
        let mut held = self.instances.lock();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let runner = held.runner(generation);
            self.metrics.copied_to_modules.inc_by(batch.size() as u64);
            let answer = in_parts::run(generation, batch, |part| {
                let answer = generation.run(runner, part, until.clone())?;
                generation.metrics.timed(&runner.timing);
                Ok(answer)
            })?;
            generation.metrics.batch_rows.observe(f64::from(rows));
            Ok(answer)
        }));
        let spent = start.elapsed();
        if start + spent >= deadline + OVERSTAYED {
            generation.usage.record_overstay();
        }
        generation.usage.record_latency(requests, rows, spent);
        result.unwrap_or_else(|_| {
            self.metrics.panics.inc();
            held.forget(generation);
            Err(ChainError::Failed("the gateway panicked".into()))
        })
    }
}

/// The rows of all jobs as one batch, and the deadline of the first to expire.
fn one_batch(jobs: &[Job]) -> Option<(Batch, Instant)> {
    let first = jobs.iter().map(|job| job.deadline).min()?;
    let batches: Vec<_> = jobs.iter().map(|job| &job.batch).collect();
    let batch = parts::join(&batches, &jobs.first()?.generation.signature.inputs).ok()?;
    Some((batch, first))
}

/// The answers to jobs that ran as one batch.
fn split(jobs: &[Job], answer: &Batch) -> Option<Vec<Batch>> {
    let rows: Vec<_> = jobs.iter().map(|job| job.batch.rows).collect();
    parts::split(answer, &jobs.first()?.generation.signature.outputs, &rows).ok()
}

fn wanted_one(job: &Job, until: Instant) -> Until {
    wanted(slice::from_ref(job), until)
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

fn answer(job: Job, result: Result<Batch, ChainError>) {
    let result = result.map_err(|error| explain(error, &job.generation, &job.batch));
    job.answer(result);
}
