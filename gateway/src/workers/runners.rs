//! A thread's instances by generation, and what becomes of their failures.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, TryLockError, Weak},
    time::{Duration, Instant},
};

use crate::{
    error::Error,
    generation::{Generation, Runner},
    metrics::Metrics,
    tensor::Batch,
    wasm::{
        contract::Problem,
        host::Until,
        instance::{ChainError, TrapCause},
    },
};

/// Generations of which a thread keeps instances; beyond that, those longest unused are dropped.
const MAX_RUNNERS: usize = 64;

/// The time after which a run that should have been stopped counts as one that cannot be: no thread loses its core for as long.
const OVERSTAYED: Duration = Duration::from_millis(200);

/// The runners of every thread, so that what is left of a generation that is gone can be released elsewhere.
static THREADS: Mutex<Vec<Weak<Mutex<Held>>>> = Mutex::new(Vec::new());

/// Used by one thread; the lock is taken by another only to [`sweep`].
pub(super) struct Runners {
    held: Arc<Mutex<Held>>,
}

struct Held {
    by_id: HashMap<u64, Entry>,
    clock: u64,
    /// The number that is kept.
    most: usize,
}

impl Default for Runners {
    fn default() -> Self {
        Self::keeping(MAX_RUNNERS)
    }
}

impl Runners {
    /// For a thread that keeps instances of so many generations.
    pub(super) fn keeping(most: usize) -> Self {
        let held = Arc::new(Mutex::new(Held { by_id: HashMap::new(), clock: 0, most }));
        let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|held| held.strong_count() > 0);
        threads.push(Arc::downgrade(&held));
        Self { held }
    }
}

/// Releases, on the calling thread, the instances that threads keep of generations that are gone. Tells whether some
/// could not be looked at because they were in use.
pub fn sweep() -> bool {
    let threads: Vec<_> =
        THREADS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
    let mut busy = false;
    for held in threads {
        let gone = match held.try_lock() {
            Ok(mut held) => held.take_gone(),
            Err(TryLockError::Poisoned(held)) => held.into_inner().take_gone(),
            Err(TryLockError::WouldBlock) => {
                busy = true;
                continue;
            }
        };
        // Outside the lock: this is what takes time.
        drop(gone);
    }
    busy
}

struct Entry {
    runner: Runner,
    of: Weak<Generation>,
    used: u64,
}

impl Runners {
    /// A batch of so many requests through the generation's chain, timed. A panic of ours is caught and counted.
    pub(super) fn run(
        &mut self,
        generation: &Arc<Generation>,
        batch: Batch,
        until: Until,
        requests: usize,
        metrics: &Metrics,
    ) -> Result<Batch, ChainError> {
        let rows = batch.rows;
        let (start, deadline) = (Instant::now(), until.deadline);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let runner = held.get(generation);
            metrics.copied_to_modules.inc_by(batch.size() as u64);
            let answer = runner.run(generation, batch, until)?;
            generation.metrics.batch_rows.observe(f64::from(rows));
            generation.metrics.timed(runner.timing());
            Ok(answer)
        }));
        let spent = start.elapsed();
        if start + spent >= deadline + OVERSTAYED {
            generation.overstayed();
        }
        generation.took(requests, rows, spent);
        result.unwrap_or_else(|_| {
            metrics.panics.inc();
            held.by_id.remove(&generation.id);
            Err(ChainError::Failed("the gateway panicked".into()))
        })
    }
}

impl Held {
    fn get(&mut self, generation: &Arc<Generation>) -> &mut Runner {
        self.clock += 1;
        if !self.by_id.contains_key(&generation.id) {
            self.make_room();
        }
        let entry = self.by_id.entry(generation.id).or_insert_with(|| Entry {
            runner: generation.runner(),
            of: Arc::downgrade(generation),
            used: 0,
        });
        entry.used = self.clock;
        &mut entry.runner
    }

    fn take_gone(&mut self) -> Vec<Entry> {
        self.by_id.extract_if(|_, entry| entry.of.strong_count() == 0).map(|(_, entry)| entry).collect()
    }

    /// Lets go of the one longest unused if there are too many.
    fn make_room(&mut self) {
        if self.by_id.len() >= self.most
            && let Some(oldest) = self.by_id.iter().min_by_key(|(_, entry)| entry.used).map(|(&id, _)| id)
        {
            self.by_id.remove(&oldest);
        }
    }
}

/// A request that takes this share of a limit with its own columns leaves a module too little for what it makes of them.
const LARGE_SHARE: usize = 8;

/// Rows of a request that may be too large whatever its columns take: modules widen them.
const MANY_ROWS: u32 = 16;

/// The limit that a large request exceeded by its size: that is not the module's fault.
fn outgrown(cause: TrapCause, generation: &Generation, batch: &Batch) -> Option<(&'static str, usize)> {
    let limit = match cause {
        TrapCause::Memory => ("memory", generation.limits.memory),
        TrapCause::HostCallBytes => ("host_call_bytes", generation.limits.host_call_bytes),
        _ => return None,
    };
    let is_large = batch.rows >= MANY_ROWS || batch.size() >= limit.1 / LARGE_SHARE;
    is_large.then_some(limit)
}

/// A problem's column is one that the caller sent: a column that a stage made of others stands in the message instead.
fn name_own_column(problem: &mut Problem, generation: &Generation) {
    let is_own = |name: &String| generation.signature.inputs.iter().any(|column| column.name == *name);
    if let Some(inner) = problem.column.take_if(|name| !is_own(name)) {
        problem.message = format!("the model's input '{inner}': {}", problem.message);
    }
}

/// Counts and logs what the caller need not know.
pub(super) fn explain(error: ChainError, generation: &Generation, batch: &Batch) -> Error {
    let model = generation.name.as_str();
    if let ChainError::Trap { cause, detail } = &error
        && let Some((limit, most)) = outgrown(*cause, generation, batch)
    {
        let (rows, bytes) = (batch.rows, batch.size());
        tracing::info!(model, rows, bytes, limit, detail, "a request is too large for its model's limits");
        return Error::TooLarge(format!(
            "{rows} rows at once are too many: the model needs more for them than its limits.{limit} of {most} bytes; send \
             fewer, or raise the limit in the bundle"
        ));
    }
    match error {
        ChainError::Invalid(mut problems) => {
            for problem in &mut problems {
                name_own_column(problem, generation);
            }
            Error::Problems(problems)
        }
        ChainError::Trap { cause: TrapCause::Deadline, .. } => {
            generation.metrics.trapped(TrapCause::Deadline);
            generation.deadline_passed()
        }
        ChainError::Trap { cause: TrapCause::Cancelled, .. } => {
            generation.metrics.trapped(TrapCause::Cancelled);
            // Nobody gets it.
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
