//! Where generations end: on a thread of its own, after the last request that holds one.
//!
//! Giving back a model's memory and unmapping code takes long enough to be felt by whoever happens to drop the last
//! reference. So the reaper keeps one of each generation that was switched away from until it is the only one.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use crate::{generation::Generation, metrics::Metrics, workers};

/// How often it looks, while something is left to release.
const LOOK: Duration = Duration::from_millis(20);

/// Hands generations over. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reaper(mpsc::Sender<Arc<Generation>>);

impl Reaper {
    /// Starts the thread, which ends with the last handle. `known` tells whether a version, or where none is given a
    /// model, is still known: the series of those that are not go with their last generation.
    pub fn start(
        metrics: Arc<Metrics>,
        known: impl Fn(&str, Option<&str>) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, retired) = mpsc::channel::<Arc<Generation>>();
        thread::Builder::new().name("reaper".into()).stack_size(workers::STACK).spawn(move || {
            let mut waiting: Vec<Arc<Generation>> = Vec::new();
            // Whether a thread was too busy to be looked at.
            let mut unswept = false;
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
                waiting.retain(|generation| Arc::strong_count(generation) > 1);
                metrics.lifecycle.draining.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
                let busy = workers::sweep();
                let swept = unswept && !busy;
                unswept = busy;
                if waiting.len() < before || swept {
                    metrics.retain(|model, version| known(model, Some(version)), |model| known(model, None));
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// Takes a generation that no new request will find.
    pub fn retire(&self, generation: Arc<Generation>) {
        // The thread ends only after the last handle, so this fails only if it panicked; then the caller drops it.
        _ = self.0.send(generation);
    }
}
