//! Requests as they come from a connection: refused before they are handled, or let in with a permit for their head.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{
    activity::{Activity, Stream},
    error_response,
    lasting::{Kind, Lasting},
};
use crate::{
    error::Error,
    memory::{Account, Claim, Permit},
};

/// The paths that a connection of the reserve may ask for.
pub(super) const HEALTH: [&str; 9] = [
    "/v2/health/live",
    "/v2/health/ready",
    "/healthz",
    "/metrics",
    "/ping",
    "/health",
    "/grpc.health.v1.Health/Check",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
];

/// Header lines taken in one request.
pub(super) const MAX_HEADERS: usize = 100;

/// Bytes that a stream takes while it is open, beside its request's head.
const STREAM: usize = 16 << 10;

/// Bytes that a header line takes beside its name and value.
const LINE: usize = 128;

/// Streams of a connection that may ask for health whatever else takes memory, and whose refusals are told in words.
const FEW: usize = 4;

/// Bytes of a refused request's body that are read and dropped before the refusal is sent.
const DISCARDED: usize = 64 << 10;

/// The time that they may take to come.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// The facts about a connection that its requests need.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) activity: Arc<Activity>,
    pub(super) memory: Arc<Account>,
    pub(super) lasting: Lasting,
    pub(super) is_reserved: bool,
}

/// The answer to a request that is refused whatever it asks for.
pub(super) fn refused<B>(request: &Request<B>) -> Option<Response> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    if hosts.next().is_none() || hosts.next().is_none() {
        return None;
    }
    let error = Error::BadRequest("a request has one Host header at most".into());
    let mut response = error_response::refusal(request.uri().path(), &error);
    if request.version() != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

/// Reads the rest of a short body before its request is refused: curl before 8 loses an answer that comes while it sends.
/// A long or slow body is cut off.
pub(super) async fn discard(mut body: Incoming) {
    let read = async {
        let mut left = DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            if length > left {
                return;
            }
            left -= length;
        }
    };
    // A refusal is sent either way.
    _ = timeout(DISCARD_TIME, read).await;
}

impl Client {
    /// Whether its connection has few open streams.
    pub(super) fn has_few(&self) -> bool {
        self.activity.open() <= FEW
    }

    /// Lets a stream in, which holds a permit from then on, or gives the answer that refuses it.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, stream: &mut Stream) -> Option<Response> {
        // HTTP/1 bounds the number while it reads, HTTP/2 only the bytes.
        if request.headers().len() > MAX_HEADERS {
            return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
        }
        let is_few = self.has_few();
        let mut permit = Permit::new(&self.memory);
        let path = request.uri().path();
        if let Err(error) = permit.cover(STREAM + path.len() + size(request.headers()), Claim::Stream)
            && !(is_few && HEALTH.contains(&path))
        {
            let response = refusal(request, &error);
            // A body may wait for as long as the client takes none.
            return Some(if is_few { response } else { response.map(|_| Body::empty()) });
        }
        stream.permit = Some(permit);
        if Kind::at(path).is_some() {
            request.extensions_mut().insert(self.lasting.clone());
        }
        None
    }
}

/// Bytes of memory that these take.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE).sum()
}

/// An error in the words of the protocol that the request speaks.
pub(super) fn refusal<B>(request: &Request<B>, error: &Error) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        tonic::Status::unavailable(error.to_string()).into_http()
    } else {
        error_response::refusal(request.uri().path(), error)
    }
}
