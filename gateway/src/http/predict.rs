//! `POST /predict` and the list of models.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use modelgate_columns::LayoutError;
use serde_json::json;

use crate::{
    app::App,
    error::Error,
    generation::Generation,
    http::{
        body,
        reply::{Refusal, json_response},
    },
    json::{
        decode::{self, DecodeError, Decoded},
        encode,
    },
    metrics::Outcome,
    tensor::Batch,
};

const GENERATION: HeaderName = HeaderName::from_static("x-modelgate-generation");
const VERSION: HeaderName = HeaderName::from_static("x-modelgate-version");

/// Answers over this many bytes of columns are encoded by a worker.
const LARGE_ANSWER: usize = 256 << 10;

/// One object of features, or a list of them. `?outputs=all` adds every output of the model.
pub(super) async fn predict(State(app): State<App>, request: Request) -> Result<Response, Refusal> {
    let all = match request.uri().query() {
        None | Some("") => false,
        Some("outputs=all") => true,
        Some(other) => {
            let other: String = other.chars().take(80).collect();
            return Err(Error::BadRequest(format!("expected ?outputs=all or nothing, got ?{other}")).into());
        }
    };
    let (head, body) = request.into_parts();
    expect_json(&head.headers)?;
    let body = body::read(&app, &head.headers, body).await?;

    let started = Instant::now();
    let (generation, decoded) = decode(&app, body).await?;
    let Decoded { batch, list } = decoded;
    generation.metrics.decode_us.inc_by(micros(started));
    let answer = app.workers.run(&generation, batch, started + generation.limits.deadline).await?;

    let started = Instant::now();
    let body = encode(&app, &generation, answer, list, all).await?;
    generation.metrics.encode_us.inc_by(micros(started));
    let mut response = json_response(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(GENERATION, generation.id.into());
    if let Ok(version) = HeaderValue::from_str(&generation.version) {
        headers.insert(VERSION, version);
    }
    Ok(response)
}

/// The models that `/predict` takes, as the workshop's service lists them.
pub(super) async fn models(State(app): State<App>) -> Response {
    let names = app.catalog.names();
    json_response(StatusCode::OK, json!({ "modelos_disponibles": names }).to_string().into_bytes())
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// JSON, or nothing said about it: FastAPI takes that too.
fn expect_json(headers: &HeaderMap) -> Result<(), Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let is_json = kind.eq_ignore_ascii_case(b"application/json")
        || (kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case(b"+json"));
    if is_json {
        Ok(())
    } else {
        Err(Error::UnsupportedMediaType(String::from_utf8_lossy(&kind[..kind.len().min(80)]).into_owned()))
    }
}

/// The batch, and the generation that the body asks for.
async fn decode(app: &App, body: Bytes) -> Result<(Arc<Generation>, Decoded), Error> {
    // The default model reads the body, and where it names another one that is the one that counts as used. A default
    // model that is not resident is not made so for a body that names another.
    let generation = match app.catalog.default_model() {
        Some(_) => app.resolve_unused(None).await?,
        None => app.resolve(named_model(&body).as_deref(), None).await?,
    };
    match decode_for(app, &generation, body.clone()).await? {
        Ok(decoded) => {
            generation.tally.used();
            Ok((generation, decoded))
        }
        Err(DecodeError::OtherModel(name)) => {
            let generation = app.resolve(Some(&name), None).await?;
            match decode_for(app, &generation, body).await? {
                Ok(decoded) => Ok((generation, decoded)),
                // Rows of one list that name different models.
                Err(DecodeError::OtherModel(other)) => {
                    let message = format!("all rows must name the same model, got '{name}' and '{other}'");
                    Err(refuse(&generation, Error::BadRequest(message)))
                }
                Err(error) => Err(refuse(&generation, explain(error))),
            }
        }
        Err(error) => Err(refuse(&generation, explain(error))),
    }
}

/// The model that a body names, as far as that can be told without knowing its fields.
fn named_model(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        model: Option<String>,
    }
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace())?;
    let named: Option<Named> = if *first == b'[' {
        serde_json::from_slice::<Vec<Named>>(body).ok()?.into_iter().next()
    } else {
        serde_json::from_slice(body).ok()
    };
    named?.model
}

/// Counts a request that never reaches a worker.
fn refuse(generation: &Generation, error: Error) -> Error {
    generation.metrics.ended(Outcome::Invalid);
    error
}

/// Here if it is quick, else by a worker.
async fn decode_for(
    app: &App,
    generation: &Arc<Generation>,
    body: Bytes,
) -> Result<Result<Decoded, DecodeError>, Error> {
    let of = |generation: &Generation, body: &[u8]| {
        decode::rows(body, &generation.signature.inputs, &generation.name, generation.limits.rows)
    };
    if body.len() <= body::SMALL {
        return Ok(of(generation, &body));
    }
    let generation = Arc::clone(generation);
    app.workers.call(move || of(&generation, &body)).await
}

fn explain(error: DecodeError) -> Error {
    match error {
        DecodeError::Malformed { line, column, message } => Error::MalformedJson { line, column, message },
        DecodeError::NotRows(what) => Error::NotRows(what),
        DecodeError::Empty => Error::NoRows,
        DecodeError::TooManyRows { limit } => Error::TooManyRows(limit),
        DecodeError::Fields(errors) => Error::Fields(errors),
        DecodeError::OtherModel(name) => Error::unknown_model(&name),
    }
}

async fn encode(
    app: &App,
    generation: &Arc<Generation>,
    answer: Batch,
    list: bool,
    all: bool,
) -> Result<Vec<u8>, Error> {
    let of = move |generation: &Generation, answer: &Batch| {
        encode::predictions(answer, &generation.signature.outputs, list, all)
    };
    let encoded = if answer.size() <= LARGE_ANSWER {
        of(generation, &answer)
    } else {
        let generation = Arc::clone(generation);
        app.workers.call(move || of(&generation, &answer)).await?
    };
    // A worker validated the answer against these outputs.
    encoded.map_err(|error: LayoutError| {
        tracing::error!(model = generation.name, %error, "an answer could not be encoded");
        Error::Internal
    })
}
