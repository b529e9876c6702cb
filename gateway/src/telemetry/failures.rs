//! A line in the log for each request that failed, whatever the access log's sample is.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::{error::Error, metrics::Outcome};

/// Lines a second about requests that were turned away; the metrics count the rest.
const MOST_SHED: u64 = 10;

/// The lines about requests that were turned away.
static SHED: Limit = Limit(AtomicU64::new(0));

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Logs that the current request failed. Not the mistakes of callers, and not every request of a flood that is turned away.
pub fn log(error: &Error) {
    let is_told = match error.outcome() {
        Outcome::Failed | Outcome::Deadline => true,
        Outcome::Shed => SHED.allows(START.elapsed().as_secs()),
        Outcome::Success | Outcome::Invalid | Outcome::Cancelled => false,
    };
    if is_told {
        let status = error.status().as_u16();
        tracing::warn!(status, %error, "a request failed");
    }
}

/// So many events a second. The second is in the upper half, their number in the lower one.
struct Limit(AtomicU64);

impl Limit {
    fn allows(&self, second: u64) -> bool {
        let next = |state: u64| {
            let counted = if state >> 32 == second { state & u64::from(u32::MAX) } else { 0 };
            (counted < MOST_SHED).then_some(second << 32 | (counted + 1))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_some_lines_each_second() {
        let limit = Limit(AtomicU64::new(0));
        for second in [0, 1, 7] {
            assert_eq!((0..1_000).filter(|_| limit.allows(second)).count() as u64, MOST_SHED, "in second {second}");
        }
    }
}
