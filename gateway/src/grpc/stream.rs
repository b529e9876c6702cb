//! `ModelStreamInfer`: requests of one stream, answered one by one and in order.
//!
//! Nothing of the next request is decoded before the last one's answer is on its way, so a stream holds one request at a
//! time, and a client that takes no answers is asked for no more requests.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::{Stream, stream};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep, timeout_at},
};
use tonic::{Code, Status, Streaming, metadata::MetadataMap};

use super::{
    compression::PREFIX,
    proto::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse},
    service::Inference,
    status::status,
};
use crate::{
    app::App,
    memory::{Claim, Permit},
};

/// Streams open at once, over all connections.
pub(super) const MAX_STREAMS: usize = 4_096;

pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

/// A stream between two of its requests.
struct Open {
    inference: Inference,
    metadata: MetadataMap,
    requests: Streaming<ModelInferRequest>,
    /// When all of it must be over: `grpc-timeout` is the stream's.
    until: Option<Instant>,
    /// Whether the first error ends it, with a status: Triton's clients may ask for that.
    ends_with_error: bool,
    _place: OwnedSemaphorePermit,
}

/// The answers to a stream of requests. An error is told in the answer, as Triton tells it, and the stream goes on.
///
/// # Errors
/// Too many streams at once, and a deadline that cannot be read.
pub(super) fn answers(
    inference: &Inference,
    metadata: MetadataMap,
    requests: Streaming<ModelInferRequest>,
) -> Result<Answers, Status> {
    let place = Arc::clone(&inference.streams).try_acquire_owned();
    let place = place.map_err(|_| Status::resource_exhausted("too many streams are open"))?;
    let timeout = super::service::timeout(&metadata).map_err(|error| status(&error))?;
    let open = Open {
        inference: inference.clone(),
        ends_with_error: metadata.get("triton_grpc_error").is_some_and(|value| value == "true"),
        metadata,
        requests,
        until: timeout.map(|timeout| Instant::now() + timeout),
        _place: place,
    };
    Ok(Box::pin(stream::unfold(Some(open), |open| async {
        let mut open = open?;
        match open.next().await {
            Ok(answer) => Some((Ok(answer?), Some(open))),
            Err(status) => Some((Err(status), None)),
        }
    })))
}

impl Open {
    /// The next answer; `None` after the last.
    async fn next(&mut self) -> Result<Option<ModelStreamInferResponse>, Status> {
        let passed = || Status::deadline_exceeded("the stream's deadline passed");
        let message = match self.until {
            Some(until) => timeout_at(until.into(), self.requests.message()).await.map_err(|_| passed())?,
            None => self.requests.message().await,
        };
        let Some(request) = message? else { return Ok(None) };
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        match self.inference.infer(&self.metadata, &request, left).await {
            Ok(response) => {
                Ok(Some(ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) }))
            }
            Err(error) => {
                let refused = status(&error);
                if self.ends_with_error || (refused.code() == Code::DeadlineExceeded && left == Some(Duration::ZERO)) {
                    return Err(refused);
                }
                let ModelInferRequest { model_name, model_version, id, .. } = request;
                let response = ModelInferResponse { model_name, model_version, id, ..ModelInferResponse::default() };
                let error_message = refused.message().to_owned();
                Ok(Some(ModelStreamInferResponse { error_message, infer_response: Some(response) }))
            }
        }
    }
}

/// Bounds the time in which each message of a stream must arrive once it has begun, and counts what comes of it. Between
/// two there may be any time.
pub(super) async fn bounded(State(app): State<App>, request: Request, next: Next) -> Response {
    let (patience, max_message) = (app.http.body_timeout, app.http.max_body);
    let permit = Permit::new(&app.memory);
    let messages = |body| Messages { body, patience, max_message, permit, came: 0, left: Left::default(), late: None };
    next.run(request.map(|body| Body::new(messages(body)))).await
}

/// Bytes that one byte of a compressed message may inflate to: what deflate comes to at most.
const MAX_RATIO: usize = 1_032;

/// Where in its messages a body is.
#[derive(Debug, Default)]
struct Left {
    /// Bytes of the prefix that have come.
    prefix: Vec<u8>,
    /// Bytes of the message that are still to come.
    message: usize,
    /// Whether the message, or the last one, is compressed.
    is_compressed: bool,
}

impl Left {
    /// Goes on by these bytes; tells whether a message has ended in them.
    fn advance(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        while !bytes.is_empty() {
            if self.message > 0 {
                let step = self.message.min(bytes.len());
                self.message -= step;
                bytes = &bytes[step..];
                ended |= self.message == 0;
                continue;
            }
            let step = (PREFIX - self.prefix.len()).min(bytes.len());
            self.prefix.extend_from_slice(&bytes[..step]);
            bytes = &bytes[step..];
            if let [flag, a, b, c, d] = self.prefix[..] {
                self.is_compressed = flag != 0;
                self.message = u32::from_be_bytes([a, b, c, d]) as usize;
                self.prefix.clear();
                ended |= self.message == 0;
            }
        }
        ended
    }

    fn is_between(&self) -> bool {
        self.message == 0 && self.prefix.is_empty()
    }
}

struct Messages {
    body: Body,
    patience: Duration,
    max_message: usize,
    /// Covers the message that is coming, or was handed over last.
    permit: Permit,
    /// Bytes of it.
    came: usize,
    left: Left,
    /// When the message that has begun is late.
    late: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Messages {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.left.is_between() {
            // Only once the last one's answer is on its way is another message asked for.
            this.came = 0;
            _ = this.permit.settle(0);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                if this.left.advance(data) || this.left.is_between() {
                    this.late = None;
                }
                this.came += data.len();
                let ratio = if this.left.is_compressed { MAX_RATIO } else { 1 };
                let bytes = this.came.saturating_mul(ratio).min(this.max_message);
                if let Err(error) = this.permit.cover(bytes, Claim::Arriving) {
                    return Poll::Ready(Some(Err(Box::new(status(&error)))));
                }
                if !this.left.is_between() && this.late.is_none() {
                    this.late = Some(Box::pin(sleep(this.patience)));
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(late) = &mut this.late else { return Poll::Pending };
        ready!(late.as_mut().poll(context));
        let seconds = this.patience.as_secs();
        let problem = format!("a message of the stream did not arrive within {seconds} seconds");
        Poll::Ready(Some(Err(Box::new(Status::deadline_exceeded(problem)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_a_stream_is_known_whatever_its_pieces() {
        let message = [&[0, 0, 0, 0, 3][..], b"abc", &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1], b"x"].concat();
        for size in 1..=message.len() {
            let mut left = Left::default();
            let mut ends = 0;
            for piece in message.chunks(size) {
                ends += usize::from(left.advance(piece));
            }
            assert!(left.is_between() && (1..=3).contains(&ends), "{size}");
            assert!(!left.advance(&message[..7]) && !left.is_between());
        }
    }
}
