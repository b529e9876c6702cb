//! Requests that an I/O thread has read by the time that it turns to the first of them, put aside to be executed where they
//! were read.
//!
//! A thread that reads sockets goes round those that are ready: each request is decoded and put aside here, and when all
//! have had their turn, what is there is executed at once, the models in turn. Nobody waits for a clock: a request that came
//! alone is executed alone.

use std::{cell::RefCell, mem::ManuallyDrop, time::Duration};

use super::{config::Weights, instances::InstanceCache, job::Job, lanes::Lanes};

/// The time that the requests which a thread has put aside for one model may take. More goes to the queue, where the model has its share.
const BACKLOG: Duration = Duration::from_millis(100);

thread_local! {
    /// The requests that a thread which reads sockets executes itself; `None` on every other thread. Never dropped by the thread's own
    /// end, when what wasmtime keeps for the thread may be gone already: see [`release`].
    pub(super) static HERE: RefCell<ManuallyDrop<Option<Inline>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

/// The place of execution on a thread that reads sockets.
#[derive(Default)]
pub(super) struct Inline {
    pub(super) instances: InstanceCache,
    /// Each group can be run together. No more requests in all than the thread has connections and streams. Unless they
    /// are empty, a task is about to execute them.
    pub(super) lanes: Lanes<Vec<Job>>,
}

/// Lets this thread execute requests itself. It must run a single-threaded event loop, so that what it spawns stays on it.
pub fn begin() {
    HERE.with_borrow_mut(|here| **here = Some(Inline::default()));
}

/// Drops the instances that this thread keeps for what it executes itself. To be called before the thread ends.
pub fn release() {
    let here = HERE.with_borrow_mut(|here| here.take());
    drop(here);
}

/// A place for a request on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The first request of a turn, for which a task has to be spawned.
    First,
    /// Behind or beside others.
    Behind,
}

impl Inline {
    /// Puts a job aside to be executed in this turn of the thread, unless the thread has so much of the job's model to execute
    /// already that the queue is the place for more.
    pub(super) fn put(&mut self, job: Job, cost: Duration, weights: &Weights) -> Option<Put> {
        let put = if self.lanes.is_empty() { Put::First } else { Put::Behind };
        if put == Put::Behind {
            let waiting = u32::try_from(self.lanes.waiting(&job.generation.name)).unwrap_or(u32::MAX);
            if cost.saturating_mul(waiting) > BACKLOG {
                return None;
            }
        }
        let weight = |model: &str| weights.weight(model);
        self.lanes.put(job, model_of, weight, |jobs, job| job.fits(jobs), Vec::push, |job| vec![job]);
        Some(put)
    }
}

fn model_of(job: &Job) -> &str {
    &job.generation.name
}
