//! Reading a request's body: bounded in size, time and memory, and decompressed.

use std::time::{Duration, Instant};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{
    app::App,
    chunked_bytes::ChunkedBytes,
    error::Error,
    memory::{Claim, Permit},
    workers::NO_MODEL,
};

mod inflate;

pub(crate) use inflate::inflate;

/// Bodies up to here are decoded at once, by the thread that reads them; larger ones are decoded by a worker.
pub(super) const SMALL: usize = 64 << 10;

/// Bytes of a body over the limit that are read and thrown away.
const MAX_DISCARDED: usize = 64 << 20;

/// For how long that is done.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that a small request takes beside its body, while it is read.
const OVERHEAD: usize = 1 << 10;

/// Bytes that a request takes beside its body, while that is slow to come.
const UPLOAD: usize = 8 << 10;

/// Within which the first piece of a body is there, unless the client is slow.
const SOON: Duration = Duration::from_millis(20);

/// Slow bodies that are ended to make room for another at most.
const MAX_ENDED: usize = 8;

/// For how long a body that is to make room is waited for.
const MAKE_ROOM: Duration = Duration::from_millis(2);

/// A body that has come, decompressed, and the permit that goes on with what becomes of it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) body: ChunkedBytes,
    pub(crate) permit: Permit,
}

impl Received {
    /// The body in one piece, put together by a worker where it is large and came in several: among the work of `model`.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where too much waits for a worker, [`Error::Deadline`] where none had the time.
    pub(super) async fn joined(self, app: &App, model: &str) -> Result<(Bytes, Permit), Error> {
        let size = self.body.len();
        if size <= SMALL || self.body.pieces().nth(1).is_none() {
            return Ok(self.into_bytes());
        }
        let deadline = Instant::now() + app.http.body_timeout;
        app.workers.call(known(app, model), size, deadline, move || self.into_bytes()).await
    }

    /// The body in one piece.
    pub(crate) fn into_bytes(self) -> (Bytes, Permit) {
        (self.body.into_bytes(), self.permit)
    }
}

/// The whole body, decompressed: among the work of `model`, where that is known here.
///
/// # Errors
/// A body that is too large, too slow, cut off, or in a coding that is not taken; [`Error::Overloaded`] where the memory for
/// requests is full.
pub(crate) async fn receive(app: &App, model: &str, headers: &HeaderMap, body: Body) -> Result<Received, Error> {
    receive_up_to(app.http.max_body, app, model, headers, body).await
}

/// The same with a limit of its own, in bytes.
pub(crate) async fn receive_up_to(
    limit: usize,
    app: &App,
    model: &str,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Received, Error> {
    let received = receive_bounded(limit.min(app.http.max_body), app, model, headers, &mut body).await;
    if matches!(received, Err(Error::BodyTooLarge(_) | Error::Overloaded)) {
        discard(&mut body).await;
    }
    received
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

async fn receive_bounded(
    limit: usize,
    app: &App,
    model: &str,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Received, Error> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(Error::BodyTooLarge(limit));
    }
    let coding = Coding::from_headers(headers)?;
    let mut permit = Permit::new(&app.memory);
    let pieces = pieces(body, limit, app.http.body_timeout, &mut permit).await?;
    if coding == Coding::Identity {
        return Ok(Received { body: pieces, permit });
    }
    // A small body may still be a bomb, so all of them are inflated where it delays no health check.
    let deadline = Instant::now() + app.http.body_timeout;
    let size = pieces.len();
    let task = move || inflate(&pieces.into_bytes(), coding, limit, deadline, permit);
    app.workers.call(known(app, model), size, deadline, task).await?
}

/// The queue that work of a model waits in: none of its own for a name that clients make up.
fn known<'a>(app: &App, model: &'a str) -> &'a str {
    if app.catalog.knows(model, None) { model } else { NO_MODEL }
}

/// The pieces of a body, each counted when it comes.
async fn pieces(body: &mut Body, limit: usize, patience: Duration, permit: &mut Permit) -> Result<ChunkedBytes, Error> {
    let mut body = Limited::new(body, limit);
    let first = match tokio::time::timeout(SOON.min(patience), data(&mut body, limit)).await {
        Ok(first) => first?,
        // Nothing has come yet, and the request takes memory all the same.
        Err(_) => Some(Bytes::new()),
    };
    let Some(first) = first else { return Ok(ChunkedBytes::default()) };
    if body.is_end_stream() && first.len() <= SMALL {
        // With what it is likely to be decoded to, so that most requests count once.
        permit.cover(2 * first.len() + OVERHEAD, Claim::Whole)?;
        return Ok(ChunkedBytes::whole(first));
    }
    let ended = permit.account().upload();
    let rest = rest(body, first, limit, permit);
    tokio::select! {
        biased;
        read = tokio::time::timeout(patience, rest) => read.map_err(|_| Error::SlowBody(patience.as_secs()))?,
        _ = ended => Err(Error::Overloaded),
    }
}

/// A body that comes bit by bit, from its first piece on.
async fn rest(
    mut body: Limited<&mut Body>,
    first: Bytes,
    limit: usize,
    permit: &mut Permit,
) -> Result<ChunkedBytes, Error> {
    let mut pieces = ChunkedBytes::default();
    let mut next = Some(first);
    while let Some(piece) = next {
        cover_upload(permit, UPLOAD + pieces.len() + piece.len()).await?;
        pieces.push(piece);
        next = data(&mut body, limit).await?;
    }
    pieces.seal();
    Ok(pieces)
}

/// Grows, where need be at the cost of a body that has been coming for long.
async fn cover_upload(permit: &mut Permit, bytes: usize) -> Result<(), Error> {
    for _ in 0..MAX_ENDED {
        match permit.cover(bytes, Claim::Arriving) {
            Err(Error::Overloaded) if permit.account().end_upload() => tokio::time::sleep(MAKE_ROOM).await,
            covered => return covered,
        }
    }
    permit.cover(bytes, Claim::Arriving)
}

/// The next piece of a body.
async fn data(body: &mut Limited<&mut Body>, limit: usize) -> Result<Option<Bytes>, Error> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Error::BodyTooLarge(limit)
            } else {
                Error::BadRequest("the body ended early".into())
            }
        })?;
        // Trailers say nothing here.
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    fn from_headers(headers: &HeaderMap) -> Result<Self, Error> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Identity) };
        match value.as_bytes().to_ascii_lowercase().trim_ascii() {
            b"" | b"identity" => Ok(Self::Identity),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"deflate" => Ok(Self::Deflate),
            other => Err(Error::UnsupportedCoding(String::from_utf8_lossy(&other[..other.len().min(40)]).into_owned())),
        }
    }
}
