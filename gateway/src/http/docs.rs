//! The OpenAPI document of what answers now, and a page to read it and try it, which needs no internet.

use std::sync::PoisonError;

use axum::{
    Extension,
    body::Bytes,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::{
    app::App,
    http::{
        held::{Counted, JSON},
        openapi,
    },
};

const PAGE: &str = include_str!("docs.html");

/// The page runs its own script and style and talks to this server only.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn openapi(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], Extension(Counted), current(&app)).into_response()
}

/// The document of what the catalog has now, built once and shared by all who ask.
fn current(app: &App) -> Bytes {
    let mut kept = app.document.lock().unwrap_or_else(PoisonError::into_inner);
    // Read first: a change while the document is built makes it one of before.
    let revision = app.catalog.revision();
    if let Some((kept_revision, document)) = &*kept
        && *kept_revision == revision
    {
        return document.clone();
    }
    let default = app.catalog.default_name();
    let document = openapi::document(&app.catalog.listed(), default.as_deref(), app.http.ignore_extra_fields);
    let document = Bytes::from(document.to_string());
    *kept = Some((revision, document.clone()));
    document
}

pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, Extension(Counted), PAGE).into_response()
}
