//! Liveness, readiness and metrics: never behind inference.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{app::App, error::Error, http::reply::json_response};

/// 200 for as long as the process answers at all.
pub(super) async fn live() -> Response {
    json_response(StatusCode::OK, br#"{"live":true}"#.to_vec())
}

/// 200 while requests should be sent here, else 503.
pub(super) async fn ready(State(app): State<App>) -> Response {
    if app.is_ready() {
        json_response(StatusCode::OK, br#"{"ready":true}"#.to_vec())
    } else {
        json_response(StatusCode::SERVICE_UNAVAILABLE, br#"{"ready":false}"#.to_vec())
    }
}

/// Every series, for Prometheus.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    match app.metrics.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "metrics could not be rendered");
            Error::Internal.into_response()
        }
    }
}
