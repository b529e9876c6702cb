//! The series of one generation of a model.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use prometheus::{Histogram, IntCounter, IntGauge};

use super::outcome::Outcome;
use crate::wasm::instance::{Timing, TrapCause};

/// The series of one generation of a model, looked up once.
#[derive(Debug)]
pub struct ModelMetrics {
    pub(super) model: String,
    pub(super) version: String,
    pub(super) stage_names: Vec<String>,
    pub(super) outcomes: [IntCounter; Outcome::ALL.len()],
    pub(super) traps: [IntCounter; TrapCause::ALL.len()],
    /// Rows of each request that was answered.
    pub rows: Histogram,
    /// Rows of each run of the chain; requests that run together count once.
    pub batch_rows: Histogram,
    /// Milliseconds since 1970 of the last request that was answered.
    pub(super) last_success_ms: AtomicU64,
    /// From decoding to the encoded answer.
    pub total: Histogram,
    /// From admission to a worker.
    pub queue: Histogram,
    /// Requests waiting for a worker now.
    pub queue_depth: IntGauge,
    /// Their bytes.
    pub queue_bytes: IntGauge,
    /// In each stage, in order.
    pub stages: Vec<Histogram>,
    /// In the model, within a stage.
    pub model_seconds: Histogram,
    /// Module instances alive.
    pub instances: IntGauge,
    /// Their linear memory.
    pub instance_memory: IntGauge,
    /// Requests admitted and not yet answered.
    pub pending: IntGauge,
    /// Requests begun where they were read that took too long there and went to a worker.
    pub handovers: IntCounter,
    /// Microseconds spent decoding.
    pub decode_us: IntCounter,
    /// Microseconds spent encoding.
    pub encode_us: IntCounter,
}

impl ModelMetrics {
    /// Counts the end of a request.
    pub fn ended(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
        if outcome == Outcome::Success {
            let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
            self.last_success_ms.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// When a request was last answered, in milliseconds since 1970; 0 if none was.
    pub fn last_success_ms(&self) -> u64 {
        self.last_success_ms.load(Ordering::Relaxed)
    }

    /// The number of requests that got no answer.
    pub fn failures(&self) -> u64 {
        Outcome::ALL.into_iter().filter(|&outcome| outcome != Outcome::Success).map(|outcome| self.count(outcome)).sum()
    }

    /// The number of requests that ended so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].get()
    }

    /// Counts a module's early end.
    pub fn trapped(&self, cause: TrapCause) {
        if let Some(index) = TrapCause::ALL.iter().position(|&other| other == cause) {
            self.traps[index].inc();
        }
    }

    /// The number of modules that ended so.
    pub fn traps(&self, cause: TrapCause) -> u64 {
        TrapCause::ALL.iter().position(|&other| other == cause).map_or(0, |index| self.traps[index].get())
    }

    /// Notes the time in each stage and in the model.
    pub fn timed(&self, timing: &Timing) {
        for (histogram, time) in self.stages.iter().zip(&timing.stages) {
            histogram.observe(time.as_secs_f64());
        }
        if !timing.model.is_zero() {
            self.model_seconds.observe(timing.model.as_secs_f64());
        }
    }
}
