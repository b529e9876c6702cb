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
        body, named,
        reply::{self, LARGE_ANSWER, decode_error, json_response},
        v2::target::Target,
    },
    json::{
        decode::{self, DecodeError, Decoded, Keys, ModelKey, model_key},
        encode,
    },
    tensor::Batch,
};

/// One object of features, or a list of them. `?outputs=all` adds every output of the model.
pub(super) async fn predict(State(app): State<App>, request: Request) -> Result<Response, Error> {
    answer(app, None, request).await
}

/// The same for the model that the path names.
pub(super) async fn predict_named(State(app): State<App>, target: Target, request: Request) -> Result<Response, Error> {
    answer(app, Some(&target.model), request).await
}

/// Answers a request whose path names `model`, if any.
pub(super) async fn answer(app: App, model: Option<&str>, request: Request) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    let all = wants_all(head.uri.query().unwrap_or_default())?;
    let named = named::model(model, &head)?;
    expect_json(&head.headers)?;
    let body = body::read(&app, &head.headers, body).await?;

    let started = Instant::now();
    let asked = resolve(&app, named.as_deref(), &body).await?;
    let generation = &asked.generation;
    let decoded = decode(&app, &asked, body).await?.map_err(|error| generation.refused(decode_error(error)))?;
    let Decoded { batch, list } = decoded;
    generation.metrics.decode_us.inc_by(reply::micros(started));
    let answer = app.workers.run(generation, batch, started + generation.limits.deadline).await?;

    let started = Instant::now();
    let body = encode(&app, generation, answer, list, all).await?;
    generation.metrics.encode_us.inc_by(reply::micros(started));
    let mut response = json_response(StatusCode::OK, body);
    reply::tell_generation(response.headers_mut(), generation);
    Ok(response)
}

/// Whether every output is asked for.
fn wants_all(query: &str) -> Result<bool, Error> {
    let mut all = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair {
            "outputs=all" => all = true,
            named if named.starts_with("model=") => {}
            other => {
                let other: String = other.chars().take(80).collect();
                return Err(Error::BadRequest(format!("expected ?outputs=all, ?model=NAME or nothing, got ?{other}")));
            }
        }
    }
    Ok(all)
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

/// The generation that a request is for, and how its body is read.
#[derive(Clone)]
struct Asked {
    generation: Arc<Generation>,
    /// Whether the body's key `model` names the model; else it is a feature.
    key_names: bool,
    ignores_extra: bool,
}

impl Asked {
    fn decode(&self, body: &[u8]) -> Result<Decoded, DecodeError> {
        let name = self.generation.name.as_str();
        let keys = if self.key_names { Keys::Named(name) } else { Keys::Given(name) };
        decode::rows(body, self.generation.inputs(), keys, self.generation.policy(self.ignores_extra))
    }
}

/// The model that is named outside of the body; else the one that the body's key names, unless that is a feature of the
/// default model; else the default model.
async fn resolve(app: &App, named: Option<&str>, body: &Bytes) -> Result<Asked, Error> {
    let ignores_extra = app.http.ignore_extra_fields;
    if let Some(name) = named {
        return Ok(Asked { generation: app.resolve(Some(name), None).await?, key_names: false, ignores_extra });
    }
    let key = if body.len() <= body::SMALL {
        model_key(body)
    } else {
        let body = body.clone();
        app.workers.call(move || model_key(&body).into_owned()).await?
    };
    match key {
        ModelKey::Name(name) if !app.model_key_is_feature().await => {
            Ok(Asked { generation: app.resolve(Some(&name), None).await?, key_names: true, ignores_extra })
        }
        // Of a list, other rows may have the key.
        _ => {
            let generation = app.resolve(None, None).await?;
            Ok(Asked { key_names: !generation.takes_model_key(), generation, ignores_extra })
        }
    }
}

/// Here if it is quick, else by a worker.
async fn decode(app: &App, asked: &Asked, body: Bytes) -> Result<Result<Decoded, DecodeError>, Error> {
    if body.len() <= body::SMALL {
        return Ok(asked.decode(&body));
    }
    let asked = asked.clone();
    app.workers.call(move || asked.decode(&body)).await
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
