//! Around every request: its id, the access log, the counters, and a net for panics.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::Response,
};
use futures_util::future::FutureExt;
use prometheus::IntCounter;
use tracing::Instrument;

use crate::{
    app::App,
    error::Error,
    http::{client_info, error_response},
    telemetry::{
        failures,
        request_id::{REQUEST_ID, RequestId, scope},
    },
};

/// Counts requests.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Around the router.
pub(super) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
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
    let id = RequestId::from_headers(request.headers(), number);
    if client_info::is_needed_for(request.uri().path()) {
        // The audit log tells it, also where the caller brought none.
        request.headers_mut().insert(REQUEST_ID, id.header());
    }
    let method = request.method().clone();
    let uri = request.uri().clone();

    let answer = async {
        let mut response = AssertUnwindSafe(run(request)).catch_unwind().await.unwrap_or_else(|_| {
            app.metrics.panics.inc();
            failures::log(&Error::Internal);
            error_response::refusal(uri.path(), &Error::Internal)
        });
        if let Some(error) = response.extensions_mut().remove::<Error>() {
            failures::log(&error);
            let allow = response.headers_mut().remove(header::ALLOW);
            response = error_response::refusal(uri.path(), &error);
            response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
        }
        response
    };
    let span = tracing::debug_span!("request", request_id = %id, route = label, method = %method);
    let mut response = scope(Some(id.clone()), pin!(answer.instrument(span))).await;

    let status = response.status();
    let duration = start.elapsed();
    match ok {
        Some(ok) if status == StatusCode::OK => ok.inc(),
        _ => app.metrics.http_requests.with_label_values(&[label, status.as_str()]).inc(),
    }
    app.metrics.http_seconds.observe(duration.as_secs_f64());
    if is_logged(app.http.log_one_in, number, status.as_u16()) {
        tracing::info!(
            target: "modelgate::access",
            request_id = %id,
            method = shortened(method.as_str(), 16),
            path = shortened(uri.path(), 256),
            status = status.as_u16(),
            took_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        );
    }
    response.headers_mut().insert(REQUEST_ID, id.header());
    response
}

/// Every failure, and a share of the rest. A request that was turned away is one of the rest: a gateway that has too much to
/// do does not write a line for each.
fn is_logged(one_in: u64, number: u64, status: u16) -> bool {
    let is_failure = status >= 400 && status != StatusCode::SERVICE_UNAVAILABLE.as_u16();
    one_in != 0 && (is_failure || number.is_multiple_of(one_in))
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
        assert!(!is_logged(100, 7, 503) && is_logged(100, 200, 503), "no line for each of a flood");
    }
}
