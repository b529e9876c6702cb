//! The work of each thread of the pool, and the time that it has taken.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::fair_queue::Turn;

/// After which time a thread is held up: other models get a substitute for it.
const HELD: Duration = Duration::from_millis(50);

/// The time after its deadline at which a run is stuck. A module is stopped a few milliseconds after its deadline, and a model
/// after the node that its deadline passed in.
const GRACE: Duration = Duration::from_millis(100);

/// A run of one thread.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) turn: Turn,
    pub(super) since: Instant,
    /// Of the last of its requests.
    pub(super) deadline: Instant,
    is_stuck: bool,
}

impl Running {
    pub(super) fn new(turn: Turn, since: Instant, deadline: Instant) -> Self {
        Self { turn, since, deadline, is_stuck: false }
    }

    /// The time that it has taken.
    pub(super) fn spent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// The runs of all threads: the workers first, then places for substitutes.
#[derive(Debug)]
pub(super) struct Threads(Vec<Option<Running>>);

impl Threads {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| None).collect())
    }

    pub(super) fn entry(&mut self, thread: usize) -> &mut Option<Running> {
        &mut self.0[thread]
    }

    /// The threads that run something.
    pub(super) fn running(&mut self) -> impl Iterator<Item = &mut Running> {
        self.0.iter_mut().flatten()
    }

    /// The threads that are held up by their work.
    fn held(&self, now: Instant) -> impl Iterator<Item = &Running> {
        self.0.iter().flatten().filter(move |running| running.spent(now) >= HELD)
    }

    /// The number of threads that are held up.
    pub(super) fn held_up(&self, now: Instant) -> usize {
        self.held(now).count()
    }

    /// The model that has held up a thread for longest, and for how long.
    pub(super) fn longest(&self, now: Instant) -> Option<(Arc<str>, Duration)> {
        let longest = self.held(now).min_by_key(|running| running.since)?;
        Some((Arc::clone(&longest.turn.model), longest.spent(now)))
    }

    /// Whether a model's work holds up a thread. It gets no substitute for that.
    pub(super) fn is_held_by(&self, model: &str, now: Instant) -> bool {
        self.held(now).any(|running| &*running.turn.model == model)
    }

    /// The number of threads that run work of a model past its deadline.
    pub(super) fn stuck(&self, model: &str) -> usize {
        self.0.iter().flatten().filter(|running| running.is_stuck && &*running.turn.model == model).count()
    }

    /// Marks the runs that are past their deadline. Gives the models of those that were not before.
    pub(super) fn mark_stuck(&mut self, now: Instant) -> Vec<Arc<str>> {
        let late = self.running().filter(|running| !running.is_stuck && now >= running.deadline + GRACE);
        let mark = |running: &mut Running| {
            running.is_stuck = true;
            Arc::clone(&running.turn.model)
        };
        late.map(mark).collect()
    }
}
