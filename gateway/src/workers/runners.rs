//! A thread's instances by generation, and what becomes of their failures.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::Instant,
};

use crate::{
    error::Error,
    generation::{Generation, Runner},
    metrics::Metrics,
    tensor::Batch,
    wasm::instance::{ChainError, TrapCause},
};

/// Generations of which a thread keeps instances; beyond that, those longest unused are let go.
const MAX_RUNNERS: usize = 64;

/// Problems told for one request; a module may find one in each row.
const MAX_PROBLEMS: usize = 100;

/// Belongs to one thread.
#[derive(Default)]
pub(super) struct Runners {
    by_id: HashMap<u64, Entry>,
    clock: u64,
}

struct Entry {
    runner: Runner,
    of: Weak<Generation>,
    used: u64,
}

impl Runners {
    /// One batch through the generation's chain, timed. A panic of ours is caught and counted.
    pub(super) fn run(
        &mut self,
        generation: &Arc<Generation>,
        batch: Batch,
        deadline: Instant,
        metrics: &Metrics,
    ) -> Result<Batch, ChainError> {
        let rows = batch.rows;
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let runner = self.get(generation);
            metrics.copied_to_modules.inc_by(batch.size() as u64);
            let answer = runner.run(generation, batch, deadline)?;
            generation.metrics.batch_rows.observe(f64::from(rows));
            generation.metrics.timed(runner.timing());
            Ok(answer)
        }));
        generation.took(rows, start.elapsed());
        result.unwrap_or_else(|_| {
            metrics.panics.inc();
            self.by_id.remove(&generation.id);
            Err(ChainError::Failed("the gateway panicked".into()))
        })
    }

    fn get(&mut self, generation: &Arc<Generation>) -> &mut Runner {
        self.clock += 1;
        if !self.by_id.contains_key(&generation.id) {
            self.make_room();
        }
        let entry = self.by_id.entry(generation.id).or_insert_with(|| Entry {
            runner: Runner::new(generation),
            of: Arc::downgrade(generation),
            used: 0,
        });
        entry.used = self.clock;
        &mut entry.runner
    }

    /// Lets go of generations that are gone, and of the one longest unused if there are too many.
    fn make_room(&mut self) {
        self.by_id.retain(|_, entry| entry.of.strong_count() > 0);
        if self.by_id.len() >= MAX_RUNNERS
            && let Some(oldest) = self.by_id.iter().min_by_key(|(_, entry)| entry.used).map(|(&id, _)| id)
        {
            self.by_id.remove(&oldest);
        }
    }
}

/// Counts and logs what the caller need not know.
pub(super) fn explain(error: ChainError, generation: &Generation) -> Error {
    let model = generation.name.as_str();
    match error {
        ChainError::Invalid(mut problems) => {
            problems.truncate(MAX_PROBLEMS);
            Error::Problems(problems)
        }
        ChainError::Trap { cause: TrapCause::Deadline, .. } => {
            generation.metrics.trapped(TrapCause::Deadline);
            generation.deadline_passed()
        }
        ChainError::Trap { cause, detail } => {
            generation.metrics.trapped(cause);
            tracing::warn!(model, %cause, detail, "a module ended early");
            Error::Trapped(cause)
        }
        ChainError::Failed(message) => {
            tracing::warn!(model, message, "a module or the model failed");
            Error::Internal
        }
        ChainError::Start(message) => {
            tracing::error!(model, message, "no instance could be started");
            Error::Internal
        }
    }
}
