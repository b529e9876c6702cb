//! The known versions and their sources; and calls that change them, for callers that may.

use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    admin::{Caller, Door},
    app::App,
    catalog::State as ModelState,
    echo,
    error::Error,
    http::{answer::json_response, body, client_info::ClientInfo, operate},
    lifecycle::Command,
    telemetry::request_id::REQUEST_ID,
    workers::NO_MODEL,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IndexRequest {
    ready: Option<bool>,
}

/// Every version that is known, with its state and why; `{"ready": true}` for those that answer.
pub(super) async fn index(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    let (body, _permit) = body::receive(&app, NO_MODEL, &head.headers, body).await?.into_bytes();
    let wanted = if body.trim_ascii().is_empty() {
        IndexRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            Error::BadRequest(format!("expected {{\"ready\": true|false}}: {}", echo::message(&error.to_string())))
        })?
    };
    let index: Vec<Value> = app
        .catalog
        .index()
        .into_iter()
        .flat_map(|(name, versions)| versions.into_iter().map(move |status| (name.clone(), status)))
        .filter(|(_, status)| wanted.ready != Some(true) || status.state == ModelState::Ready)
        .map(|(name, status)| {
            json!({ "name": name, "version": status.version, "state": status.state, "reason": status.reason })
        })
        .collect();
    Ok(json_response(StatusCode::OK, Value::from(index).to_string().into_bytes()))
}

/// The state of each source.
pub(super) async fn sources(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let (head, _) = request.into_parts();
    operate::look(&app, &caller(&head)?, request_id(&head), "sources")?;
    let reports = app.control.as_ref().map(crate::lifecycle::Control::reports).unwrap_or_default();
    Ok(json_response(StatusCode::OK, json!({ "sources": reports }).to_string().into_bytes()))
}

/// The whole state of models, versions, rollouts, memory and sources.
pub(super) async fn state(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let (head, _) = request.into_parts();
    operate::look(&app, &caller(&head)?, request_id(&head), "state")?;
    let control = app.control.as_ref().ok_or_else(|| Error::Refused("what is served here never changes".into()))?;
    let state = control.state().await?;
    let body = serde_json::to_vec(&state).map_err(|error| {
        tracing::error!(%error, "the state could not be written as JSON");
        Error::Internal
    })?;
    Ok(json_response(StatusCode::OK, body))
}

/// Makes a model resident, and tries again what failed.
pub(super) async fn load(app: State<App>, name: Path<String>, request: Request) -> Result<Response, Error> {
    command(app, name, request, Command::Load).await
}

/// Unloads a model until it is loaded again.
pub(super) async fn unload(app: State<App>, name: Path<String>, request: Request) -> Result<Response, Error> {
    command(app, name, request, Command::Unload).await
}

/// Goes back to the release that answered before; with a release on trial, withdraws that.
pub(super) async fn rollback(app: State<App>, name: Path<String>, request: Request) -> Result<Response, Error> {
    command(app, name, request, Command::RollBack).await
}

/// Ends a trial: the release answers all from now on.
pub(super) async fn promote(app: State<App>, name: Path<String>, request: Request) -> Result<Response, Error> {
    command(app, name, request, Command::Promote).await
}

async fn command(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
    command: Command,
) -> Result<Response, Error> {
    // Its body, if any, says nothing that is needed.
    let (head, _) = request.into_parts();
    operate::change(&app, &caller(&head)?, request_id(&head), &name, command).await?;
    let mut answer = Map::new();
    answer.insert("name".into(), name.clone().into());
    if let Some(generation) = app.catalog.get(&name) {
        answer.insert("version".into(), generation.version.clone().into());
        answer.insert("generation".into(), generation.id.into());
    }
    Ok(json_response(StatusCode::OK, Value::from(answer).to_string().into_bytes()))
}

fn caller(head: &Parts) -> Result<Caller<'_>, Error> {
    let door = head.extensions.get::<Door>().copied().ok_or(Error::Internal)?;
    let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    Ok(ClientInfo::caller(door, &head.extensions, authorization))
}

fn request_id(head: &Parts) -> &str {
    head.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default()
}
