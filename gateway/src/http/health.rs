//! Liveness, readiness and metrics: never behind inference.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde_json::json;

use crate::{
    app::App,
    error::Error,
    http::answer::{self, json_response},
    memory::Permit,
};

/// 200 for as long as the process answers at all.
pub(super) async fn live() -> Response {
    json_response(StatusCode::OK, br#"{"live":true}"#.to_vec())
}

/// The page for browsers; for everybody else what KServe's first protocol says of a server that lives.
pub(super) async fn root(headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
    if accept.windows(9).any(|kind| kind == b"text/html") {
        Redirect::to("/docs").into_response()
    } else {
        json_response(StatusCode::OK, br#"{"status":"alive","docs":"/docs"}"#.to_vec())
    }
}

/// 200 while requests should be sent here, else 503.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let ready = app.is_ready();
    let mut answer = json!({ "ready": ready });
    // The class of the failure; its words are for callers that may see the sources.
    let troubled: serde_json::Map<_, _> = app
        .control
        .iter()
        .flat_map(crate::lifecycle::Control::reports)
        .filter(|report| report.state != "ok")
        .map(|report| (report.name, json!({ "state": report.state, "from_cache": report.from_cache })))
        .collect();
    if !troubled.is_empty() {
        answer["sources"] = troubled.into();
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(status, answer.to_string().into_bytes())
}

/// Every series, for Prometheus.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    app.metrics.request_memory.set(i64::try_from(app.memory.used()).unwrap_or(i64::MAX));
    match app.metrics.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            // Small enough to be told also where others may take no more.
            answer::held(kind, text, Permit::new(&app.memory)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "metrics could not be rendered");
            Error::Internal.into_response()
        }
    }
}
