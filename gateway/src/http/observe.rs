//! Around every request: its id, the access log, the counters, and a net for panics.

use std::{
    hash::{BuildHasher, RandomState},
    panic::AssertUnwindSafe,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use futures_util::future::FutureExt;
use prometheus::IntCounter;

use crate::{
    app::App,
    error::Error,
    http::{origin, reply},
};

/// The header with a request's id, in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken from a caller.
const MAX_ID: usize = 128;

/// Counts requests, and from a random start numbers those that bring no id.
static COUNT: AtomicU64 = AtomicU64::new(0);
static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));

/// Around the router.
pub(super) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    // Only the router's own paths become labels.
    let label = route.as_ref().map_or("other", MatchedPath::as_str);
    around(&app, label, None, request, |request| next.run(request)).await
}

/// Around one request to the route that `label` tells. Success is counted in `ok` where that series is at hand.
pub(super) async fn around<F: Future<Output = Response>>(
    app: &App,
    label: &str,
    ok: Option<&IntCounter>,
    mut request: Request,
    run: impl FnOnce(Request) -> F,
) -> Response {
    let start = Instant::now();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = request_id(&request, number);
    if origin::matters(request.uri().path()) {
        // The audit log tells it, also where the caller brought none.
        request.headers_mut().insert(REQUEST_ID, id.clone());
    }
    let method = request.method().clone();
    let uri = request.uri().clone();

    let mut response = AssertUnwindSafe(run(request)).catch_unwind().await.unwrap_or_else(|_| {
        app.metrics.panics.inc();
        reply::refusal(uri.path(), &Error::Internal)
    });
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = reply::refusal(uri.path(), &error);
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    }

    let status = response.status();
    let took = start.elapsed();
    match ok {
        Some(ok) if status == StatusCode::OK => ok.inc(),
        _ => app.metrics.http_requests.with_label_values(&[label, status.as_str()]).inc(),
    }
    app.metrics.http_seconds.observe(took.as_secs_f64());
    if is_logged(app.http.log_one_in, number, status.as_u16()) {
        tracing::info!(
            target: "modelgate::access",
            request_id = id.to_str().unwrap_or_default(),
            method = shortened(method.as_str(), 16),
            path = shortened(uri.path(), 256),
            status = status.as_u16(),
            took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        );
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's, if it is one that can be logged and sent back; else a new one.
fn request_id(request: &Request, number: u64) -> HeaderValue {
    if let Some(id) = request.headers().get(REQUEST_ID)
        && (1..=MAX_ID).contains(&id.len())
        && id.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return id.clone();
    }
    let mut rest = START.wrapping_add(number);
    let id: [u8; 16] = std::array::from_fn(|_| {
        rest = rest.rotate_left(4);
        b"0123456789abcdef"[(rest & 15) as usize]
    });
    HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

fn is_logged(one_in: u64, number: u64, status: u16) -> bool {
    one_in != 0 && (status >= 400 || number.is_multiple_of(one_in))
}

/// A caller's text, bounded. Methods and paths are ASCII.
fn shortened(text: &str, most: usize) -> &str {
    text.get(..most).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_logged_and_successes_sampled() {
        assert!(is_logged(100, 7, 500));
        assert!(is_logged(100, 200, 200));
        assert!(!is_logged(100, 7, 200));
        assert!(!is_logged(0, 0, 500));
    }
}
