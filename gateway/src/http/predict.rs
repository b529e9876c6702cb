//! `POST /predict` and the list of models.

use std::time::Instant;

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde_json::json;

use crate::{
    app::App,
    echo::{echo, echo_bytes},
    error::Error,
    http::{
        answer::{self, json_response},
        body,
        error_response::decode_error,
        held, named,
        resolve::{Resolved, resolve},
        v2::target::Target,
        work,
    },
    json::{
        decode::{self, Decoded, Keys},
        encode,
    },
    memory::Permit,
    multipart,
    workers::NO_MODEL,
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
    let form = Form::of(&head.headers)?;
    let queue = named.as_deref().unwrap_or(NO_MODEL);
    let (body, mut permit) = body::receive(&app, queue, &head.headers, body).await?.joined(&app, queue).await?;

    let started = Instant::now();
    // Forms name their model outside of the body.
    let keys = if form == Form::Json { body.clone() } else { Bytes::new() };
    let model = resolve(&app, named.as_deref(), &keys).await?;
    let Decoded { batch, list } = decode(&app, &model, form, body, &mut permit).await?;
    let generation = &model.generation;
    permit.settle(batch.size())?;
    generation.metrics.decode_us.inc_by(answer::micros(started));
    let answer = app.workers.execute(generation, batch, started + generation.limits.deadline).await;
    let answer = answer.map_err(|error| if list { error } else { error.of_one_object() })?;

    let started = Instant::now();
    let body = work::encoded(&app, generation, answer, &mut permit, move |generation, answer| {
        encode::predictions(answer, &generation.signature.outputs, list, all)
    })
    .await?;
    generation.metrics.encode_us.inc_by(answer::micros(started));
    let mut response = answer::held(held::JSON, body, permit)?;
    answer::name_generation(response.headers_mut(), generation);
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
                let other = echo(other);
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

/// The way in which rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Json,
    /// `multipart/form-data` with this boundary.
    Multipart(String),
}

impl Form {
    /// JSON where nothing is said about it: FastAPI takes that too.
    fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match value.and_then(multipart::boundary) {
            Some(boundary) => Ok(Self::Multipart(boundary.into_owned())),
            None => expect_json(headers).map(|()| Self::Json),
        }
    }
}

fn expect_json(headers: &HeaderMap) -> Result<(), Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let is_json = kind.eq_ignore_ascii_case(b"application/json")
        || (kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case(b"+json"));
    if is_json { Ok(()) } else { Err(Error::UnsupportedMediaType(echo_bytes(kind))) }
}

/// The rows of a body, decoded once, for the model that the request is for.
async fn decode(app: &App, model: &Resolved, form: Form, body: Bytes, permit: &mut Permit) -> Result<Decoded, Error> {
    let &Resolved { ref generation, key_names_model } = model;
    let ignores_extra = app.http.ignore_extra_fields;
    let decoded = work::decoded(app, generation, body.len(), permit, move |generation, bounds| {
        let name = generation.name.as_str();
        let keys = if key_names_model { Keys::Named(name) } else { Keys::Given(name) };
        let policy = generation.policy(ignores_extra);
        match form {
            Form::Json => decode::rows_within(&body, generation.inputs(), keys, policy, bounds),
            Form::Multipart(boundary) => decode::form_within(&body, &boundary, generation.inputs(), policy, bounds),
        }
    });
    decoded.await?.map_err(|error| generation.refused(decode_error(error)))
}
