//! The web pages that may call the gateway from a browser: none, unless the configuration names their origins.

use std::time::Duration;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, header},
};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// The time for which a browser may remember that an origin is allowed.
const MAX_AGE: Duration = Duration::from_mins(10);

/// Headers of answers that a page may read.
const EXPOSED: [HeaderName; 5] = [
    header::RETRY_AFTER,
    HeaderName::from_static("inference-header-content-length"),
    HeaderName::from_static("x-modelgate-generation"),
    HeaderName::from_static("x-modelgate-version"),
    HeaderName::from_static("x-request-id"),
];

/// Answers the preflights of pages from these origins (`*` is any) and lets them read what they ask for. Calls that change
/// what is served are for no page.
pub(crate) fn layered(router: Router, origins: &[String]) -> Router {
    if origins.is_empty() {
        return router;
    }
    let any = origins.iter().any(|origin| origin == "*");
    let origins: Vec<_> = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    let allows = AllowOrigin::predicate(move |origin, head| {
        (any || origins.contains(origin)) && !head.uri.path().starts_with("/v2/repository/")
    });
    let layer = CorsLayer::new()
        .allow_origin(allows)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE);
    router.layer(layer)
}

/// An origin as browsers send it, or `*`.
///
/// # Errors
/// What is expected.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let is_origin = reqwest::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text.trim_end_matches('/')
    });
    if text == "*" || is_origin {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(format!("expected an origin such as https://app.example.com, or *, got {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_schemes_and_hosts() {
        for good in ["*", "https://app.example.com", "http://localhost:3000", "https://app.example.com/"] {
            assert_eq!(origin(good), Ok(good.trim_end_matches('/').to_owned()));
        }
        for bad in
            ["", "app.example.com", "https://app.example.com/page", "https://app.example.com:443", "ftp://x", "null"]
        {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
