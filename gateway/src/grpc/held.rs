//! Streams of gRPC calls under a request's permit.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
};
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep};

use super::wire::SMALL_MESSAGE;
use crate::memory::{Claim, Permit};

/// The body of a call that goes on for as long as messages come, each soon after the one before.
#[derive(Debug)]
pub(super) struct InTime {
    body: Body,
    permit: Permit,
    timeout: Duration,
    end: Pin<Box<Sleep>>,
}

impl InTime {
    pub(super) fn new(body: Body, permit: Permit, timeout: Duration) -> Self {
        Self { body, permit, timeout, end: Box::pin(sleep(timeout)) }
    }
}

impl HttpBody for InTime {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let end = Instant::now() + self.timeout;
            self.end.as_mut().reset(end);
            // No more than a message is kept.
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                let bytes = (self.permit.held() + data.len()).min(SMALL_MESSAGE);
                if let Err(error) = self.permit.cover(bytes, Claim::Arriving) {
                    return Poll::Ready(Some(Err(Error::new(error))));
                }
            }
            return Poll::Ready(frame);
        }
        self.end.as_mut().poll(context).map(|()| Some(Err(Error::new(SilentStream))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no message came for too long")]
struct SilentStream;
