//! Models come, change and go while requests flow.
//!
//! One task, on a thread of its own, knows what every source offers and decides what is resident and what serves. It
//! fetches, loads and checks releases elsewhere, puts what is good into the catalog in one step, and hands what was
//! switched away from to the reaper.

mod budget;
mod jobs;
mod model;
mod poll;
mod prepare;
mod residency;
mod room;
mod state;
mod supervisor;
mod trial;
mod wishes;

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

use self::{
    budget::Budget,
    model::Waiter,
    poll::Poll,
    prepare::{Limits, Preparer},
    state::{Settings, Supervisor},
    supervisor::Message,
};
pub use self::{budget::resident_memory, state::GIVEN, trial::Gate, wishes::Wish};
use crate::{
    catalog::Catalog,
    config::LifecycleConfig,
    error::Error,
    generation::Generation,
    loading::Loader,
    metrics::Metrics,
    parts::Parts,
    release::Release,
    source::{Report, Reports, Source},
    store::{Store, attempts::Attempts},
};

/// Questions that may wait for the supervisor.
const MESSAGES: usize = 1024;

/// How requests and people reach the supervisor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    messages: mpsc::Sender<Message>,
    reports: Arc<Reports>,
    settled: Arc<AtomicBool>,
    patience: Duration,
}

/// The thread, for as long as it should run.
#[derive(Debug)]
pub struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// What is still being loaded at the end is no death.
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

/// What the supervisor works with.
#[derive(Debug)]
pub struct Place {
    /// What it fills.
    pub catalog: Arc<Catalog>,
    /// What it counts in.
    pub metrics: Arc<Metrics>,
    /// What generations share.
    pub parts: Arc<Parts>,
    /// Lets releases be loaded elsewhere first.
    pub loader: Arc<Loader>,
    /// Threads that run inference.
    pub threads: usize,
    /// Module instances that may be alive at once.
    pub pool: usize,
    /// What the process takes without any model, in bytes.
    pub own_memory: usize,
}

/// Starts the thread. `given` are the bundles named on the command line, live already.
///
/// # Errors
/// A source that cannot be understood, a cache that cannot be written to, a thread that cannot be started.
pub fn start(
    config: &LifecycleConfig,
    place: Place,
    given: Vec<(Release, Arc<Generation>)>,
) -> anyhow::Result<(Control, Running)> {
    let store = match (&config.store, config.sources.is_empty()) {
        (_, true) => None,
        (Some(folder), false) => Some(
            Store::at(folder, config.trust)
                .with_context(|| format!("the cache for bundles, {}, cannot be used", folder.display()))?,
        ),
        (None, false) => anyhow::bail!("a source needs a local cache for its bundles: name a folder with --cache"),
    };
    let sources = config
        .sources
        .iter()
        .enumerate()
        .map(|(number, spec)| Source::new(spec, number, &config.environment).map(Arc::new))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let reports = Arc::new(Reports::default());
    let polls: Vec<_> = sources
        .iter()
        .enumerate()
        .filter_map(|(number, source)| {
            Some(Poll {
                place: number,
                source: Arc::clone(source),
                every: config.poll,
                policy: config.versions.clone(),
                store: store.clone()?,
                metrics: Arc::clone(&place.metrics),
                reports: Arc::clone(&reports),
            })
        })
        .collect();
    for poll in &polls {
        reports.set(poll.place, poll.report());
    }
    let attempts = store.as_ref().map(|store| store.attempts.clone());
    let limits = Limits { bundle: config.max_bundle, load: config.load_timeout };
    let metrics = Arc::clone(&place.metrics);
    let preparer = Preparer::new(sources, store, place.parts, metrics, limits, place.loader, place.threads);
    let settled = Arc::new(AtomicBool::new(false));
    let settings = Settings {
        default_model: config.default_model.clone(),
        on_demand: config.on_demand,
        pool: place.pool,
        idle: config.idle_unload,
        gate: config.gate,
        poll: config.poll,
        sources: polls.len(),
        settled: Arc::clone(&settled),
    };
    let budget = Budget::new(config.memory_budget, place.own_memory);
    let supervisor =
        Supervisor::new(settings, budget, preparer, place.catalog, Arc::clone(&reports), place.metrics, given)?;
    let (messages, inbox) = mpsc::channel(MESSAGES);
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = thread::Builder::new().name("models".into()).spawn(move || {
        runtime.block_on(async {
            let (tell, offers) = mpsc::channel(polls.len().max(1));
            for poll in polls {
                tokio::spawn(poll.run(tell.clone()));
            }
            // Held to the end, so that `offers` stays open without any source.
            let _tell = tell;
            tokio::select! {
                () = supervisor.run(inbox, offers) => {}
                _ = stopped => {}
            }
        });
        // Not held up by what still reads from a mount that hangs.
        runtime.shutdown_background();
    })?;
    let control = Control { messages, reports, settled, patience: config.activation_timeout };
    Ok((control, Running { stop: Some(stop), thread: Some(thread), attempts }))
}

impl Control {
    /// The generation of a model that is known but not resident, once it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot be loaded, or not in time.
    pub async fn activate(&self, model: &str, version: Option<&str>) -> Result<Arc<Generation>, Error> {
        let (waiter, answer) = oneshot::channel();
        let message = Message::Activate {
            model: model.to_owned(),
            version: version.map(str::to_owned),
            waiter: Waiter::new(version.is_none(), waiter),
        };
        self.ask(message, answer).await.unwrap_or_else(|| Err(Error::unavailable(model)))
    }

    /// What a person wants of a model.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], or [`Error::Refused`] with the reason.
    pub async fn wish(&self, model: &str, wish: Wish) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Wish { model: model.to_owned(), wish, reply };
        self.ask(message, answer).await.unwrap_or_else(|| Err(Error::unavailable(model)))
    }

    /// `None` if there is no answer in time.
    async fn ask<T>(&self, message: Message, answer: oneshot::Receiver<T>) -> Option<T> {
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

    /// Whether what was there at the start has been loaded, or turned out to be of no use.
    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }
}
