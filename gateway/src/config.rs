//! Configuration: flags, then `MODELGATE_*` variables, then the TOML file, then defaults. Parsed once.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use serde::Deserialize;

use crate::{bundle::parse_bytes, wasm::engine::PoolSize, workers::WorkersConfig};

/// How `modelgate serve` is told what to do. Every field but `config` may also stand in the TOML file, under the same
/// name with underscores.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeArgs {
    /// A TOML file with these same settings (`listen = "0.0.0.0:8080"`, …). Flags and variables win over it
    #[arg(long, env = "MODELGATE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// A bundle's folder; may be given several times (in the variable: separated by colons). The first is the default
    /// model
    #[arg(long, env = "MODELGATE_BUNDLE", value_name = "DIR", value_delimiter = ':')]
    pub bundle: Vec<PathBuf>,

    /// Serve the bundle that comes with the gateway: a forest on synthetic forest-cover data
    #[arg(long, env = "MODELGATE_DEMO", num_args = 0..=1, default_missing_value = "true")]
    pub demo: Option<bool>,

    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "MODELGATE_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// Worker threads, each with its own module instances [default: the cores this process may use, cgroup quota
    /// included]
    #[arg(long, env = "MODELGATE_WORKERS", value_name = "N")]
    pub workers: Option<NonZeroUsize>,

    /// Threads that read and write sockets [default: as many as workers]
    #[arg(long, env = "MODELGATE_IO_THREADS", value_name = "N")]
    pub io_threads: Option<NonZeroUsize>,

    /// Requests that may wait for a worker; one more is answered 503 [default: 16384]
    #[arg(long, env = "MODELGATE_QUEUE", value_name = "N")]
    pub queue: Option<NonZeroUsize>,

    /// Bytes of decoded requests that may wait for a worker [default: 256MiB]
    #[arg(long, env = "MODELGATE_QUEUE_MEMORY", value_name = "SIZE")]
    pub queue_memory: Option<String>,

    /// The largest body taken, before and after decompression [default: 64MiB]
    #[arg(long, env = "MODELGATE_MAX_BODY", value_name = "SIZE")]
    pub max_body: Option<String>,

    /// Memory for all bodies over 64 KiB that are being read at once; others wait [default: 512MiB]
    #[arg(long, env = "MODELGATE_BODY_MEMORY", value_name = "SIZE")]
    pub body_memory: Option<String>,

    /// Seconds within which a request's head must arrive, and a kept-alive connection may stay silent [default: 60]
    #[arg(long, env = "MODELGATE_HEADER_TIMEOUT", value_name = "SECONDS")]
    pub header_timeout: Option<u64>,

    /// Seconds within which a request's body must arrive [default: 30]
    #[arg(long, env = "MODELGATE_BODY_TIMEOUT", value_name = "SECONDS")]
    pub body_timeout: Option<u64>,

    /// Seconds after which a client that takes no byte of its answer is let go [default: 30]
    #[arg(long, env = "MODELGATE_WRITE_TIMEOUT", value_name = "SECONDS")]
    pub write_timeout: Option<u64>,

    /// Connections open at once; further ones wait in the kernel's backlog [default: 20000]
    #[arg(long, env = "MODELGATE_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,

    /// After SIGTERM: seconds to go on serving with readiness false, so that load balancers notice [default: 0]
    #[arg(long, env = "MODELGATE_DRAIN_DELAY", value_name = "SECONDS")]
    pub drain_delay: Option<u64>,

    /// After that: seconds for requests in flight to finish [default: 30]
    #[arg(long, env = "MODELGATE_DRAIN_TIMEOUT", value_name = "SECONDS")]
    pub drain_timeout: Option<u64>,

    /// Share of successful requests in the access log, 0 to 1; failures are always in it, unless this is 0
    /// [default: 0.01]
    #[arg(long, env = "MODELGATE_ACCESS_LOG", value_name = "SHARE")]
    pub access_log: Option<f64>,

    /// What is logged: error, warn, info, debug or trace, or a filter such as `info,modelgate=debug` [default: info]
    #[arg(long, env = "MODELGATE_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// Folder for compiled modules, so that a restart compiles nothing; `off` for none [default: the user's cache
    /// folder]
    #[arg(long, env = "MODELGATE_CODE_CACHE", value_name = "DIR")]
    pub code_cache: Option<String>,

    /// Module instances alive at once, over all workers and models; each reserves (does not use) 4 GiB of address space
    /// [default: 256]
    #[arg(long, env = "MODELGATE_MAX_INSTANCES", value_name = "N")]
    pub max_instances: Option<u32>,
}

/// Limits of the HTTP side.
#[derive(Clone, Copy, Debug)]
pub struct HttpConfig {
    /// Of a body, before and after decompression, in bytes.
    pub max_body: usize,
    /// Of all large bodies being read at once, in bytes.
    pub body_memory: usize,
    /// For a request's head, and for silence between requests.
    pub header_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// For a client that takes no byte of its answer.
    pub write_timeout: Duration,
    /// Open at once.
    pub max_connections: usize,
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
    /// The HTTP side.
    pub http: HttpConfig,
    /// What is logged.
    pub log: String,
    /// Where compiled code is kept.
    pub code_cache: Option<PathBuf>,
    /// What the pool holds.
    pub pool: PoolSize,
}

impl ServeArgs {
    /// Reads the file, if one is named, and settles every value.
    pub fn resolve(self) -> anyhow::Result<ServeConfig> {
        let file = match &self.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        let args = self.or(file);
        let bundles = args.bundle;
        let demo = args.demo.unwrap_or(false);
        anyhow::ensure!(
            demo || !bundles.is_empty(),
            "nothing to serve: name a bundle's folder with --bundle DIR, or try --demo"
        );
        let share = args.access_log.unwrap_or(0.01);
        anyhow::ensure!((0.0..=1.0).contains(&share), "access_log: expected a share from 0 to 1, got {share}");
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = args.workers.map_or(cores, NonZeroUsize::get);
        anyhow::ensure!(workers <= 1024, "workers: at most 1024 are started, got {workers}");
        let seconds = |value: Option<u64>, default: u64| Duration::from_secs(value.unwrap_or(default));
        Ok(ServeConfig {
            bundles,
            demo,
            listen: args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            workers: WorkersConfig {
                count: workers,
                queue: args.queue.map_or(16_384, NonZeroUsize::get),
                queue_bytes: bytes("queue_memory", args.queue_memory.as_deref(), 256 << 20)?,
            },
            io_threads: args.io_threads.map_or(workers, NonZeroUsize::get),
            http: HttpConfig {
                max_body: bytes("max_body", args.max_body.as_deref(), 64 << 20)?,
                body_memory: bytes("body_memory", args.body_memory.as_deref(), 512 << 20)?,
                header_timeout: seconds(args.header_timeout, 60),
                body_timeout: seconds(args.body_timeout, 30),
                write_timeout: seconds(args.write_timeout, 30),
                max_connections: args.max_connections.map_or(20_000, NonZeroUsize::get),
                drain_delay: seconds(args.drain_delay, 0),
                drain_timeout: seconds(args.drain_timeout, 30),
                log_one_in: if share == 0.0 { 0 } else { (1.0 / share).round() as u64 },
            },
            log: args.log.unwrap_or_else(|| "info".into()),
            code_cache: match args.code_cache.as_deref() {
                Some("off") => None,
                Some(folder) => Some(folder.into()),
                None => cache_folder(),
            },
            pool: PoolSize { instances: args.max_instances.unwrap_or(256).max(1), ..PoolSize::default() },
        })
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("configuration file {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("configuration file {}", path.display()))
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            bundle: if self.bundle.is_empty() { file.bundle } else { self.bundle },
            demo: self.demo.or(file.demo),
            listen: self.listen.or(file.listen),
            workers: self.workers.or(file.workers),
            io_threads: self.io_threads.or(file.io_threads),
            queue: self.queue.or(file.queue),
            queue_memory: self.queue_memory.or(file.queue_memory),
            max_body: self.max_body.or(file.max_body),
            body_memory: self.body_memory.or(file.body_memory),
            header_timeout: self.header_timeout.or(file.header_timeout),
            body_timeout: self.body_timeout.or(file.body_timeout),
            write_timeout: self.write_timeout.or(file.write_timeout),
            max_connections: self.max_connections.or(file.max_connections),
            drain_delay: self.drain_delay.or(file.drain_delay),
            drain_timeout: self.drain_timeout.or(file.drain_timeout),
            access_log: self.access_log.or(file.access_log),
            log: self.log.or(file.log),
            code_cache: self.code_cache.or(file.code_cache),
            max_instances: self.max_instances.or(file.max_instances),
        }
    }
}

fn bytes(name: &str, value: Option<&str>, default: usize) -> anyhow::Result<usize> {
    match value {
        Some(text) => parse_bytes(text)
            .filter(|&bytes| bytes > 0)
            .with_context(|| format!("{name}: expected a size such as 64MiB, got {text:?}")),
        None => Ok(default),
    }
}

/// `$XDG_CACHE_HOME/modelgate`, or `~/.cache/modelgate`; none if there is no home either.
#[expect(clippy::disallowed_methods, reason = "this is config.rs; these two variables are the platform's, not ours")]
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var(name).ok().map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("modelgate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("modelgate.toml");
        std::fs::write(&path, "demo = true\nqueue = 7\nmax_body = \"1MiB\"\nworkers = 3\n").expect("written");
        let args = ServeArgs { config: Some(path), workers: NonZeroUsize::new(5), ..ServeArgs::default() };
        let config = args.resolve().expect("settled");
        assert!(config.demo);
        assert_eq!((config.workers.count, config.workers.queue, config.http.max_body), (5, 7, 1 << 20));
        assert_eq!(config.http.log_one_in, 100);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let nothing = ServeArgs::default().resolve().expect_err("nothing to serve");
        assert!(nothing.to_string().contains("--bundle"), "{nothing}");
        let size = ServeArgs { demo: Some(true), max_body: Some("big".into()), ..ServeArgs::default() };
        assert!(size.resolve().expect_err("a bad size").to_string().contains("max_body"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("modelgate.toml");
        std::fs::write(&path, "wrokers = 3\n").expect("written");
        let typo = ServeArgs { config: Some(path), ..ServeArgs::default() };
        assert!(format!("{:#}", typo.resolve().expect_err("a typo")).contains("wrokers"));
    }
}
