//! The time that a run of a generation takes, learnt from those before.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// Rows of a request that counts as small: its time depends on its being a request more than on its rows.
const SMALL_REQUEST: u32 = 16;

/// A single measurement counts for no more than this.
const MAX_NS: u64 = 800_000;

/// The weight of a request that ran out of its time: dozens of requests go by before that is forgotten.
const TIMEOUT_NS: u64 = 20_000_000;

/// The same for each row of a large request.
const TIMEOUT_ROW_NS: u64 = TIMEOUT_NS / SMALL_REQUEST as u64;

/// Times of runs. Updated without locks: of two updates at once one may be lost.
#[derive(Debug)]
pub(super) struct RunTime {
    /// Nanoseconds that small requests take.
    small_ns: AtomicU64,
    /// Nanoseconds that each row of a large batch takes; `u64::MAX` as long as there was none.
    row_ns: AtomicU64,
    /// Whether a run went on long after it should have been stopped.
    has_overstayed: AtomicBool,
}

impl Default for RunTime {
    fn default() -> Self {
        Self { small_ns: AtomicU64::new(0), row_ns: AtomicU64::new(u64::MAX), has_overstayed: AtomicBool::new(false) }
    }
}

impl RunTime {
    /// The time that requests of so many rows have taken lately; [`Duration::MAX`] where none that large has run yet, and
    /// where a run has overstayed.
    pub(super) fn estimate(&self, rows: u32) -> Duration {
        if self.has_overstayed.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        let small = self.small_ns.load(Ordering::Relaxed);
        let all = if rows <= SMALL_REQUEST {
            small
        } else {
            self.row_ns.load(Ordering::Relaxed).saturating_mul(u64::from(rows)).max(small)
        };
        Duration::from_nanos(all)
    }

    /// Records the time of a batch of so many rows, which so many requests shared.
    pub(super) fn record(&self, requests: usize, rows: u32, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let requests = u64::try_from(requests).unwrap_or(u64::MAX).max(1);
        if u64::from(rows) <= requests.saturating_mul(u64::from(SMALL_REQUEST)) {
            approach(&self.small_ns, (time / requests).min(MAX_NS));
        }
        if rows > SMALL_REQUEST {
            approach(&self.row_ns, (time / u64::from(rows)).min(MAX_NS));
        }
    }

    /// Records that a request was stopped for taking too long.
    pub(super) fn record_timeout(&self) {
        self.small_ns.store(TIMEOUT_NS, Ordering::Relaxed);
        self.row_ns.store(TIMEOUT_ROW_NS, Ordering::Relaxed);
    }

    /// Records that a run went on long after it should have been stopped.
    pub(super) fn record_overstay(&self) {
        self.has_overstayed.store(true, Ordering::Relaxed);
    }
}

/// Moves an estimate towards a new measurement. It falls sooner than it rises, and so is near the time of a run that is not
/// interrupted: a thread that must share its core with others does not make a quick model a slow one.
fn approach(estimate: &AtomicU64, measured: u64) {
    let old = estimate.load(Ordering::Relaxed);
    let next = match old {
        u64::MAX => measured,
        old if measured < old => old - (old - measured) / 8,
        old => old + (measured - old) / 64,
    };
    estimate.store(next, Ordering::Relaxed);
}
