//! Whether the caller of a request is still there.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::oneshot;

/// The caller of a request, as seen from the thread that runs it.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller(Arc<AtomicBool>);

impl Caller {
    /// Whether nobody waits any more.
    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The answer that a caller waits for. Dropping it marks the caller as gone.
pub(super) struct Awaited<T> {
    answer: oneshot::Receiver<T>,
    caller: Caller,
}

impl<T> Awaited<T> {
    pub(super) fn new(answer: oneshot::Receiver<T>, caller: Caller) -> Self {
        Self { answer, caller }
    }
}

impl<T> Future for Awaited<T> {
    type Output = Result<T, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context)
    }
}

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.caller.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caller_is_gone_once_nobody_waits() {
        let caller = Caller::default();
        let (reply, answer) = oneshot::channel();
        let awaited = Awaited::new(answer, caller.clone());
        assert!(!caller.is_gone());
        reply.send(7).expect("somebody waits");
        assert_eq!(awaited.await, Ok(7));
        assert!(caller.is_gone());
    }
}
