//! Rows in the forms of MLflow and TensorFlow Serving, answered with the prediction: what their two surfaces share.

use std::{sync::Arc, time::Instant};

use axum::{body::Bytes, response::Response};

use crate::{
    app::App,
    bounds::Bounds,
    csv,
    error::Error,
    generation::Generation,
    http::{answer, body::Received, error_response::decode_error, held, work},
    json::{
        decode::{self, DecodeError, Dialect, Form},
        encode::{self, Outputs, Style},
    },
    memory::Permit,
    tensor::Batch,
};

/// The way in which a body is to be read.
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
    body: Received,
    reading: Reading,
) -> Result<Response, Error> {
    let (body, mut permit) = body.joined(app, &generation.name).await.map_err(|error| generation.refused(error))?;
    let started = Instant::now();
    let (batch, form) =
        read(app, generation, body, reading, &mut permit).await.map_err(|error| generation.refused(error))?;
    permit.settle(batch.size())?;
    generation.metrics.decode_us.inc_by(answer::micros(started));
    let answer = app.workers.execute(generation, batch, started + generation.limits.deadline).await?;

    let started = Instant::now();
    let (key, outputs) = match (reading, form) {
        (Reading::Json(Dialect::TensorFlow), Form::Inputs) => ("outputs", Outputs::Columns),
        (Reading::Json(Dialect::TensorFlow), _) => ("predictions", Outputs::Rows),
        _ => ("predictions", Outputs::First),
    };
    // As both servers write them.
    let style = Style { tokens: true, base64: matches!(reading, Reading::Json(Dialect::TensorFlow)) };
    let encoded = work::encoded(app, generation, answer, &mut permit, move |generation, answer| {
        encode::keyed_predictions(answer, &generation.signature.outputs, key, outputs, style)
    })
    .await?;
    generation.metrics.encode_us.inc_by(answer::micros(started));
    let mut response = answer::held(held::JSON, encoded, permit)?;
    answer::name_generation(response.headers_mut(), generation);
    Ok(response)
}

async fn read(
    app: &App,
    generation: &Arc<Generation>,
    body: Bytes,
    reading: Reading,
    permit: &mut Permit,
) -> Result<(Batch, Form), Error> {
    work::decoded(app, generation, body.len(), permit, move |generation, bounds| {
        read_now(generation, &body, reading, bounds)
    })
    .await?
}

fn read_now(
    generation: &Generation,
    body: &[u8],
    reading: Reading,
    bounds: Bounds<'_>,
) -> Result<(Batch, Form), Error> {
    let inputs = generation.inputs();
    let read: Result<(Batch, Form), DecodeError> = match reading {
        Reading::Json(dialect) => decode::scoring_within(body, inputs, generation.policy(false), dialect, bounds)
            .map(|(decoded, form)| (decoded.batch, form)),
        Reading::Csv => {
            let text = str::from_utf8(body)
                .map_err(|error| Error::BadRequest(format!("expected UTF-8, got something else: {error}")))?;
            csv::rows(text, inputs, bounds).map(|batch| (batch, Form::Records))
        }
    };
    read.map_err(decode_error)
}
