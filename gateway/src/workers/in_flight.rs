//! A request from its admission to its end, in the metrics and statistics of its generation.

use crate::{generation::Generation, metrics::Outcome};

/// A request admitted and not yet answered. Dropping it counts the request as cancelled.
pub(super) struct InFlight<'a> {
    generation: &'a Generation,
    is_ended: bool,
}

impl<'a> InFlight<'a> {
    pub(super) fn new(generation: &'a Generation) -> Self {
        generation.metrics.pending.inc();
        Self { generation, is_ended: false }
    }

    /// Counts how the request ended.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.is_ended = true;
        match outcome {
            Outcome::Failed | Outcome::Deadline => self.generation.usage.stats.failed(),
            Outcome::Invalid => self.generation.usage.stats.invalid(),
            Outcome::Success | Outcome::Shed | Outcome::Cancelled => {}
        }
        self.generation.metrics.ended(outcome);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.generation.metrics.pending.dec();
        if !self.is_ended {
            self.generation.metrics.ended(Outcome::Cancelled);
        }
    }
}
