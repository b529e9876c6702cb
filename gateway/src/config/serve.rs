//! The settings of a server, each with its value.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    admin::Admin, bundle::Ceilings, config::lifecycle::LifecycleConfig, loading::LoadingConfig,
    telemetry::format::LogFormat, trust::Trust, wasm::engine::PoolSize, workers::WorkersConfig,
};

/// Limits of the HTTP side.
#[derive(Clone, Copy, Debug)]
pub struct HttpConfig {
    /// Of a body, before and after decompression, in bytes.
    pub max_body: usize,
    /// Of all requests at once, in bytes.
    pub body_memory: usize,
    /// Of the values that a model's graph makes in one run, in bytes.
    pub model_memory: usize,
    /// For a request's head, and for silence between requests.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// For a client that takes no byte of its answer.
    pub write_timeout: Duration,
    /// Open at once.
    pub max_connections: usize,
    /// Open at once from one address; 0 is any number.
    pub max_connections_per_address: usize,
    /// For a connection as a whole.
    pub max_connection_age: Option<Duration>,
    /// Whether fields of `/predict` that are no columns are passed over.
    pub ignore_extra_fields: bool,
    /// From SIGTERM to the last accept.
    pub drain_delay: Duration,
    /// From there to the end.
    pub drain_timeout: Duration,
    /// One of so many successful requests is logged; 0 is none, and no failures either.
    pub log_one_in: u64,
}

/// Everything `serve` needs to know.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Folders, in order.
    pub bundles: Vec<PathBuf>,
    /// Whether to serve the embedded one.
    pub demo: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Worker threads and their queue.
    pub workers: WorkersConfig,
    /// Threads that read and write sockets.
    pub io_threads: usize,
    /// Whether no two of them share a core.
    pub pin_io_threads: bool,
    /// The HTTP side.
    pub http: HttpConfig,
    /// The filter of the log.
    pub log: String,
    /// The form of its lines, unless that depends on where they go.
    pub log_format: Option<LogFormat>,
    /// Whether the log has the stack of a module that ends early.
    pub guest_backtraces: bool,
    /// Where compiled code is kept.
    pub code_cache: Option<PathBuf>,
    /// Compiled code that came with the gateway.
    pub precompiled_modules: Option<PathBuf>,
    /// The size of the instance pool.
    pub pool: PoolSize,
    /// Where bundles come from, and what becomes of them.
    pub lifecycle: LifecycleConfig,
    /// The callers that may change what is served.
    pub admin: Admin,
    /// Where those calls are answered, if not where all others are.
    pub admin_listen: Option<SocketAddr>,
    /// Origins of web pages that may call the gateway.
    pub cors_origins: Vec<String>,
    /// Where those calls are answered without a token.
    pub admin_socket: SocketLocation,
    /// The most that bundles may ask for.
    pub ceilings: Ceilings,
    /// The first load of a bundle.
    pub loading: LoadingConfig,
    /// Whether the folders of the caches are looked at.
    pub trust: Trust,
    /// A sentence for each setting that was given under its name of 0.1.
    pub renamed: Vec<String>,
}

/// Where the Unix socket for calls that change what is served is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketLocation {
    /// Nowhere.
    Off,
    /// At this path, or the gateway does not start.
    At(PathBuf),
    /// In this folder, under a name by machine and port; the gateway does without where it cannot be.
    In(PathBuf),
}

/// The default name of that socket: a cache may be shared by gateways in several containers, and on several machines.
pub fn socket_name(port: u16) -> String {
    let uname = rustix::system::uname();
    let machine = uname.nodename().to_string_lossy();
    // The path of a socket holds some 100 bytes.
    let machine: String = machine.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(24).collect();
    format!("admin-{machine}-{port}.sock")
}
