//! From a release to a generation that can serve: fetch, verify, compile, load, golden examples, warm-up.
//!
//! Fetching is asynchronous. The rest runs on a thread of its own; a load that no request waits for runs at a low priority
//! and with rests, so that serving does not notice.

use std::{
    cell::Cell,
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use modelgate_onnx::{BoosterForm, Mode};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    allocator,
    artifact_cache::ArtifactCache,
    bundle::{Bundle, BundleError, FileRef, Manifest, is_inside, plain},
    generation::Generation,
    golden,
    lifecycle::{
        reservation::Reservation,
        version::{Goal, Urgency},
    },
    loading::{Loader, Refusal, Subject, Throttle, Vetted},
    metrics::Metrics,
    release::{Content, Release},
    source::{Kind, Source, SourceError},
    store::{
        Store,
        attempts::{Attempt, Attempts, NotBegun},
    },
    telemetry::request_id::{RequestId, enter},
    verified::{self, Verified},
    workers,
};

/// Files fetched at once for one release.
const FETCHES: usize = 4;

/// Releases of one source fetched at once.
const FETCHED_RELEASES: usize = 4;

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
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) store: Option<Store>,
    pub(super) artifacts: Arc<ArtifactCache>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Limits,
    /// Lets releases be loaded elsewhere first.
    loader: Arc<Loader>,
    /// Threads that will run it.
    pub(super) threads: usize,
    /// By source: one that is slow holds up no other.
    fetches: Vec<Semaphore>,
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

/// Why a release cannot serve.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// For people; one line for each problem.
    pub(super) reason: String,
    /// Whether it may go better later.
    pub(super) transient: bool,
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { reason: error.to_string(), transient: !error.is_final() }
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        Self { reason: error.to_string(), transient: false }
    }
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
        let fetches = sources.iter().map(|_| Semaphore::new(FETCHED_RELEASES)).collect();
        Self {
            sources,
            store,
            artifacts,
            metrics,
            limits,
            loader,
            threads,
            fetches,
            loads,
            activations: Semaphore::new(ACTIVATIONS),
        }
    }

    /// Brings a version as far as asked. Before anything is loaded, the memory that takes is reserved.
    pub(super) async fn bring(
        self: Arc<Self>,
        mut request: LoadRequest,
        reservation: Reservation,
    ) -> Result<Outcome, Failure> {
        request.release = self.fetch(request.release).await?;
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
        if loaded.is_err() && matches!(request.release.content, Content::Bundle { .. }) && !self.has(&request.release) {
            // A damaged file was thrown away: the source may have it. Others have their turn while it comes.
            drop(turn);
            request.release = self.fetch(request.release).await?;
            turn = gate.acquire().await.map_err(gone)?;
            loaded = self.load_aside(&request, urgency).await;
        }
        drop(turn);
        Ok(Outcome { release: request.release, generation: Some(loaded?) })
    }

    /// Writes down that a release from a source is about to be loaded, unless a process died of it.
    fn attempt(&self, release: &Release, is_known_good: bool) -> Result<Option<(Attempts, Attempt)>, Failure> {
        let Some(store) = self.store.as_ref().filter(|_| matches!(release.content, Content::Bundle { .. })) else {
            return Ok(None);
        };
        match store.attempts.begin(release, is_known_good) {
            Ok(attempt) => Ok(Some((store.attempts.clone(), attempt))),
            Err(NotBegun::Died(deaths, reason)) => Err(Failure { reason: poisoned(deaths, &reason), transient: false }),
            Err(NotBegun::Local(error)) => Err(local(error)),
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
        let file = |sha256: &str| self.store.as_ref().map(|store| store.path(sha256)).unwrap_or_default();
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
            Content::Bundle { manifest, .. } => refusal.is_unread && self.discard_damaged(manifest),
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
        let source = self.sources.get(release.source).filter(|_| is_booster);
        match source.and_then(|source| source.remedy(&release.version)) {
            Some(command) => format!("{reason}; convert it with `{command}`"),
            None => reason,
        }
    }

    /// Whether all files of a release are in the local cache.
    pub(super) fn has(&self, release: &Release) -> bool {
        let (Some(store), Content::Bundle { manifest, .. }) = (&self.store, &release.content) else { return false };
        let files = Manifest::parse(manifest).and_then(|manifest| manifest.files());
        files.is_ok_and(|files| files.iter().all(|file| store.has(&file.sha256)))
    }

    /// Whether its model is in memory already, for another release.
    pub(super) fn has_model(&self, manifest: &Manifest) -> bool {
        manifest.model_identity().is_some_and(|identity| self.artifacts.live_model(&identity).is_some())
    }

    /// Brings every file that is not there yet into the local cache.
    async fn fetch(&self, mut release: Release) -> Result<Release, Failure> {
        let (Some(store), Some(source)) = (&self.store, self.sources.get(release.source)) else { return Ok(release) };
        let Some(fetches) = self.fetches.get(release.source) else { return Ok(release) };
        let _turn = match &release.content {
            Content::Folder(_) | Content::Demo => return Ok(release),
            Content::Unservable { reason } => {
                return Err(Failure { reason: reason.clone(), transient: false });
            }
            Content::Bundle { .. } | Content::Onnx { .. } => fetches.acquire().await.ok(),
        };
        let start = Instant::now();
        if let Content::Onnx { at, booster } = &release.content {
            let (folder, graph) = at.rsplit_once('/').unwrap_or(("", at));
            let manifest = self.fetch_graph(store, source, &release, folder, graph, booster.as_ref()).await?;
            release.content = Content::Bundle { manifest: manifest.into(), at: folder.to_owned() };
            self.record_time("fetch", start);
            return Ok(release);
        }
        let Content::Bundle { manifest, at } = &release.content else { return Ok(release) };
        let files = Manifest::parse(manifest)
            .and_then(|manifest| manifest.files())
            .map_err(|reason| Failure { reason, transient: false })?;
        let mut seen = HashSet::new();
        let files = files.into_iter().filter(|file| seen.insert(file.sha256.clone()));
        let (there, missing): (Vec<_>, Vec<_>) = files.partition(|file| store.has(&file.sha256));
        let told_too_large = |what: &str| Failure {
            reason: format!("{what}: too_large: the bundle is larger than the limit of {} bytes", self.limits.bundle),
            transient: false,
        };
        let too_large = || told_too_large("its files together");
        let lengths = there.iter().filter_map(|file| store.length(&file.sha256)).map(|length| length as u64);
        let left = self.limits.bundle.checked_sub(lengths.fold(0, u64::saturating_add)).ok_or_else(too_large)?;
        let name = source.name();
        self.metrics.lifecycle.reused_files.with_label_values(&[name]).inc_by(there.len() as u64);
        if missing.is_empty() {
            return Ok(release);
        }
        let budget = AtomicU64::new(left);
        let fetch = |file: FileRef| {
            let (source, budget) = (Arc::clone(source), &budget);
            async move {
                let message = |reason: String| Failure { reason: format!("{}: {reason}", file.file), transient: true };
                let left = budget.load(Ordering::Relaxed);
                let incoming = store.incoming().map_err(local)?;
                let fetched = source.fetch(at, &file, incoming, left).await.map_err(|error| {
                    match error.kind {
                        // What it went over is what others had left.
                        Kind::TooLarge => told_too_large(&file.file),
                        _ => Failure { reason: format!("{}: {error}", file.file), transient: true },
                    }
                })?;
                let bytes = fetched.len();
                let spent = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
                if spent.is_err() {
                    return Err(too_large());
                }
                self.metrics.lifecycle.fetched_bytes.with_label_values(&[source.name()]).inc_by(bytes);
                // A digest that is wrong now may be that of a file half replaced.
                fetched.finish(Some(&file.sha256)).map_err(message)?;
                Ok(())
            }
        };
        let fetches: Vec<_> = missing.into_iter().map(fetch).collect();
        // In order: of several that are missing, it is always the same one that is told.
        stream::iter(fetches).buffered(FETCHES).try_collect::<()>().await?;
        self.record_time("fetch", start);
        Ok(release)
    }

    /// Brings a graph that has no bundle, and the files beside it that hold its larger tensors, or a booster's file. Gives a
    /// manifest of them.
    async fn fetch_graph(
        &self,
        store: &Store,
        source: &Source,
        release: &Release,
        folder: &str,
        graph: &str,
        booster: Option<&BoosterForm>,
    ) -> Result<Vec<u8>, Failure> {
        let mut left = self.limits.bundle;
        // Named by nobody else, so their digests are those of what comes.
        let mut fetch = async |name: &str| {
            let message = |reason: String, transient| Failure { reason: format!("{name}: {reason}"), transient };
            if !is_inside(name) {
                return Err(message("the graph's data is not beside it".into(), false));
            }
            let file = FileRef { file: name.to_owned(), sha256: String::new() };
            let incoming = store.incoming().map_err(local)?;
            let fetched = source.fetch(folder, &file, incoming, left).await;
            let fetched = fetched.map_err(|error| message(error.to_string(), !error.is_final()))?;
            left -= fetched.len().min(left);
            self.metrics.lifecycle.fetched_bytes.with_label_values(&[source.name()]).inc_by(fetched.len());
            fetched.finish(None).map_err(|reason| message(reason, true))
        };
        let sha256 = fetch(graph).await?;
        if let Some(form) = booster {
            let file = FileRef { file: graph.to_owned(), sha256 };
            return Ok(plain::booster_manifest("model", &release.version, &file, form).into_bytes());
        }
        let (cache, digest) = (store.clone(), sha256.clone());
        #[expect(clippy::disallowed_methods, reason = "one for each release that is fetched, and those are counted")]
        let named = spawn_blocking(move || cache.read(&digest).map(modelgate_onnx::data_files)).await;
        let named = named.map_err(|error| unverified(error.to_string()))?.map_err(unverified)?;
        let mut data = Vec::new();
        for name in named {
            let sha256 = fetch(&name).await?;
            data.push(FileRef { file: name, sha256 });
        }
        let graph = FileRef { file: graph.to_owned(), sha256 };
        Ok(plain::manifest("graph", &release.version, &graph, &data, Mode::Auto).into_bytes())
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
                    let read = |sha256: &str| match &self.store {
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
                Content::Bundle { manifest, .. } => unread.get() && self.discard_damaged(manifest),
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

    /// Removes files that are not what they were, so that the next try fetches them again. Tells whether any was.
    fn discard_damaged(&self, manifest: &[u8]) -> bool {
        let (Some(store), Ok(files)) = (&self.store, Manifest::parse(manifest).and_then(|manifest| manifest.files()))
        else {
            return false;
        };
        let mut any = false;
        for file in files {
            let good =
                store.read(&file.sha256).is_ok_and(|bytes| format!("{:x}", Sha256::digest(&bytes)) == file.sha256);
            if !good {
                store.discard(&file.sha256);
                any = true;
            }
        }
        any
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

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn local(error: std::io::Error) -> Failure {
    Failure { reason: format!("the local cache: {error}"), transient: true }
}

fn unverified(reason: String) -> Failure {
    Failure { reason, transient: true }
}
