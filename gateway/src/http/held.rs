//! Answers under a permit until the client has taken them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};
use serde_json::json;

use crate::{
    error::Error as Refusal,
    memory::{Account, Claim, Permit},
};

/// The content type of most answers.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Answers of up to so many bytes count with the connection or the stream that they are sent on.
pub(super) const SMALL_ANSWER: usize = 4 << 10;

/// In the extensions of an answer whose bytes are counted, or shared between answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted;

/// Puts the bytes of an answer under a permit, unless they are few or counted already. Where the account is full the
/// answer is 503 in the words of every surface: the path is not known any more.
pub(super) fn counted(memory: &Arc<Account>, response: Response) -> Response {
    let Some(size) = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok()) else {
        // Made bit by bit, as the client takes it.
        return response;
    };
    if size <= SMALL_ANSWER || response.extensions().get::<Counted>().is_some() {
        return response;
    }
    let mut permit = Permit::new(memory);
    if permit.cover(size, Claim::Stream).is_ok() {
        return response.map(|body| Body::new(Held::new(body, permit)));
    }
    let text = Refusal::Overloaded.to_string();
    let body = json!({ "detail": text, "error": text, "error_code": "TEMPORARILY_UNAVAILABLE", "message": text });
    let headers = [(header::CONTENT_TYPE, JSON), (header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, headers, body.to_string()).into_response()
}

/// An answer, whose permit ends when the client has taken its first message.
#[derive(Debug)]
pub(crate) struct Held {
    body: Body,
    permit: Option<Permit>,
}

impl Held {
    pub(crate) fn new(body: Body, permit: Permit) -> Self {
        Self { body, permit: Some(permit) }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        frame.map_ok(|frame| {
            frame.map_data(|data| match self.permit.take() {
                Some(mut permit) => {
                    // Where it cannot grow: the answer is there already, and its request was counted for more.
                    _ = permit.settle(data.len());
                    permit.bind(data)
                }
                None => data,
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
