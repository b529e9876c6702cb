//! The statistics of a generation's requests: for the gates that a new release passes, and to know which was used last.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Two buckets for each doubling, from 256 ns up.
const BUCKETS: usize = 64;

/// Times are told in milliseconds since the first look at the clock.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since this process first asked.
pub fn now_ms() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Counts of one generation. Updated without locks, so a reader may see one request half counted.
#[derive(Debug)]
pub struct RequestStats {
    used_ms: AtomicU64,
    failed: AtomicU64,
    invalid: AtomicU64,
    unrun: AtomicU64,
    times: [AtomicU64; BUCKETS],
}

impl Default for RequestStats {
    fn default() -> Self {
        Self {
            used_ms: AtomicU64::new(now_ms()),
            failed: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
            unrun: AtomicU64::new(0),
            times: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl RequestStats {
    /// Notes that a request came for it.
    pub fn used(&self) {
        self.used_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// When a request last came, as [`now_ms`] tells time.
    pub fn last_used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    /// Notes a run of the chain for so many requests at once.
    pub fn ran(&self, requests: usize, time: Duration) {
        self.times[bucket(time)].fetch_add(requests as u64, Ordering::Relaxed);
    }

    /// Notes a request that the generation failed.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a request whose data was at fault, as far as the generation can tell.
    pub fn invalid(&self) {
        self.invalid.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a request was never run.
    pub fn unrun(&self) {
        self.unrun.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            failed: self.failed.load(Ordering::Relaxed),
            invalid: self.invalid.load(Ordering::Relaxed),
            unrun: self.unrun.load(Ordering::Relaxed),
            times: self.times.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
        }
    }
}

/// The counts at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Requests failed.
    pub failed: u64,
    /// Requests whose data was said to be at fault.
    pub invalid: u64,
    unrun: u64,
    times: Vec<u64>,
}

impl Snapshot {
    /// The requests that came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.times.iter().chain(std::iter::repeat(&0));
        Self {
            failed: self.failed.saturating_sub(earlier.failed),
            invalid: self.invalid.saturating_sub(earlier.invalid),
            unrun: self.unrun.saturating_sub(earlier.unrun),
            times: self.times.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect(),
        }
    }

    /// Runs of the chain.
    pub fn runs(&self) -> u64 {
        self.times.iter().sum()
    }

    /// Requests, whether they ran or not.
    pub fn requests(&self) -> u64 {
        self.runs() + self.unrun
    }

    /// The requests that were at fault.
    pub fn invalid_rate(&self) -> f64 {
        self.invalid as f64 / self.requests().max(1) as f64
    }

    /// Failures among the runs.
    pub fn failure_rate(&self) -> f64 {
        self.failed as f64 / self.runs().max(1) as f64
    }

    /// The time that this share of the runs kept within, to the next bucket's bound.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.runs() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let index = self.times.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        bound(index.unwrap_or(BUCKETS - 1))
    }
}

fn bucket(time: Duration) -> usize {
    // The place of the highest bit tells the doubling, and the square of what is below it the half.
    let units = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(256);
    let doubling = units.ilog2();
    let fraction = u128::from(units << (63 - doubling));
    let half = usize::from(fraction * fraction >= 1 << 127);
    (2 * (doubling as usize - 8) + half).min(BUCKETS - 1)
}

/// The upper end of a bucket.
fn bound(bucket: usize) -> Duration {
    Duration::from_secs_f64(256e-9 * 2f64.powf((bucket + 1) as f64 / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let stats = RequestStats::default();
        let before = stats.snapshot();
        (1..=1000).for_each(|us| stats.ran(1, Duration::from_micros(us)));
        stats.failed();
        let came = stats.snapshot().since(&before);
        assert_eq!(came.runs(), 1000);
        assert!((came.failure_rate() - 0.001).abs() < 1e-9);
        let p90 = came.quantile(0.9).as_secs_f64() / 900e-6;
        assert!((1.0..1.5).contains(&p90), "{p90}");
        assert_eq!(stats.snapshot().since(&stats.snapshot()).runs(), 0);
        stats.ran(1, Duration::ZERO);
        stats.ran(1, Duration::from_secs(1_000_000));
    }
}
