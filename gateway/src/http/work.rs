//! Decoding and encoding: where a request was read if that is quick, else by a worker, and under the request's permit.

use std::{sync::Arc, time::Instant};

use modelgate_columns::LayoutError;

use super::{
    answer::{self, LARGE_ANSWER},
    body::SMALL,
};
use crate::{app::App, bounds::Bounds, error::Error, generation::Generation, memory::Permit, tensor::Batch};

/// The size of a body that is to be decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Bytes.
    pub(super) bytes: usize,
    /// Bytes of JSON that would take about as long.
    pub(super) work: usize,
}

impl From<usize> for Size {
    fn from(bytes: usize) -> Self {
        Self { bytes, work: bytes }
    }
}

/// Decodes a body.
///
/// # Errors
/// [`Error::Overloaded`] where too much waits for a worker, [`Error::Deadline`] where none had the time.
pub(super) async fn decoded<T: Send + 'static>(
    app: &App,
    generation: &Arc<Generation>,
    size: impl Into<Size>,
    permit: &mut Permit,
    decode: impl FnOnce(&Generation, Bounds<'_>) -> T + Send + 'static,
) -> Result<T, Error> {
    let Size { bytes, work } = size.into();
    if work <= SMALL {
        return Ok(decode(generation, generation.bounds(bytes)));
    }
    let (model, mut held) = (Arc::clone(generation), permit.take());
    let deadline = Instant::now() + generation.limits.deadline;
    let task = move || {
        let decoded = decode(&model, model.bounds(bytes).counted(&mut held));
        (decoded, held)
    };
    let decoded;
    (decoded, *permit) = app.workers.call(&generation.name, bytes, deadline, task).await?;
    Ok(decoded)
}

/// Encodes an answer.
///
/// # Errors
/// [`Error::Overloaded`] where the memory for requests is full or too much waits for a worker, [`Error::Deadline`] where
/// none had the time.
pub(super) async fn encoded<T: Send + 'static>(
    app: &App,
    generation: &Arc<Generation>,
    answer: Batch,
    permit: &mut Permit,
    encode: impl FnOnce(&Generation, &Batch) -> Result<T, LayoutError> + Send + 'static,
) -> Result<T, Error> {
    let size = answer.size();
    // The columns, and as much again for what is made of them.
    permit.settle(size.saturating_mul(2))?;
    let encoded = if size <= LARGE_ANSWER {
        encode(generation, &answer)
    } else {
        let (model, held) = (Arc::clone(generation), permit.take());
        let deadline = Instant::now() + generation.limits.deadline;
        let encoded;
        let task = move || (encode(&model, &answer), held);
        (encoded, *permit) = app.workers.call(&generation.name, size, deadline, task).await?;
        encoded
    };
    encoded.map_err(|error| answer::unencodable(generation, &error))
}
