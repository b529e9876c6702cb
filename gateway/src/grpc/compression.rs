//! Compressed messages: inflated where they delay no health check, within the limit that plain ones have.

use std::time::Instant;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{BufMut, Bytes, BytesMut};
use tonic::Status;

use super::status::status;
use crate::{
    app::App,
    error::Error,
    http::body::{self, Coding, Received},
    memory::Permit,
    workers::NO_MODEL,
};

/// Bytes before each message: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: &str = "identity,gzip,deflate";

/// A request's only message as it would be without compression, and its headers likewise.
///
/// # Errors
/// An encoding that is not taken, and what exceeds the limit once it is inflated.
pub(super) async fn inflated(
    app: &App,
    headers: &mut HeaderMap,
    body: Bytes,
    permit: Permit,
) -> Result<(Bytes, Permit), Status> {
    let encoding = headers.remove(ENCODING);
    // An encoding is only for messages whose flag says so.
    if body.first() != Some(&1) {
        return Ok((body, permit));
    }
    let size = body.len();
    let coding = match encoding.as_ref().map(HeaderValue::as_bytes) {
        Some(b"gzip") => Coding::Gzip,
        Some(b"deflate") => Coding::Deflate,
        _ => {
            let mut refused = Status::unimplemented(format!("grpc-encoding: expected one of {ACCEPTED}"));
            refused
                .metadata_mut()
                .insert("grpc-accept-encoding", tonic::metadata::MetadataValue::from_static(ACCEPTED));
            return Err(refused);
        }
    };
    let (limit, deadline) = (app.http.max_body, Instant::now() + app.http.body_timeout);
    let task = move || inflate(body.get(PREFIX..).unwrap_or_default(), coding, limit, deadline, permit);
    let inflated = app.workers.call(NO_MODEL, size, deadline, task).await.and_then(|inflated| inflated);
    inflated.map_err(|error| status(&error))
}

/// A message with the prefix of one that is not compressed, under the permit of its request.
fn inflate(
    message: &[u8],
    coding: Coding,
    limit: usize,
    deadline: Instant,
    permit: Permit,
) -> Result<(Bytes, Permit), Error> {
    let Received { body, permit } = body::inflate(message, coding, limit, deadline, permit)?;
    let length = u32::try_from(body.len()).map_err(|_| Error::BodyTooLarge(limit))?;
    let mut frame = BytesMut::with_capacity(PREFIX + body.len());
    frame.put_u8(0);
    frame.put_u32(length);
    body.pieces().for_each(|piece| frame.put_slice(piece));
    Ok((frame.freeze(), permit))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::memory::Account;

    fn inflated(message: &[u8], coding: Coding, limit: usize) -> Result<Bytes, Error> {
        let deadline = Instant::now() + std::time::Duration::from_mins(1);
        inflate(message, coding, limit, deadline, Permit::new(&Account::new(64 << 20))).map(|(frame, _)| frame)
    }

    #[test]
    fn messages_are_inflated_within_the_limit() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![7; 100_000]).expect("into memory");
        let message = gzip.finish().expect("whole");
        let frame = inflated(&message, Coding::Gzip, 100_000).expect("fits");
        assert_eq!((frame[0], &frame[1..PREFIX], frame.len()), (0, &100_000u32.to_be_bytes()[..], PREFIX + 100_000));
        assert!(matches!(inflated(&message, Coding::Gzip, 99_999), Err(Error::BodyTooLarge(99_999))));
        assert!(matches!(inflated(&message, Coding::Deflate, 100_000), Err(Error::BadRequest(_))));
        assert!(matches!(inflated(&message[..50], Coding::Gzip, 100_000), Err(Error::BadRequest(_))));
    }
}
