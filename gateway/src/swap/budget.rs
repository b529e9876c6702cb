//! What the process takes, against what it may take.
//!
//! What models take is accounted for by estimates, which are known at once and say what letting go of a model will
//! give back. They leave out what only the system knows: memory that the allocator and the instance pool keep for later,
//! connections, what a load takes at its height, and the part of an instance's memory that nothing has touched. So the
//! process's resident memory is looked at again and again, and the difference, either way, is taken into account.

use std::time::{Duration, Instant};

/// A difference that shrinks is forgotten in about this time. One that grows counts at once.
const FORGET: Duration = Duration::from_secs(4);

/// This part of the budget is left free, for what grows between two looks.
const SPARE: usize = 20;

/// The process's memory, as far as models are to fit into it.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes that the process may take.
    limit: Option<usize>,
    /// Bytes that are aimed at.
    most: usize,
    /// Bytes that it takes beyond what is accounted for; below 0 where the estimates are high.
    drift: isize,
    looked: Option<Instant>,
}

impl Budget {
    /// `own` is what the process took before any model was there.
    pub(super) fn new(limit: Option<usize>, own: usize) -> Self {
        let spare = |limit: usize| limit - limit / SPARE;
        Self { limit, most: limit.map_or(usize::MAX, spare), drift: signed(own), looked: None }
    }

    pub(super) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// What is not accounted for; below 0 where the estimates are high.
    pub(super) fn drift(&self) -> isize {
        self.drift
    }

    /// Takes in that the process takes `resident` bytes while so many are accounted for.
    pub(super) fn look(&mut self, resident: usize, accounted: usize, now: Instant) {
        let since = self.looked.replace(now).map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked));
        let drift = signed(resident).saturating_sub(signed(accounted));
        if drift > self.drift {
            self.drift = drift;
        } else {
            let forgotten = (since.as_secs_f64() / FORGET.as_secs_f64()).min(1.0);
            self.drift -= ((self.drift - drift) as f64 * forgotten) as isize;
        }
    }

    /// Bytes to be given back, if so many are accounted for.
    pub(super) fn over(&self, accounted: usize) -> usize {
        let taken = signed(accounted).saturating_add(self.drift);
        usize::try_from(taken.saturating_sub(signed(self.most))).unwrap_or(0)
    }
}

/// What this process takes now, in bytes; `None` where the system does not tell.
pub fn resident_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kib.map(|kib: usize| kib << 10)
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn look(budget: &mut Budget, at_ms: u64, resident: usize, accounted: usize) {
        let start = budget.looked.unwrap_or_else(Instant::now);
        budget.look(resident * MIB, accounted * MIB, start + Duration::from_millis(at_ms));
    }

    #[test]
    fn without_a_limit_nothing_is_over_it() {
        let mut budget = Budget::new(None, 30 * MIB);
        look(&mut budget, 0, 900, 0);
        assert_eq!(budget.over(1 << 50), 0);
    }

    #[test]
    fn what_is_not_accounted_for_counts_at_once_and_is_forgotten_slowly() {
        // Of which 100 MiB are aimed at.
        let mut budget = Budget::new(Some(100 * MIB * 20 / 19 + 1), 30 * MIB);
        assert_eq!(budget.over(70 * MIB), 0);
        assert_eq!(budget.over(75 * MIB).div_ceil(MIB), 5);
        // A load at its height, 20 MiB over what it was thought to take.
        look(&mut budget, 0, 110, 60);
        assert_eq!(budget.over(60 * MIB).div_ceil(MIB), 10);
        look(&mut budget, 400, 90, 60);
        assert_eq!(budget.over(60 * MIB).div_ceil(MIB), 8);
        for _ in 0..400 {
            look(&mut budget, 100, 90, 60);
        }
        assert_eq!(budget.over(60 * MIB), 0);
        assert!(budget.over(71 * MIB) > 0);
        // After a long silence what is seen is believed.
        look(&mut budget, 0, 120, 60);
        look(&mut budget, 60_000, 90, 60);
        assert_eq!(budget.over(70 * MIB), 0);
    }

    #[test]
    fn estimates_that_are_high_leave_room() {
        let mut budget = Budget::new(Some(100 * MIB), 30 * MIB);
        for _ in 0..400 {
            look(&mut budget, 100, 60, 120);
        }
        assert_eq!(budget.over(150 * MIB), 0);
        // As soon as they are right, they are believed.
        look(&mut budget, 100, 130, 100);
        assert_eq!(budget.over(100 * MIB) / MIB, 35);
    }
}
