//! The public HTTP surface: every route and layer, in order.

pub(crate) mod body;
mod docs;
mod health;
mod mlflow;
mod observe;
pub mod openapi;
mod predict;
pub(crate) mod reply;
mod scoring;
pub mod serve;
mod v1;
mod v2;

use axum::{
    Router, middleware,
    response::Redirect,
    routing::{get, post},
};

use crate::{app::App, error::Error, grpc};

/// Everything that is answered.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/predict", post(predict::predict))
        .route("/listar_modelos", get(predict::models))
        .route("/healthz", get(health::live))
        .route("/v2/health/live", get(health::live))
        .route("/v2/health/ready", get(health::ready))
        .merge(v2::routes())
        .merge(v1::routes())
        .merge(mlflow::routes())
        .merge(grpc::routes(&app))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page))
        .route("/", get(async || Redirect::to("/docs")))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}

async fn not_found() -> Error {
    Error::NotFound
}

async fn method_not_allowed() -> Error {
    Error::MethodNotAllowed
}
