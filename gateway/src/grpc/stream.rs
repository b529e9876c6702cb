//! `ModelStreamInfer`: requests of one stream, answered one by one and in order.
//!
//! Nothing of the next request is decoded before the last one's answer is on its way, so a stream holds one request at a
//! time, and a client that takes no answers is asked for no more requests.

use std::{
    pin::{Pin, pin},
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
use prost::Message;
use tokio::time::{Sleep, sleep, timeout_at};
use tonic::{Code, Status, Streaming, metadata::MetadataMap};

use super::{
    codec,
    compression::PREFIX,
    inference::{self, Inference},
    proto::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse},
    status::status,
};
use crate::{
    app::App,
    config::HttpConfig,
    http::lasting::StreamSlot,
    memory::{Claim, Permit},
    telemetry::request_id::{RequestId, scope},
};

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
    /// Covers the request that is answered, decoded, and then its answer.
    permit: Permit,
    _slot: StreamSlot,
}

/// The answers to a stream of requests. An error is told in the answer, as Triton tells it, and the stream goes on.
///
/// # Errors
/// A deadline that cannot be read.
pub(super) fn answers(
    inference: &Inference,
    metadata: MetadataMap,
    requests: Streaming<ModelInferRequest>,
    slot: StreamSlot,
) -> Result<Answers, Status> {
    let timeout = inference::timeout(&metadata).map_err(|error| status(&error))?;
    let open = Open {
        inference: inference.clone(),
        ends_with_error: metadata.get("triton_grpc_error").is_some_and(|value| value == "true"),
        metadata,
        requests,
        until: timeout.map(|timeout| Instant::now() + timeout),
        permit: Permit::new(&inference.app.memory),
        _slot: slot,
    };
    // The stream goes on after the answer to its request has begun.
    let request = RequestId::current();
    Ok(Box::pin(stream::unfold(Some(open), move |open| {
        let next = async {
            let mut open = open?;
            match open.next().await {
                Ok(answer) => Some((Ok(answer?), Some(open))),
                Err(status) => Some((Err(status), None)),
            }
        };
        let request = request.clone();
        async move { scope(request, pin!(next)).await }
    })))
}

impl Open {
    /// The next answer; `None` after the last.
    async fn next(&mut self) -> Result<Option<ModelStreamInferResponse>, Status> {
        let passed = || Status::deadline_exceeded("the stream's deadline passed");
        // The last answer has been taken.
        drop(self.permit.take());
        let message = codec::counted(&mut self.permit, self.requests.message());
        let message = match self.until {
            Some(until) => timeout_at(until.into(), message).await.map_err(|_| passed())?,
            None => message.await,
        };
        let Some(request) = message? else { return Ok(None) };
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        match self.inference.infer(&self.metadata, &request, left).await {
            Ok(response) => {
                // Where it cannot grow: the answer is there already, and its request was counted for more.
                _ = self.permit.settle(2 * response.encoded_len());
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

/// Bounds the time between the messages of a stream and that in which each must arrive once it has begun, and counts what
/// comes of it.
pub(super) async fn bounded(State(app): State<App>, request: Request, next: Next) -> Response {
    let HttpConfig { body_timeout: patience, header_timeout: idle, max_body: max_message, .. } = app.http;
    let permit = Permit::new(&app.memory);
    let messages = |body| Messages {
        body,
        patience,
        idle,
        max_message,
        permit,
        came: 0,
        left: Left::default(),
        late: None,
        is_silent: false,
    };
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
    /// For a message to arrive.
    patience: Duration,
    /// For a message to begin.
    idle: Duration,
    max_message: usize,
    /// Covers the message that is coming, or was handed over last.
    permit: Permit,
    /// Bytes of it.
    came: usize,
    left: Left,
    /// When the message that is coming, or the next one, is late.
    late: Option<Pin<Box<Sleep>>>,
    /// Whether it is the next one.
    is_silent: bool,
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
                if this.left.advance(data) || this.left.is_between() || this.is_silent {
                    this.late = None;
                    this.is_silent = false;
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
        let late = this.late.get_or_insert_with(|| {
            // Nothing has begun, and another message is asked for.
            this.is_silent = true;
            Box::pin(sleep(this.idle))
        });
        ready!(late.as_mut().poll(context));
        if this.is_silent {
            let problem = format!("no message came on the stream for {} seconds", this.idle.as_secs());
            return Poll::Ready(Some(Err(Box::new(Status::unavailable(problem)))));
        }
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
