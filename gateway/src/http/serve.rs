//! The listener: accepts, bounds and times connections, deals them out to the I/O threads, and drains them at the end.
//!
//! Each I/O thread has an event loop of its own and keeps a connection for life: nothing is handed between threads for a
//! request that is answered where it was read.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{SocketAddr, TcpStream as StdTcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{Router, body::Body, http::Request, response::Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use prometheus::IntGauge;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{sleep, timeout},
};
use tower::ServiceExt;

use crate::{
    app::App,
    config::HttpConfig,
    http::{
        cores,
        direct::Direct,
        origin::{self, Origin},
    },
    workers,
};

/// Header lines taken in one request.
const MAX_HEADERS: usize = 100;

/// How an HTTP/2 connection begins, where the client knows that it is understood (RFC 9113); gRPC's clients do.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// Bytes of one HTTP/2 request that may be on their way without an acknowledgement.
const WINDOW: u32 = 1 << 20;

/// How soon to look again at a connection that has sent too little to tell its protocol.
const PEEK_AGAIN: Duration = Duration::from_millis(2);

/// Bytes that a request's head may take, and of a body that are read ahead.
const READ_BUFFER: usize = 64 << 10;

/// Accepted connections that may wait for an I/O thread to take them up.
const BACKLOG: usize = 256;

/// After an accept that failed for want of something (files, memory), how long to leave it alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is served.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Everything.
    pub router: Router,
    /// Where predictions are served too: see [`Direct`].
    pub predict: Option<App>,
}

impl Routes {
    async fn answer(self, mut request: Request<Incoming>, peer: Option<SocketAddr>) -> Result<Response, Infallible> {
        if let Some(app) = self.predict
            && let Some(direct) = Direct::of(&request)
        {
            return Ok(direct.answer(app, request.map(Body::new)).await);
        }
        if let Some(peer) = peer
            && origin::matters(request.uri().path())
        {
            let origin = Origin::of(peer, &request);
            request.extensions_mut().insert(origin);
        }
        self.router.oneshot(request.map(Body::new)).await
    }
}

/// The threads that read and write sockets.
#[derive(Clone, Copy, Debug)]
pub struct IoConfig {
    /// How many.
    pub threads: usize,
    /// Whether no two of them share a core.
    pub spread: bool,
}

/// Serves on I/O threads until `stop` ends, then drains: readiness goes false, new requests are still taken for
/// `drain_delay`, then the listener closes and what is in flight has `drain_timeout` to finish.
///
/// # Errors
/// Threads that cannot be started.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    app: App,
    io: IoConfig,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let config = app.http;
    let threads = (0..io.threads)
        .map(|number| IoThread::start(number, io, routes.clone(), &app))
        .collect::<io::Result<Vec<_>>>()?;
    let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let stop = async {
        stop.await;
        app.set_ready(false);
        tracing::info!(delay_s = config.drain_delay.as_secs(), "draining: readiness is false");
        sleep(config.drain_delay).await;
    };
    tokio::pin!(stop);
    let accept = async {
        for thread in threads.iter().cycle() {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let Ok(stream) = accept(&listener, &config).await.into_std() else { continue };
            let open = Open { gauge: app.metrics.connections.clone(), _place: place };
            open.gauge.inc();
            if thread.connections.send((stream, open)).await.is_err() {
                tracing::error!("an I/O thread is gone");
            }
        }
    };
    tokio::select! { () = &mut stop => {}, () = accept => {} }
    drop(listener);
    let mut cut = 0;
    let draining: Vec<_> = threads.into_iter().map(IoThread::drain).collect();
    for (drained, thread) in draining {
        cut += drained.await.unwrap_or(0);
        // It has told that it is done, so this takes no time.
        _ = thread.join();
    }
    if cut > 0 {
        tracing::warn!(connections = cut, "the drain timeout passed; open connections were cut");
    } else {
        tracing::info!("drained");
    }
    Ok(())
}

/// The next connection, prepared.
async fn accept(listener: &TcpListener, config: &HttpConfig) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match prepare(&stream, config) {
                Ok(()) => return stream,
                Err(error) => tracing::debug!(%error, "a connection could not be prepared"),
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "connections cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Small answers leave at once, and a client that acknowledges nothing is let go.
fn prepare(stream: &TcpStream, config: &HttpConfig) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(config.write_timeout))
}

/// Failures that say nothing about the next accept.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// One open connection: in the gauge, and of those that may be open at once.
struct Open {
    gauge: IntGauge,
    _place: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A thread with an event loop. Dropping `connections` makes it drain.
struct IoThread {
    connections: mpsc::Sender<(StdTcpStream, Open)>,
    /// How many connections were cut at the end.
    drained: oneshot::Receiver<usize>,
    thread: JoinHandle<()>,
}

impl IoThread {
    fn start(number: usize, io: IoConfig, routes: Routes, app: &App) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (connections, incoming) = mpsc::channel(BACKLOG);
        let (done, drained) = oneshot::channel();
        let config = app.http;
        let thread =
            thread::Builder::new().name(format!("io-{number}")).stack_size(workers::STACK).spawn(move || {
                if io.spread {
                    cores::keep_to_share(number, io.threads);
                }
                workers::begin();
                let cut = runtime.block_on(run(incoming, routes, config));
                // With the connections that were cut.
                drop(runtime);
                workers::release();
                _ = done.send(cut);
            })?;
        Ok(Self { connections, drained, thread })
    }

    fn drain(self) -> (oneshot::Receiver<usize>, JoinHandle<()>) {
        (self.drained, self.thread)
    }
}

/// Serves connections until no more will come, then drains them. Gives how many it had to cut.
async fn run(mut incoming: mpsc::Receiver<(StdTcpStream, Open)>, routes: Routes, config: HttpConfig) -> usize {
    let graceful = GracefulShutdown::new();
    // Dropped at the end, for connections that have not said anything yet.
    let (open_end, ending) = watch::channel(());
    while let Some((stream, open)) = incoming.recv().await {
        let peer = stream.peer_addr().ok();
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let routes = routes.clone();
        let service = service_fn(move |request: Request<Incoming>| routes.clone().answer(request, peer));
        let (watcher, mut ending) = (graceful.watcher(), ending.clone());
        tokio::spawn(async move {
            let protocol = tokio::select! {
                protocol = timeout(config.header_timeout, is_http2(&stream)) => protocol,
                _ = ending.changed() => return,
            };
            let served = match protocol {
                Ok(Ok(true)) => {
                    let connection = http2::Builder::new(TokioExecutor::new())
                        .timer(TokioTimer::new())
                        .max_concurrent_streams(MAX_STREAMS)
                        .max_header_list_size(READ_BUFFER as u32)
                        .initial_stream_window_size(WINDOW)
                        .initial_connection_window_size(2 * WINDOW)
                        .keep_alive_interval(Some(config.header_timeout))
                        .serve_connection(TokioIo::new(stream), service);
                    watcher.watch(connection).await
                }
                Ok(Ok(false)) => {
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(config.header_timeout)
                        .max_headers(MAX_HEADERS)
                        .max_buf_size(READ_BUFFER)
                        .serve_connection(TokioIo::new(stream), service);
                    watcher.watch(connection).await
                }
                // Gone, or silent for too long.
                Ok(Err(_)) | Err(_) => Ok(()),
            };
            // Clients that send no HTTP, or go away, are not this server's failures.
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(open);
        });
    }
    drop(open_end);
    let open = graceful.count();
    match timeout(config.drain_timeout, graceful.shutdown()).await {
        Ok(()) => 0,
        Err(_) => open,
    }
}

/// Whether a connection begins as HTTP/2 does; looks at its first bytes and leaves them.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await?;
        let seen = first.get(..count).unwrap_or_default();
        // A client that closes at once is left to HTTP/1, which ends it.
        if count == 0 || !PREFACE.starts_with(seen) {
            return Ok(false);
        }
        if count == PREFACE.len() {
            return Ok(true);
        }
        // What has come stays readable, so there is nothing to wait for but time.
        sleep(PEEK_AGAIN).await;
    }
}
