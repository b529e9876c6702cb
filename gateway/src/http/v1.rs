//! TensorFlow Serving's and KServe's first protocol: `:predict`, and what it tells of a model.

mod signature;

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::Error,
    http::{
        answer::json_response,
        body, named,
        scoring::{self, Reading},
        v2::target::Target,
    },
    json::decode::Dialect,
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/models", get(list))
        .route("/v1/models/{model}", get(status).post(predict))
        .route("/v1/models/{model}/metadata", get(metadata))
        .route("/v1/models/{model}/versions/{version}", get(status).post(predict))
        .route("/v1/models/{model}/versions/{version}/metadata", get(metadata))
}

/// The answers of KServe and of OpenAI, in one.
async fn list(State(app): State<App>) -> Response {
    let names = app.catalog.names();
    let data: Vec<_> = names.iter().map(|name| openai_model(name)).collect();
    let body = json!({ "models": names, "object": "list", "data": data });
    json_response(StatusCode::OK, body.to_string().into_bytes())
}

/// A model as OpenAI tells of it. Nothing here knows when it was made.
fn openai_model(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "modelgate" })
}

/// The answers of KServe, of TensorFlow Serving and of OpenAI, in one.
async fn status(State(app): State<App>, target: Target) -> Result<Response, Error> {
    let known = app.status(&target.model, target.version.as_deref())?;
    let ready = known.in_reach && app.is_ready();
    let mut body = openai_model(&target.model);
    let status = json!({
        "name": target.model,
        "ready": ready,
        "model_version_status": [{
            "version": known.version,
            "state": if ready { "AVAILABLE" } else { "UNLOADING" },
            "status": { "error_code": "OK", "error_message": "" },
        }],
    });
    if let (Value::Object(body), Value::Object(status)) = (&mut body, status) {
        body.extend(status);
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json_response(status, body.to_string().into_bytes()))
}

/// The model's signature, as TensorFlow Serving tells it.
async fn metadata(State(app): State<App>, target: Target) -> Result<Response, Error> {
    let version = target.version.as_deref();
    let metadata = app.metadata(&target.model, version).await?;
    let version = app.status(&target.model, version)?.version;
    Ok(json_response(StatusCode::OK, signature::metadata(&metadata, &version).to_string().into_bytes()))
}

/// The last part of the path ends in `:predict`; there is no other verb.
async fn predict(State(app): State<App>, target: Target, request: Request) -> Result<Response, Error> {
    let Target { model, version } = target;
    let last = version.as_deref().unwrap_or(&model);
    let Some(last) = last.strip_suffix(":predict") else { return Err(Error::NotFound) };
    let (model, version) = if version.is_some() { (model.as_str(), Some(last)) } else { (last, None) };
    let (head, body) = request.into_parts();
    named::model(Some(model), &head)?;
    let generation = app.resolve(Some(model), version).await?;
    let body =
        body::receive(&app, &generation.name, &head.headers, body).await.map_err(|error| generation.refused(error))?;
    scoring::answer(&app, &generation, body, Reading::Json(Dialect::TensorFlow)).await
}
