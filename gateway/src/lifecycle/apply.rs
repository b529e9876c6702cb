//! The only place with effects: what a plan changed becomes jobs, generations, a catalog entry and metrics. The catalog
//! has no other writer.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};
use tracing::Instrument;

use crate::{
    catalog::Catalog,
    error::Error,
    generation::Generation,
    lifecycle::{
        entry::entry,
        failure::Failure,
        loader::{LoadRequest, Outcome, VersionLoader},
        plan::{Policy, ROUNDS, plan},
        preference::Preference,
        reservation::{ReservationRequest, Reservations},
        rollout::Judge,
        state::{Desired, ModelState},
        transition::{Changes, Facts},
        version::{Goal, Health, Job, Urgency, VersionId},
    },
    metrics::{Metrics, lifecycle::count},
    model_info::ModelInfo,
    reaper::Reaper,
    release::Release,
    shadow::Target,
    source::{Reports, unix_now},
    telemetry::request_id::{RequestId, scope},
};

/// A caller that waits for a generation.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Whether another version will do.
    pub(super) any: bool,
    reply: oneshot::Sender<Result<Arc<Generation>, Error>>,
}

impl Waiter {
    pub(super) fn new(any: bool, reply: oneshot::Sender<Result<Arc<Generation>, Error>>) -> Self {
        Self { any, reply }
    }

    /// A caller that went away needs no answer.
    pub(super) fn answer(self, answer: Result<Arc<Generation>, Error>) {
        _ = self.reply.send(answer);
    }
}

/// The end of a job.
#[derive(Debug)]
pub(super) struct JobEnd {
    pub(super) model: String,
    pub(super) id: VersionId,
    pub(super) job: u64,
    pub(super) result: Result<Outcome, Failure>,
    /// The request for which it began.
    pub(super) request: Option<RequestId>,
}

/// All models, with the jobs and generations that belong to their states.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) policy: Policy,
    pub(super) loader: Arc<VersionLoader>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reports: Arc<Reports>,
    /// Sources that have not said anything yet.
    pub(super) silent: HashSet<usize>,
    /// Sources of which another version answers than was written down.
    pub(super) unwritten: BTreeSet<usize>,
    default_model: Option<String>,
    /// The model of the first bundle on the command line.
    first_static: Option<String>,
    models: BTreeMap<String, Model>,
    catalog: Arc<Catalog>,
    reaper: Reaper,
    /// Where jobs ask for memory.
    reservations: Reservations,
    /// The number of jobs so far.
    jobs: u64,
    ended: mpsc::Sender<JobEnd>,
}

#[derive(Debug)]
struct Model {
    state: ModelState,
    handles: BTreeMap<VersionId, Handle>,
    judge: Option<Judge>,
    /// Versions that are wanted, as last counted.
    known: usize,
}

/// The handles of a version.
#[derive(Debug, Default)]
struct Handle {
    task: Option<Task>,
    generation: Option<Arc<Generation>>,
    waiters: Vec<Waiter>,
    /// The name of its state when that was last looked at, and since when, in seconds since 1970.
    state: Option<(&'static str, u64)>,
}

/// A job that runs; it ends with this.
#[derive(Debug)]
struct Task {
    abort: AbortHandle,
    since: Instant,
    /// Set once a request waits for the job.
    urgent: Arc<AtomicBool>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// The parts that a fleet works with.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) policy: Policy,
    pub(super) default_model: Option<String>,
    /// The number of sources.
    pub(super) sources: usize,
    pub(super) loader: VersionLoader,
    pub(super) catalog: Arc<Catalog>,
    pub(super) reports: Arc<Reports>,
    pub(super) metrics: Arc<Metrics>,
}

/// Messages of jobs.
#[derive(Debug)]
pub(super) struct FromJobs {
    pub(super) ended: mpsc::Receiver<JobEnd>,
    pub(super) requests: mpsc::Receiver<ReservationRequest>,
}

impl Fleet {
    /// # Errors
    /// A thread that cannot be started.
    pub(super) fn new(means: Means) -> std::io::Result<(Self, FromJobs)> {
        let Means { policy, default_model, sources, loader, catalog, reports, metrics } = means;
        let (known, lazy_load) = (Arc::clone(&catalog), policy.lazy_load);
        // Where hundreds of models are known and few resident, the series of those that are not would take more memory
        // than many a model.
        let keeps = move |model: &str, version: Option<&str>| {
            if lazy_load && version.is_some() { known.answers(model, version) } else { known.knows(model, version) }
        };
        let reaper = Reaper::start(Arc::clone(&metrics), keeps)?;
        let (reservations, requests) = Reservations::new(reaper.unreleased());
        let (sender, ended) = mpsc::channel(64);
        let this = Self {
            policy,
            loader: Arc::new(loader),
            metrics,
            reports,
            silent: (0..sources).collect(),
            unwritten: BTreeSet::new(),
            default_model,
            first_static: None,
            models: BTreeMap::new(),
            catalog,
            reaper,
            reservations,
            jobs: 0,
            ended: sender,
        };
        Ok((this, FromJobs { ended, requests }))
    }

    /// Takes in a bundle of the command line, which is resident already.
    pub(super) fn add_static(&mut self, release: Release, generation: Arc<Generation>) {
        let (name, id) = (release.model.clone(), release.id.clone());
        self.first_static.get_or_insert_with(|| name.clone());
        let info = Some(Arc::new(ModelInfo::from(generation.as_ref())));
        let facts = Facts { cost: generation.footprint(), info, note: String::new() };
        let model = self.model(&name);
        model.state.add_static(release, facts);
        model.handles.entry(id).or_default().generation = Some(generation);
        self.reconcile(&name);
    }

    /// Every model, by name.
    pub(super) fn models(&self) -> impl Iterator<Item = (&String, &ModelState)> {
        self.models.iter().map(|(name, model)| (name, &model.state))
    }

    pub(super) fn state(&self, name: &str) -> Option<&ModelState> {
        self.models.get(name).map(|model| &model.state)
    }

    /// The state of a model, for an event to be noted in it. [`reconcile`](Self::reconcile) has to follow.
    pub(super) fn state_mut(&mut self, name: &str) -> Option<&mut ModelState> {
        self.models.get_mut(name).map(|model| &mut model.state)
    }

    /// The same of a model that may be new.
    pub(super) fn state_or_new(&mut self, name: &str) -> &mut ModelState {
        &mut self.model(name).state
    }

    fn model(&mut self, name: &str) -> &mut Model {
        let desired = if self.policy.lazy_load { Desired::Fetched } else { Desired::Loaded };
        let new = || Model { state: ModelState::new(desired), handles: BTreeMap::new(), judge: None, known: 0 };
        self.models.entry(name.to_owned()).or_insert_with(new)
    }

    /// The generation of a version that is resident.
    pub(super) fn generation(&self, name: &str, id: &str) -> Option<&Arc<Generation>> {
        self.models.get(name)?.handles.get(id)?.generation.as_ref()
    }

    /// Keeps the generation of a version that was just loaded.
    pub(super) fn keep(&mut self, name: &str, id: &str, generation: Arc<Generation>) {
        if let Some(model) = self.models.get_mut(name) {
            model.handles.entry(id.to_owned()).or_default().generation = Some(generation);
        }
    }

    /// Bytes that were unloaded and are still taken.
    pub(super) fn unreleased(&self) -> usize {
        self.reservations.unreleased()
    }

    /// The judge of a model's canary.
    pub(super) fn judges(&self) -> impl Iterator<Item = (&String, &Judge)> {
        self.models.iter().filter_map(|(name, model)| Some((name, model.judge.as_ref()?)))
    }

    /// When the job of a version began. The job has ended: nothing is left of it.
    pub(super) fn end_job(&mut self, name: &str, id: &str) -> Option<Instant> {
        let task = self.models.get_mut(name)?.handles.get_mut(id)?.task.take()?;
        Some(task.since)
    }

    /// Requests that wait for any version of a model.
    pub(super) fn waiting(&self, name: &str) -> usize {
        self.models.get(name).map_or(0, |model| model.handles.values().map(|handle| handle.waiters.len()).sum())
    }

    /// Lets a caller wait for a version, whose job has to hurry.
    pub(super) fn wait(&mut self, name: &str, id: &str, waiter: Waiter) {
        let Some(model) = self.models.get_mut(name) else { return };
        let handle = model.handles.entry(id.to_owned()).or_default();
        if let Some(task) = &handle.task {
            task.urgent.store(true, Ordering::Relaxed);
        }
        handle.waiters.push(waiter);
    }

    /// The requests that wait for a version, and wait no longer.
    pub(super) fn waiters(&mut self, name: &str, id: &str) -> Vec<Waiter> {
        let handle = self.models.get_mut(name).and_then(|model| model.handles.get_mut(id));
        handle.map(|handle| mem::take(&mut handle.waiters)).unwrap_or_default()
    }

    /// Brings a model in line with the plan for its state.
    pub(super) fn reconcile(&mut self, name: &str) {
        let now = Instant::now();
        for round in 0..ROUNDS {
            let Some(model) = self.models.get_mut(name) else { return };
            let plan = plan(&model.state, &self.policy, now);
            let changes = model.state.adopt(plan, &mut self.jobs);
            self.unwritten.extend(&changes.unwritten);
            if round > 0 && !changes.is_changed {
                return;
            }
            // The event's own changes are reported in any case.
            self.apply(name, changes);
        }
    }

    fn apply(&mut self, name: &str, changes: Changes) {
        for id in changes.cancelled {
            if let Some(handle) = self.models.get_mut(name).and_then(|model| model.handles.get_mut(&id)) {
                drop(handle.task.take());
            }
            count(&self.metrics.lifecycle.releases, &[name, "superseded"]);
        }
        for (id, job) in changes.started {
            self.start(name, &id, job);
        }
        self.note_states(name);
        self.watch_rollout(name);
        // First out of the catalog, so that no request finds what is being retired.
        self.publish(name);
        self.retire(name);
        let Some(model) = self.models.get_mut(name) else { return };
        let Model { state, handles, .. } = model;
        handles.retain(|id, _| state.version(id).is_some());
        let preference = Preference::new(state, &self.policy.gate);
        let (is_gone, known) = (preference.is_gone(), preference.wanted.len());
        model.known = known;
        if is_gone {
            self.models.remove(name);
            self.catalog.remove(name);
            // Of one that never went live, no generation's end tells.
            self.metrics.lifecycle.forget(name);
        }
        self.gauge();
    }

    fn start(&mut self, name: &str, id: &str, job: Job) {
        let Some(model) = self.models.get_mut(name) else { return };
        let Some(version) = model.state.version(id) else { return };
        let threads = match job.goal {
            Goal::Loaded(Urgency::Request) => 1,
            // As many as have run what it takes the place of.
            _ => {
                let first = model.state.serving().first().and_then(|id| model.handles.get(id));
                first.and_then(|handle| handle.generation.as_ref()).map_or(0, |generation| generation.usage.threads())
            }
        };
        let handle = model.handles.entry(id.to_owned()).or_default();
        let urgent = Arc::new(AtomicBool::new(!handle.waiters.is_empty()));
        let request = LoadRequest {
            release: version.release.clone(),
            goal: job.goal,
            threads,
            urgent: Arc::clone(&urgent),
            is_known_good: version.health == Health::KnownGood,
        };
        let reservation = self.reservations.reservation(name, id, job.id);
        let span = tracing::info_span!("load", model = name, version = request.release.version);
        let bring = Arc::clone(&self.loader).bring(request, reservation).instrument(span);
        let (ended, model, id, job) = (self.ended.clone(), name.to_owned(), id.to_owned(), job.id);
        let request = RequestId::current();
        let task = tokio::spawn(async move {
            let result = scope(request.clone(), pin!(bring)).await;
            _ = ended.send(JobEnd { model, id, job, result, request }).await;
        });
        handle.task = Some(Task { abort: task.abort_handle(), since: Instant::now(), urgent });
    }

    /// Notes since when each version is in its state.
    pub(super) fn note_states(&mut self, name: &str) {
        let Some(Model { state, handles, .. }) = self.models.get_mut(name) else { return };
        for (id, version) in state.versions() {
            let (handle, now) = (handles.entry(id.clone()).or_default(), version.state.name());
            if handle.state.is_none_or(|(before, _)| before != now) {
                handle.state = Some((now, unix_now()));
            }
        }
    }

    /// Since when a version is in its state, in seconds since 1970.
    pub(super) fn since(&self, name: &str, id: &str) -> Option<u64> {
        self.models.get(name)?.handles.get(id)?.state.map(|(_, since)| since)
    }

    /// Begins and ends the comparison of a canary with its baseline, as the state says.
    fn watch_rollout(&mut self, name: &str) {
        let Some(model) = self.models.get_mut(name) else { return };
        let rollout = model.state.rollout();
        if let Some(judge) = model.judge.take_if(|judge| Some(&judge.rollout) != rollout) {
            judge.baseline.shadow.set(None);
        }
        let Some(rollout) = rollout.filter(|_| model.judge.is_none()).cloned() else { return };
        let generation = |id: &str| model.handles.get(id)?.generation.clone();
        let (Some(canary), Some(baseline)) = (generation(&rollout.canary), generation(&rollout.baseline)) else {
            return;
        };
        let gate = self.policy.gate;
        tracing::info!(
            model = name,
            version = canary.version,
            generation = canary.id,
            canary = f64::from(gate.canary) / 1000.0,
            shadow = f64::from(gate.shadow) / 1000.0,
            "on trial"
        );
        if gate.shadow > 0 {
            let counter = |outcome| self.metrics.lifecycle.shadow.with_label_values(&[name, outcome]);
            baseline.shadow.set(Some(Arc::new(Target {
                generation: Arc::clone(&canary),
                share: gate.shadow,
                same: counter("same"),
                different: counter("different"),
                failed: counter("failed"),
                incompatible: counter("incompatible"),
                skipped: counter("skipped"),
            })));
        }
        model.judge = Some(Judge::new(rollout, canary, baseline));
    }

    fn publish(&self, name: &str) {
        if let Some(model) = self.models.get(name) {
            let generation = |id: &str| model.handles.get(id)?.generation.clone();
            self.catalog.set(name, entry(&model.state, &self.policy, &generation));
        }
        // A model that has yet to show that it can answers for no other.
        let can_answer = |model: &Model| Preference::new(&model.state, &self.policy.gate).can_answer();
        let can = || self.models.iter().find(|(_, model)| can_answer(model)).map(|(name, _)| name.clone());
        let first = || can().or_else(|| self.models.keys().next().cloned());
        let default = self.default_model.clone().or_else(|| self.first_static.clone()).or_else(first);
        self.catalog.set_default(default);
    }

    /// Hands over generations of versions that are resident no more.
    fn retire(&mut self, name: &str) {
        let Some(model) = self.models.get_mut(name) else { return };
        for (id, handle) in &mut model.handles {
            let Some(generation) = handle.generation.take_if(|_| !model.state.is_ready(id)) else { continue };
            generation.shadow.set(None);
            self.metrics.ended(name, &generation.version, generation.id, &generation.digest);
            self.reaper.retire(generation);
        }
    }

    fn gauge(&self) {
        let handles = self.models.values().flat_map(|model| model.handles.values());
        let live = handles.filter_map(|handle| handle.generation.as_ref());
        let (count, bytes) = live.fold((0, 0), |(count, bytes), live| (count + 1, bytes + live.footprint()));
        let known: usize = self.models.values().map(|model| model.known).sum();
        self.metrics.lifecycle.resident.set(count);
        self.metrics.lifecycle.resident_bytes.set(gauge(bytes));
        self.metrics.lifecycle.known.set(gauge(known));
    }
}

/// As gauges have it.
pub(super) fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
