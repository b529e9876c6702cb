//! The listener: accepts, bounds and times connections, and drains them at the end.

use std::{convert::Infallible, future::Future, io, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use prometheus::IntGauge;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower::{ServiceExt, service_fn};

use crate::{app::App, config::HttpConfig};

/// Header lines taken in one request.
const MAX_HEADERS: usize = 100;

/// Bytes that a request's head may take, and of a body that are read ahead.
const READ_BUFFER: usize = 64 << 10;

/// After an accept that failed for want of something (files, memory), how long to leave it alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` ends, then drains: readiness goes false, new requests are still taken for `drain_delay`, then the
/// listener closes and what is in flight has `drain_timeout` to finish.
pub async fn serve(listener: TcpListener, router: Router, app: App, stop: impl Future<Output = ()>) {
    let config = app.http;
    let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let stop = async {
        stop.await;
        app.set_ready(false);
        tracing::info!(delay_s = config.drain_delay.as_secs(), "draining: readiness is false");
        sleep(config.drain_delay).await;
    };
    tokio::pin!(stop);
    loop {
        let place = tokio::select! {
            () = &mut stop => break,
            Ok(place) = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if !is_of_one_connection(&error) {
                        tracing::warn!(%error, "connections cannot be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            },
        };
        if let Err(error) = prepare(&stream, &config) {
            tracing::debug!(%error, "a connection could not be prepared");
            continue;
        }
        let service = router.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let service = service.clone();
            async move {
                Ok::<_, Infallible>(
                    service.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {}),
                )
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(READ_BUFFER)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = graceful.watch(connection);
        let open = Open::new(&app.metrics.connections);
        tokio::spawn(async move {
            // Clients that send no HTTP, or go away, are not this server's failures.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop((open, place));
        });
    }
    drop(listener);
    let open = graceful.count();
    if timeout(config.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = open, "the drain timeout passed; open connections are cut");
    } else {
        tracing::info!(connections = open, "drained");
    }
}

/// Small answers leave at once, and a client that acknowledges nothing is let go.
fn prepare(stream: &TcpStream, config: &HttpConfig) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(config.write_timeout))
}

/// Failures that say nothing about the next accept.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// One open connection in the gauge.
struct Open(IntGauge);

impl Open {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
