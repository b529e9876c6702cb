//! Where generations end: on a thread of its own, after the last request that holds one.
//!
//! Giving back a model's memory and unmapping code takes long enough to be felt by the request that drops the last
//! reference. So the reaper keeps one of each generation that was switched away from until it is the only one.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use crate::{allocator, generation::Generation, metrics::Metrics, workers};

/// The interval at which it looks, while something is left to release.
const LOOK: Duration = Duration::from_millis(20);

/// Hands generations over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reaper {
    retired: mpsc::Sender<Arc<Generation>>,
    unreleased: Unreleased,
}

/// Bytes, as estimated, of generations that were handed over and still take them.
#[derive(Clone, Debug, Default)]
pub struct Unreleased(Arc<AtomicUsize>);

impl Unreleased {
    /// So many.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Reaper {
    /// Starts the thread, which ends with the last handle. `known` tells whether a version, or where none is given a
    /// model, is still known: the series of those that are not go with their last generation.
    pub fn start(
        metrics: Arc<Metrics>,
        known: impl Fn(&str, Option<&str>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, retired) = mpsc::channel::<Arc<Generation>>();
        let unreleased = Unreleased::default();
        let left = unreleased.clone();
        thread::Builder::new().name("reaper".into()).stack_size(workers::STACK).spawn(move || {
            let mut waiting: Vec<Arc<Generation>> = Vec::new();
            // Whether a thread was too busy to be looked at.
            let mut unswept = false;
            // Bytes of those gone, of which a thread may still have instances.
            let mut gone = 0;
            loop {
                let next = if waiting.is_empty() && !unswept {
                    retired.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
                } else {
                    retired.recv_timeout(LOOK)
                };
                match next {
                    Ok(generation) => waiting.push(generation),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
                waiting.extend(retired.try_iter());
                let before = waiting.len();
                // The catalog's is gone, so a count of one only ever stays one.
                waiting.retain(|generation| {
                    let in_use = Arc::strong_count(generation) > 1;
                    gone += if in_use { 0 } else { generation.footprint() };
                    in_use
                });
                metrics.lifecycle.draining.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
                let busy = workers::sweep();
                let swept = unswept && !busy;
                unswept = busy;
                if !busy {
                    if gone > 0 {
                        allocator::give_back();
                    }
                    left.0.fetch_sub(std::mem::take(&mut gone), Ordering::AcqRel);
                }
                if waiting.len() < before || swept {
                    metrics.retain(|model, version| known(model, Some(version)), |model| known(model, None));
                }
            }
        })?;
        Ok(Self { retired: sender, unreleased })
    }

    /// Takes a generation that no new request will find.
    pub fn retire(&self, generation: Arc<Generation>) {
        self.unreleased.0.fetch_add(generation.footprint(), Ordering::AcqRel);
        // The thread ends only after the last handle, so this fails only if it panicked; then the caller drops it.
        _ = self.retired.send(generation);
    }

    /// The generations that were retired and are not released yet.
    pub fn unreleased(&self) -> Unreleased {
        self.unreleased.clone()
    }
}
