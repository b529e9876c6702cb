//! The Open Inference Protocol (version 2) over REST, as Triton and KServe speak it.

pub(super) mod infer;
pub(super) mod target;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use serde_json::json;

use crate::{
    app::App,
    error::Error,
    http::{answer::json_response, v2::target::Target},
    oip::{
        describe::{self, EXTENSIONS},
        statistics::ModelStatistics,
    },
};

/// The routes, under the names that the protocol gives them.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/", get(server))
        .route("/v2/models/stats", get(all_statistics))
        .route("/v2/models/{model}", get(metadata))
        .route("/v2/models/{model}/ready", get(ready))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/stats", get(statistics_of))
        .route("/v2/models/{model}/config", get(config))
        .route("/v2/models/{model}/versions/{version}", get(metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer))
        .route("/v2/models/{model}/versions/{version}/stats", get(statistics_of))
        .route("/v2/models/{model}/versions/{version}/config", get(config))
}

async fn server() -> Response {
    let body = json!({ "name": "modelgate", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS });
    json_response(StatusCode::OK, body.to_string().into_bytes())
}

async fn metadata(State(app): State<App>, target: Target) -> Result<Response, Error> {
    let metadata = app.metadata(&target.model, target.version.as_deref()).await?;
    Ok(json_response(StatusCode::OK, describe::metadata(&metadata).to_string().into_bytes()))
}

/// 200 while requests for the model should be sent here, also where the first one loads it, else 503. An unknown model is
/// an error.
async fn ready(State(app): State<App>, target: Target) -> Result<Response, Error> {
    let known = app.status(&target.model, target.version.as_deref())?;
    let ready = known.in_reach && app.is_ready();
    let mut answer = json!({ "name": target.model, "ready": ready });
    if !ready && !known.reason.is_empty() {
        answer["reason"] = known.reason.into();
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json_response(status, answer.to_string().into_bytes()))
}

async fn config(State(app): State<App>, target: Target) -> Result<Response, Error> {
    let generation = app.look(&target.model, target.version.as_deref()).await?;
    Ok(json_response(StatusCode::OK, describe::config(&generation).to_string().into_bytes()))
}

async fn statistics_of(State(app): State<App>, target: Target) -> Result<Response, Error> {
    Ok(statistics(&app.statistics(&target.model, target.version.as_deref())?))
}

async fn all_statistics(State(app): State<App>) -> Response {
    statistics(&app.catalog.live().iter().map(|generation| ModelStatistics::new(generation)).collect::<Vec<_>>())
}

fn statistics(all: &[ModelStatistics]) -> Response {
    json_response(StatusCode::OK, json!({ "model_stats": all }).to_string().into_bytes())
}
