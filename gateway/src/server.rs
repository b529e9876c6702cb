//! From a configuration to a running server, and its orderly end.

use std::{future::Future, net::SocketAddr, sync::Arc};

use anyhow::Context;
use tokio::net::TcpListener;

use crate::{
    app::App,
    bundle::{Bundle, BundleError},
    catalog::Catalog,
    config::ServeConfig,
    generation::{Generation, Runner},
    golden, http,
    metrics::Metrics,
    wasm::{cache::CodeCache, engine::WasmEngine, module::Compiler},
    workers::Workers,
};

/// A listening server whose bundles are loaded.
#[derive(Debug)]
pub struct Server {
    app: App,
    listener: TcpListener,
    io_threads: usize,
}

impl Server {
    /// Listens first, so that liveness answers early and a taken port is told at once; then loads every bundle, runs its
    /// golden examples and warms it up.
    ///
    /// # Errors
    /// A port that cannot be had, or a bundle that cannot be served, with every problem of it.
    pub async fn start(config: &ServeConfig) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
        let metrics = Arc::new(Metrics::new()?);
        let compiler = compiler(config)?;
        let catalog = Catalog::default();
        for path in &config.bundles {
            let generation = live(Bundle::read(path), &compiler, &metrics)
                .with_context(|| format!("the bundle in {} cannot be served", path.display()))?;
            publish(&catalog, generation)?;
        }
        if config.demo {
            let generation = live(Bundle::demo(), &compiler, &metrics).context("the demo cannot be served")?;
            publish(&catalog, generation)?;
        }
        Self::with_catalog(config, listener, catalog, metrics)
    }

    /// Serves generations that are already made.
    pub fn with_catalog(
        config: &ServeConfig,
        listener: TcpListener,
        catalog: Catalog,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let workers = Workers::start(config.workers, &metrics).context("worker threads cannot be started")?;
        let app = App::new(catalog, workers, metrics, config.http);
        Ok(Self { app, listener, io_threads: config.io_threads })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What the handlers share.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Serves until `stop` ends, then drains.
    ///
    /// # Errors
    /// I/O threads that cannot be started.
    pub async fn run(self, stop: impl Future<Output = ()>) -> std::io::Result<()> {
        self.app.set_ready(true);
        http::serve::serve(self.listener, http::router(self.app.clone()), self.app, self.io_threads, stop).await
    }
}

/// The compiler that this configuration asks for. A cache folder that cannot be used costs start-up time, no more.
pub fn compiler(config: &ServeConfig) -> anyhow::Result<Compiler> {
    let cache = match &config.code_cache {
        Some(folder) => CodeCache::at(folder).unwrap_or_else(|error| {
            tracing::warn!(folder = %folder.display(), %error, "compiled modules are not cached");
            CodeCache::off()
        }),
        None => CodeCache::off(),
    };
    let engine = WasmEngine::new(config.pool).map_err(|error| {
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
pub fn live(
    bundle: Result<Bundle, BundleError>,
    compiler: &Compiler,
    metrics: &Metrics,
) -> Result<Generation, BundleError> {
    let generation = Generation::load(bundle?, compiler, metrics)?;
    let problems = golden::check(&generation, &mut Runner::new(&generation));
    if !problems.is_empty() {
        return Err(BundleError { problems });
    }
    let model_bytes = generation.model.as_ref().map_or(0, |model| model.resident_bytes());
    metrics.live(&generation.name, &generation.version, generation.id, &generation.digest, model_bytes);
    Ok(generation)
}

fn publish(catalog: &Catalog, generation: Generation) -> anyhow::Result<()> {
    anyhow::ensure!(catalog.get(&generation.name).is_none(), "two bundles are named '{}'", generation.name);
    tracing::info!(
        model = generation.name,
        version = generation.version,
        generation = generation.id,
        digest = generation.digest,
        "live"
    );
    catalog.publish(Arc::new(generation));
    Ok(())
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
