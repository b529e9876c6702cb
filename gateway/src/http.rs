//! The public HTTP surface: every route and layer, in order.

mod activity;
mod admission;
mod affinity;
pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod client_info;
mod connection;
pub(crate) mod cors;
mod docs;
pub(crate) mod error_response;
mod fast_path;
mod health;
pub(crate) mod held;
pub(crate) mod lasting;
mod mlflow;
pub(crate) mod named;
mod openai;
pub mod openapi;
pub(crate) mod operate;
mod predict;
mod repository;
mod resolve;
pub mod routes;
mod scoring;
pub mod serve;
mod slots;
pub mod socket;
mod socket_io;
mod telemetry;
mod time_slice;
mod v1;
mod v2;
mod work;

use axum::{
    Extension, Router, middleware,
    routing::{get, post},
};

use crate::{admin::Door, app::App, error::Error, grpc};

/// Everything that is answered; without the calls that change what is served where those have a port of their own. Here
/// they are for bearers of the admin token alone.
pub fn router(app: App, with_admin: bool) -> Router {
    let public = Router::new()
        .route("/predict", post(predict::predict))
        .route("/predict/{model}", post(predict::predict_named))
        .route("/listar_modelos", get(predict::models))
        .route("/healthz", get(health::live))
        .route("/v2/health/live", get(health::live))
        .route("/v2/health/ready", get(health::ready))
        .merge(v2::routes())
        .merge(v1::routes())
        .merge(openai::routes())
        .merge(mlflow::routes())
        .merge(grpc::routes(&app, with_admin.then_some(Door::Public)))
        .route("/v2/repository/index", post(repository::index))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page))
        .route("/", get(health::root));
    finish(if with_admin { public.merge(admin(Door::Public)) } else { public }, app)
}

/// The calls that change what is served, alone, over REST and gRPC, with health beside them, at this door.
pub fn admin_router(app: App, door: Door) -> Router {
    let health = Router::new()
        .route("/v2/health/live", get(health::live))
        .route("/v2/repository/index", post(repository::index));
    let calls = admin(door).merge(grpc::admin_routes(&app, door));
    finish(health.merge(calls), app)
}

fn admin(door: Door) -> Router<App> {
    Router::new()
        .route("/v2/repository/sources", get(repository::sources))
        .route("/v2/repository/state", get(repository::state))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload))
        .route("/v2/repository/models/{model}/rollback", post(repository::rollback))
        .route("/v2/repository/models/{model}/promote", post(repository::promote))
        .layer(Extension(door))
}

fn finish(router: Router<App>, app: App) -> Router {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), telemetry::layer))
        .with_state(app)
}

async fn not_found() -> Error {
    Error::NotFound
}

async fn method_not_allowed() -> Error {
    Error::MethodNotAllowed
}
