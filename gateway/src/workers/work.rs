//! The work of a thread of the pool, from its start to its end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    queue::{Queue, Work},
    runners::Runners,
    together,
};

/// Stack of a thread that runs inference: what wasm may use (512 KiB) and ample room for the model's native code.
pub const STACK: usize = 8 << 20;

/// Generations of which a substitute keeps instances: it is there for a while only.
const KEPT_BY_SUBSTITUTES: usize = 1;

/// The time that threads may take to end. One that is held up by then is left to the end of the process.
const JOIN: Duration = Duration::from_secs(10);

/// The interval at which it is looked whether they have ended.
const LOOK: Duration = Duration::from_millis(2);

/// Runs what waits until the queue is closed and empty.
pub(super) fn worker(queue: &Queue, thread: usize) {
    let mut runners = Runners::default();
    while let Some(work) = queue.pop(thread) {
        run(queue, thread, &mut runners, work);
    }
}

/// Runs what workers are held up for, until they are not.
pub(super) fn substitute(queue: &Queue, thread: usize) {
    let mut runners = Runners::keeping(KEPT_BY_SUBSTITUTES);
    while let Some(work) = queue.pop_left_over(thread) {
        run(queue, thread, &mut runners, work);
    }
}

fn run(queue: &Queue, thread: usize, runners: &mut Runners, work: Work) {
    let run = || match work {
        Work::Run(job) => together::run(queue.gather(thread, job), runners, &queue.metrics, None),
        // Its caller has been answered already.
        Work::Task(task) if Instant::now() >= task.deadline => drop(task),
        Work::Task(task) => (task.run)(None),
    };
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        queue.metrics.panics.inc();
    }
}

/// Waits for threads to end, for a while.
pub(super) fn join(threads: impl Iterator<Item = JoinHandle<()>>) {
    let until = Instant::now() + JOIN;
    for thread in threads {
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        if thread.is_finished() {
            // A worker catches panics, so joining fails only if the thread was ended from outside.
            _ = thread.join();
        }
    }
}
