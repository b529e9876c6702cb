//! One connection, from its first byte to its end.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Request, Version, header},
    response::Response,
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    activity::{Activity, Answer, CLOSE_GRACE, Patience, Verdict},
    admission::{self, Client, HEALTH, MAX_HEADERS},
    held,
    lasting::Lasting,
    routes::Routes,
    socket_io::Socket,
};
use crate::{config::HttpConfig, error::Error, memory::Account};

/// Requests in flight on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;

/// Bytes of one HTTP/2 request that may be on their way without an acknowledgement.
const WINDOW: u32 = 1 << 20;

/// Bytes that a request's head may take, and of a body that are read ahead.
const READ_BUFFER: usize = 64 << 10;

/// Bytes that the header lines of an HTTP/2 request may come to. A byte of it may stand for a line.
const HEADER_LIST: u32 = 16 << 10;

/// For how long a connection of the reserve is kept: health checks ask at once.
const RESERVE_PATIENCE: Duration = Duration::from_secs(5);

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// Where it is of the reserve: ends when it has to make room.
    pub(super) reserved: Option<oneshot::Receiver<()>>,
    /// Changes when the gateway drains.
    pub(super) ending: watch::Receiver<()>,
}

/// Serves a connection until it ends, or has to.
pub(super) async fn serve(accepted: Accepted, routes: Routes, config: HttpConfig, memory: Arc<Account>) {
    let Accepted { stream, reserved, mut ending } = accepted;
    let peer = stream.peer_addr().ok();
    let is_reserved = reserved.is_some();
    let idle = if is_reserved { config.header_timeout.min(RESERVE_PATIENCE) } else { config.header_timeout };
    let age = if is_reserved { Some(RESERVE_PATIENCE) } else { config.max_connection_age };
    let activity = Activity::new(Patience { idle, write: config.write_timeout, age });
    let client = Arc::new(Client { activity: Arc::clone(&activity), memory, lasting: Lasting::default(), is_reserved });
    let service =
        service_fn(move |request: Request<Incoming>| answer(routes.clone(), request, peer, Arc::clone(&client)));
    let builder = builder(idle);
    let socket = Socket { io: TokioIo::new(stream), activity: Arc::clone(&activity) };
    let mut connection = pin!(builder.serve_connection(socket, service));
    let mut make_room = pin!(async {
        match reserved {
            Some(reserved) => _ = reserved.await,
            None => std::future::pending().await,
        }
    });
    let mut look = Some(activity.first_look());
    let mut closing = false;
    loop {
        let next = look.map(Instant::from_std);
        let close = tokio::select! {
            biased;
            ended = connection.as_mut() => {
                // Clients that send no HTTP, or go away, are not this server's failures.
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let now = std::time::Instant::now();
                match if closing { activity.judge_closing(now) } else { activity.judge(now) } {
                    Verdict::Keep(until) => {
                        look = until;
                        false
                    }
                    Verdict::Close => true,
                    Verdict::Cut => return,
                }
            }
            _ = ending.changed(), if !closing => true,
            () = &mut make_room => return,
        };
        if close {
            connection.as_mut().graceful_shutdown();
            closing = true;
            look = Some(std::time::Instant::now() + CLOSE_GRACE);
        }
    }
}

fn builder(idle: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_headers(MAX_HEADERS)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(HEADER_LIST)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .keep_alive_interval(Some(idle));
    builder
}

async fn answer(
    routes: Routes,
    mut request: Request<Incoming>,
    peer: Option<SocketAddr>,
    client: Arc<Client>,
) -> Result<Response, Infallible> {
    if request.version() != Version::HTTP_2 {
        client.activity.request();
        return match admission::refused(&request) {
            Some(refused) => Ok(refused),
            None => Ok(held::counted(&client.memory, routed(routes, request, peer, client.is_reserved).await?)),
        };
    }
    let mut stream = client.activity.stream();
    let refused = admission::refused(&request).or_else(|| client.admit(&mut request, &mut stream));
    let response = match refused {
        None => held::counted(&client.memory, routed(routes, request, peer, client.is_reserved).await?),
        Some(refused) => {
            if client.has_few() {
                admission::discard(request.into_body()).await;
            }
            refused
        }
    };
    Ok(response.map(|body| Body::new(Answer::new(body, stream))))
}

async fn routed(
    routes: Routes,
    request: Request<Incoming>,
    peer: Option<SocketAddr>,
    is_reserved: bool,
) -> Result<Response, Infallible> {
    if is_reserved { of_reserve(routes, request, peer).await } else { routes.answer(request, peer).await }
}

/// The answer to a connection that came when all places were taken.
async fn of_reserve(
    routes: Routes,
    request: Request<Incoming>,
    peer: Option<SocketAddr>,
) -> Result<Response, Infallible> {
    let is_multiplexed = request.version() == Version::HTTP_2;
    let mut response = if HEALTH.contains(&request.uri().path()) {
        routes.answer(request, peer).await?
    } else {
        admission::refusal(&request, &Error::Overloaded)
    };
    if !is_multiplexed {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
