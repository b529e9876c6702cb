//! Threads that run inference: their stacks, and their end.

use std::{
    io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Stack of a thread that runs inference: what wasm may use (512 KiB) and ample room for the model's native code.
pub const STACK: usize = 8 << 20;

/// The time that threads may take to end. One that is held up by then is left to the end of the process.
const JOIN: Duration = Duration::from_secs(10);

/// The interval at which it is looked whether they have ended.
const LOOK: Duration = Duration::from_millis(2);

/// Starts a thread.
pub(super) fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name).stack_size(STACK).spawn(run)
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
