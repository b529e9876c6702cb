//! The time that each attempt at a request may take, and the fate of a request that takes longer. Pure decisions: no clock.

use std::time::{Duration, Instant};

/// The factor by which an attempt may exceed the time of runs of its size while others wait for its end.
const PATIENCE: u32 = 20;

/// And at least this, since a thread may lose its core for a while.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// The number of attempts that may use up their budget before the rest is handed over.
const ATTEMPTS_OVER: u32 = 3;

/// The answer of a place of execution to requests that take long.
///
/// Requests that run together are attempted together first. Where that fails, each is attempted alone, so that one bad
/// request costs those beside it time and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryPolicy {
    /// On a thread with sockets to look after: no attempt takes longer than this budget. A request that does is handed over
    /// to a worker.
    HandOver(Duration),
    /// On a worker: an attempt that others wait for takes not much longer than is usual. A request that does is attempted
    /// once more when the others are answered, until its deadline.
    TryLast,
}

impl RetryPolicy {
    /// When an attempt at several requests together ends. It may take half of the time that is left to the `first` to expire,
    /// so that the other half is left to run alone.
    pub(super) fn for_batch(self, start: Instant, first: Instant, patience: impl FnOnce() -> Duration) -> Instant {
        let most = match self {
            Self::HandOver(budget) => budget,
            Self::TryLast => patience(),
        };
        start + most.min(first.saturating_duration_since(start) / 2)
    }

    /// When an attempt at one request that begins now ends; `None` where the request is left to the last attempt. `start` is
    /// when the first attempt at any of the requests beside it began, `others_wait` whether one at all of them has failed.
    pub(super) fn for_one(
        self,
        start: Instant,
        now: Instant,
        deadline: Instant,
        others_wait: bool,
        patience: impl FnOnce() -> Duration,
    ) -> Option<Instant> {
        match self {
            Self::HandOver(budget) if now >= start + budget * ATTEMPTS_OVER => None,
            Self::HandOver(budget) => Some(deadline.min(now + budget)),
            Self::TryLast if others_wait => Some(deadline.min(now + patience())),
            Self::TryLast => Some(deadline),
        }
    }

    /// Whether the last attempt is another place's.
    pub(super) fn hands_over(self) -> bool {
        matches!(self, Self::HandOver(_))
    }
}

/// The time that an attempt may take while others wait for its end: `usual` is what runs of its size take, `limit` what the
/// model allows for a request.
pub(super) fn patience(usual: Duration, limit: Duration) -> Duration {
    usual.saturating_mul(PATIENCE).clamp(LEAST_PATIENCE, limit.max(LEAST_PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(10);
    const POLICIES: [RetryPolicy; 2] = [RetryPolicy::HandOver(BUDGET), RetryPolicy::TryLast];

    /// Times from a millisecond to a minute, none a multiple of another.
    fn times() -> impl Iterator<Item = Duration> + Clone {
        [1, 7, 50, 331, 2_003, 60_013].into_iter().map(Duration::from_millis)
    }

    #[test]
    fn no_attempt_outlasts_a_deadline_and_one_together_leaves_half_of_the_time() {
        let start = Instant::now();
        for (policy, deadline) in POLICIES.into_iter().flat_map(|policy| times().map(move |time| (policy, time))) {
            for (patience, begun) in times().flat_map(|patience| times().map(move |begun| (patience, begun))) {
                let until = policy.for_batch(start, start + deadline, || patience);
                assert!(until <= start + deadline / 2, "{policy:?} {deadline:?}");
                for others_wait in [false, true] {
                    let until = policy.for_one(start, start + begun, start + deadline, others_wait, || patience);
                    assert!(until.is_none_or(|until| until <= start + deadline), "{policy:?} {deadline:?}");
                }
            }
        }
    }

    #[test]
    fn a_thread_with_sockets_is_held_for_a_bounded_time() {
        let (start, long) = (Instant::now(), Duration::from_hours(1));
        let policy = RetryPolicy::HandOver(BUDGET);
        // Every attempt takes all that it may.
        let mut now = policy.for_batch(start, start + long, || long);
        while let Some(until) = policy.for_one(start, now, start + long, true, || long) {
            assert!(until <= now + BUDGET);
            now = until;
        }
        assert!(now <= start + BUDGET * (ATTEMPTS_OVER + 1));
    }

    #[test]
    fn a_request_alone_on_a_worker_has_all_its_time() {
        let (start, deadline) = (Instant::now(), Duration::from_secs(10));
        let until = |others_wait| RetryPolicy::TryLast.for_one(start, start, start + deadline, others_wait, || BUDGET);
        assert_eq!((until(false), until(true)), (Some(start + deadline), Some(start + BUDGET)));
    }

    #[test]
    fn patience_follows_the_usual_time_within_limits() {
        let ms = Duration::from_millis;
        for (usual, limit, most) in
            [(0, 1_000, 50), (1, 1_000, 50), (10, 1_000, 200), (100, 1_000, 1_000), (100, 10, 50)]
        {
            assert_eq!(patience(ms(usual), ms(limit)), ms(most), "{usual} {limit}");
        }
        assert_eq!(patience(Duration::MAX, ms(1_000)), ms(1_000));
    }
}
