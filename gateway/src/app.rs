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
    admin::Admin,
    catalog::{Catalog, Found},
    config::HttpConfig,
    error::Error,
    generation::Generation,
    metrics::Metrics,
    swap::Control,
    workers::Workers,
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
    pub catalog: Arc<Catalog>,
    /// Who decides what is live; `None` where that never changes.
    pub control: Option<Control>,
    /// Who may ask for changes.
    pub admin: Admin,
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
    pub fn new(
        catalog: impl Into<Arc<Catalog>>,
        control: Option<Control>,
        admin: Admin,
        workers: Workers,
        metrics: Arc<Metrics>,
        http: HttpConfig,
    ) -> Self {
        let permits = (http.body_memory / BODY_PERMIT).clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Shared {
            catalog: catalog.into(),
            control,
            admin,
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
        self.ready.load(Ordering::Acquire) && self.control.as_ref().is_none_or(Control::is_settled)
    }

    /// The generation that answers for a model: the default model where no name is given, its preferred version where no
    /// version is. Waits for a model that is known but not resident.
    ///
    /// # Errors
    /// [`Error::NotReady`] where there is no default model, [`Error::UnknownModel`] or [`Error::UnknownVersion`],
    /// [`Error::Unavailable`] where it cannot be loaded.
    pub async fn resolve(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<Generation>, Error> {
        let generation = self.resolve_unused_version(name, version).await?;
        generation.tally.used();
        Ok(generation)
    }

    /// The same for no version in particular, without noting that it is used: whoever calls may find that another model is
    /// asked for.
    pub async fn resolve_unused(&self, name: Option<&str>) -> Result<Arc<Generation>, Error> {
        self.resolve_unused_version(name, None).await
    }

    async fn resolve_unused_version(
        &self,
        name: Option<&str>,
        version: Option<&str>,
    ) -> Result<Arc<Generation>, Error> {
        match self.catalog.find(name, version) {
            Found::Live(generation) => Ok(generation),
            Found::Known(name) => match &self.control {
                Some(control) => control.activate(&name, version).await,
                None => Err(Error::unavailable(&name)),
            },
            Found::NoModel(None) => Err(Error::NotReady),
            Found::NoModel(Some(name)) => Err(Error::unknown_model(&name)),
            Found::NoVersion(name) => Err(Error::unknown_version(&name, version.unwrap_or_default())),
        }
    }

    /// Tells whether requests should be sent here.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}
