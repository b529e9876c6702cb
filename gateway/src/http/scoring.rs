//! Rows in the forms of MLflow and TensorFlow Serving, answered with the prediction: what their two surfaces share.

use std::{sync::Arc, time::Instant};

use axum::{body::Bytes, http::StatusCode, response::Response};

use crate::{
    app::App,
    csv,
    error::Error,
    generation::Generation,
    http::{
        body,
        reply::{self, LARGE_ANSWER, decode_error, json_response},
    },
    json::{
        decode::{self, DecodeError, Dialect, Form},
        encode::{self, Outputs, Style},
    },
    tensor::Batch,
};

/// How a body is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// JSON by these rules.
    Json(Dialect),
    /// A table as pandas writes it.
    Csv,
}

/// Answers for a whole body.
pub(super) async fn answer(
    app: &App,
    generation: &Arc<Generation>,
    body: Bytes,
    reading: Reading,
) -> Result<Response, Error> {
    let started = Instant::now();
    let (batch, form) = read(app, generation, body, reading).await.map_err(|error| generation.refused(error))?;
    generation.metrics.decode_us.inc_by(reply::micros(started));
    let answer = app.workers.run(generation, batch, started + generation.limits.deadline).await?;

    let started = Instant::now();
    let (key, outputs) = match (reading, form) {
        (Reading::Json(Dialect::TensorFlow), Form::Inputs) => ("outputs", Outputs::Columns),
        (Reading::Json(Dialect::TensorFlow), _) => ("predictions", Outputs::Rows),
        _ => ("predictions", Outputs::First),
    };
    // As both servers write them.
    let style = Style { tokens: true, base64: matches!(reading, Reading::Json(Dialect::TensorFlow)) };
    let size = answer.size();
    let of = move |generation: &Generation| {
        encode::keyed_predictions(&answer, &generation.signature.outputs, key, outputs, style)
    };
    let encoded = if size <= LARGE_ANSWER {
        of(generation)
    } else {
        let generation = Arc::clone(generation);
        app.workers.call(move || of(&generation)).await?
    };
    let encoded = encoded.map_err(|error| reply::unencodable(generation, &error))?;
    generation.metrics.encode_us.inc_by(reply::micros(started));
    let mut response = json_response(StatusCode::OK, encoded);
    reply::tell_generation(response.headers_mut(), generation);
    Ok(response)
}

/// Here if it is quick, else by a worker.
async fn read(app: &App, generation: &Arc<Generation>, body: Bytes, reading: Reading) -> Result<(Batch, Form), Error> {
    if body.len() <= body::SMALL {
        return read_now(generation, &body, reading);
    }
    let generation = Arc::clone(generation);
    app.workers.call(move || read_now(&generation, &body, reading)).await?
}

fn read_now(generation: &Generation, body: &[u8], reading: Reading) -> Result<(Batch, Form), Error> {
    let read: Result<(Batch, Form), DecodeError> = match reading {
        Reading::Json(dialect) => decode::scoring(body, generation.inputs(), generation.policy(false), dialect)
            .map(|(decoded, form)| (decoded.batch, form)),
        Reading::Csv => {
            let text = str::from_utf8(body)
                .map_err(|error| Error::BadRequest(format!("expected UTF-8, got something else: {error}")))?;
            csv::rows(text, generation.inputs(), generation.limits.rows).map(|batch| (batch, Form::Records))
        }
    };
    read.map_err(decode_error)
}
