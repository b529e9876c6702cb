//! Requests that a thread has read by the time that it turns to the first of them, run together where they were read.
//!
//! A thread that reads sockets goes round those that are ready: each request is decoded and put aside here, and when all
//! have had their turn, what is there is run at once. Nobody waits for a clock: a request that came alone is run alone.

use std::{
    cell::RefCell,
    collections::VecDeque,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{INLINE_BUDGET, queue::Job, runners::Runners, together};
use crate::metrics::Metrics;

/// How long a thread runs requests before it looks after its sockets again.
const TURN: Duration = Duration::from_millis(1);

thread_local! {
    /// What a thread that reads sockets runs itself; `None` on every other thread. Never dropped by the thread's own end,
    /// when what wasmtime keeps for the thread may be gone already: see [`release`].
    static HERE: RefCell<ManuallyDrop<Option<Here>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

#[derive(Default)]
struct Here {
    runners: Runners,
    /// Each can be run together. No more requests in all than the thread has connections and streams. Unless it is empty,
    /// a task is about to run it.
    groups: VecDeque<Vec<Job>>,
}

/// Lets this thread run requests itself. It must run a single-threaded event loop, so that what it spawns stays on it.
pub fn begin() {
    HERE.with_borrow_mut(|here| **here = Some(Here::default()));
}

/// Lets go of the instances that this thread keeps for what it runs itself. To be called before the thread ends.
pub fn release() {
    let here = HERE.with_borrow_mut(|here| here.take());
    drop(here);
}

/// Puts a job aside to be run in this turn of the thread; false if this thread runs none.
pub(super) fn run(job: Job, metrics: &Arc<Metrics>) -> bool {
    HERE.with_borrow_mut(|here| {
        let Some(here) = here.as_mut() else { return false };
        if here.groups.is_empty() {
            // Its turn comes behind all that are ready now. A task of its own, so that no caller that goes away takes it
            // along.
            tokio::spawn(run_all(Arc::clone(metrics)));
        }
        match here.groups.iter_mut().find(|jobs| together::fits(jobs, &job)) {
            Some(jobs) => jobs.push(job),
            None => here.groups.push_back(vec![job]),
        }
        true
    })
}

async fn run_all(metrics: Arc<Metrics>) {
    while run_some(&metrics) {
        // Others want their turn too.
        tokio::task::yield_now().await;
    }
}

/// Runs groups for a while, one right after the other: what they have in common stays in the caches. Tells whether there
/// are more.
fn run_some(metrics: &Metrics) -> bool {
    HERE.with_borrow_mut(|here| {
        let Some(Here { runners, groups }) = here.as_mut() else { return false };
        let begun = Instant::now();
        while let Some(jobs) = groups.pop_front() {
            let run = || together::run(jobs, runners, metrics, Some(INLINE_BUDGET));
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                metrics.panics.inc();
            }
            if begun.elapsed() >= TURN {
                break;
            }
        }
        !groups.is_empty()
    })
}
