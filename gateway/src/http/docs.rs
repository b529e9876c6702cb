//! The OpenAPI document of what answers now, and a page to read it and try it, which needs no internet.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    app::App,
    http::{openapi, reply::json_response},
};

const PAGE: &str = include_str!("docs.html");

/// The page runs its own script and style and talks to this server only.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn openapi(State(app): State<App>) -> Response {
    let default = app.catalog.default_name();
    let document = openapi::document(&app.catalog.cards(), default.as_deref(), app.http.ignore_extra_fields);
    json_response(StatusCode::OK, document.to_string().into_bytes())
}

pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, PAGE).into_response()
}
