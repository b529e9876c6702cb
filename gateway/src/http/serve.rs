//! The listener: accepts, bounds and times connections, deals them out to the I/O threads, and drains them at the end.
//!
//! Each I/O thread has an event loop of its own and keeps a connection for life: nothing is handed between threads for a
//! request that is answered where it was read.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpStream as StdTcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    app::App,
    config::HttpConfig,
    http::{
        affinity,
        connection::{self, Accepted},
        routes::Routes,
        slots::{Slot, Slots},
        time_slice,
    },
    memory::Account,
    workers,
};

/// Accepted connections that may wait for an I/O thread to take them up.
const BACKLOG: usize = 256;

/// After an accept that failed for want of something (files, memory), how long to leave it alone.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The threads that read and write sockets.
#[derive(Clone, Copy, Debug)]
pub struct IoConfig {
    /// The number of threads.
    pub threads: usize,
    /// Whether no two of them share a core.
    pub pin: bool,
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
    let mut slots =
        Slots::new(config.max_connections, config.max_connections_per_address, app.metrics.connections.clone());
    let stop = async {
        stop.await;
        app.set_ready(false);
        tracing::info!(delay_s = config.drain_delay.as_secs(), "draining: readiness is false");
        sleep(config.drain_delay).await;
    };
    tokio::pin!(stop);
    let accept = async {
        for thread in threads.iter().cycle() {
            let (stream, slot) = loop {
                let (stream, peer) = accept(&listener, &config).await;
                if let (Ok(stream), Some(slot)) = (stream.into_std(), slots.take(peer)) {
                    break (stream, slot);
                }
            };
            if thread.connections.send((stream, slot)).await.is_err() {
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
async fn accept(listener: &TcpListener, config: &HttpConfig) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match prepare(&stream, config) {
                Ok(()) => return (stream, peer),
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

/// Small answers leave at once, and a client that acknowledges nothing is disconnected.
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

/// A thread with an event loop. Dropping `connections` makes it drain.
struct IoThread {
    connections: mpsc::Sender<(StdTcpStream, Slot)>,
    /// The number of connections that were cut at the end.
    drained: oneshot::Receiver<usize>,
    thread: JoinHandle<()>,
}

impl IoThread {
    fn start(number: usize, io: IoConfig, routes: Routes, app: &App) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (connections, incoming) = mpsc::channel(BACKLOG);
        let (done, drained) = oneshot::channel();
        let (config, memory) = (app.http, Arc::clone(&app.memory));
        let thread =
            thread::Builder::new().name(format!("io-{number}")).stack_size(workers::STACK).spawn(move || {
                if io.pin {
                    affinity::keep_to_share(number, io.threads);
                }
                time_slice::shorten();
                workers::begin();
                let cut = runtime.block_on(run(incoming, routes, config, memory));
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
async fn run(
    mut incoming: mpsc::Receiver<(StdTcpStream, Slot)>,
    routes: Routes,
    config: HttpConfig,
    memory: Arc<Account>,
) -> usize {
    let (end, ending) = watch::channel(());
    // Each connection holds one until it ends.
    let open = Arc::new(());
    let (last, mut ended) = mpsc::channel::<()>(1);
    while let Some((stream, mut slot)) = incoming.recv().await {
        let Ok(stream) = TcpStream::from_std(stream) else { continue };
        let accepted = Accepted { stream, reserved: slot.reserved.take(), ending: ending.clone() };
        let held = (slot, Arc::clone(&open), last.clone());
        let served = connection::serve(accepted, routes.clone(), config, Arc::clone(&memory));
        tokio::spawn(async move {
            served.await;
            drop(held);
        });
    }
    _ = end.send(());
    drop(last);
    let left = Arc::strong_count(&open) - 1;
    match timeout(config.drain_timeout, ended.recv()).await {
        Ok(_) => 0,
        Err(_) => left,
    }
}
