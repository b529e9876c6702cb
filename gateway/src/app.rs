//! What every request handler shares.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Semaphore;

use crate::{
    catalog::Catalog, config::HttpConfig, error::Error, generation::Generation, metrics::Metrics, workers::Workers,
};

/// Bytes that one permit of [`Shared::body_budget`] stands for.
pub const BODY_PERMIT: usize = 64 << 10;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Shared>);

/// What an [`App`] holds.
#[derive(Debug)]
pub struct Shared {
    /// The live generations.
    pub catalog: Catalog,
    /// Where inference runs.
    pub workers: Workers,
    /// Every series.
    pub metrics: Arc<Metrics>,
    /// Limits of the HTTP side.
    pub http: HttpConfig,
    /// Memory that large bodies may take together, in units of [`BODY_PERMIT`].
    pub body_budget: Semaphore,
    ready: AtomicBool,
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Not ready until [`set_ready`](Shared::set_ready).
    pub fn new(catalog: Catalog, workers: Workers, metrics: Arc<Metrics>, http: HttpConfig) -> Self {
        let permits = (http.body_memory / BODY_PERMIT).clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            catalog,
            workers,
            metrics,
            body_budget: Semaphore::new(permits),
            http,
            ready: AtomicBool::new(false),
        }))
    }
}

impl Shared {
    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The generation that answers for a model: the default model where no name is given, its newest version where no
    /// version is.
    ///
    /// # Errors
    /// [`Error::NotReady`] where there is no default model, else [`Error::UnknownModel`] or [`Error::UnknownVersion`].
    #[expect(clippy::unused_async, reason = "callers may have to wait for a model that is known but not loaded")]
    pub async fn resolve(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<Generation>, Error> {
        match (name, version) {
            (None, None) => self.catalog.default_model().ok_or(Error::NotReady),
            (Some(name), None) => self.catalog.get(name).ok_or_else(|| Error::unknown_model(name)),
            (name, Some(version)) => {
                let default = self.catalog.default_model();
                let name = name.or(default.as_ref().map(|model| model.name.as_str())).ok_or(Error::NotReady)?;
                if self.catalog.versions(name).is_empty() {
                    return Err(Error::unknown_model(name));
                }
                self.catalog.version(name, version).ok_or_else(|| Error::unknown_version(name, version))
            }
        }
    }

    /// Tells whether requests should be sent here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}
