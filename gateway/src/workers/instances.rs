//! A thread's instances by generation.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak},
};

use crate::generation::{Generation, Runner};

/// Generations of which a thread keeps instances; beyond that, those longest unused are dropped.
const MAX_GENERATIONS: usize = 64;

/// The instances of every thread, so that what is left of a generation that is gone can be released elsewhere.
static THREADS: Mutex<Vec<Weak<Mutex<Held>>>> = Mutex::new(Vec::new());

/// Used by one thread; the lock is taken by another only to [`sweep`].
pub(super) struct InstanceCache {
    held: Arc<Mutex<Held>>,
}

/// The content of an [`InstanceCache`].
pub(super) struct Held {
    by_id: HashMap<u64, Entry>,
    clock: u64,
    /// The number that is kept.
    most: usize,
}

impl Default for InstanceCache {
    fn default() -> Self {
        Self::keeping(MAX_GENERATIONS)
    }
}

impl InstanceCache {
    /// For a thread that keeps instances of so many generations.
    pub(super) fn keeping(most: usize) -> Self {
        let held = Arc::new(Mutex::new(Held { by_id: HashMap::new(), clock: 0, most }));
        let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|held| held.strong_count() > 0);
        threads.push(Arc::downgrade(&held));
        Self { held }
    }

    /// The content, for as long as the thread runs something.
    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
    generation: Weak<Generation>,
    used: u64,
}

impl Held {
    /// The runner that the thread keeps for a generation; made where there is none.
    pub(super) fn runner(&mut self, generation: &Arc<Generation>) -> &mut Runner {
        self.clock += 1;
        if !self.by_id.contains_key(&generation.id) {
            self.make_room();
        }
        let entry = self.by_id.entry(generation.id).or_insert_with(|| Entry {
            runner: generation.take_runner(),
            generation: Arc::downgrade(generation),
            used: 0,
        });
        entry.used = self.clock;
        &mut entry.runner
    }

    /// Drops the runner that the thread keeps for a generation.
    pub(super) fn forget(&mut self, generation: &Generation) {
        self.by_id.remove(&generation.id);
    }

    fn take_gone(&mut self) -> Vec<Entry> {
        self.by_id.extract_if(|_, entry| entry.generation.strong_count() == 0).map(|(_, entry)| entry).collect()
    }

    /// Drops the instances that are longest unused if there are too many.
    fn make_room(&mut self) {
        if self.by_id.len() >= self.most
            && let Some(oldest) = self.by_id.iter().min_by_key(|(_, entry)| entry.used).map(|(&id, _)| id)
        {
            self.by_id.remove(&oldest);
        }
    }
}
