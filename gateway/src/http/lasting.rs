//! Places for streams that last, shared out between connections.
//!
//! A connection gets another slot while it has less than a quarter of those that are free. So a single connection may
//! have many, and however many a few connections take, others find some.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::http::Extensions;

/// The part of the free slots that one connection may have.
const SHARE: usize = 4;

/// The streams that have a limit of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `ModelStreamInfer`.
    Inference,
    /// `Watch` of gRPC's health service.
    Watch,
}

impl Kind {
    /// The kind of stream that is opened at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/inference.GRPCInferenceService/ModelStreamInfer" => Some(Self::Inference),
            "/grpc.health.v1.Health/Watch" => Some(Self::Watch),
            _ => None,
        }
    }
}

/// One connection's streams of each kind, in the extensions of requests that open one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lasting(Arc<[AtomicUsize; 2]>);

/// The slots of one kind, over all connections.
#[derive(Debug)]
pub(crate) struct Pool {
    kind: Kind,
    most: usize,
    taken: AtomicUsize,
}

/// The slot of one stream. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct StreamSlot {
    pool: Arc<Pool>,
    connection: Lasting,
}

impl Pool {
    /// So many slots.
    pub(crate) fn new(kind: Kind, most: usize) -> Arc<Self> {
        Arc::new(Self { kind, most, taken: AtomicUsize::new(0) })
    }

    /// A slot for a stream of the connection that these extensions of a request name; `None` where it has its share.
    pub(crate) fn take(self: &Arc<Self>, extensions: &Extensions) -> Option<StreamSlot> {
        let connection = extensions.get::<Lasting>().cloned().unwrap_or_default();
        // Counts only: nothing is read or written on their strength.
        let free = self.most.saturating_sub(self.taken.fetch_add(1, Ordering::Relaxed));
        let held = connection.0[self.kind as usize].fetch_add(1, Ordering::Relaxed);
        let slot = StreamSlot { pool: Arc::clone(self), connection };
        (free > 0 && held < (free / SHARE).max(1)).then_some(slot)
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.connection.0[self.pool.kind as usize].fetch_sub(1, Ordering::Relaxed);
        self.pool.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Lasting::default());
        extensions
    }

    fn fill(pool: &Arc<Pool>, connection: &Extensions, most: usize) -> Vec<StreamSlot> {
        std::iter::from_fn(|| pool.take(connection)).take(most).collect()
    }

    #[test]
    fn a_few_connections_leave_slots_to_others() {
        let pool = Pool::new(Kind::Watch, 1_000);
        let greedy: Vec<_> = (0..16).map(|_| fill(&pool, &connection(), 256)).collect();
        assert_eq!(greedy[0].len(), 200, "a quarter of what it leaves");
        let other = fill(&pool, &connection(), 10);
        assert_eq!(other.len(), 6, "a quarter of what those leave");
        drop((greedy, other));
        assert_eq!(pool.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_last_slots_are_given_one_by_one_and_no_more_than_there_are() {
        let pool = Pool::new(Kind::Inference, 3);
        let held: Vec<_> = (0..5).filter_map(|_| pool.take(&connection())).collect();
        assert_eq!(held.len(), 3);
        assert!(pool.take(&Extensions::new()).is_none());
    }
}
