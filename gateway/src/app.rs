//! The state that every request handler shares.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    admin::Admin,
    catalog::{Catalog, Found, Status},
    config::HttpConfig,
    error::Error,
    generation::Generation,
    lifecycle::Control,
    memory::{Account, Claim},
    metrics::Metrics,
    model_info::Metadata,
    oip::statistics::ModelStatistics,
    workers::Workers,
};

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Shared>);

/// The content of an [`App`].
#[derive(Debug)]
pub struct Shared {
    /// The live generations.
    pub catalog: Arc<Catalog>,
    /// The part that decides what is live; `None` where that never changes.
    pub control: Option<Control>,
    /// The callers that may ask for changes.
    pub admin: Admin,
    /// Where inference runs.
    pub workers: Workers,
    /// Every series.
    pub metrics: Arc<Metrics>,
    /// Limits of the HTTP side.
    pub http: HttpConfig,
    /// Memory that requests may take together.
    pub memory: Arc<Account>,
    /// The OpenAPI document, and the catalog's revision that it tells of.
    pub(crate) document: Mutex<Option<(u64, Bytes)>>,
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
        mut http: HttpConfig,
    ) -> Self {
        modelgate_onnx::limit_runs(http.model_memory);
        let memory = Account::new(http.body_memory);
        metrics.request_memory_capacity.set(i64::try_from(memory.limit()).unwrap_or(i64::MAX));
        // A larger one could never be read.
        http.max_body = http.max_body.min(memory.ceiling(usize::MAX, Claim::Arriving));
        Self(Arc::new(Shared {
            catalog: catalog.into(),
            control,
            admin,
            workers,
            metrics,
            memory,
            http,
            document: Mutex::default(),
            ready: AtomicBool::new(false),
        }))
    }
}

impl Shared {
    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && self.control.as_ref().is_none_or(Control::is_reconciled)
    }

    /// The generation that answers for a model: the default model where no name is given, its preferred version where no
    /// version is. Waits for a model that is known but not resident.
    ///
    /// # Errors
    /// [`Error::NotReady`] where there is no default model, [`Error::UnknownModel`] or [`Error::UnknownVersion`],
    /// [`Error::Unavailable`] where it cannot be loaded.
    pub async fn resolve(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<Generation>, Error> {
        let generation = self.resident(self.catalog.find(name, version), version).await?;
        generation.usage.stats.used();
        Ok(generation)
    }

    /// Whether the key `model` of a body that nothing else names a model for is a feature: the default model has a column of
    /// that name. Loads the default model where its columns are not known yet.
    pub async fn model_key_is_feature(&self) -> bool {
        if let Some(known) = self.catalog.default_takes_model_key() {
            return known;
        }
        let Some(name) = self.catalog.default_name() else { return false };
        // A default model that cannot be loaded keeps no other model from being named.
        self.look(&name, None).await.is_ok_and(|generation| generation.takes_model_key())
    }

    /// Whether a body's key names a model without the default model being asked: its columns are not known, and the key is
    /// the name of another model.
    pub fn names_another(&self, name: &str) -> bool {
        self.catalog.default_takes_model_key().is_none()
            && self.catalog.knows(name, None)
            && self.catalog.default_name().is_some_and(|default| default != name)
    }

    /// The generation of a model that is asked about, which is no use of it.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn look(&self, name: &str, version: Option<&str>) -> Result<Arc<Generation>, Error> {
        self.resident(self.catalog.look(name, version), version).await
    }

    /// A model's inputs and outputs. Loads it only where that is not known yet.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn metadata(&self, name: &str, version: Option<&str>) -> Result<Metadata, Error> {
        if let Some((idle, info)) = self.catalog.idle(name)
            && version.is_none_or(|version| version == idle)
        {
            return Ok(Metadata { name: name.to_owned(), versions: vec![idle], info });
        }
        let generation = self.look(name, version).await?;
        let versions = self.catalog.versions(name).iter().map(|version| version.version.clone()).collect();
        Ok(Metadata { name: generation.name.clone(), versions, info: Arc::new(generation.as_ref().into()) })
    }

    /// The facts about a version; where none is named, of the one that a request would get. Loads nothing.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] or [`Error::UnknownVersion`].
    pub fn status(&self, name: &str, version: Option<&str>) -> Result<Status, Error> {
        self.catalog.status(name, version).ok_or_else(|| match version {
            Some(version) if self.catalog.knows(name, None) => Error::unknown_version(name, version),
            _ => Error::unknown_model(name),
        })
    }

    /// The statistics of the requests to a model, to each of its live versions or to the one that is named. Loads
    /// nothing.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub fn statistics(&self, name: &str, version: Option<&str>) -> Result<Vec<ModelStatistics>, Error> {
        let known = self.status(name, version)?.version;
        let is_asked =
            |live: &Arc<Generation>| live.name == name && version.is_none_or(|version| live.version == version);
        let live: Vec<_> =
            self.catalog.live().into_iter().filter(is_asked).map(|live| ModelStatistics::new(&live)).collect();
        if live.is_empty() {
            let counted = self.metrics.last(name, &known);
            return Ok(vec![ModelStatistics::counted(name, &known, counted.as_deref())]);
        }
        Ok(live)
    }

    async fn resident(&self, found: Found, version: Option<&str>) -> Result<Arc<Generation>, Error> {
        match found {
            Found::Live(generation) => Ok(generation),
            Found::Idle(name) => match &self.control {
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
