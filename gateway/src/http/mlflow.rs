//! MLflow's scoring server, as its clients know it: `/invocations` and what stands around it.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{
    app::App,
    echo::echo,
    error::Error,
    http::{
        body, named,
        scoring::{self, Reading},
        v2::target::Target,
    },
    json::decode::Dialect,
};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ping", get(ping))
        .route("/health", get(ping))
        .route("/version", get(version))
        .route("/invocations", post(invocations))
        .route("/models/{model}/invocations", post(invocations_of))
}

/// 200 where there is a model, else 404.
async fn ping(State(app): State<App>) -> Response {
    let status = if app.catalog.default_model().is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], "\n").into_response()
}

async fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// For the default model, or the one that `X-Model` or `?model=` names.
async fn invocations(State(app): State<App>, request: Request) -> Result<Response, Error> {
    invoke(app, None, request).await
}

async fn invocations_of(State(app): State<App>, target: Target, request: Request) -> Result<Response, Error> {
    invoke(app, Some(&target.model), request).await
}

async fn invoke(app: App, path: Option<&str>, request: Request) -> Result<Response, Error> {
    let (head, body) = request.into_parts();
    let reading = reading(&head.headers)?;
    let generation = app.resolve(named::model(path, &head)?.as_deref(), None).await?;
    let body =
        body::receive(&app, &generation.name, &head.headers, body).await.map_err(|error| generation.refused(error))?;
    scoring::answer(&app, &generation, body, reading).await
}

/// The reading that the content type asks for, with the words of MLflow's server where it is not taken.
fn reading(headers: &HeaderMap) -> Result<Reading, Error> {
    let value = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let value = value.as_deref().unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let mut unknown = Vec::new();
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if !name.eq_ignore_ascii_case("charset") {
            unknown.push(echo(name));
        } else if !value.trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return Err(Error::MlflowContentType("The scoring server only supports UTF-8".into()));
        }
    }
    if !unknown.is_empty() {
        let unknown = echo(&unknown.join(", "));
        return Err(Error::MlflowContentType(format!("Unrecognized content type parameters: {unknown}.")));
    }
    if kind.eq_ignore_ascii_case("application/json") {
        Ok(Reading::Json(Dialect::Mlflow))
    } else if kind.eq_ignore_ascii_case("text/csv") {
        Ok(Reading::Csv)
    } else {
        let got = echo(value);
        Err(Error::MlflowContentType(format!(
            "This predictor only supports the following content types: Types: ['text/csv', 'application/json']. \
             Got '{got}'."
        )))
    }
}
