//! Every setting gets its value: what was given, or the default.

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::Context;

use crate::{
    admin::{Admin, is_loopback},
    bundle::{Ceilings, parse_bytes},
    config::{
        args::{ExtraFields, ServeArgs},
        defaults::{LOAD_TIMEOUT, MAX_CONNECTIONS, MEMORY_OF_CONNECTION, bundle_cache_folder, cache_folder},
        lifecycle::{Gate, LifecycleConfig, environment},
        memory,
        secret::{Secret, admin_token},
        serve::{HttpConfig, ServeConfig, SocketLocation},
    },
    http::cors::origin,
    loading::LoadingConfig,
    release::VersionPolicy,
    source::{Environment, Spec},
    trust::Trust,
    wasm::engine::PoolSize,
    workers::{Weights, WorkersConfig},
};

impl ServeArgs {
    /// Reads the file, if one is named, and settles every value.
    pub fn resolve(self) -> anyhow::Result<ServeConfig> {
        let file = match &self.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        let args = self.with_variable().or(file);
        let lifecycle = args.lifecycle()?;
        let admin = args.admin()?;
        if let Some(address) = args.admin_listen
            && !admin.has_token()
        {
            anyhow::ensure!(
                is_loopback(address.ip()),
                "admin_listen: {address} is not a loopback address: name one (127.0.0.1:PORT), or set an admin token \
                 (--admin-token-file)"
            );
        }
        let admin_socket = args.admin_socket(lifecycle.store.as_deref());
        let ceilings = args.ceilings()?;
        let loading = args.loading(lifecycle.load_timeout)?;
        let trust = args.trust();
        let bundles = [args.bundles, args.bundle].concat();
        let demo = args.demo.unwrap_or(false);
        anyhow::ensure!(
            demo || !bundles.is_empty() || !lifecycle.sources.is_empty(),
            "nothing to serve: name a bundle's folder with --bundle DIR, a source with --source, or try --demo"
        );
        let share = args.access_log.unwrap_or(0.01);
        anyhow::ensure!((0.0..=1.0).contains(&share), "access_log: expected a share from 0 to 1, got {share}");
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = args.workers.map_or(cores, NonZeroUsize::get);
        anyhow::ensure!(workers <= 1024, "workers: at most 1024 are started, got {workers}");
        let memory = memory::of_process();
        let body_memory = (memory / 4).clamp(32 << 20, 512 << 20);
        let body_memory = bytes("body_memory", args.body_memory.as_deref(), body_memory)?;
        let seconds = |value: Option<u64>, default: u64| Duration::from_secs(value.unwrap_or(default));
        Ok(ServeConfig {
            bundles,
            demo,
            listen: args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            workers: WorkersConfig {
                count: workers,
                queue: args.queue.map_or(16_384, NonZeroUsize::get),
                queue_bytes: bytes("queue_memory", args.queue_memory.as_deref(), body_memory / 2)?,
                weights: Weights::parse(&args.model_weight)
                    .map_err(|problem| anyhow::anyhow!("model_weight: {problem}"))?,
                request_priority: args.request_priority.unwrap_or(false),
            },
            io_threads: args.io_threads.map_or(workers, NonZeroUsize::get),
            pin_io_threads: args.pin_io_threads.unwrap_or(true),
            http: HttpConfig {
                max_body: bytes("max_body", args.max_body.as_deref(), 64 << 20)?,
                body_memory,
                model_memory: bytes(
                    "model_memory",
                    args.model_memory.as_deref(),
                    (memory / 8).clamp(64 << 20, 1 << 30),
                )?,
                header_timeout: seconds(args.header_timeout, 75),
                body_timeout: seconds(args.body_timeout, 30),
                write_timeout: seconds(args.write_timeout, 30),
                max_connections: args
                    .max_connections
                    .map_or_else(|| MAX_CONNECTIONS.min(memory / MEMORY_OF_CONNECTION), NonZeroUsize::get),
                max_connections_per_address: args.max_connections_per_address.unwrap_or(0),
                max_connection_age: args.max_connection_age.filter(|&age| age > 0).map(Duration::from_secs),
                ignore_extra_fields: args.extra_fields == Some(ExtraFields::Ignore),
                drain_delay: seconds(args.drain_delay, 0),
                drain_timeout: seconds(args.drain_timeout, 30),
                log_one_in: if share == 0.0 { 0 } else { (1.0 / share).round() as u64 },
            },
            log: args.log.unwrap_or_else(|| "info".into()),
            log_format: args.log_format,
            guest_backtraces: args.guest_backtraces.unwrap_or(false),
            code_cache: match args.code_cache.as_deref() {
                Some("off") => None,
                Some(folder) => Some(folder.into()),
                None => cache_folder(),
            },
            precompiled_modules: args.precompiled_modules,
            lifecycle,
            admin,
            admin_listen: args.admin_listen,
            cors_origins: args
                .cors_origin
                .iter()
                .map(|text| origin(text).map_err(|problem| anyhow::anyhow!("cors_origin: {problem}")))
                .collect::<Result<_, _>>()?,
            admin_socket,
            ceilings,
            loading,
            trust,
            renamed: args.renamed,
            pool: PoolSize { instances: args.max_instances.unwrap_or(256).max(1), ..PoolSize::default() },
        })
    }

    fn lifecycle(&self) -> anyhow::Result<LifecycleConfig> {
        let seconds = |name: &str, value: Option<f64>, default: f64| {
            Duration::try_from_secs_f64(value.unwrap_or(default))
                .with_context(|| format!("{name}: expected seconds, got {}", value.unwrap_or(default)))
        };
        let thousandths = |name: &str, value: Option<f64>| {
            let share = value.unwrap_or(0.0);
            anyhow::ensure!((0.0..=1.0).contains(&share), "{name}: expected a share from 0 to 1, got {share}");
            Ok((share * 1000.0).round() as u32)
        };
        let sources = self.source.iter().map(|text| Spec::parse(text)).collect::<anyhow::Result<Vec<_>>>()?;
        for (index, spec) in sources.iter().enumerate() {
            let is_double = sources[..index].iter().any(|other| other.name == spec.name);
            anyhow::ensure!(!is_double, "source: two are named {:?}", spec.name);
        }
        let poll = seconds("poll", self.poll, 5.0)?;
        anyhow::ensure!(!poll.is_zero(), "poll: expected more than 0 seconds");
        let idle = seconds("idle_unload", self.idle_unload, 0.0)?;
        let memory_budget =
            self.memory_budget.as_deref().map(|text| bytes("memory_budget", Some(text), 0)).transpose()?;
        Ok(LifecycleConfig {
            environment: if sources.is_empty() { Environment::default() } else { environment()? },
            sources,
            poll,
            version_policy: VersionPolicy::parse(self.version_policy.as_deref().unwrap_or("latest"))
                .map_err(|problem| anyhow::anyhow!("version_policy: {problem}"))?,
            store: self.bundle_cache.clone().or_else(bundle_cache_folder),
            trust: self.trust(),
            max_bundle: bytes("max_bundle", self.max_bundle.as_deref(), 2 << 30)? as u64,
            default_model: self.default_model.clone(),
            lazy_load: self.lazy_load.unwrap_or(memory_budget.is_some()),
            memory_budget,
            idle_unload: (!idle.is_zero()).then_some(idle),
            activation_timeout: seconds("activation_timeout", self.activation_timeout, 10.0)?,
            load_timeout: seconds("load_timeout", self.load_timeout, LOAD_TIMEOUT.as_secs_f64())?,
            gate: Gate {
                canary: thousandths("canary", self.canary)?,
                shadow: thousandths("shadow", self.shadow)?,
                requests: self.canary_requests.unwrap_or(200).max(1),
                longest: seconds("canary_timeout", self.canary_timeout, 600.0)?,
            },
        })
    }

    fn admin(&self) -> anyhow::Result<Admin> {
        let token = admin_token(self.admin_token.as_ref(), self.admin_token_file.as_deref())?;
        Ok(Admin::new(token.as_ref().map(Secret::expose)))
    }

    fn admin_socket(&self, cache: Option<&Path>) -> SocketLocation {
        match (self.admin_socket.as_deref(), cache) {
            (Some("off"), _) | (None, None) => SocketLocation::Off,
            (Some(path), _) => SocketLocation::At(path.into()),
            (None, Some(folder)) => SocketLocation::In(folder.to_owned()),
        }
    }

    fn ceilings(&self) -> anyhow::Result<Ceilings> {
        let most = Ceilings::default();
        Ok(Ceilings {
            deadline: self.max_deadline.map_or(most.deadline, |millis| Duration::from_millis(millis.get())),
            rows: self.max_rows.map_or(most.rows, NonZeroU32::get),
            memory: bytes("max_module_memory", self.max_module_memory.as_deref(), most.memory)?,
            host_call_bytes: bytes("max_host_call_bytes", self.max_host_call_bytes.as_deref(), most.host_call_bytes)?,
            isolation: self.isolation_floor.unwrap_or(most.isolation),
        })
    }

    fn loading(&self, timeout: Duration) -> anyhow::Result<LoadingConfig> {
        let memory = self.load_memory.as_deref().map(|text| bytes("load_memory", Some(text), 0)).transpose()?;
        Ok(LoadingConfig {
            isolation: self.load_isolation.unwrap_or_default(),
            binary: self.binary.clone(),
            memory,
            process_memory: memory::of_process(),
            timeout,
        })
    }

    fn trust(&self) -> Trust {
        if self.trust_cache.unwrap_or(false) { Trust::Assumed } else { Trust::Verified }
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
        // Proxies keep connections for 60 seconds as a rule.
        assert!(config.http.header_timeout > Duration::from_mins(1));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let nothing = ServeArgs::default().resolve().expect_err("nothing to serve");
        assert!(nothing.to_string().contains("--bundle"), "{nothing}");
        let size = ServeArgs { demo: Some(true), max_body: Some("big".into()), ..ServeArgs::default() };
        assert!(size.resolve().expect_err("a bad size").to_string().contains("max_body"));
        let open =
            ServeArgs { demo: Some(true), admin_listen: Some(([0, 0, 0, 0], 9000).into()), ..ServeArgs::default() };
        assert!(open.clone().resolve().expect_err("open to all").to_string().contains("not a loopback address"));
        let token = Some("t".parse().expect("a token"));
        assert!(ServeArgs { admin_token: token, ..open }.resolve().is_ok());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("modelgate.toml");
        std::fs::write(&path, "wrokers = 3\n").expect("written");
        let typo = ServeArgs { config: Some(path), ..ServeArgs::default() };
        assert!(format!("{:#}", typo.resolve().expect_err("a typo")).contains("wrokers"));
    }
}
