//! The part of a live generation that changes: counts of its requests, measured times, runners that are kept ready.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{run_time::RunTime, runner::Runner};
use crate::request_stats::RequestStats;

/// The counts and caches of one generation.
#[derive(Debug, Default)]
pub struct Usage {
    /// The statistics of its requests.
    pub stats: RequestStats,
    /// The times that its runs take.
    pub(super) run_time: RunTime,
    /// Runners for threads that have none yet.
    ready: Mutex<Vec<Runner>>,
    /// The number of threads that have taken a runner.
    taken: AtomicUsize,
}

impl Usage {
    /// Records the time of a batch of so many rows, which so many requests shared.
    pub fn record_latency(&self, requests: usize, rows: u32, time: Duration) {
        self.stats.ran(requests, time);
        self.run_time.record(requests, rows, time);
    }

    /// Records that a request was stopped for taking too long.
    pub fn record_timeout(&self) {
        self.run_time.record_timeout();
    }

    /// Records that a run went on long after it should have been stopped, as one node of a graph may: from now on a thread
    /// that has other work does not run its requests.
    pub fn record_overstay(&self) {
        self.run_time.record_overstay();
    }

    /// Threads that have taken a runner.
    pub fn threads(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Keeps runners that were made ahead, so that no thread makes its own while requests wait.
    pub fn keep_ready(&self, runners: Vec<Runner>) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).extend(runners);
    }

    /// Takes a runner for one thread out of those that are ready.
    pub(super) fn take_ready(&self) -> Option<Runner> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
