//! Reading a request's body: bounded in size, time and memory, and decompressed.

use std::{io::Read, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{
    app::{App, BODY_PERMIT},
    error::Error,
    rope::Rope,
};

/// Bodies up to here are read and decoded at once; larger ones wait for memory and are decoded by a worker.
pub(super) const SMALL: usize = 64 << 10;

/// Bytes of a body over the limit that are read and thrown away.
const MAX_DISCARDED: usize = 64 << 20;

/// For how long that is done.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The whole body, decompressed, in one piece.
pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    read_rope(app, headers, body).await.map(Rope::into_bytes)
}

/// The whole body, decompressed, in the pieces that it came in.
pub(crate) async fn read_rope(app: &App, headers: &HeaderMap, mut body: Body) -> Result<Rope, Error> {
    let rope = read_bounded(app, headers, &mut body).await;
    if matches!(rope, Err(Error::BodyTooLarge(_))) {
        discard(&mut body).await;
    }
    rope
}

/// Reads on for a while, since a client that is still writing would see its connection break in place of the answer.
async fn discard(body: &mut Body) {
    let read = async {
        let mut left = MAX_DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    _ = tokio::time::timeout(DISCARD_TIMEOUT, read).await;
}

async fn read_bounded(app: &App, headers: &HeaderMap, body: &mut Body) -> Result<Rope, Error> {
    let limit = app.http.max_body;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(Error::BodyTooLarge(limit));
    }
    let coding = Coding::of(headers)?;
    let read = async {
        // What a body may become in memory: its length where that is known and final, else the limit.
        let size = if coding == Coding::Identity { length.unwrap_or(limit) } else { limit };
        let permit = if size > SMALL {
            let permits = u32::try_from(size.min(app.http.body_memory) / BODY_PERMIT).unwrap_or(u32::MAX).max(1);
            Some(app.body_budget.acquire_many(permits).await.map_err(|_| Error::NotReady)?)
        } else {
            None
        };
        let mut body = Limited::new(body, limit);
        let mut rope = Rope::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    Error::BodyTooLarge(limit)
                } else {
                    Error::BadRequest("the body ended early".into())
                }
            })?;
            // Trailers say nothing here.
            rope.push(frame.into_data().unwrap_or_default());
        }
        Ok((rope, permit))
    };
    let (rope, permit) = tokio::time::timeout(app.http.body_timeout, read)
        .await
        .map_err(|_| Error::SlowBody(app.http.body_timeout.as_secs()))??;
    match coding {
        Coding::Identity => Ok(rope),
        // A small body may still be a bomb, so all of them are inflated where it delays no health check.
        coding => {
            let inflated = app.workers.call(move || inflate(&rope.into_bytes(), coding, limit)).await?;
            drop(permit);
            inflated.map(Rope::from)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        match value.as_bytes().to_ascii_lowercase().trim_ascii() {
            b"" | b"identity" => Ok(Self::Identity),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"deflate" => Ok(Self::Deflate),
            other => Err(Error::UnsupportedCoding(String::from_utf8_lossy(&other[..other.len().min(40)]).into_owned())),
        }
    }
}

fn inflate(bytes: &[u8], coding: Coding, limit: usize) -> Result<Bytes, Error> {
    let mut out = Vec::new();
    let most = limit as u64 + 1;
    let read = match coding {
        Coding::Identity => return Ok(Bytes::copy_from_slice(bytes)),
        Coding::Gzip => MultiGzDecoder::new(bytes).take(most).read_to_end(&mut out),
        // "deflate" is a zlib stream by the standard; some clients send it bare.
        Coding::Deflate if is_zlib(bytes) => ZlibDecoder::new(bytes).take(most).read_to_end(&mut out),
        Coding::Deflate => DeflateDecoder::new(bytes).take(most).read_to_end(&mut out),
    };
    read.map_err(|error| Error::BadRequest(format!("the body cannot be decompressed: {error}")))?;
    if out.len() > limit {
        return Err(Error::BodyTooLarge(limit));
    }
    Ok(out.into())
}

/// A zlib stream begins with a deflate method and a checksum over its two first bytes (RFC 1950).
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    #[test]
    fn every_coding_is_inflated_and_bounded() {
        let body = vec![b'a'; 10_000];
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        for encoder in [&mut gzip as &mut dyn Write, &mut zlib, &mut bare] {
            encoder.write_all(&body).expect("into memory");
        }
        for (bytes, coding) in [
            (gzip.finish().expect("gzip"), Coding::Gzip),
            (zlib.finish().expect("zlib"), Coding::Deflate),
            (bare.finish().expect("bare"), Coding::Deflate),
        ] {
            assert_eq!(inflate(&bytes, coding, 10_000).expect("fits"), body);
            assert!(matches!(inflate(&bytes, coding, 9_999), Err(Error::BodyTooLarge(9_999))));
            assert!(matches!(inflate(&bytes[..bytes.len() / 2], coding, 10_000), Err(Error::BadRequest(_))));
        }
    }
}
