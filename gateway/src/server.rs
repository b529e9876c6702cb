//! From a configuration to a running server, and its orderly end.

use std::{future::Future, io, net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context;
use futures_util::FutureExt;
use tokio::net::TcpListener;

use crate::{
    admin::Door,
    allocator,
    app::App,
    artifact_cache::ArtifactCache,
    audit::{self, Change},
    bundle::{Bundle, BundleError},
    catalog::Catalog,
    config::{ServeConfig, SocketLocation, socket_name},
    generation::Generation,
    http::{self, routes::Routes, serve::IoConfig, socket::AdminSocket},
    lifecycle::{self, Dependencies, Running},
    loading::{Loader, Vetted},
    metrics::Metrics,
    release::{Content, Release},
    trust::Trust,
    verified::{self, Verified},
    wasm::{
        cache::CodeCache,
        engine::{PoolSize, WasmEngine},
        module::Compiler,
    },
    workers::{Workers, most_substitutes},
};

/// Instances of the pool left for releases that are being checked, and for those that are draining.
const POOL_RESERVE: usize = 8;

/// Stages of which each thread that stands in for a worker may hold an instance.
const SUBSTITUTE_STAGES: u32 = 4;

/// A listening server whose bundles are loaded.
#[derive(Debug)]
pub struct Server {
    app: App,
    listener: TcpListener,
    /// For the calls that change what is served, if they have one of their own.
    admin: Option<TcpListener>,
    /// For the same calls, without a token.
    socket: Option<AdminSocket>,
    io: IoConfig,
    cors: Vec<String>,
    /// The part that looks after sources and models.
    models: Option<Running>,
}

impl Server {
    /// Listens first, so that liveness answers early and a taken port is told at once; then loads every bundle named on
    /// the command line, runs its golden examples and warms it up. What sources have comes later.
    ///
    /// # Errors
    /// A port that cannot be had, or a bundle that cannot be served, with every problem of it.
    pub async fn start(config: &ServeConfig) -> anyhow::Result<Self> {
        let listener = bind(config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let socket = admin_socket(&config.admin_socket, listener.local_addr()?.port(), config.trust)?;
        let metrics = Arc::new(Metrics::new()?);
        let artifacts = Arc::new(ArtifactCache::new(compiler(config)?).under(config.ceilings));
        let loader = Arc::new(Loader::new(config.loading.clone(), artifacts.compiler.cache().folder(), config.trust));
        let threads = config.workers.count + config.io_threads;
        let own_memory = allocator::resident_memory().unwrap_or(0);
        let mut static_models: Vec<(Release, Arc<Generation>)> = Vec::new();
        let folders = config.bundles.iter().map(|path| Content::Folder(path.clone()));
        for content in folders.chain(config.demo.then_some(Content::Demo)) {
            let read = || match &content {
                Content::Folder(path) => Bundle::read(path),
                _ => Bundle::demo(),
            };
            let what = match &content {
                Content::Folder(path) => format!("the bundle in {}", path.display()),
                _ => "the demo".to_owned(),
            };
            let vetted = match &content {
                Content::Folder(path) => loader.vet_static(path, &artifacts, threads, false),
                // It comes with the gateway.
                _ => Ok(Vetted::default()),
            };
            let generation = vetted
                .map_err(BundleError::from)
                .and_then(|vetted| live(&read, &artifacts, &metrics, &loader, &vetted, threads))
                .with_context(|| format!("{what} cannot be served"))?;
            anyhow::ensure!(
                static_models.iter().all(|(release, _)| release.model != generation.name),
                "two bundles are named '{}'",
                generation.name
            );
            let release = Release {
                model: generation.name.clone(),
                version: generation.version.clone(),
                id: generation.digest.clone(),
                source: lifecycle::STATIC_SOURCE,
                content,
            };
            static_models.push((release, Arc::new(generation)));
        }
        let catalog = Arc::new(Catalog::default());
        let dependencies = Dependencies {
            catalog: Arc::clone(&catalog),
            metrics: Arc::clone(&metrics),
            artifacts,
            loader,
            threads,
            pool: (config.pool.instances as usize).saturating_sub(POOL_RESERVE).max(1),
            own_memory,
        };
        let (control, models) = lifecycle::start(&config.lifecycle, dependencies, static_models)?;
        let workers = Workers::start(config.workers.clone(), &metrics).context("worker threads cannot be started")?;
        let app = App::new(catalog, Some(control), config.admin.clone(), workers, metrics, config.http);
        Ok(Self {
            app,
            listener,
            admin,
            socket,
            io: IoConfig { threads: config.io_threads, pin: config.pin_io_threads },
            cors: config.cors_origins.clone(),
            models: Some(models),
        })
    }

    /// Serves generations that are already made and never change.
    pub fn with_catalog(
        config: &ServeConfig,
        listener: TcpListener,
        catalog: Catalog,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let workers = Workers::start(config.workers.clone(), &metrics).context("worker threads cannot be started")?;
        let app = App::new(catalog, None, config.admin.clone(), workers, metrics, config.http);
        Ok(Self {
            app,
            listener,
            admin: None,
            socket: None,
            io: IoConfig { threads: config.io_threads, pin: config.pin_io_threads },
            cors: config.cors_origins.clone(),
            models: None,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where it listens for calls that change what is served, if not at [`address`](Self::address).
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The Unix socket where it takes calls that change what is served without a token.
    pub fn admin_socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(AdminSocket::path)
    }

    /// The state that the handlers share.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Serves until `stop` ends, then drains.
    ///
    /// # Errors
    /// I/O threads that cannot be started.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { app, listener, admin, socket, io, cors, models } = self;
        app.set_ready(true);
        let stop = stop.shared();
        let drain = app.http.drain_timeout;
        let answer_socket = socket.map(|socket| {
            tokio::spawn(socket.serve(http::admin_router(app.clone(), Door::Socket), stop.clone(), drain))
        });
        let router = http::cors::layered(http::router(app.clone(), admin.is_none()), &cors);
        // The layer is around the router, so that predictions go through it where there is one.
        let public = Routes { router, predict: cors.is_empty().then(|| app.clone()) };
        let main = http::serve::serve(listener, public, app.clone(), io, stop.clone());
        match admin {
            Some(admin) => {
                let routes = Routes { router: http::admin_router(app.clone(), Door::Listener), predict: None };
                let admin = http::serve::serve(admin, routes, app, IoConfig { threads: 1, pin: false }, stop);
                tokio::try_join!(main, admin)?;
            }
            None => main.await?,
        }
        if let Some(answer_socket) = answer_socket {
            // It catches no panic of its own, and there is nothing to do about one here.
            _ = answer_socket.await;
        }
        drop(models);
        Ok(())
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// The socket for calls that change what is served, and a line in the log that says where it is.
fn admin_socket(location: &SocketLocation, port: u16, trust: Trust) -> anyhow::Result<Option<AdminSocket>> {
    let socket = match location {
        SocketLocation::Off => None,
        SocketLocation::At(path) => {
            Some(AdminSocket::bind(path, trust).with_context(|| format!("admin_socket: {}", path.display()))?)
        }
        SocketLocation::In(folder) => {
            let path = folder.join(socket_name(port));
            AdminSocket::bind(&path, trust)
                .inspect_err(|error| {
                    tracing::warn!(
                        path = %path.display(),
                        %error,
                        "no admin socket: calls that change what is served need --admin-socket, --admin-listen or a token"
                    );
                })
                .ok()
        }
    };
    if let Some(socket) = &socket {
        tracing::info!(path = %socket.path().display(), "the admin socket answers calls that change what is served");
    }
    Ok(socket)
}

/// The compiler that this configuration asks for. A cache folder that cannot be used costs start-up time, no more.
pub fn compiler(config: &ServeConfig) -> anyhow::Result<Compiler> {
    let cache = match &config.code_cache {
        Some(folder) => CodeCache::at(folder, config.trust).unwrap_or_else(|error| {
            tracing::warn!(folder = %folder.display(), %error, "compiled modules are not cached");
            CodeCache::off()
        }),
        None => CodeCache::off(),
    };
    let cache = match &config.precompiled_modules {
        Some(folder) => cache.clone().and_shipped(folder, config.trust).unwrap_or_else(|error| {
            tracing::warn!(folder = %folder.display(), %error, "the modules that came with the gateway are compiled anew");
            cache
        }),
        None => cache,
    };
    // Beside those that are counted: instances of the threads that stand in for workers, for a while.
    let substitutes = u32::try_from(most_substitutes(config.workers.count)).unwrap_or(u32::MAX);
    let instances = config.pool.instances.saturating_add(substitutes.saturating_mul(SUBSTITUTE_STAGES));
    let make = if config.guest_backtraces { WasmEngine::with_backtraces } else { WasmEngine::new };
    let engine = make(PoolSize { instances, ..config.pool }).map_err(|error| {
        anyhow::anyhow!(
            "the module pool cannot be reserved; it takes 4 GiB of address space for each of --max-instances, \
             so raise `ulimit -v` or lower the number: {error:#}"
        )
    })?;
    Ok(Compiler::new(engine, cache))
}

/// Loads a bundle and runs its golden examples.
///
/// # Errors
/// Everything that is wrong with it.
fn live(
    read: &dyn Fn() -> Result<Bundle, BundleError>,
    artifacts: &ArtifactCache,
    metrics: &Metrics,
    loader: &Loader,
    vetted: &Vetted,
    threads: usize,
) -> Result<Generation, BundleError> {
    let artifacts = artifacts.and_code(Arc::clone(&vetted.code));
    let Verified { mut generation, runner, .. } = verified::load(read, &artifacts, metrics, vetted.found())?;
    loader.keep(vetted);
    generation.measure(&runner, threads);
    let model_bytes = generation.model.as_ref().map_or(0, |model| model.resident_bytes());
    metrics.live(&generation.name, &generation.version, generation.id, &generation.digest, model_bytes);
    let change = Change { from: None, to: Some(&generation.version) };
    audit::decided("loaded", &generation.name, change, "named on the command line");
    tracing::info!(
        model = generation.name,
        version = generation.version,
        generation = generation.id,
        digest = generation.digest,
        "live"
    );
    Ok(generation)
}

/// Ends on SIGTERM or SIGINT.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        }
        // Without handlers the signals end the process by themselves.
        _ => std::future::pending().await,
    }
}
