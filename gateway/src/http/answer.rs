//! Answers that hold memory until the client has taken them, and their headers.

use std::time::Instant;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use modelgate_columns::LayoutError;

use super::held::{Counted, JSON, SMALL_ANSWER};
use crate::{error::Error, generation::Generation, memory::Permit};

const GENERATION: HeaderName = HeaderName::from_static("x-modelgate-generation");
const VERSION: HeaderName = HeaderName::from_static("x-modelgate-version");

/// Answers over this many bytes of columns are encoded by a worker.
pub(super) const LARGE_ANSWER: usize = 256 << 10;

/// Names the generation that answered.
pub(super) fn name_generation(headers: &mut HeaderMap, generation: &Generation) {
    headers.insert(GENERATION, generation.id.into());
    if let Ok(version) = HeaderValue::from_str(&generation.version) {
        headers.insert(VERSION, version);
    }
}

/// An answer that a worker validated and that cannot be encoded all the same.
pub(crate) fn unencodable(generation: &Generation, error: &LayoutError) -> Error {
    tracing::error!(model = generation.name, %error, "an answer could not be encoded");
    Error::Internal
}

pub(crate) fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// An answer, whose permit ends when the client has taken it.
///
/// # Errors
/// [`Error::Overloaded`] where the memory for requests is full.
pub(super) fn held(kind: HeaderValue, body: Vec<u8>, mut permit: Permit) -> Result<Response, Error> {
    permit.settle(body.len())?;
    let is_small = body.len() <= SMALL_ANSWER;
    let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, kind)], permit.bind(body)).into_response();
    if !is_small {
        response.extensions_mut().insert(Counted);
    }
    Ok(response)
}

/// A JSON body.
pub(super) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], body).into_response()
}
