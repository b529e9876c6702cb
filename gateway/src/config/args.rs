//! The arguments of `modelgate serve`: flags, then `MODELGATE_*` variables, then the TOML file.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use serde::Deserialize;

use super::renamed;
use crate::{config::secret::Secret, loading::LoadIsolation, telemetry::format::LogFormat, wasm::module::Isolation};

// The headings of `--help`, and of docs/settings.md.
const SERVED: &str = "What is served";
const LISTENING: &str = "Where it listens";
const ROLLOUTS: &str = "Rollouts";
const THREADS: &str = "Threads";
const MEMORY: &str = "Memory and models on demand";
const REQUESTS: &str = "Limits of requests";
const CONNECTIONS: &str = "Limits of connections";
const CEILINGS: &str = "Ceilings over bundles";
const LOADING: &str = "Loading";
const LOGS: &str = "Logs";
const LIFE: &str = "Start and end";

/// The arguments of `modelgate serve`. Every field but `config` may also stand in the TOML file, under the same
/// name with underscores.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeArgs {
    /// A bundle's folder or a plain ONNX file, as with --bundle
    #[arg(value_name = "BUNDLE")]
    #[serde(skip)]
    pub bundles: Vec<PathBuf>,

    /// A bundle's folder or a plain ONNX file; may be given several times (in the variable: separated by colons). The first
    /// is the default model
    #[arg(long, visible_alias = "model", env = "MODELGATE_BUNDLE", value_name = "PATH", value_delimiter = ':', help_heading = SERVED)]
    pub bundle: Vec<PathBuf>,

    /// Serve the bundle that comes with the gateway: a forest on synthetic forest-cover data
    #[arg(long, env = "MODELGATE_DEMO", num_args = 0..=1, default_missing_value = "true", help_heading = SERVED)]
    pub demo: Option<bool>,

    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "MODELGATE_LISTEN", value_name = "ADDR", help_heading = LISTENING)]
    pub listen: Option<SocketAddr>,

    /// Worker threads, each with its own module instances [default: the cores this process may use, cgroup quota
    /// included]
    #[arg(long, env = "MODELGATE_WORKERS", value_name = "N", help_heading = THREADS)]
    pub workers: Option<NonZeroUsize>,

    /// Threads that read and write sockets [default: as many as workers]
    #[arg(long, env = "MODELGATE_IO_THREADS", value_name = "N", help_heading = THREADS)]
    pub io_threads: Option<NonZeroUsize>,

    /// Keep each I/O thread to a share of the cores of its own, if there is one core for each [default: true]
    #[arg(long, env = "MODELGATE_PIN_IO_THREADS", num_args = 0..=1, default_missing_value = "true", help_heading = THREADS)]
    #[serde(alias = "spread_io")]
    pub pin_io_threads: Option<bool>,

    /// Requests that may wait for a worker, of all models together. Where they are full, the model that has most of them
    /// for its weight is answered 503 [default: 16384]
    #[arg(long, env = "MODELGATE_QUEUE", value_name = "N", help_heading = REQUESTS)]
    pub queue: Option<NonZeroUsize>,

    /// Bytes of decoded requests that may wait for a worker, shared likewise [default: half of --body-memory]
    #[arg(long, env = "MODELGATE_QUEUE_MEMORY", value_name = "SIZE", help_heading = REQUESTS)]
    pub queue_memory: Option<String>,

    /// The share of the workers' time that a model gets while work of others waits too: `NAME=WEIGHT`, with a weight from 1 to
    /// 1000. May be given several times (in the variable: separated by commas) [default: 1 for each model]
    #[arg(long, env = "MODELGATE_MODEL_WEIGHT", value_name = "NAME=WEIGHT", value_delimiter = ',', help_heading = REQUESTS)]
    pub model_weight: Vec<String>,

    /// Honour the `priority` that a request asks for, among the requests to the same model: each of the five levels counts
    /// as 250 ms of waiting [default: false]
    #[arg(long, env = "MODELGATE_REQUEST_PRIORITY", num_args = 0..=1, default_missing_value = "true", help_heading = REQUESTS)]
    pub request_priority: Option<bool>,

    /// The largest body taken, before and after decompression [default: 64MiB]
    #[arg(long, env = "MODELGATE_MAX_BODY", value_name = "SIZE", help_heading = REQUESTS)]
    pub max_body: Option<String>,

    /// Memory for all requests at once, from the first byte of a body to the last byte of its answer; further ones are
    /// answered 503. Bodies that are still coming may fill half of it, large requests seven eighths [default: 512MiB, or a
    /// quarter of the memory that the process may use]
    #[arg(long, env = "MODELGATE_BODY_MEMORY", value_name = "SIZE", help_heading = REQUESTS)]
    pub body_memory: Option<String>,

    /// Memory for the values that a model's graph makes in one run; a batch that needs more runs in parts where its rows are
    /// independent, and is refused otherwise [default: an eighth of the memory that the process may use, between 64MiB and
    /// 1GiB]
    #[arg(long, env = "MODELGATE_MODEL_MEMORY", value_name = "SIZE", help_heading = REQUESTS)]
    pub model_memory: Option<String>,

    /// Seconds within which a request's head must arrive, and a kept-alive connection may stay silent; longer
    /// than the 60 s for which most proxies keep theirs, so that none sends a request to a connection being closed
    /// [default: 75]
    #[arg(long, env = "MODELGATE_HEADER_TIMEOUT", value_name = "SECONDS", help_heading = REQUESTS)]
    pub header_timeout: Option<u64>,

    /// Seconds within which a request's body must arrive [default: 30]
    #[arg(long, env = "MODELGATE_BODY_TIMEOUT", value_name = "SECONDS", help_heading = REQUESTS)]
    pub body_timeout: Option<u64>,

    /// Seconds after which a client that takes no byte of its answer is disconnected [default: 30]
    #[arg(long, env = "MODELGATE_WRITE_TIMEOUT", value_name = "SECONDS", help_heading = REQUESTS)]
    pub write_timeout: Option<u64>,

    /// Connections open at once; further ones may ask for health and metrics and are answered 503 otherwise
    /// [default: 20000, or as many as memory and open files allow]
    #[arg(long, env = "MODELGATE_MAX_CONNECTIONS", value_name = "N", help_heading = CONNECTIONS)]
    pub max_connections: Option<NonZeroUsize>,

    /// Connections open at once from one address, of IPv6 from one /64 network; 0 is any number. An edge, and all clients
    /// behind it, are one address [default: 0]
    #[arg(long, env = "MODELGATE_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N", help_heading = CONNECTIONS)]
    pub max_connections_per_address: Option<usize>,

    /// Seconds after which a connection is closed once its requests in flight are answered; 0 is never [default: 0]
    #[arg(long, env = "MODELGATE_MAX_CONNECTION_AGE", value_name = "SECONDS", help_heading = CONNECTIONS)]
    pub max_connection_age: Option<u64>,

    /// Origin of web pages that may call the gateway from a browser (`https://app.example.com`), or `*` for any; may be
    /// given several times (in the variable: separated by commas). Calls that change what is served are for no page
    /// [default: none]
    #[arg(long, env = "MODELGATE_CORS_ORIGIN", value_name = "URL", value_delimiter = ',', help_heading = LISTENING)]
    pub cors_origin: Vec<String>,

    /// Fields in a `/predict` row that the model does not take: `refuse` answers 422 and names them, `ignore` passes over
    /// them, as FastAPI does [default: refuse]
    #[arg(long, env = "MODELGATE_EXTRA_FIELDS", value_name = "POLICY", help_heading = REQUESTS)]
    pub extra_fields: Option<ExtraFields>,

    /// A TOML file with these same settings (`listen = "0.0.0.0:8080"`, …). Flags and variables win over it
    #[arg(long, env = "MODELGATE_CONFIG", value_name = "FILE", help_heading = LIFE)]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// After SIGTERM: seconds to go on serving with readiness false, so that load balancers notice [default: 0]
    #[arg(long, env = "MODELGATE_DRAIN_DELAY", value_name = "SECONDS", help_heading = LIFE)]
    pub drain_delay: Option<u64>,

    /// After that: seconds for requests in flight to finish [default: 30]
    #[arg(long, env = "MODELGATE_DRAIN_TIMEOUT", value_name = "SECONDS", help_heading = LIFE)]
    pub drain_timeout: Option<u64>,

    /// Share of successful requests in the access log, 0 to 1; failures are always in it, unless this is 0, and requests that
    /// are answered 503 as successful ones are [default: 0.01]
    #[arg(long, env = "MODELGATE_ACCESS_LOG", value_name = "SHARE", help_heading = LOGS)]
    pub access_log: Option<f64>,

    /// The level of the log: error, warn, info, debug or trace, or a filter such as `info,modelgate=debug` [default:
    /// info]
    #[arg(long, env = "MODELGATE_LOG", value_name = "FILTER", help_heading = LOGS)]
    pub log: Option<String>,

    /// The form of log lines: `text` for people, `json` for programs [default: text on a terminal, else json]
    #[arg(long, env = "MODELGATE_LOG_FORMAT", value_name = "FORMAT", hide_possible_values = true, help_heading = LOGS)]
    pub log_format: Option<LogFormat>,

    /// Put the stack of a module that ends early into its log line [default: false]
    #[arg(long, env = "MODELGATE_GUEST_BACKTRACES", num_args = 0..=1, default_missing_value = "true", help_heading = LOGS)]
    pub guest_backtraces: Option<bool>,

    /// Folder for compiled modules, so that a restart compiles nothing; `off` for none [default: the user's cache
    /// folder]
    #[arg(long, env = "MODELGATE_CODE_CACHE", value_name = "DIR", help_heading = LOADING)]
    pub code_cache: Option<String>,

    /// Folder of compiled modules that came with the gateway (see `modelgate precompile`); it is only read
    #[arg(long, env = "MODELGATE_PRECOMPILED_MODULES", value_name = "DIR", help_heading = LOADING)]
    #[serde(alias = "shipped_code")]
    pub precompiled_modules: Option<PathBuf>,

    /// Where bundles come from and are looked for again and again: `[NAME=]ADDRESS`, where ADDRESS is a folder of bundles,
    /// `s3://bucket/prefix` or `models:/name@alias` (`/3`, `/latest`, `/Stage`). May be given several times (in
    /// `MODELGATE_SOURCE`: separated by spaces; a space in a name is `%20`). S3 and MLflow are reached with their usual variables (`AWS_…`, `MLFLOW_…`), or with
    /// `s3://…?endpoint=URL&region=R&anonymous=true` and `models:/…?tracking=URL` (with the same for its artifacts)
    #[arg(long, value_name = "SOURCE", help_heading = SERVED)]
    pub source: Vec<String>,

    /// Seconds between looks at a source; a folder is also looked at when something changes in it [default: 5]
    #[arg(long, env = "MODELGATE_POLL", value_name = "SECONDS", help_heading = SERVED)]
    pub poll: Option<f64>,

    /// Versions of each model that serve at once: `latest`, `latest:N`, `all`, or a list (`1,3`). Requests that name no
    /// version get the newest [default: latest]
    #[arg(long, env = "MODELGATE_VERSION_POLICY", value_name = "POLICY", help_heading = SERVED)]
    #[serde(alias = "versions")]
    pub version_policy: Option<String>,

    /// Folder for the files of bundles from sources [default: `bundles` in the user's cache folder]
    #[arg(long, env = "MODELGATE_BUNDLE_CACHE", value_name = "DIR", help_heading = SERVED)]
    #[serde(alias = "cache")]
    pub bundle_cache: Option<PathBuf>,

    /// The largest bundle taken from a source [default: 2GiB]
    #[arg(long, env = "MODELGATE_MAX_BUNDLE", value_name = "SIZE", help_heading = SERVED)]
    pub max_bundle: Option<String>,

    /// The model that answers where none is named [default: the first bundle, else the first by name that can answer]
    #[arg(long, env = "MODELGATE_DEFAULT_MODEL", value_name = "NAME", help_heading = SERVED)]
    pub default_model: Option<String>,

    /// Load a model from a source only when a request names it [default: only with a memory budget]
    #[arg(long, env = "MODELGATE_LAZY_LOAD", num_args = 0..=1, default_missing_value = "true", help_heading = MEMORY)]
    #[serde(alias = "on_demand")]
    pub lazy_load: Option<bool>,

    /// Memory for the whole process, as far as models decide it: when loading a model would exceed it, the models
    /// longest unused are unloaded, and loaded again on their next request [default: no limit]
    #[arg(long, env = "MODELGATE_MEMORY_BUDGET", value_name = "SIZE", help_heading = MEMORY)]
    pub memory_budget: Option<String>,

    /// Seconds without a request after which a model is unloaded, to be loaded again on its next one; 0 is never
    /// [default: 0]
    #[arg(long, env = "MODELGATE_IDLE_UNLOAD", value_name = "SECONDS", help_heading = MEMORY)]
    pub idle_unload: Option<f64>,

    /// Seconds that a request waits for a model that is not resident [default: 10]
    #[arg(long, env = "MODELGATE_ACTIVATION_TIMEOUT", value_name = "SECONDS", help_heading = MEMORY)]
    pub activation_timeout: Option<f64>,

    /// Seconds after which the process that loads a release is killed and the release is refused [default: 300]
    #[arg(long, env = "MODELGATE_LOAD_TIMEOUT", value_name = "SECONDS", help_heading = LOADING)]
    pub load_timeout: Option<f64>,

    /// Where a bundle is loaded first: `process` is a process of its own, which is limited and can be killed, so that a
    /// bundle that takes too much is refused; `none` is the gateway's own process [default: process]
    #[arg(long, env = "MODELGATE_LOAD_ISOLATION", value_name = "ISOLATION", help_heading = LOADING)]
    pub load_isolation: Option<LoadIsolation>,

    /// Memory that the process which loads a bundle may allocate; a bundle that takes more is refused [default: three
    /// quarters of what the gateway leaves of the machine's or the control group's memory]
    #[arg(long, env = "MODELGATE_LOAD_MEMORY", value_name = "SIZE", help_heading = LOADING)]
    pub load_memory: Option<String>,

    /// The gateway's binary, for programs that are not it.
    #[arg(skip)]
    #[serde(skip)]
    pub binary: Option<PathBuf>,

    /// A sentence for each setting that was given under its name of 0.1.
    #[arg(skip)]
    #[serde(skip)]
    pub renamed: Vec<String>,

    /// Share of requests, 0 to 1, that a new release answers on trial; it takes over, or is withdrawn, by its failures
    /// and times against the old one's [default: 0]
    #[arg(long, env = "MODELGATE_CANARY", value_name = "SHARE", help_heading = ROLLOUTS)]
    pub canary: Option<f64>,

    /// Requests that a release on trial must have had before it is judged [default: 200]
    #[arg(long, env = "MODELGATE_CANARY_REQUESTS", value_name = "N", help_heading = ROLLOUTS)]
    pub canary_requests: Option<u64>,

    /// Seconds after which a release on trial is judged by fewer requests [default: 600]
    #[arg(long, env = "MODELGATE_CANARY_TIMEOUT", value_name = "SECONDS", help_heading = ROLLOUTS)]
    pub canary_timeout: Option<f64>,

    /// Share of requests, 0 to 1, of which a new release gets copies; the answers are compared and counted, never
    /// returned. Without a canary it stays so until somebody promotes the release [default: 0]
    #[arg(long, env = "MODELGATE_SHADOW", value_name = "SHARE", help_heading = ROLLOUTS)]
    pub shadow: Option<f64>,

    /// Token that calls which change what is served must bring (`Authorization: Bearer …`). Without one they are never
    /// answered at --listen, only at --admin-socket and --admin-listen. Better given in the variable or a file than as a
    /// flag
    #[arg(long, env = "MODELGATE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true, help_heading = LISTENING)]
    pub admin_token: Option<Secret>,

    /// File with that token
    #[arg(long, env = "MODELGATE_ADMIN_TOKEN_FILE", value_name = "FILE", help_heading = LISTENING)]
    pub admin_token_file: Option<PathBuf>,

    /// Address and port for calls that change what is served, alone; they are then not answered at --listen. Without a
    /// token this must be a loopback address, and callers may come through no proxy and no web page
    #[arg(long, env = "MODELGATE_ADMIN_LISTEN", value_name = "ADDR", help_heading = LISTENING)]
    pub admin_listen: Option<SocketAddr>,

    /// Unix socket for calls that change what is served, open to this user and root alone, who need no token; `off` for
    /// none [default: `admin-HOST-PORT.sock` in the folder of --bundle-cache, with this machine's name and the port of --listen]
    #[arg(long, env = "MODELGATE_ADMIN_SOCKET", value_name = "PATH", help_heading = LISTENING)]
    pub admin_socket: Option<String>,

    /// The longest deadline that a bundle's manifest may ask for, in milliseconds; one that asks for more is refused
    /// [default: 3600000]
    #[arg(long, env = "MODELGATE_MAX_DEADLINE", value_name = "MILLISECONDS", help_heading = CEILINGS)]
    pub max_deadline: Option<NonZeroU64>,

    /// The most rows in one request that a bundle's manifest may ask for; one that asks for more is refused
    /// [default: 4294967295]
    #[arg(long, env = "MODELGATE_MAX_ROWS", value_name = "N", help_heading = CEILINGS)]
    pub max_rows: Option<NonZeroU32>,

    /// The most linear memory that a bundle's manifest may ask for, for the modules of one worker; one that asks for more
    /// is refused [default: no limit]
    #[arg(long, env = "MODELGATE_MAX_MODULE_MEMORY", value_name = "SIZE", help_heading = CEILINGS)]
    pub max_module_memory: Option<String>,

    /// The most bytes through a module's imports in one request that a bundle's manifest may ask for (`host_call_bytes`);
    /// one that asks for more is refused [default: 4GiB]
    #[arg(long, env = "MODELGATE_MAX_HOST_CALL_BYTES", value_name = "SIZE", help_heading = CEILINGS)]
    pub max_host_call_bytes: Option<String>,

    /// The least isolation between requests: `worker` leaves it to each bundle, `request` gives every request module
    /// instances of its own whatever its bundle says, so that no module can hand one client's values to the next. It costs
    /// some 15 µs a request and turns micro-batching off [default: worker]
    #[arg(long, env = "MODELGATE_ISOLATION_FLOOR", value_name = "ISOLATION", value_parser = isolation(), help_heading = CEILINGS)]
    pub isolation_floor: Option<Isolation>,

    /// Believe what is in the folders of --code-cache, --bundle-cache and --admin-socket without looking at who may write to
    /// them: for a volume that only this process can reach, such as a Kubernetes emptyDir [default: false]
    #[arg(long, env = "MODELGATE_TRUST_CACHE", num_args = 0..=1, default_missing_value = "true", help_heading = LOADING)]
    pub trust_cache: Option<bool>,

    /// Module instances alive at once, over all workers and models; each reserves (does not use) 4 GiB of address space
    /// [default: 256]
    #[arg(long, env = "MODELGATE_MAX_INSTANCES", value_name = "N", help_heading = MEMORY)]
    pub max_instances: Option<u32>,
}

/// The fate of fields that a model does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ExtraFields {
    /// They are passed over.
    Ignore,
    /// They are errors.
    Refuse,
}

impl ServeArgs {
    /// With the sources of the variable, if no flag names one. clap would take the flag's value apart at spaces, too.
    #[expect(clippy::disallowed_methods, reason = "this is the configuration")]
    pub(super) fn with_variable(mut self) -> Self {
        if self.source.is_empty() {
            let variable = std::env::var("MODELGATE_SOURCE").unwrap_or_default();
            self.source = variable.split_whitespace().map(str::to_owned).collect();
        }
        self
    }

    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("configuration file {}", path.display()))?;
        let read = toml::from_str(&text).with_context(|| format!("configuration file {}", path.display()))?;
        Ok(Self { renamed: renamed::notes_of_keys(&text), ..read })
    }

    pub(super) fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            bundle: if self.bundle.is_empty() && self.bundles.is_empty() { file.bundle } else { self.bundle },
            bundles: self.bundles,
            demo: self.demo.or(file.demo),
            listen: self.listen.or(file.listen),
            workers: self.workers.or(file.workers),
            io_threads: self.io_threads.or(file.io_threads),
            pin_io_threads: self.pin_io_threads.or(file.pin_io_threads),
            queue: self.queue.or(file.queue),
            queue_memory: self.queue_memory.or(file.queue_memory),
            model_weight: if self.model_weight.is_empty() { file.model_weight } else { self.model_weight },
            request_priority: self.request_priority.or(file.request_priority),
            max_body: self.max_body.or(file.max_body),
            body_memory: self.body_memory.or(file.body_memory),
            model_memory: self.model_memory.or(file.model_memory),
            header_timeout: self.header_timeout.or(file.header_timeout),
            body_timeout: self.body_timeout.or(file.body_timeout),
            write_timeout: self.write_timeout.or(file.write_timeout),
            max_connections: self.max_connections.or(file.max_connections),
            max_connections_per_address: self.max_connections_per_address.or(file.max_connections_per_address),
            max_connection_age: self.max_connection_age.or(file.max_connection_age),
            cors_origin: if self.cors_origin.is_empty() { file.cors_origin } else { self.cors_origin },
            extra_fields: self.extra_fields.or(file.extra_fields),
            drain_delay: self.drain_delay.or(file.drain_delay),
            drain_timeout: self.drain_timeout.or(file.drain_timeout),
            access_log: self.access_log.or(file.access_log),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            guest_backtraces: self.guest_backtraces.or(file.guest_backtraces),
            code_cache: self.code_cache.or(file.code_cache),
            precompiled_modules: self.precompiled_modules.or(file.precompiled_modules),
            source: if self.source.is_empty() { file.source } else { self.source },
            poll: self.poll.or(file.poll),
            version_policy: self.version_policy.or(file.version_policy),
            bundle_cache: self.bundle_cache.or(file.bundle_cache),
            max_bundle: self.max_bundle.or(file.max_bundle),
            default_model: self.default_model.or(file.default_model),
            lazy_load: self.lazy_load.or(file.lazy_load),
            memory_budget: self.memory_budget.or(file.memory_budget),
            idle_unload: self.idle_unload.or(file.idle_unload),
            activation_timeout: self.activation_timeout.or(file.activation_timeout),
            load_timeout: self.load_timeout.or(file.load_timeout),
            load_isolation: self.load_isolation.or(file.load_isolation),
            load_memory: self.load_memory.or(file.load_memory),
            binary: self.binary,
            renamed: [self.renamed, file.renamed].concat(),
            canary: self.canary.or(file.canary),
            canary_requests: self.canary_requests.or(file.canary_requests),
            canary_timeout: self.canary_timeout.or(file.canary_timeout),
            shadow: self.shadow.or(file.shadow),
            admin_token: self.admin_token.or(file.admin_token),
            admin_token_file: self.admin_token_file.or(file.admin_token_file),
            admin_listen: self.admin_listen.or(file.admin_listen),
            admin_socket: self.admin_socket.or(file.admin_socket),
            max_deadline: self.max_deadline.or(file.max_deadline),
            max_rows: self.max_rows.or(file.max_rows),
            max_module_memory: self.max_module_memory.or(file.max_module_memory),
            max_host_call_bytes: self.max_host_call_bytes.or(file.max_host_call_bytes),
            isolation_floor: self.isolation_floor.or(file.isolation_floor),
            trust_cache: self.trust_cache.or(file.trust_cache),
            max_instances: self.max_instances.or(file.max_instances),
        }
    }
}

/// An isolation by its name. The sandbox does not know that there is a command line.
fn isolation() -> impl TypedValueParser<Value = Isolation> {
    PossibleValuesParser::new(Isolation::ALL.map(Isolation::name))
        .map(|name| Isolation::ALL.into_iter().find(|isolation| isolation.name() == name).unwrap_or_default())
}
