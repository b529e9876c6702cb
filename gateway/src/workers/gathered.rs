//! Requests that a thread has read by the time that it turns to the first of them, run together where they were read.
//!
//! A thread that reads sockets goes round those that are ready: each request is decoded and put aside here, and when all
//! have had their turn, what is there is run at once, the models in turn. Nobody waits for a clock: a request that came alone
//! is run alone.

use std::{
    cell::RefCell,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    INLINE_BUDGET,
    lanes::Lanes,
    queue::{Job, Queue},
    runners::Runners,
    together,
};
use crate::metrics::Metrics;

/// The time that a thread runs requests before it looks after its sockets again.
const TURN: Duration = Duration::from_millis(1);

/// The time that the requests which a thread has put aside for one model may take. More goes to the queue, where the model has its share.
const BACKLOG: Duration = Duration::from_millis(100);

thread_local! {
    /// The requests that a thread which reads sockets runs itself; `None` on every other thread. Never dropped by the thread's own end,
    /// when what wasmtime keeps for the thread may be gone already: see [`release`].
    static HERE: RefCell<ManuallyDrop<Option<Here>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

#[derive(Default)]
struct Here {
    runners: Runners,
    /// Each group can be run together. No more requests in all than the thread has connections and streams. Unless they
    /// are empty, a task is about to run them.
    lanes: Lanes<Vec<Job>>,
}

/// Lets this thread run requests itself. It must run a single-threaded event loop, so that what it spawns stays on it.
pub fn begin() {
    HERE.with_borrow_mut(|here| **here = Some(Here::default()));
}

/// Drops the instances that this thread keeps for what it runs itself. To be called before the thread ends.
pub fn release() {
    let here = HERE.with_borrow_mut(|here| here.take());
    drop(here);
}

/// Puts a job aside to be run in this turn of the thread. False if this thread runs none, or has so much of the job's
/// model to run already that the queue is the place for more.
pub(super) fn run(job: Job, cost: Duration, queue: &Arc<Queue>) -> bool {
    HERE.with_borrow_mut(|here| {
        let Some(Here { lanes, .. }) = here.as_mut() else { return false };
        if lanes.is_empty() {
            // Its turn comes behind all that are ready now. A task of its own, so that no caller that goes away takes it
            // along.
            tokio::spawn(run_all(Arc::clone(queue)));
        } else {
            let waiting = u32::try_from(lanes.waiting(&job.generation.name)).unwrap_or(u32::MAX);
            if cost.saturating_mul(waiting) > BACKLOG {
                return false;
            }
        }
        let weight = |model: &str| queue.config.weights.of(model);
        lanes.put(job, model_of, weight, |jobs, job| together::fits(jobs, job), Vec::push, |job| vec![job]);
        true
    })
}

fn model_of(job: &Job) -> &str {
    &job.generation.name
}

async fn run_all(queue: Arc<Queue>) {
    while run_some(&queue.metrics) {
        // Others want their turn too.
        tokio::task::yield_now().await;
    }
}

/// Runs groups for a while, one right after the other: what they have in common stays in the caches. Tells whether there
/// are more.
fn run_some(metrics: &Metrics) -> bool {
    HERE.with_borrow_mut(|here| {
        let Some(Here { runners, lanes }) = here.as_mut() else { return false };
        let begun = Instant::now();
        let mut last = begun;
        while let Some((lane, jobs)) = lanes.next() {
            let run = || together::run(jobs, runners, metrics, Some(INLINE_BUDGET));
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
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
}
