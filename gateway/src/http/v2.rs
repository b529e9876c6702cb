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
    generation::Generation,
    http::{reply::json_response, v2::target::Target},
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
    let generation = app.resolve(Some(&target.model), target.version.as_deref()).await?;
    let versions: Vec<_> = app.catalog.versions(&generation.name).iter().map(|of| of.version.clone()).collect();
    Ok(json_response(StatusCode::OK, describe::metadata(&generation, &versions).to_string().into_bytes()))
}

/// 200 while requests for the model should be sent here, else 503. An unknown model is an error.
async fn ready(State(app): State<App>, target: Target) -> Result<Response, Error> {
    let generation = app.resolve(Some(&target.model), target.version.as_deref()).await?;
    let ready = app.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json_response(status, json!({ "name": generation.name, "ready": ready }).to_string().into_bytes()))
}

async fn config(State(app): State<App>, target: Target) -> Result<Response, Error> {
    let generation = app.resolve(Some(&target.model), target.version.as_deref()).await?;
    Ok(json_response(StatusCode::OK, describe::config(&generation).to_string().into_bytes()))
}

async fn statistics_of(State(app): State<App>, target: Target) -> Result<Response, Error> {
    let generation = app.resolve(Some(&target.model), target.version.as_deref()).await?;
    Ok(statistics(&[&generation]))
}

async fn all_statistics(State(app): State<App>) -> Response {
    let generations = app.catalog.all();
    statistics(&generations.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}

fn statistics(generations: &[&Generation]) -> Response {
    let all: Vec<_> = generations.iter().map(|generation| ModelStatistics::of(generation)).collect();
    json_response(StatusCode::OK, json!({ "model_stats": all }).to_string().into_bytes())
}
