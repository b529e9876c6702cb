//! Versions of models come, change and go while requests flow. See `lifecycle/README.md` for the invariants.
//!
//! One task, on a thread of its own, hears sources, jobs, requests and operators. It notes each event in the state of a
//! model ([`state`]), asks a pure function what should become of the model ([`plan`]), and brings jobs, generations and the
//! catalog in line with that ([`apply`]).

mod apply;
mod budget;
mod commands;
mod completion;
mod entry;
mod estimate;
mod failure;
mod fetcher;
mod history;
mod loader;
mod offers;
mod plan;
mod preference;
#[cfg(test)]
mod properties;
mod reconciler;
mod reservation;
mod residency;
mod rollout;
mod snapshot;
mod state;
mod transition;
mod version;
mod watcher;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tracing::Instrument;

use self::{
    apply::{Fleet, Means, Waiter, gauge},
    budget::Budget,
    commands::Reply,
    loader::{Limits, VersionLoader},
    plan::Policy,
    reconciler::{Message, Question, Reconciler, Timers},
    residency::Residency,
    watcher::Watcher,
};
pub use self::{commands::Command, snapshot::Snapshot};
use crate::{
    artifact_cache::ArtifactCache,
    catalog::Catalog,
    config::LifecycleConfig,
    error::Error,
    generation::Generation,
    loading::Loader,
    metrics::Metrics,
    release::Release,
    source::{Report, Reports, Source},
    store::{Store, attempts::Attempts},
    telemetry::request_id::RequestId,
};

/// Questions that may wait for the reconciler.
const MESSAGES: usize = 1024;

/// The source's number of bundles named on the command line; before all others.
pub const STATIC_SOURCE: usize = usize::MAX;

/// The handle by which requests and operators reach the reconciler. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    messages: mpsc::Sender<Message>,
    reports: Arc<Reports>,
    reconciled: Arc<AtomicBool>,
    patience: Duration,
}

/// The thread, for as long as it should run.
#[derive(Debug)]
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The notes of loads: one that still goes on at the end is no death.
    attempts: Option<Attempts>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It catches no panic of its own, and there is nothing to do about one here.
            _ = thread.join();
        }
        if let Some(attempts) = &self.attempts {
            attempts.end();
        }
    }
}

/// The parts that the lifecycle works with.
#[derive(Debug)]
pub struct Dependencies {
    /// The catalog that it fills.
    pub catalog: Arc<Catalog>,
    /// The metrics that it counts in.
    pub metrics: Arc<Metrics>,
    /// The models and modules that generations share.
    pub artifacts: Arc<ArtifactCache>,
    /// Lets releases be loaded elsewhere first.
    pub loader: Arc<Loader>,
    /// Threads that run inference.
    pub threads: usize,
    /// Module instances that may be alive at once.
    pub pool: usize,
    /// The memory that the process takes without any model, in bytes.
    pub own_memory: usize,
}

/// Starts the thread. `static_models` are the bundles named on the command line, live already.
///
/// # Errors
/// A source that cannot be understood, a cache that cannot be written to, a thread that cannot be started.
pub fn start(
    config: &LifecycleConfig,
    dependencies: Dependencies,
    static_models: Vec<(Release, Arc<Generation>)>,
) -> anyhow::Result<(Control, Running)> {
    let store = match (&config.store, config.sources.is_empty()) {
        (_, true) => None,
        (Some(folder), false) => Some(
            Store::at(folder, config.trust)
                .with_context(|| format!("the cache for bundles, {}, cannot be used", folder.display()))?,
        ),
        (None, false) => {
            anyhow::bail!("a source needs a local cache for its bundles: name a folder with --bundle-cache")
        }
    };
    let sources = config
        .sources
        .iter()
        .enumerate()
        .map(|(number, spec)| Source::new(spec, number, &config.environment).map(Arc::new))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let reports = Arc::new(Reports::default());
    let watchers: Vec<_> = sources
        .iter()
        .enumerate()
        .filter_map(|(index, source)| {
            Some(Watcher {
                index,
                source: Arc::clone(source),
                every: config.poll,
                policy: config.version_policy.clone(),
                store: store.clone()?,
                metrics: Arc::clone(&dependencies.metrics),
                reports: Arc::clone(&reports),
            })
        })
        .collect();
    for watcher in &watchers {
        reports.set(watcher.index, watcher.report());
    }
    let attempts = store.as_ref().map(|store| store.attempts.clone());
    let limits = Limits { bundle: config.max_bundle, load: config.load_timeout };
    let metrics = Arc::clone(&dependencies.metrics);
    let loader = VersionLoader::new(
        sources,
        store,
        dependencies.artifacts,
        metrics,
        limits,
        dependencies.loader,
        dependencies.threads,
    );
    let reconciled = Arc::new(AtomicBool::new(false));
    let budget = Budget::new(config.memory_budget, dependencies.own_memory);
    dependencies.metrics.lifecycle.budget_bytes.set(gauge(budget.limit().unwrap_or(0)));
    let (mut fleet, from_jobs) = Fleet::new(Means {
        policy: Policy { gate: config.gate, lazy_load: config.lazy_load, retry: config.poll },
        default_model: config.default_model.clone(),
        sources: watchers.len(),
        loader,
        catalog: dependencies.catalog,
        reports: Arc::clone(&reports),
        metrics: dependencies.metrics,
    })?;
    for (release, generation) in static_models {
        fleet.add_static(release, generation);
    }
    let reconciler = Reconciler {
        fleet,
        residency: Residency::new(budget, dependencies.pool),
        idle: config.idle_unload,
        reconciled: Arc::clone(&reconciled),
        timers: Timers::new(),
    };
    reconciler.look_reconciled();
    let (messages, inbox) = mpsc::channel(MESSAGES);
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = thread::Builder::new().name("models".into()).spawn(move || {
        runtime.block_on(async {
            let (offers, offered) = mpsc::channel(watchers.len().max(1));
            for watcher in watchers {
                let span = tracing::info_span!("source", source = watcher.source.name());
                tokio::spawn(watcher.run(offers.clone()).instrument(span));
            }
            // Held to the end, so that `offered` stays open without any source.
            let _offers = offers;
            tokio::select! {
                () = reconciler.run(inbox, offered, from_jobs) => {}
                _ = stopped => {}
            }
        });
        // Not held up by what still reads from a mount that hangs.
        runtime.shutdown_background();
    })?;
    let control = Control { messages, reports, reconciled, patience: config.activation_timeout };
    Ok((control, Running { stop: Some(stop), thread: Some(thread), attempts }))
}

impl Control {
    /// The generation of a model that is known but not resident, once it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot be loaded, or not in time.
    pub async fn activate(&self, model: &str, version: Option<&str>) -> Result<Arc<Generation>, Error> {
        let (waiter, answer) = oneshot::channel();
        let question = Question::Activate {
            model: model.to_owned(),
            version: version.map(str::to_owned),
            waiter: Waiter::new(version.is_none(), waiter),
        };
        self.ask(question, answer).await.unwrap_or_else(|| Err(Error::unavailable(model)))
    }

    /// Applies an operator's command to a model.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], or [`Error::Refused`] with the reason.
    pub async fn command(&self, model: &str, command: Command) -> Result<(), Error> {
        let (reply, answer): (Reply, _) = oneshot::channel();
        let question = Question::Command { model: model.to_owned(), command, reply };
        self.ask(question, answer).await.unwrap_or_else(|| Err(Error::unavailable(model)))
    }

    /// The state of all models and sources.
    ///
    /// # Errors
    /// [`Error::NotReady`] if there is no answer in time.
    pub async fn state(&self) -> Result<Snapshot, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Question::State { reply }, answer).await.ok_or(Error::NotReady)
    }

    /// `None` if there is no answer in time.
    async fn ask<T>(&self, question: Question, answer: oneshot::Receiver<T>) -> Option<T> {
        let message = Message { question, request: RequestId::current() };
        let ask = async {
            self.messages.send(message).await.ok()?;
            answer.await.ok()
        };
        timeout(self.patience, ask).await.ok().flatten()
    }

    /// The state of each source.
    pub fn reports(&self) -> Vec<Report> {
        self.reports.all()
    }

    /// Whether what was there at the start has been loaded, or failed.
    pub fn is_reconciled(&self) -> bool {
        self.reconciled.load(Ordering::Acquire)
    }
}
