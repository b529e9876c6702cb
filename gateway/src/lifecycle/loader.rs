//! From a release to a generation that can serve: fetch, verify, compile, load, golden examples, warm-up.
//!
//! Fetching is asynchronous. The rest runs on a thread of its own; a load that no request waits for runs at a low priority
//! and with rests, so that serving does not notice.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{
    allocator,
    artifact_cache::ArtifactCache,
    bundle::{Bundle, BundleError, Manifest},
    generation::Generation,
    golden,
    lifecycle::{
        failure::Failure,
        fetcher::Fetcher,
        reservation::Reservation,
        version::{Goal, Urgency},
    },
    loading::{Loader, Refusal, Subject, Throttle, Vetted},
    metrics::Metrics,
    release::{Content, Release},
    source::Source,
    store::{
        Store,
        attempts::{Attempt, Attempts, NotBegun},
    },
    telemetry::request_id::{RequestId, enter},
    verified::{self, Verified},
    workers,
};

/// Releases of one source loaded at once because they changed; more would only slow each other, and serving, down.
const LOADS: usize = 1;

/// Releases loaded at once because requests wait for them.
const ACTIVATIONS: usize = 2;

/// The time that it takes to end a child whose time is up.
const KILLING: Duration = Duration::from_secs(1);

/// The steps by which the priority of a thread is lower than the others' if no request waits for its load.
const NICE: i32 = 10;

/// The part of a load's time that it may rest, for others' sake.
const REST_SHARE: u32 = 5;

/// Runs of the golden examples before a generation serves, for as long as they take less than [`WARM_TIME`] together.
const WARM_RUNS: usize = 20;
const WARM_TIME: Duration = Duration::from_millis(20);

/// The parts that make releases live.
#[derive(Debug)]
pub(super) struct VersionLoader {
    pub(super) fetcher: Fetcher,
    pub(super) artifacts: Arc<ArtifactCache>,
    pub(super) metrics: Arc<Metrics>,
    limits: Limits,
    /// Lets releases be loaded elsewhere first.
    loader: Arc<Loader>,
    /// Threads that will run it.
    pub(super) threads: usize,
    /// By source: one that is slow holds up no other.
    loads: Vec<Semaphore>,
    activations: Semaphore,
}

/// The limits of a release.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of its files.
    pub(super) bundle: u64,
    /// Time to load it, after its files are there.
    pub(super) load: Duration,
}

/// The task of a job.
#[derive(Debug)]
pub(super) struct LoadRequest {
    pub(super) release: Release,
    pub(super) goal: Goal,
    /// Threads that are about to run it.
    pub(super) threads: usize,
    /// Set once a request waits for it: the load does not rest any more.
    pub(super) urgent: Arc<AtomicBool>,
    /// Whether it has answered before.
    pub(super) is_known_good: bool,
}

/// The result of a job.
#[derive(Debug)]
pub(super) struct Outcome {
    /// As asked for, with the manifest that was made for it if it had none.
    pub(super) release: Release,
    /// `None` if it was only to be fetched.
    pub(super) generation: Option<Generation>,
}

impl VersionLoader {
    pub(super) fn new(
        sources: Vec<Arc<Source>>,
        store: Option<Store>,
        artifacts: Arc<ArtifactCache>,
        metrics: Arc<Metrics>,
        limits: Limits,
        loader: Arc<Loader>,
        threads: usize,
    ) -> Self {
        // One for releases that are of no source, too.
        let loads = (0..=sources.len()).map(|_| Semaphore::new(LOADS)).collect();
        let fetcher = Fetcher::new(sources, store, Arc::clone(&metrics), limits.bundle);
        Self { fetcher, artifacts, metrics, limits, loader, threads, loads, activations: Semaphore::new(ACTIVATIONS) }
    }

    /// Brings a version as far as asked. Before anything is loaded, the memory that takes is reserved.
    pub(super) async fn bring(
        self: Arc<Self>,
        mut request: LoadRequest,
        reservation: Reservation,
    ) -> Result<Outcome, Failure> {
        request.release = self.fetcher.fetch(request.release).await?;
        let urgency = match request.goal {
            Goal::Fetched => return Ok(Outcome { release: request.release, generation: None }),
            Goal::Loaded(urgency) => urgency,
        };
        let gate = match urgency {
            Urgency::Request => &self.activations,
            Urgency::Background => {
                self.loads.get(request.release.source).or(self.loads.last()).unwrap_or(&self.activations)
            }
        };
        let gone = |_| Failure { reason: "the gateway is going away".into(), transient: true };
        let mut turn = gate.acquire().await.map_err(gone)?;
        reservation.reserve(&request.release).await;
        let mut loaded = self.load_aside(&request, urgency).await;
        if loaded.is_err()
            && matches!(request.release.content, Content::Bundle { .. })
            && !self.fetcher.has(&request.release)
        {
            // A damaged file was thrown away: the source may have it. Others have their turn while it comes.
            drop(turn);
            request.release = self.fetcher.fetch(request.release).await?;
            turn = gate.acquire().await.map_err(gone)?;
            loaded = self.load_aside(&request, urgency).await;
        }
        drop(turn);
        Ok(Outcome { release: request.release, generation: Some(loaded?) })
    }

    /// Writes down that a release from a source is about to be loaded, unless a process died of it.
    fn attempt(&self, release: &Release, is_known_good: bool) -> Result<Option<(Attempts, Attempt)>, Failure> {
        let Some(store) = self.fetcher.store.as_ref().filter(|_| matches!(release.content, Content::Bundle { .. }))
        else {
            return Ok(None);
        };
        match store.attempts.begin(release, is_known_good) {
            Ok(attempt) => Ok(Some((store.attempts.clone(), attempt))),
            Err(NotBegun::Died(deaths, reason)) => Err(Failure { reason: poisoned(deaths, &reason), transient: false }),
            Err(NotBegun::Local(error)) => Err(error.into()),
        }
    }

    /// On a thread of its own.
    async fn load_aside(self: &Arc<Self>, request: &LoadRequest, urgency: Urgency) -> Result<Generation, Failure> {
        let LoadRequest { release, threads, urgent, is_known_good, .. } = request;
        let threads = *threads;
        let attempt = self.attempt(release, *is_known_good)?;
        let (reply, answer) = oneshot::channel();
        let (this, release, urgent) = (Arc::clone(self), release.clone(), Arc::clone(urgent));
        let cancelled = Arc::new(AtomicBool::new(false));
        let _waiting = Cancel(Arc::clone(&cancelled));
        let (span, mut by) = (tracing::Span::current(), RequestId::current());
        let spawned = thread::Builder::new().name("loader".into()).stack_size(workers::STACK).spawn(move || {
            let (_span, _by) = (span.entered(), enter(&mut by));
            let is_background = urgency == Urgency::Background;
            if is_background {
                // Of this thread and its child only, on Linux. Without the right to, it competes as an equal.
                _ = rustix::process::setpriority_process(None, NICE);
            }
            let vetted = this.vet(&release, threads, is_background, &urgent, &cancelled);
            let loaded = match &vetted {
                Err(refusal) => Err(this.refused(&release, refusal)),
                Ok(vetted) if is_background => {
                    let metrics = Arc::clone(&this.metrics);
                    let served = move || {
                        if urgent.load(Ordering::Relaxed) { 0 } else { metrics.runs.load(Ordering::Relaxed) }
                    };
                    let most = this.limits.load / REST_SHARE;
                    let (loaded, rested) =
                        modelgate_throttle::resting(served, most, || this.load(&release, vetted, threads));
                    this.metrics.lifecycle.release_seconds.with_label_values(&["rest"]).observe(rested.as_secs_f64());
                    loaded
                }
                Ok(vetted) => this.load(&release, vetted, threads),
            };
            // Also where nobody waits for it any more.
            if let Some((attempts, attempt)) = attempt {
                if let Err(refusal) = &vetted
                    && refusal.is_death
                    && let Err(error) = attempts.note_death(&release.id, &refusal.problems.join("; "))
                {
                    tracing::warn!(%error, "what a process died of could not be written down");
                }
                drop(attempt);
                if loaded.is_ok() {
                    attempts.forget(&release.id);
                }
            }
            // Loading takes many times what the model takes.
            allocator::give_back();
            _ = reply.send(loaded);
        });
        if let Err(error) = spawned {
            return Err(Failure { reason: format!("no thread could be started: {error}"), transient: true });
        }
        // A child has as long before.
        let most = if self.loader.is_isolating() { self.limits.load * 2 + KILLING } else { self.limits.load };
        match timeout(most, answer).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => {
                self.metrics.panics.inc();
                Err(Failure { reason: "the gateway panicked while loading it".into(), transient: false })
            }
            // What runs on its thread cannot be stopped. It ends by itself, or goes on at its low priority; others get
            // their turn.
            Err(_) => {
                let reason = format!("loading it took longer than --load-timeout ({:?})", self.limits.load);
                Err(Failure { reason, transient: false })
            }
        }
    }

    /// Lets a release be loaded elsewhere first.
    fn vet(
        &self,
        release: &Release,
        threads: usize,
        is_background: bool,
        urgent: &AtomicBool,
        cancelled: &AtomicBool,
    ) -> Result<Vetted, Refusal> {
        let file = |sha256: &str| self.fetcher.store.as_ref().map(|store| store.path(sha256)).unwrap_or_default();
        let subject = match &release.content {
            Content::Folder(path) => Subject::Path(path),
            Content::Bundle { manifest, .. } => Subject::Stored { manifest, file: &file },
            // The gateway's own, or nothing that could be loaded.
            Content::Demo | Content::Onnx { .. } | Content::Unservable { .. } => return Ok(Vetted::default()),
        };
        let start = Instant::now();
        let throttle = Throttle {
            is_background,
            is_by_hand: false,
            served: &|| self.metrics.runs.load(Ordering::Relaxed),
            is_urgent: &|| urgent.load(Ordering::Relaxed),
            is_cancelled: &|| cancelled.load(Ordering::Relaxed),
        };
        let named = Some((release.model.as_str(), release.version.as_str()));
        let vetted = self.loader.vet(subject, named, &self.artifacts, threads.max(self.threads), &throttle);
        // A report takes no time.
        if vetted.as_ref().map_or(true, Vetted::is_new) {
            self.record_time("child", start);
        }
        vetted
    }

    /// Why a release cannot serve that did not load elsewhere.
    fn refused(&self, release: &Release, refusal: &Refusal) -> Failure {
        let is_damaged = match &release.content {
            Content::Bundle { manifest, .. } => refusal.is_unread && self.fetcher.discard_damaged(manifest),
            _ => false,
        };
        let reason = self.with_remedy(release, refusal.problems.join("\n"));
        Failure { reason, transient: refusal.is_transient || is_damaged }
    }

    /// The reason why a release is refused, with the command that mends it where its source knows one: for a booster's own
    /// file, which the converter makes a bundle of.
    fn with_remedy(&self, release: &Release, reason: String) -> String {
        let Content::Bundle { manifest, .. } = &release.content else { return reason };
        let is_booster = Manifest::parse(manifest).is_ok_and(|manifest| manifest.has_booster_form());
        let source = self.fetcher.sources.get(release.source).filter(|_| is_booster);
        match source.and_then(|source| source.remedy(&release.version)) {
            Some(command) => format!("{reason}; convert it with `{command}`"),
            None => reason,
        }
    }

    /// Whether its model is in memory already, for another release.
    pub(super) fn has_model(&self, manifest: &Manifest) -> bool {
        manifest.model_identity().is_some_and(|identity| self.artifacts.live_model(&identity).is_some())
    }

    /// On a thread where it may take its time. Makes instances for so many threads ahead.
    fn load(&self, release: &Release, vetted: &Vetted, threads: usize) -> Result<Generation, Failure> {
        let start = Instant::now();
        let unread = Cell::new(false);
        let read = || {
            let bundle = match &release.content {
                Content::Folder(folder) => Bundle::read(folder),
                Content::Demo => Bundle::demo(),
                Content::Onnx { .. } => Err(BundleError::from("it was not fetched".to_owned())),
                Content::Unservable { reason } => Err(BundleError::from(reason.clone())),
                Content::Bundle { manifest, .. } => {
                    let read = |sha256: &str| match &self.fetcher.store {
                        Some(store) => store.read(sha256),
                        None => Err("there is no local cache".into()),
                    };
                    Bundle::stored(manifest, &read, &|sha256| self.artifacts.live_model(sha256))
                }
            };
            unread.set(bundle.is_err());
            bundle.map(|bundle| Bundle { name: release.model.clone(), version: release.version.clone(), ..bundle })
        };
        let fail = |error: BundleError| {
            let transient = match &release.content {
                Content::Bundle { manifest, .. } => unread.get() && self.fetcher.discard_damaged(manifest),
                Content::Onnx { .. } | Content::Unservable { .. } => true,
                Content::Folder(_) | Content::Demo => false,
            };
            let Failure { reason, .. } = error.into();
            Failure { reason: self.with_remedy(release, reason), transient }
        };
        let artifacts = self.artifacts.and_code(Arc::clone(&vetted.code));
        let Verified { mut generation, mut runner, load } =
            verified::load(&read, &artifacts, &self.metrics, vetted.found()).map_err(fail)?;
        self.loader.keep(vetted);
        self.metrics.lifecycle.release_seconds.with_label_values(&["load"]).observe(load.as_secs_f64());
        let checked = start + load;
        let start = Instant::now();
        for _ in 0..WARM_RUNS {
            if start.elapsed() > WARM_TIME || generation.golden.examples.is_empty() {
                break;
            }
            golden::warm(&generation, &mut runner);
        }
        generation.measure(&runner, self.threads);
        // Threads that made theirs at the switch would do so while requests wait.
        let mut ready = vec![runner];
        ready.resize_with(threads.min(self.threads), || {
            modelgate_throttle::give_way();
            let mut runner = generation.new_runner();
            golden::warm(&generation, &mut runner);
            runner
        });
        generation.usage.keep_ready(ready);
        self.record_time("check", checked);
        Ok(generation)
    }

    fn record_time(&self, part: &str, start: Instant) {
        self.metrics.lifecycle.release_seconds.with_label_values(&[part]).observe(start.elapsed().as_secs_f64());
    }
}

/// Set once nobody waits for a load any more.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why a release is not loaded that processes died of, the last one for this reason.
fn poisoned(deaths: usize, reason: &str) -> String {
    let message = if reason.is_empty() { "a gateway ended while it loaded this release" } else { reason };
    format!("{message} ({deaths} so far), so it is not tried again by itself: load it by hand, or change the bundle")
}
