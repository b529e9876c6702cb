//! Rollouts: a share of real requests, or copies of them, goes to a canary before it answers all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{config::Gate, generation::Generation, lifecycle::history::Rollout, request_stats::Snapshot};

/// Compares the requests of a canary with those of its baseline, from the start of the rollout on.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) rollout: Rollout,
    pub(super) since: Instant,
    pub(super) canary: Arc<Generation>,
    pub(super) baseline: Arc<Generation>,
    canary_start: Snapshot,
    baseline_start: Snapshot,
}

/// The verdict on a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not yet.
    Open,
    /// The canary is as good as the baseline.
    Promote,
    /// The canary is worse, for this reason.
    Withdraw(String),
}

/// Failures among a canary's requests may exceed the old one's by this much.
const MORE_FAILURES: f64 = 0.01;

/// Nine tenths of a canary's requests may take so much longer than the old one's.
const SLOWER: u32 = 2;

/// And at least so much longer: below that, times are noise.
const NOTICED: Duration = Duration::from_micros(500);

/// A canary that fails this many requests is withdrawn without waiting for more.
const HOPELESS: u64 = 20;

impl Judge {
    pub(super) fn new(rollout: Rollout, canary: Arc<Generation>, baseline: Arc<Generation>) -> Self {
        let (canary_start, baseline_start) = (canary.usage.stats.snapshot(), baseline.usage.stats.snapshot());
        Self { rollout, since: Instant::now(), canary, baseline, canary_start, baseline_start }
    }

    /// The requests of canary and baseline so far.
    pub(super) fn requests(&self) -> [u64; 2] {
        let canary = self.canary.usage.stats.snapshot().since(&self.canary_start);
        let baseline = self.baseline.usage.stats.snapshot().since(&self.baseline_start);
        [canary.requests(), baseline.requests()]
    }

    pub(super) fn verdict(&self, gate: &Gate) -> Verdict {
        if gate.canary == 0 {
            // Copies decide nothing by themselves: an operator who reads the counts does.
            return Verdict::Open;
        }
        let canary = self.canary.usage.stats.snapshot().since(&self.canary_start);
        let baseline = self.baseline.usage.stats.snapshot().since(&self.baseline_start);
        verdict(&canary, &baseline, gate, self.since.elapsed())
    }
}

fn verdict(new: &Snapshot, old: &Snapshot, gate: &Gate, age: Duration) -> Verdict {
    let (runs, requests) = (new.runs(), new.requests());
    let allowed = old.failure_rate() + MORE_FAILURES;
    let failing = new.failure_rate() > allowed;
    if failing && new.failed >= HOPELESS.min(gate.requests) {
        return Verdict::Withdraw(format!(
            "canary: {:.1} % of {runs} requests failed, of the old one's {:.1} %",
            100.0 * new.failure_rate(),
            100.0 * old.failure_rate()
        ));
    }
    if (requests >= gate.requests || new.invalid >= HOPELESS.min(gate.requests)) && refuses_more(new, old) {
        return Verdict::Withdraw(format!(
            "canary: it took {:.1} % of {requests} requests for invalid, the old one {:.1} %",
            100.0 * new.invalid_rate(),
            100.0 * old.invalid_rate()
        ));
    }
    if requests < gate.requests && (age < gate.longest || requests == 0) {
        return Verdict::Open;
    }
    if failing {
        return Verdict::Withdraw(format!("canary: {:.1} % of {runs} requests failed", 100.0 * new.failure_rate()));
    }
    let (slow, usual) = (new.quantile(0.9), old.quantile(0.9));
    if old.runs() > 0 && runs > 0 && slow > usual * SLOWER && slow > usual + NOTICED {
        return Verdict::Withdraw(format!(
            "canary: nine tenths of its requests took up to {slow:?}, of the old one's {usual:?}"
        ));
    }
    Verdict::Promote
}

/// Whether it takes more for invalid than can be chance. Which of the two gets a caller's bad data is chance, so three times
/// the deviation of the difference is let pass beside [`MORE_FAILURES`].
fn refuses_more(new: &Snapshot, old: &Snapshot) -> bool {
    let (a, b) = (new.requests() as f64, old.requests() as f64);
    if a == 0.0 || b == 0.0 {
        return false;
    }
    let together = (new.invalid + old.invalid) as f64 / (a + b);
    let deviation = (together * (1.0 - together).max(0.0) * (1.0 / a + 1.0 / b)).sqrt();
    new.invalid_rate() > old.invalid_rate() + MORE_FAILURES + 3.0 * deviation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_stats::RequestStats;

    fn counts(runs: u64, failed: u64, time: Duration) -> Snapshot {
        let stats = RequestStats::default();
        (0..runs).for_each(|_| stats.ran(1, time));
        (0..failed).for_each(|_| stats.failed());
        stats.snapshot()
    }

    fn refusals(requests: u64, invalid: u64) -> Snapshot {
        let stats = RequestStats::default();
        (0..requests - invalid).for_each(|_| stats.ran(1, Duration::from_millis(1)));
        (0..invalid).for_each(|_| {
            stats.unrun();
            stats.invalid();
        });
        stats.snapshot()
    }

    #[test]
    fn a_canary_that_takes_more_for_invalid_is_withdrawn() {
        let gate = Gate { canary: 100, shadow: 0, requests: 30, longest: Duration::from_mins(1) };
        let young = Duration::from_millis(10);
        let judged = |new, old| verdict(&new, &old, &gate, young);
        assert!(matches!(judged(refusals(30, 30), refusals(70, 0)), Verdict::Withdraw(_)));
        assert!(matches!(judged(refusals(20, 20), refusals(70, 0)), Verdict::Withdraw(_)), "before it had all");
        assert!(matches!(judged(refusals(100, 10), refusals(900, 0)), Verdict::Withdraw(_)));
        // One caller's mistake, and callers that make many.
        assert_eq!(judged(refusals(30, 1), refusals(70, 0)), Verdict::Promote);
        assert_eq!(judged(refusals(100, 56), refusals(900, 450)), Verdict::Promote);
        assert_eq!(judged(refusals(29, 1), refusals(70, 0)), Verdict::Open);
    }

    #[test]
    fn a_canary_is_judged_by_failures_and_time() {
        let gate = Gate { canary: 100, shadow: 0, requests: 100, longest: Duration::from_mins(1) };
        let ms = Duration::from_millis;
        let old = counts(1000, 1, ms(1));
        let young = ms(10);
        assert_eq!(verdict(&counts(50, 0, ms(1)), &old, &gate, young), Verdict::Open);
        assert_eq!(verdict(&counts(100, 0, ms(1)), &old, &gate, young), Verdict::Promote);
        assert!(matches!(verdict(&counts(30, 20, ms(1)), &old, &gate, young), Verdict::Withdraw(_)));
        assert!(matches!(verdict(&counts(100, 3, ms(1)), &old, &gate, young), Verdict::Withdraw(_)));
        assert!(matches!(verdict(&counts(100, 0, ms(3)), &old, &gate, young), Verdict::Withdraw(_)));
        assert_eq!(verdict(&counts(50, 0, ms(1)), &old, &gate, Duration::from_secs(61)), Verdict::Promote);
        assert_eq!(verdict(&counts(0, 0, ms(1)), &old, &gate, Duration::from_secs(61)), Verdict::Open);
    }
}
