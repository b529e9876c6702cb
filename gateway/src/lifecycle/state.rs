//! The state of one model: a plain value without handles, clock or I/O. Only this file writes it; the fields are private,
//! so the compiler sees to that.
//!
//! Each event (an offer, the end of a job, an eviction, an operator's command) is a method here that notes the event and
//! decides nothing. What follows from the new state, [`plan`](super::plan::plan) says, and [`ModelState::adopt`] takes
//! that in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    lifecycle::{
        history::{History, RolledBack, Rollout},
        transition::{Changes, Facts, Plan, Requested, RollBack, SourceOffer},
        version::{Health, Job, Need, Version, VersionId, VersionState},
    },
    release::{Content, Release, by_version},
    source::Clash,
    store::Remembered,
};

/// Longest pause before a version that failed is tried again.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// Fallbacks of one model.
const MAX_FALLBACKS: usize = 3;

/// A model.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelState {
    /// By source, what it offers.
    offers: BTreeMap<usize, Offered>,
    /// Versions that are offered, resident, on their way, or kept for a fallback.
    versions: BTreeMap<VersionId, Version>,
    desired: Desired,
    /// Versions that answer; the first where a request names none.
    serving: Vec<VersionId>,
    history: History,
    rollout: Option<Rollout>,
    /// By version number: that another source has other content of it.
    conflicts: BTreeMap<String, String>,
}

/// The stage to which the versions that sources offer are to be brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Desired {
    /// Files in the local cache; the first request loads a version.
    #[default]
    Fetched,
    /// Loaded, without waiting for a request.
    Loaded,
    /// An operator unloaded the model: nothing is loaded until an operator loads it.
    Unloaded,
}

/// One source's offer of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// Versions, the preferred first.
    pub(super) ids: Vec<VersionId>,
    /// Whether somebody said which version it is to be, so that none is preferred for its number.
    pub(super) is_chosen: bool,
}

/// Questions that change nothing.
impl ModelState {
    pub(super) fn offers(&self) -> &BTreeMap<usize, Offered> {
        &self.offers
    }

    pub(super) fn versions(&self) -> &BTreeMap<VersionId, Version> {
        &self.versions
    }

    pub(super) fn version(&self, id: &str) -> Option<&Version> {
        self.versions.get(id)
    }

    /// The number of a version, as its source has it.
    pub(super) fn number(&self, id: &str) -> Option<&str> {
        self.version(id).map(|version| version.release.version.as_str())
    }

    pub(super) fn is_ready(&self, id: &str) -> bool {
        self.version(id).is_some_and(Version::is_ready)
    }

    pub(super) fn desired(&self) -> Desired {
        self.desired
    }

    pub(super) fn serving(&self) -> &[VersionId] {
        &self.serving
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// The source of the version that answered last.
    pub(super) fn source_of_last_known_good(&self) -> Option<usize> {
        let known_good = self.history.last_known_good.as_ref()?;
        self.version(known_good).map(|version| version.release.source)
    }

    pub(super) fn rollout(&self) -> Option<&Rollout> {
        self.rollout.as_ref()
    }

    pub(super) fn conflicts(&self) -> &BTreeMap<String, String> {
        &self.conflicts
    }

    /// Whether a version has the job of that number.
    pub(super) fn is_at(&self, id: &str, job: u64) -> bool {
        self.version(id).and_then(Version::job).is_some_and(|at| at.id == job)
    }

    /// The note that is kept of a source, so that it can be served without the source after a restart: what the source
    /// offers as far as it is in the local cache, and the version that answers.
    pub(super) fn remembered(&self, source: usize, key: usize) -> Vec<Remembered> {
        let Some(Offered { ids, .. }) = self.offers.get(&key) else { return Vec::new() };
        let usable = |id: &VersionId| {
            let version = self.versions.get(id)?;
            (version.fetched && !version.is_hopeless() && version.release.source == source).then_some(version)
        };
        let offered: Vec<_> = ids.iter().filter_map(usable).collect();
        let is_proven = offered.iter().any(|version| version.health == Health::KnownGood);
        let History { last_known_good, fallbacks, rolled_back, .. } = &self.history;
        // Of what the source offers nothing has served yet; a fallback might have to once more.
        let fallbacks = fallbacks.iter().filter(|_| !is_proven);
        let other = last_known_good.iter().chain(fallbacks).filter(|id| !ids.contains(id)).find_map(usable);
        let line = |version: &Version| {
            let id = Some(&version.release.id);
            let left = rolled_back.as_ref().filter(|rolled_back| Some(&rolled_back.to) == id);
            Remembered {
                release: version.release.clone(),
                is_last_known_good: last_known_good.as_ref() == id,
                instead_of: left.map(|rolled_back| rolled_back.from.clone()),
            }
        };
        offered.into_iter().chain(other).map(line).collect()
    }
}

/// Sources.
impl ModelState {
    pub(super) fn new(desired: Desired) -> Self {
        Self { desired, ..Self::default() }
    }

    /// A bundle of the command line, resident already.
    pub(super) fn add_static(&mut self, release: Release, facts: Facts) {
        let offered = self.offers.entry(0).or_default();
        offered.is_chosen = true;
        offered.ids.push(release.id.clone());
        let mut version = Version::new(release, true);
        (version.cost, version.info) = (facts.cost, facts.info);
        version.state = VersionState::Ready;
        self.desired = Desired::Loaded;
        self.versions.insert(version.release.id.clone(), version);
    }

    /// A source says what it offers of this model. Tells whether it offered something else before.
    pub(super) fn offer(&mut self, key: usize, offer: SourceOffer) -> bool {
        let SourceOffer { releases, is_chosen, fallbacks, remembered, is_last } = offer;
        let ids: Vec<_> = releases.iter().map(|release| release.id.clone()).collect();
        let is_other = self.offers.get(&key).is_none_or(|offered| offered.ids != ids);
        for release in releases {
            let version = self.known(&release, false);
            // The same, but perhaps not in the same place.
            if version.release.source == release.source && !matches!(release.content, Content::Onnx { .. }) {
                version.release = release;
            }
        }
        if self.history.last_known_good.is_none() {
            for (release, fetched) in fallbacks {
                if self.history.fallbacks.contains(&release.id) || self.history.fallbacks.len() >= MAX_FALLBACKS {
                    continue;
                }
                self.history.fallbacks.push(release.id.clone());
                self.known(&release, fetched);
            }
        }
        let restored = self.restore(&remembered);
        self.offers.insert(key, Offered { ids, is_chosen });
        let first = self.offered_first().cloned();
        if let Some((to, Some(from))) = restored
            && self.history.last_known_good.as_ref() == Some(&to)
            && (first.as_ref() == Some(&from) || !is_last)
        {
            self.history.rolled_back = Some(RolledBack { from, to });
        }
        // The version that was gone back from may be of a source that has not been heard yet.
        if is_other && is_last {
            self.end_roll_back(first.as_ref());
        }
        is_other
    }

    /// A source has nothing of this model any more. Tells whether it had.
    pub(super) fn withdraw_offer(&mut self, key: usize) -> bool {
        self.offers.remove(&key).is_some_and(|offered| !offered.ids.is_empty())
    }

    /// Something was written at a source: what could not be fetched may be whole now.
    pub(super) fn retry_now(&mut self, now: Instant) {
        for version in self.versions.values_mut() {
            if let VersionState::Failed { until: Some(until), .. } = &mut version.state {
                *until = now;
            }
        }
    }

    pub(super) fn set_conflicts(&mut self, conflicts: BTreeMap<String, String>) {
        self.conflicts = conflicts;
    }

    fn known(&mut self, release: &Release, fetched: bool) -> &mut Version {
        self.versions.entry(release.id.clone()).or_insert_with(|| Version::new(release.clone(), fetched))
    }

    /// A version that answered in an earlier life is known to be good. Gives the last of those whose files are at hand,
    /// and what an operator went back from to it.
    fn restore(&mut self, remembered: &[(Remembered, bool)]) -> Option<(VersionId, Option<VersionId>)> {
        let mut restored = None;
        for (Remembered { release, instead_of, .. }, fetched) in remembered {
            let version = self.known(release, false);
            version.fetched |= fetched;
            if version.fetched {
                version.health = Health::KnownGood;
                restored = Some((release.id.clone(), instead_of.clone()));
            }
        }
        if let Some((id, _)) = &restored {
            self.history.last_known_good.get_or_insert_with(|| id.clone());
        }
        restored
    }

    /// A source that wants another version than the one that an operator went back from is heard again.
    fn end_roll_back(&mut self, first: Option<&VersionId>) {
        if self.history.rolled_back.as_ref().is_some_and(|rolled_back| first != Some(&rolled_back.from)) {
            self.history.rolled_back = None;
        }
    }
}

/// Requests and jobs.
impl ModelState {
    /// A request is for this version.
    pub(super) fn request(&mut self, id: &str, now: Instant) -> Requested {
        let Some(version) = self.versions.get_mut(id) else { return Requested::Failed };
        match version.state {
            VersionState::Ready => return Requested::Ready,
            VersionState::Failed { until, .. } if until.is_none_or(|until| until > now) => return Requested::Failed,
            _ => version.requested = true,
        }
        Requested::Waits
    }

    /// The job of a version has got the memory that it asked for.
    pub(super) fn reserve(&mut self, id: &str, need: Need) {
        if let Some(version) = self.versions.get_mut(id)
            && let Some(job) = version.job()
        {
            version.state = VersionState::Loading(job, need);
        }
    }

    /// The files of a version are in the local cache, which is all that its job was for.
    pub(super) fn fetched(&mut self, id: &str, release: Release) {
        if let Some(version) = self.versions.get_mut(id) {
            (version.release, version.fetched, version.failures) = (release, true, 0);
            version.state = VersionState::Unloaded { evicted: false };
        }
    }

    /// A version is loaded, and its golden examples passed.
    pub(super) fn loaded(&mut self, id: &str, release: Release, facts: Facts) {
        let Some(version) = self.versions.get_mut(id) else { return };
        (version.release, version.fetched, version.failures) = (release, true, 0);
        (version.cost, version.note) = (facts.cost, facts.note);
        version.info = version.info.take().or(facts.info);
        (version.state, version.requested) = (VersionState::Ready, false);
        if self.desired == Desired::Fetched {
            self.desired = Desired::Loaded;
        }
    }

    /// The job of a version failed. `retry` is the pause after the first transient failure; each further one doubles it.
    pub(super) fn failed(&mut self, id: &str, reason: &str, transient: bool, now: Instant, retry: Duration) {
        let Some(version) = self.versions.get_mut(id) else { return };
        version.failures = version.failures.saturating_add(1);
        let pause = retry.saturating_mul(1 << (version.failures - 1).min(16)).min(LONGEST_RETRY);
        reason.clone_into(&mut version.note);
        let until = transient.then(|| now + pause);
        version.state = VersionState::Failed { reason: reason.to_owned(), until };
        version.requested = false;
        if !transient && version.health == Health::Unproven {
            version.health = Health::Rejected;
        }
    }

    /// A version is unloaded to make room or for being idle. Its canary goes with it: a rollout begins again once a
    /// request has brought the baseline back.
    pub(super) fn evict(&mut self, id: &str) {
        if let Some(rollout) = self.rollout.take_if(|rollout| rollout.baseline == id) {
            self.unload_version(&rollout.canary, false);
        }
        let was_serving = self.serving.iter().any(|serving| serving == id);
        self.serving.retain(|serving| serving != id);
        if was_serving && self.serving.is_empty() && self.desired == Desired::Loaded {
            self.desired = Desired::Fetched;
        }
        self.unload_version(id, true);
    }

    fn unload_version(&mut self, id: &str, evicted: bool) {
        if let Some(version) = self.versions.get_mut(id).filter(|version| version.is_ready()) {
            version.state = VersionState::Unloaded { evicted };
        }
    }
}

/// Operators.
impl ModelState {
    /// Load: all versions may be loaded again, also those that failed. Gives the ids of those.
    pub(super) fn load(&mut self) -> Vec<VersionId> {
        self.desired = Desired::Loaded;
        let mut reset = Vec::new();
        for (id, version) in &mut self.versions {
            match version.state {
                VersionState::Failed { .. } if version.unservable().is_none() => {
                    version.note.clear();
                    reset.push(id.clone());
                    if version.health == Health::Rejected {
                        version.health = Health::Unproven;
                    }
                }
                VersionState::Unloaded { .. } => {}
                _ => continue,
            }
            version.state = VersionState::Unloaded { evicted: false };
        }
        reset
    }

    /// Unload, until [`load`](Self::load).
    pub(super) fn unload(&mut self) {
        self.desired = Desired::Unloaded;
    }

    /// Roll back to the version that answered before; `None` where there is none.
    pub(super) fn roll_back(&mut self) -> Option<RollBack> {
        let can = |version: &Version| version.is_ready() || version.fetched && !version.is_hopeless();
        let to = self.history.previous.clone().filter(|id| self.version(id).is_some_and(can))?;
        let from = self.history.last_known_good.clone().filter(|_| self.desired != Desired::Unloaded)?;
        // Back from going back: what the sources want again.
        let is_offered = self.offered_first() == Some(&to);
        let is_ready = self.is_ready(&to);
        self.history.rolled_back = (!is_offered).then(|| RolledBack { from: from.clone(), to: to.clone() });
        if is_ready {
            (self.history.last_known_good, self.history.previous) = (Some(to.clone()), Some(from.clone()));
        } else {
            self.desired = Desired::Loaded;
        }
        if let Some(version) = self.versions.get_mut(&to) {
            version.health = Health::KnownGood;
            if let VersionState::Unloaded { evicted } = &mut version.state {
                *evicted = false;
            }
        }
        Some(RollBack { from, to, is_ready })
    }

    /// The canary answers all from now on.
    pub(super) fn promote(&mut self) -> Option<Rollout> {
        let rollout = self.rollout.take()?;
        if let Some(version) = self.versions.get_mut(&rollout.canary) {
            version.health = Health::KnownGood;
        }
        // Also where something newer is on its way.
        if self.is_ready(&rollout.canary) {
            self.history.previous = self.history.last_known_good.replace(rollout.canary.clone());
        }
        Some(rollout)
    }

    /// The canary is not to serve.
    pub(super) fn reject(&mut self, reason: &str) -> Option<Rollout> {
        let rollout = self.rollout.take()?;
        if let Some(version) = self.versions.get_mut(&rollout.canary) {
            version.health = Health::Rejected;
            version.state = VersionState::Failed { reason: reason.to_owned(), until: None };
        }
        Some(rollout)
    }
}

impl ModelState {
    /// Takes in a plan: what is to be loaded has a job from now on, what is to be unloaded is. `jobs` counts jobs.
    pub(super) fn adopt(&mut self, plan: Plan, jobs: &mut u64) -> Changes {
        let Plan { serve, canary, load, cancel, unload, forget, history } = plan;
        let mut changes = Changes {
            is_changed: serve != self.serving || canary != self.rollout || history != self.history,
            ..Changes::default()
        };
        if history.last_known_good != self.history.last_known_good || history.rolled_back != self.history.rolled_back {
            let ids = [&self.history, &history].into_iter().filter_map(|history| history.last_known_good.as_ref());
            changes.unwritten = ids.filter_map(|id| Some(self.version(id)?.release.source)).collect();
        }
        changes.is_changed |= !(load.is_empty() && cancel.is_empty() && unload.is_empty() && forget.is_empty());
        (self.serving, self.rollout, self.history) = (serve, canary, history);
        if let Some(first) = self.serving.first().filter(|first| self.history.last_known_good.as_ref() == Some(*first))
            && let Some(version) = self.versions.get_mut(first)
        {
            version.health = Health::KnownGood;
        }
        for id in cancel {
            if let Some(version) = self.versions.get_mut(&id) {
                version.state = VersionState::Unloaded { evicted: false };
            }
            changes.cancelled.push(id);
        }
        for (id, goal) in load {
            if let Some(version) = self.versions.get_mut(&id) {
                *jobs += 1;
                let job = Job { id: *jobs, goal };
                version.state = VersionState::Fetching(job);
                changes.started.push((id, job));
            }
        }
        for id in unload {
            self.unload_version(&id, false);
        }
        for id in forget {
            self.versions.remove(&id);
        }
        changes
    }

    /// The version that the sources want first, whatever an operator did.
    pub(super) fn offered_first(&self) -> Option<&VersionId> {
        self.offered().into_iter().next()
    }

    /// All that the sources offer, the preferred first: sources come in their order, but those without a say in the
    /// version are as one, in the place of their first.
    pub(super) fn offered(&self) -> Vec<&VersionId> {
        let mut others: Vec<_> =
            self.offers.values().filter(|offered| !offered.is_chosen).flat_map(|o| &o.ids).collect();
        if others.len() > 1 {
            let number = |id: &str| self.number(id).unwrap_or_default();
            others.sort_by(|a, b| by_version(number(b), number(a)));
        }
        let mut all = Vec::new();
        for offered in self.offers.values() {
            if offered.is_chosen {
                all.extend(&offered.ids);
            } else {
                all.append(&mut others);
            }
        }
        all
    }

    /// The versions that a source has with other content than one before it: those of the first are served.
    pub(super) fn clashes(&self) -> Vec<Clash> {
        let mut first: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        let mut clashes = Vec::new();
        for (key, offered) in &self.offers {
            // The key counts from the bundles of the command line on, which belong to no source.
            let source = key.wrapping_sub(1);
            for id in &offered.ids {
                let Some(number) = self.number(id) else { continue };
                match first.get(number) {
                    Some((other, known)) if known != id && *other != source => {
                        clashes.push(Clash { version: number.to_owned(), first: *other, second: source });
                    }
                    Some(_) => {}
                    None => _ = first.insert(number, (source, id)),
                }
            }
        }
        clashes
    }

    /// Versions that some source offers.
    pub(super) fn offered_ids(&self) -> BTreeSet<&VersionId> {
        self.offers.values().flat_map(|offered| &offered.ids).collect()
    }
}
