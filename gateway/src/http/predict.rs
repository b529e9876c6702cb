//! `POST /predict` and the list of models.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde_json::json;

use crate::{
    app::App,
    error::Error,
    generation::Generation,
    http::{
        body,
        reply::{self, LARGE_ANSWER, decode_error, json_response},
    },
    json::{
        decode::{self, DecodeError, Decoded},
        encode,
    },
    tensor::Batch,
};

/// One object of features, or a list of them. `?outputs=all` adds every output of the model.
pub(super) async fn predict(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let all = match request.uri().query() {
        None | Some("") => false,
        Some("outputs=all") => true,
        Some(other) => {
            let other: String = other.chars().take(80).collect();
            return Err(Error::BadRequest(format!("expected ?outputs=all or nothing, got ?{other}")));
        }
    };
    let (head, body) = request.into_parts();
    expect_json(&head.headers)?;
    let body = body::read(&app, &head.headers, body).await?;

    let started = Instant::now();
    let (generation, decoded) = decode(&app, body).await?;
    let Decoded { batch, list } = decoded;
    generation.metrics.decode_us.inc_by(reply::micros(started));
    let answer = app.workers.run(&generation, batch, started + generation.limits.deadline).await?;

    let started = Instant::now();
    let body = encode(&app, &generation, answer, list, all).await?;
    generation.metrics.encode_us.inc_by(reply::micros(started));
    let mut response = json_response(StatusCode::OK, body);
    reply::tell_generation(response.headers_mut(), &generation);
    Ok(response)
}

/// The models that `/predict` takes, as the workshop's service lists them.
pub(super) async fn models(State(app): State<App>) -> Response {
    let names = app.catalog.names();
    json_response(StatusCode::OK, json!({ "modelos_disponibles": names }).to_string().into_bytes())
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
    let decoded = decode_for(app, &generation, body.clone()).await?;
    match decoded {
        Ok(decoded) => {
            generation.tally.used();
            Ok((generation, decoded))
        }
        Err(DecodeError::OtherModel(name)) => {
            // The other one may have to be loaded first, and this one to make room for it.
            drop(generation);
            let generation = app.resolve(Some(&name), None).await?;
            match decode_for(app, &generation, body).await? {
                Ok(decoded) => Ok((generation, decoded)),
                // Rows of one list that name different models.
                Err(DecodeError::OtherModel(other)) => {
                    let message = format!("all rows must name the same model, got '{name}' and '{other}'");
                    Err(generation.refused(Error::BadRequest(message)))
                }
                Err(error) => Err(generation.refused(decode_error(error))),
            }
        }
        Err(error) => Err(generation.refused(decode_error(error))),
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
    encoded.map_err(|error| reply::unencodable(generation, &error))
}
