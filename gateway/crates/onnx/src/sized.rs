//! Plans for inputs of concrete sizes, made when such inputs come.
//!
//! Many nets of images and sequences leave sizes open, and a plan in which they are symbols is slow, or cannot be built.
//! So plans are built for the sizes that requests have, once each, shared by all sessions, and a few are kept. What
//! requests ask for is bounded in every way: so many plans and bytes for one model, so many builds at once in the process,
//! and nobody waits for a build longer than until its own deadline.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use modelgate_columns::Column;
use tract_onnx::tract_hir::internal::{InferenceModel, TVec, ToDim, TractResult};

use super::columns;
use super::error::ComputeError;
use super::failure::brief;
use super::interface::Input;
use super::plan::{Plan, Resident, RunnablePlan, typed, within_bounds};

/// Plans kept for one model.
const KEPT: usize = 8;

/// Sizes remembered for one model that have no plan: those that were seen, and those that cannot be.
const REMEMBERED: usize = 32;

/// Bytes that the plans of one model may take even where the model itself is small.
const LEAST_BYTES: usize = 64 << 20;

/// The number of times that sizes must be seen before they get a plan where the model can do without.
const SEEN: u32 = 3;

/// Stack of a thread that builds a plan.
const STACK: usize = 8 << 20;

/// The longest sleep of a request that waits for a build, after which it looks at everything again.
const NAP: Duration = Duration::from_secs(1);

/// The sizes of every dimension of every input, one after the other.
pub(super) type Sizes = Box<[usize]>;

/// The way in which a request waits for a plan.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Not at all: there is another plan.
    No,
    /// Until then, or for ever.
    Until(Option<Instant>),
}

/// The plans of a model by the sizes of its inputs.
#[derive(Debug)]
pub(super) struct Sized {
    model: InferenceModel,
    inputs: Vec<Input>,
    /// The outputs that every plan has to give, the rows (or 1) in front.
    outputs: Vec<Column>,
    /// Whether the first dimension is the rows.
    table: bool,
    /// Bytes of the file, by which it is bounded what a plan may take to build.
    file_bytes: usize,
    /// Bytes that its plans may take.
    limit: usize,
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    /// The least recently used first.
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    sizes: Sizes,
    slot: Slot,
}

#[derive(Debug)]
enum Slot {
    /// So often, without a plan.
    Seen(u32),
    Building,
    Ready {
        plan: RunnablePlan,
        bytes: usize,
    },
    Failed(String),
}

impl Sized {
    /// None yet. `base` is what the model holds besides.
    pub(super) fn new(
        model: InferenceModel,
        inputs: Vec<Input>,
        outputs: Vec<Column>,
        table: bool,
        file_bytes: usize,
        base: usize,
    ) -> Self {
        let limit = base.saturating_mul(KEPT).min(LEAST_BYTES.max(base.saturating_mul(2)));
        Self { model, inputs, outputs, table, file_bytes, limit, shelf: Mutex::default(), changed: Condvar::new() }
    }

    /// Bytes that the plans may come to take.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The plan for these sizes. `None` where there is none yet and the request can do without.
    ///
    /// # Errors
    /// Sizes that the model cannot have, and a deadline that passes before the plan is built.
    pub(super) fn plan(self: &Arc<Self>, sizes: &[usize], wait: Wait) -> Result<Option<RunnablePlan>, ComputeError> {
        loop {
            let mut shelf = self.shelf();
            match shelf.touch(sizes) {
                Slot::Ready { plan, .. } => return Ok(Some(Arc::clone(plan))),
                Slot::Failed(problem) => {
                    let invalid = || ComputeError::invalid(format!("the model cannot take these sizes: {problem}"));
                    return if matches!(wait, Wait::No) { Ok(None) } else { Err(invalid()) };
                }
                Slot::Building => {
                    let Wait::Until(deadline) = wait else { return Ok(None) };
                    let nap = nap(deadline)?;
                    // The holder of the lock only reads and writes it.
                    drop(self.changed.wait_timeout(shelf, nap).unwrap_or_else(PoisonError::into_inner));
                }
                Slot::Seen(times) => {
                    *times = times.saturating_add(1);
                    if matches!(wait, Wait::No) && *times < SEEN {
                        return Ok(None);
                    }
                    if let Some(permit) = Permit::take() {
                        shelf.put(sizes, Slot::Building, self.limit);
                        drop(shelf);
                        self.build_aside(&Sizes::from(sizes), permit);
                        continue;
                    }
                    drop(shelf);
                    let Wait::Until(deadline) = wait else { return Ok(None) };
                    Permit::wait(nap(deadline)?);
                }
            }
        }
    }

    /// Builds on a thread of its own: a request whose deadline passes does not take the build along.
    fn build_aside(self: &Arc<Self>, sizes: &Sizes, permit: Permit) {
        let (this, wanted) = (Arc::clone(self), sizes.clone());
        let build = move || {
            let slot = this.build(&wanted);
            this.shelf().put(&wanted, slot, this.limit);
            this.changed.notify_all();
            drop(permit);
        };
        let started = thread::Builder::new().name("plan".into()).stack_size(STACK).spawn(build);
        if let Err(error) = started {
            // The permit went with the thread that was not.
            self.shelf().put(sizes, Slot::Failed(format!("no plan can be built: {error}")), self.limit);
            self.changed.notify_all();
        }
    }

    fn build(&self, sizes: &[usize]) -> Slot {
        match self.prepare(sizes) {
            Ok(plan) => {
                let bytes = self.bytes_of(&plan.runnable);
                Slot::Ready { plan: plan.runnable, bytes }
            }
            Err(problem) => Slot::Failed(problem),
        }
    }

    /// A plan for these sizes, outside the shelf.
    fn prepare(&self, sizes: &[usize]) -> Result<Plan, String> {
        let plan = concrete(&self.model, &self.inputs, sizes, self.file_bytes).map_err(|error| brief(&error))?;
        let rows = if self.table { sizes.first().copied() } else { None };
        for (column, (datum, dims)) in self.outputs.iter().zip(&plan.outputs) {
            columns::check_fact(column, rows, *datum, dims)?;
        }
        Ok(plan)
    }

    /// Keeps a plan that was built to try the model.
    pub(super) fn keep(&self, sizes: &[usize], plan: &Plan) {
        let bytes = self.bytes_of(&plan.runnable);
        self.shelf().put(sizes, Slot::Ready { plan: Arc::clone(&plan.runnable), bytes }, self.limit);
    }

    /// The number of plans.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.shelf().count(Slot::is_ready)
    }

    fn bytes_of(&self, plan: &RunnablePlan) -> usize {
        let mut resident = Resident::default();
        resident.add_graph(&self.model);
        resident.add_plan(plan)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plan for inputs of these sizes, within the bounds of a file of so many bytes.
pub(super) fn concrete(
    model: &InferenceModel,
    inputs: &[Input],
    sizes: &[usize],
    file_bytes: usize,
) -> TractResult<Plan> {
    let mut sizes = sizes.iter();
    let shapes: Vec<TVec<_>> =
        inputs.iter().map(|input| sizes.by_ref().take(input.dims.len()).map(ToDim::to_dim).collect()).collect();
    within_bounds(file_bytes, || Plan::new(typed(model, inputs, shapes)?))
}

/// The time to sleep before looking again.
fn nap(deadline: Option<Instant>) -> Result<Duration, ComputeError> {
    let left = deadline.map_or(NAP, |deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_zero() { Err(ComputeError::Deadline) } else { Ok(left.min(NAP)) }
}

impl Shelf {
    /// The entry of these sizes, now the most recently used one.
    fn touch(&mut self, sizes: &[usize]) -> &mut Slot {
        let found = self.entries.iter().position(|entry| *entry.sizes == *sizes);
        let entry = found.and_then(|index| self.entries.remove(index)).unwrap_or_else(|| {
            while self.count(Slot::is_note) >= REMEMBERED {
                self.drop_oldest(Slot::is_note);
            }
            Entry { sizes: sizes.into(), slot: Slot::Seen(0) }
        });
        self.entries.push_back(entry);
        let last = self.entries.len() - 1;
        &mut self.entries[last].slot
    }

    /// Puts something into the entry of these sizes, and makes room for it. The newest plan stays even where it alone is
    /// over the limit: a request waits for it.
    fn put(&mut self, sizes: &[usize], slot: Slot, limit: usize) {
        *self.touch(sizes) = slot;
        while self.count(Slot::is_ready) > KEPT || (self.bytes() > limit && self.count(Slot::is_ready) > 1) {
            self.drop_oldest(Slot::is_ready);
        }
    }

    /// Drops the least recently used entry of a kind.
    fn drop_oldest(&mut self, kind: fn(&Slot) -> bool) {
        if let Some(index) = self.entries.iter().position(|entry| kind(&entry.slot)) {
            self.entries.remove(index);
        }
    }

    fn count(&self, kind: fn(&Slot) -> bool) -> usize {
        self.entries.iter().filter(|entry| kind(&entry.slot)).count()
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| if let Slot::Ready { bytes, .. } = entry.slot { bytes } else { 0 }).sum()
    }
}

impl Slot {
    fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Whether nothing but a word about the sizes is kept.
    fn is_note(&self) -> bool {
        matches!(self, Self::Seen(_) | Self::Failed(_))
    }
}

/// Leave to build a plan: there are few in the process.
#[derive(Debug)]
pub(super) struct Permit;

static BUILDS: Mutex<usize> = Mutex::new(0);
static BUILT: Condvar = Condvar::new();

impl Permit {
    pub(super) fn take() -> Option<Self> {
        let mut builds = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
        (*builds < most_builds()).then(|| {
            *builds += 1;
            Self
        })
    }

    /// Until one is given back, or so long.
    fn wait(nap: Duration) {
        let builds = BUILDS.lock().unwrap_or_else(PoisonError::into_inner);
        if *builds >= most_builds() {
            drop(BUILT.wait_timeout(builds, nap).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *BUILDS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        BUILT.notify_all();
    }
}

/// Half of the cores: the other half goes on answering.
fn most_builds() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shelf_stays_small_whatever_is_asked_for() {
        let mut shelf = Shelf::default();
        let mut seed = 1_u64;
        for round in 0..5000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (size, kind) = ((seed >> 33) as usize % 200, (seed >> 20) % 5);
            match kind {
                0 => shelf.put(&[size], Slot::Failed("no".into()), 1000),
                1 => shelf.put(&[size], Slot::Seen(1), 1000),
                _ => _ = shelf.touch(&[size]),
            }
            assert!(shelf.entries.len() <= REMEMBERED + KEPT, "{} in round {round}", shelf.entries.len());
            let last = shelf.entries.back().map(|entry| entry.sizes[0]);
            assert_eq!(last, Some(size), "the one that was used last is dropped last");
        }
    }
}
