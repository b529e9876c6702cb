//! The memory of the process, against its budget.
//!
//! What models take is accounted for by estimates, which are known at once and say what unloading a model will
//! give back. They leave out what only the system knows: memory that the allocator and the instance pool keep for later,
//! connections, and the part of an instance's memory that nothing has touched. So the process's resident memory is looked
//! at again and again. What a load takes at its height is set aside before it begins and is not to count twice: so the
//! least that was seen lately is believed.

use std::time::{Duration, Instant};

/// For how long what was seen is believed; at most twice as long, if nothing less is seen.
const LATELY: Duration = Duration::from_secs(1);

/// This part of the budget is left free, for what grows between two looks.
const SPARE: usize = 50;

/// The process's memory, as far as models are to fit into it.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes that the process may take.
    limit: Option<usize>,
    /// Bytes that are aimed at.
    most: usize,
    /// The least that it took beyond what is accounted for, in this and in the last stretch of time; below 0 where the
    /// estimates are high.
    seen: [isize; 2],
    /// When this stretch of time began.
    since: Option<Instant>,
}

impl Budget {
    /// `own` is what the process took before any model was there.
    pub(super) fn new(limit: Option<usize>, own: usize) -> Self {
        let spare = |limit: usize| limit - limit / SPARE;
        Self { limit, most: limit.map_or(usize::MAX, spare), seen: [signed(own); 2], since: None }
    }

    pub(super) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// The memory that is not accounted for; below 0 where the estimates are high.
    pub(super) fn drift(&self) -> isize {
        let [now, before] = self.seen;
        now.min(before)
    }

    /// Whether nothing has been taken in for long.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now.saturating_duration_since(since) > 2 * LATELY)
    }

    /// Takes in that the process takes `resident` bytes while so many are accounted for.
    pub(super) fn look(&mut self, resident: usize, accounted: usize, now: Instant) {
        let drift = signed(resident).saturating_sub(signed(accounted));
        let [current, _] = &mut self.seen;
        let Some(since) = self.since else {
            self.seen = [drift; 2];
            self.since = Some(now);
            return;
        };
        let stretches = now.saturating_duration_since(since).as_nanos() / LATELY.as_nanos();
        match stretches {
            0 => *current = drift.min(*current),
            1 => self.seen = [drift, *current],
            _ => self.seen = [drift; 2],
        }
        if stretches > 0 {
            self.since = Some(now);
        }
    }

    /// Bytes to be given back, if so many are accounted for.
    pub(super) fn over(&self, accounted: usize) -> usize {
        let taken = signed(accounted).saturating_add(self.drift());
        usize::try_from(taken.saturating_sub(signed(self.most))).unwrap_or(0)
    }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn look(budget: &mut Budget, start: Instant, at_ms: u64, resident: usize, accounted: usize) {
        budget.look(resident * MIB, accounted * MIB, start + Duration::from_millis(at_ms));
    }

    #[test]
    fn without_a_limit_nothing_is_over_it() {
        let mut budget = Budget::new(None, 30 * MIB);
        look(&mut budget, Instant::now(), 0, 900, 0);
        assert_eq!(budget.over(1 << 50), 0);
    }

    #[test]
    fn the_least_that_was_seen_lately_is_believed() {
        // Of which 100 MiB are aimed at.
        let mut budget = Budget::new(Some(100 * MIB * 50 / 49 + 1), 30 * MIB);
        assert_eq!(budget.over(70 * MIB), 0);
        assert_eq!(budget.over(75 * MIB).div_ceil(MIB), 5);
        let start = Instant::now();
        look(&mut budget, start, 0, 90, 60);
        // A load at its height.
        look(&mut budget, start, 300, 110, 60);
        assert_eq!(budget.over(70 * MIB), 0);
        look(&mut budget, start, 1_100, 110, 60);
        assert_eq!(budget.over(70 * MIB), 0);
        // It stays.
        look(&mut budget, start, 2_200, 110, 60);
        assert_eq!(budget.over(60 * MIB).div_ceil(MIB), 10);
        // What goes is believed at once.
        look(&mut budget, start, 2_300, 95, 60);
        assert_eq!(budget.over(65 * MIB), 0);
        // After a long silence so is what is seen.
        look(&mut budget, start, 60_000, 120, 60);
        assert_eq!(budget.over(60 * MIB).div_ceil(MIB), 20);
    }

    #[test]
    fn estimates_that_are_high_leave_room() {
        let mut budget = Budget::new(Some(100 * MIB), 30 * MIB);
        let start = Instant::now();
        look(&mut budget, start, 0, 60, 120);
        assert_eq!(budget.over(150 * MIB), 0);
        assert_eq!(budget.over(160 * MIB) / MIB, 2);
    }
}
