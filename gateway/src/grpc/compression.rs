//! Compressed messages: inflated where they delay no health check, within the limit that plain ones have.

use std::io::Read;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use tonic::Status;

use super::status::status;
use crate::{app::App, error::Error};

/// Bytes before each message: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: &str = "identity,gzip,deflate";

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
}

/// A request's only message as it would be without compression, and its headers likewise.
///
/// # Errors
/// An encoding that is not taken, and what exceeds the limit once it is inflated.
pub(super) async fn inflated(app: &App, headers: &mut HeaderMap, body: Bytes) -> Result<Bytes, Status> {
    let encoding = headers.remove(ENCODING);
    // An encoding is only for messages whose flag says so.
    if body.first() != Some(&1) {
        return Ok(body);
    }
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
    let limit = app.http.max_body;
    let task = move || inflate(body.get(PREFIX..).unwrap_or_default(), coding, limit);
    app.workers.call(task).await.and_then(|inflated| inflated).map_err(|error| status(&error))
}

/// A message with the prefix of one that is not compressed.
fn inflate(message: &[u8], coding: Coding, limit: usize) -> Result<Bytes, Error> {
    let most = limit as u64 + 1;
    let mut out = Vec::new();
    let read = match coding {
        Coding::Gzip => MultiGzDecoder::new(message).take(most).read_to_end(&mut out),
        Coding::Deflate => ZlibDecoder::new(message).take(most).read_to_end(&mut out),
    };
    read.map_err(|error| Error::BadRequest(format!("the message cannot be decompressed: {error}")))?;
    let length = u32::try_from(out.len()).ok().filter(|_| out.len() <= limit).ok_or(Error::BodyTooLarge(limit))?;
    let mut frame = BytesMut::with_capacity(PREFIX + out.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(&out);
    Ok(frame.freeze())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn messages_are_inflated_within_the_limit() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![7; 100_000]).expect("into memory");
        let message = gzip.finish().expect("whole");
        let frame = inflate(&message, Coding::Gzip, 100_000).expect("fits");
        assert_eq!((frame[0], &frame[1..PREFIX], frame.len()), (0, &100_000u32.to_be_bytes()[..], PREFIX + 100_000));
        assert!(matches!(inflate(&message, Coding::Gzip, 99_999), Err(Error::BodyTooLarge(99_999))));
        assert!(matches!(inflate(&message, Coding::Deflate, 100_000), Err(Error::BadRequest(_))));
        assert!(matches!(inflate(&message[..50], Coding::Gzip, 100_000), Err(Error::BadRequest(_))));
    }
}
