//! A model with its surroundings: sources, the loader, the local cache and restarts are simulated.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::event::{End, Event, SOURCES};
use crate::{
    config::Gate,
    lifecycle::{
        history::History,
        plan::{Policy, ROUNDS, plan},
        preference::{Preference, has_rollouts},
        state::{Desired, ModelState},
        transition::{Changes, Facts, Requested, SourceOffer},
        version::{Goal, Health, Job, Need, Urgency, VersionId, VersionState},
    },
    release::{Content, Release},
    store::Remembered,
};

/// One model, and what is around it.
pub(super) struct World {
    policy: Policy,
    /// Whether each source says itself which version it wants.
    is_chosen: [bool; SOURCES],
    pub(super) model: ModelState,
    now: Instant,
    jobs: u64,
    running: BTreeMap<VersionId, Job>,
    /// By source, what it has.
    sources: [Vec<Release>; SOURCES],
    /// Whether a source has been heard.
    heard: [bool; SOURCES],
    /// By source, what was written down.
    written: [Vec<Remembered>; SOURCES],
    /// Versions whose files are in the local cache.
    cached: BTreeSet<VersionId>,
    /// Versions that were loaded and not unloaded since: their golden examples passed.
    passed: BTreeSet<VersionId>,
    /// Versions that only an operator can have tried again.
    banned: BTreeSet<VersionId>,
}

fn release(source: usize, (number, build): (u8, bool)) -> Release {
    let version = number.to_string();
    // The two sources have one build of each version in common.
    let id = if build { format!("{version}-{source}") } else { format!("{version}-both") };
    Release { model: "m".into(), version, id, source, content: Content::Demo }
}

impl World {
    pub(super) fn new(gate: Gate, lazy_load: bool, is_chosen: [bool; SOURCES]) -> Self {
        let policy = Policy { gate, lazy_load, retry: Duration::from_secs(1) };
        Self {
            policy,
            is_chosen,
            model: ModelState::new(desired(policy)),
            now: Instant::now(),
            jobs: 0,
            running: BTreeMap::new(),
            sources: Default::default(),
            heard: [false; SOURCES],
            written: Default::default(),
            cached: BTreeSet::new(),
            passed: BTreeSet::new(),
            banned: BTreeSet::new(),
        }
    }

    fn preference(&self) -> Preference<'_> {
        Preference::new(&self.model, &self.policy.gate)
    }

    /// The version that answers a request which names none, without waiting.
    pub(super) fn answer(&self) -> Option<VersionId> {
        let serving = self.model.serving();
        serving.first().filter(|_| !self.preference().awaits_preferred(serving)).cloned()
    }

    pub(super) fn happens(&mut self, event: &Event) {
        match event {
            Event::Offer { source, versions, changed } => {
                let mut seen = BTreeSet::new();
                let mut releases: Vec<_> = versions.iter().map(|version| release(*source, *version)).collect();
                releases.retain(|release| seen.insert(release.version.clone()));
                releases.sort_by(|a, b| b.version.cmp(&a.version));
                self.sources[*source] = releases;
                self.hear(*source, *changed);
            }
            Event::Withdraw { source } => {
                self.sources[*source].clear();
                self.heard[*source] = true;
                self.model.withdraw_offer(source + 1);
                self.reconcile();
                self.write_down(*source);
            }
            Event::Reserve(index) => {
                if let Some(id) = nth(self.running.keys(), *index) {
                    self.model.reserve(&id, Need { bytes: 1, instances: 1 });
                }
            }
            Event::End(index, end) => {
                if let Some(id) = nth(self.running.keys(), *index) {
                    self.end(&id, *end);
                }
            }
            Event::Evict(index) => {
                let canary = self.model.rollout().map(|rollout| &rollout.canary);
                let ready =
                    self.model.versions().iter().filter(|(id, version)| version.is_ready() && canary != Some(id));
                if let Some(id) = nth(ready.map(|(id, _)| id), *index) {
                    self.model.evict(&id);
                    self.reconcile();
                }
            }
            Event::Request(number) => {
                let number = number.map(|number| number.to_string());
                let candidate = self.preference().candidate(number.as_deref()).cloned();
                if let Some(id) = candidate.filter(|_| self.model.desired() != Desired::Unloaded) {
                    let outcome = self.model.request(&id, self.now);
                    self.reconcile();
                    if outcome == Requested::Waits {
                        assert!(self.running.contains_key(&id), "a request waits for '{id}', which has no job");
                    }
                }
            }
            Event::Load => {
                let reset = self.model.load();
                let sources: Vec<_> =
                    reset.iter().filter_map(|id| Some(self.model.version(id)?.release.source)).collect();
                self.banned.retain(|id| !reset.contains(id));
                self.reconcile();
                for source in sources {
                    self.write_down(source);
                }
            }
            Event::Unload => {
                self.model.unload();
                self.reconcile();
            }
            Event::RollBack => {
                if self.model.rollout().is_some() {
                    self.reject();
                } else {
                    self.model.roll_back();
                }
                self.reconcile();
                self.write_down_all();
            }
            Event::Promote => {
                self.model.promote();
                self.reconcile();
                self.write_down_all();
            }
            Event::Reject => {
                self.reject();
                self.reconcile();
            }
            Event::Wait(seconds) => {
                self.now += Duration::from_secs((*seconds).into());
                self.reconcile();
            }
            Event::Restart => self.restart(),
        }
    }

    fn reject(&mut self) {
        if let Some(rollout) = self.model.reject("worse") {
            self.banned.insert(rollout.canary);
        }
    }

    fn hear(&mut self, source: usize, changed: bool) {
        let remembered = if self.heard[source] { Vec::new() } else { self.written[source].clone() };
        self.heard[source] = true;
        let with_files = |release: &Release| (release.clone(), self.cached.contains(&release.id));
        let offer = SourceOffer {
            releases: self.sources[source].clone(),
            is_chosen: self.is_chosen[source],
            fallbacks: remembered.iter().map(|remembered| with_files(&remembered.release)).collect(),
            remembered: remembered
                .iter()
                .filter(|remembered| remembered.is_last_known_good)
                .map(|remembered| (remembered.clone(), self.cached.contains(&remembered.release.id)))
                .collect(),
            is_last: self.heard.iter().all(|heard| *heard),
        };
        let is_restart = !offer.remembered.is_empty();
        let is_other = self.model.offer(source + 1, offer);
        if changed {
            self.model.retry_now(self.now);
        }
        self.reconcile();
        if is_other {
            self.write_down(source);
            if let Some(known_good) = self.model.source_of_last_known_good().filter(|_| is_restart) {
                self.write_down(known_good);
            }
        }
    }

    fn end(&mut self, id: &VersionId, end: End) {
        let job = self.running.remove(id).expect("it runs");
        let version = self.model.version(id).expect("a version with a job is known");
        let (release, source, was_fetched) = (version.release.clone(), version.release.source, version.fetched);
        match end {
            End::Good => {
                self.cached.insert(id.clone());
                if job.goal == Goal::Fetched {
                    self.model.fetched(id, release);
                } else {
                    self.passed.insert(id.clone());
                    self.model.loaded(id, release, Facts::default());
                }
            }
            End::Later => self.model.failed(id, "away", true, self.now, self.policy.retry),
            End::Never => {
                self.banned.insert(id.clone());
                self.model.failed(id, "bad", false, self.now, self.policy.retry);
            }
        }
        self.reconcile();
        if !(was_fetched && end == End::Good && job.goal == Goal::Loaded(Urgency::Request)) {
            self.write_down(source);
        }
    }

    /// As the gateway does, with jobs that are only counted.
    fn reconcile(&mut self) {
        let mut rounds = 0;
        loop {
            let changes = self.adopt();
            for source in changes.unwritten.iter().filter(|source| **source < SOURCES) {
                self.written[*source] = self.model.remembered(*source, source + 1);
            }
            if !changes.is_changed {
                break;
            }
            rounds += 1;
            assert!(rounds < ROUNDS, "each plan asks for another: {changes:?}");
        }
        if self.preference().is_gone() {
            self.forget();
        }
    }

    fn adopt(&mut self) -> Changes {
        let plan = plan(&self.model, &self.policy, self.now);
        let preference = Preference::with(&self.model, &plan.history, &self.policy.gate);
        let canary = preference.preferred.filter(|_| preference.baseline.is_some_and(|id| !self.model.is_ready(id)));
        for (id, goal) in &plan.load {
            self.check_start(id, *goal);
            let is_early = canary == Some(id) && *goal == Goal::Loaded(Urgency::Background);
            assert!(!is_early, "a canary is loaded before its baseline");
        }
        let changes = self.model.adopt(plan, &mut self.jobs);
        for id in &changes.cancelled {
            assert!(self.running.remove(id).is_some(), "'{id}' has no job to cancel");
        }
        for (id, job) in &changes.started {
            assert!(self.running.insert(id.clone(), *job).is_none(), "'{id}' has two jobs");
        }
        let model = &self.model;
        self.passed.retain(|id| model.is_ready(id));
        // A version that is forgotten and then offered again is a new one.
        self.banned.retain(|id| model.version(id).is_some());
        changes
    }

    fn check_start(&self, id: &VersionId, goal: Goal) {
        let version = self.model.version(id).expect("known");
        assert!(!self.banned.contains(id), "'{id}' is tried again, and nobody asked for that");
        if let VersionState::Failed { until, .. } = version.state {
            assert!(until.is_some_and(|until| until <= self.now), "'{id}' is tried again too early");
        }
        if goal == Goal::Loaded(Urgency::Request) {
            assert!(version.requested);
        } else {
            assert_ne!(self.model.desired(), Desired::Unloaded, "'{id}' is loaded though it was unloaded by hand");
            let is_evicted = version.state == VersionState::Unloaded { evicted: true };
            assert!(!is_evicted, "'{id}' is loaded again, and no request asked for that");
        }
    }

    fn forget(&mut self) {
        self.model = ModelState::new(desired(self.policy));
        self.running.clear();
        self.passed.clear();
        self.banned.clear();
    }

    fn write_down(&mut self, source: usize) {
        let remembered = self.model.remembered(source, source + 1);
        if !remembered.is_empty() {
            self.written[source] = remembered;
        }
    }

    fn write_down_all(&mut self) {
        for source in 0..SOURCES {
            self.written[source] = self.model.remembered(source, source + 1);
        }
    }

    fn restart(&mut self) {
        let before = self.model.clone();
        self.forget();
        self.heard = [false; SOURCES];
        for source in 0..SOURCES {
            if self.sources[source].is_empty() {
                self.heard[source] = true;
            } else {
                self.hear(source, true);
            }
        }
        let known_good = before.history().last_known_good.as_ref();
        let Some(version) = known_good.and_then(|known_good| before.version(known_good)) else { return };
        let source = version.release.source;
        let is_offered = before.offers().get(&(source + 1)).is_some_and(|offered| !offered.ids.is_empty());
        // A source that was away while another took the model over remembers what it had.
        let is_other =
            |remembered: &Remembered| remembered.is_last_known_good && Some(&remembered.release.id) != known_good;
        let is_claimed = self.written.iter().flatten().any(is_other);
        if is_offered && version.fetched && !version.is_hopeless() && !is_claimed {
            let history = self.model.history();
            assert_eq!(history.last_known_good.as_ref(), known_good, "the last known good version was forgotten");
            let rolled_back =
                before.history().rolled_back.as_ref().filter(|rolled_back| Some(&rolled_back.to) == known_good);
            // Otherwise something newer is on its way already.
            let is_first = |from: &VersionId| before.offered_first() == Some(from);
            if let Some(rolled_back) = rolled_back.filter(|rolled_back| is_first(&rolled_back.from)) {
                assert_eq!(history.rolled_back.as_ref(), Some(rolled_back), "a rollback was forgotten");
            }
        }
    }

    /// The invariants by themselves.
    pub(super) fn check(&self) {
        let (model, preference) = (&self.model, self.preference());
        let History { last_known_good, previous, fallbacks, rolled_back } = model.history();
        for id in model.serving() {
            assert!(model.is_ready(id), "'{id}' serves and is not resident");
            assert!(self.passed.contains(id), "'{id}' serves before its golden examples passed");
        }
        assert!(
            model.desired() != Desired::Unloaded || model.serving().is_empty(),
            "it serves, though unloaded by hand"
        );
        if let Some(rollout) = model.rollout() {
            assert!(has_rollouts(&self.policy.gate));
            assert!(model.is_ready(&rollout.canary) && model.is_ready(&rollout.baseline));
            assert!(!model.serving().contains(&rollout.canary), "a canary answers all");
            assert_eq!(model.serving().first(), Some(&rollout.baseline), "another than the baseline answers");
        }
        let offered = model.offered_ids();
        let mut numbers = BTreeSet::new();
        // An operator may go back to another build of a version.
        let is_target = |id: &VersionId| rolled_back.as_ref().is_some_and(|rolled_back| rolled_back.to == *id);
        for id in preference.wanted.iter().filter(|id| !is_target(id)) {
            assert!(numbers.insert(model.number(id)), "a version is wanted from two sources");
        }
        for (id, version) in model.versions() {
            let is_kept =
                last_known_good.as_ref() == Some(id) || previous.as_ref() == Some(id) || fallbacks.contains(id);
            let is_canary = model.rollout().is_some_and(|rollout| rollout.canary == *id);
            assert_eq!(version.job(), self.running.get(id).copied());
            if version.is_ready() {
                let is_used = model.serving().contains(id) || previous.as_ref() == Some(id) || is_canary;
                assert!(is_used, "'{id}' is resident and nothing needs it");
            } else {
                assert!(is_kept || version.requested || offered.contains(id), "'{id}' is known and nothing needs it");
            }
            assert!(!version.requested || version.job().is_some(), "requests wait for '{id}', which has no job");
            assert!(
                version.health != Health::Rejected || version.is_hopeless(),
                "'{id}' was rejected, and is tried again"
            );
        }
    }

    /// The effects that an event may have on the answer.
    pub(super) fn check_answer(
        &self,
        event: &Event,
        before: Option<&VersionId>,
        was_good: impl Fn(&VersionId) -> bool,
    ) {
        let Some(before) = before else { return };
        if matches!(event, Event::Unload | Event::Evict(_) | Event::Restart) {
            return;
        }
        let answer = self.answer();
        let Some(after) = answer else { panic!("'{before}' answered, and nothing does any more") };
        let is_by_hand = matches!(event, Event::Promote | Event::RollBack);
        if has_rollouts(&self.policy.gate) && after != *before && !is_by_hand {
            assert!(was_good(&after), "'{after}' answers all in the place of '{before}' without a rollout");
        }
    }

    /// Once every job ends well and nothing else happens.
    pub(super) fn check_rest(&mut self) {
        for _ in 0..100 {
            self.now += Duration::from_mins(2);
            self.reconcile();
            let Some(id) = self.running.keys().next().cloned() else { break };
            self.end(&id, End::Good);
            self.check();
        }
        assert!(self.running.is_empty(), "there is always another job");
        if self.model.desired() == Desired::Unloaded {
            return;
        }
        let preference = self.preference();
        let is_canary = |id: &VersionId| preference.baseline.is_some() && preference.preferred == Some(id);
        for id in &preference.wanted {
            let version = self.model.version(id).expect("known");
            let is_done = match version.state {
                VersionState::Ready | VersionState::Failed { until: None, .. } => true,
                // Only a request has a version loaded that failed to load, where requests have versions loaded.
                VersionState::Failed { .. } => {
                    version.fetched && (self.model.desired() != Desired::Loaded || is_canary(id))
                }
                VersionState::Unloaded { evicted } => {
                    evicted || self.model.desired() != Desired::Loaded || is_canary(id)
                }
                _ => false,
            };
            assert!(is_done, "'{id}' is wanted and left as it is: {:?}", version.state);
        }
        let ready = preference.wanted.iter().any(|id| self.model.is_ready(id) && !is_canary(id));
        if ready {
            assert!(!self.model.serving().is_empty(), "something wanted is resident, and nothing serves");
        }
    }
}

fn desired(policy: Policy) -> Desired {
    if policy.lazy_load { Desired::Fetched } else { Desired::Loaded }
}

fn nth<'a>(mut ids: impl Iterator<Item = &'a VersionId> + Clone, index: usize) -> Option<VersionId> {
    let count = ids.clone().count();
    if count == 0 { None } else { ids.nth(index % count).cloned() }
}
