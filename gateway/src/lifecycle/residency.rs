//! The resident versions: within the memory budget and the instance pool, and not for longer than it is used.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    allocator::resident_memory,
    audit::{self, Change},
    generation::Generation,
    lifecycle::{
        apply::Fleet,
        budget::Budget,
        estimate::estimate,
        reservation::ReservationRequest,
        version::{Need, VersionId},
    },
    metrics::lifecycle::count,
    request_stats::now_ms,
};

/// Grants reservations, and unloads what was unused for longest where they need it.
#[derive(Debug)]
pub(super) struct Residency {
    budget: Budget,
    /// Module instances alive at once.
    pool: usize,
    /// Jobs that asked and wait for a load to end.
    asking: VecDeque<ReservationRequest>,
}

/// A version that could be unloaded. A canary goes with its baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resident {
    pub(super) model: String,
    pub(super) id: VersionId,
    pub(super) takes: Need,
    pub(super) used_ms: u64,
    /// Whether it has to stay.
    pub(super) is_kept: bool,
}

impl Residency {
    pub(super) fn new(budget: Budget, pool: usize) -> Self {
        Self { budget, pool, asking: VecDeque::new() }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit().is_some()
    }

    /// Bytes that the process may take.
    pub(super) fn limit(&self) -> Option<usize> {
        self.budget.limit()
    }

    /// Bytes that the process takes beyond what is accounted for.
    pub(super) fn drift(&self) -> isize {
        self.budget.drift()
    }

    /// Module instances that may be alive at once.
    pub(super) fn pool(&self) -> usize {
        self.pool
    }

    /// The models and versions whose jobs wait for memory, in their order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&String, &VersionId)> {
        self.asking.iter().map(|request| (&request.model, &request.id))
    }

    /// A job asks for memory.
    pub(super) fn ask(&mut self, request: ReservationRequest) {
        self.asking.push_back(request);
    }

    pub(super) fn unload_idle(fleet: &mut Fleet, idle: Duration) {
        let before = now_ms().saturating_sub(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        let stale: Vec<_> = residents(fleet).into_iter().filter(|resident| resident.used_ms < before).collect();
        for resident in stale {
            evict(fleet, &resident, "idle");
        }
    }

    /// Bytes over the budget, if so many were taken beside what is resident and what is being loaded.
    fn over(&self, fleet: &Fleet, bytes: usize) -> usize {
        let [resident, loading] = accounted(fleet);
        self.budget.over(resident.and(loading).bytes.saturating_add(bytes))
    }

    /// Grants what jobs asked for, in their order. What does not fit beside another load waits for that load, so that
    /// nothing is unloaded for the sake of two at once.
    pub(super) fn grant(&mut self, fleet: &mut Fleet) {
        if !self.asking.is_empty() {
            self.look_at_memory(fleet);
        }
        while let Some(ReservationRequest { model, id, job, release, .. }) = self.asking.front() {
            let state = fleet.state(model).filter(|state| state.is_at(id, *job));
            let Some(version) = state.and_then(|state| state.version(id)) else {
                // Its job was cancelled.
                self.asking.pop_front();
                continue;
            };
            let need = estimate(release, version.cost, &fleet.loader);
            let is_loading = {
                let mut versions = fleet.models().flat_map(|(_, state)| state.versions().values());
                versions.any(|version| version.reserved().is_some())
            };
            if is_loading && self.over(fleet, need.bytes) > 0 {
                return;
            }
            let Some(ReservationRequest { model, id, granted, .. }) = self.asking.pop_front() else { return };
            self.make_room(fleet, &model, &id, need);
            if let Some(state) = fleet.state_mut(&model) {
                state.reserve(&id, need);
            }
            fleet.note_states(&model);
            // Is the memory free only once what has just been unloaded is released?
            _ = granted.send(self.over(fleet, fleet.unreleased()) > 0);
        }
    }

    /// Unloads what was unused for longest until there is room for `need` beside the rest. This version stays, and what
    /// answers for its model: the version may fail.
    pub(super) fn make_room(&self, fleet: &mut Fleet, name: &str, id: &str, need: Need) {
        let [resident, loading] = accounted(fleet);
        let taken = resident.and(loading).and(need);
        let over = Need { bytes: self.budget.over(taken.bytes), instances: taken.instances.saturating_sub(self.pool) };
        if over == Need::default() {
            return;
        }
        let mut residents = residents(fleet);
        let known_good = fleet.state(name).and_then(|state| state.history().last_known_good.as_ref());
        for resident in residents.iter_mut().filter(|resident| resident.model == name) {
            resident.is_kept = resident.id == id || known_good == Some(&resident.id);
        }
        for resident in to_unload(residents, over) {
            evict(fleet, &resident, "budget");
        }
    }

    fn look_at_memory(&mut self, fleet: &Fleet) {
        let (now, unreleased) = (Instant::now(), fleet.unreleased());
        // Of what is unloaded only the estimate is known: better look when it is gone.
        if self.budget.limit().is_none() || unreleased > 0 && !self.budget.is_stale(now) {
            return;
        }
        if let Some(taken) = resident_memory() {
            let accounted = accounted(fleet)[0].bytes.saturating_add(unreleased);
            self.budget.look(taken, accounted, now);
            tracing::trace!(taken, accounted, drift = self.budget.drift(), "memory");
        }
    }

    /// Memory that grew since a load, or that no version accounts for, may evict a version. The one used last stays: it
    /// would only be loaded again.
    pub(super) fn keep_to_budget(&mut self, fleet: &mut Fleet) {
        self.look_at_memory(fleet);
        let over = Need { bytes: self.over(fleet, 0), instances: 0 };
        if over.bytes == 0 {
            return;
        }
        let mut residents = residents(fleet);
        if let Some(last_used) = residents.first_mut() {
            last_used.is_kept = true;
        }
        for resident in to_unload(residents, over) {
            evict(fleet, &resident, "budget");
        }
    }
}

/// The versions to unload, so that so much less is taken: the longest unused first. `residents` are in the order of
/// their use, the one used last first.
pub(super) fn to_unload(mut residents: Vec<Resident>, mut over: Need) -> Vec<Resident> {
    let mut unload = Vec::new();
    while over != Need::default() {
        let Some(resident) = residents.pop() else { break };
        if resident.is_kept {
            continue;
        }
        over.bytes = over.bytes.saturating_sub(resident.takes.bytes);
        over.instances = over.instances.saturating_sub(resident.takes.instances);
        unload.push(resident);
    }
    unload
}

/// The memory of a generation.
fn takes(generation: &Generation, threads: usize) -> Need {
    Need { bytes: generation.footprint(), instances: generation.pool_slots(threads) }
}

/// Every version that could be unloaded, the one used last first.
fn residents(fleet: &Fleet) -> Vec<Resident> {
    let mut residents = Vec::new();
    for (name, state) in fleet.models() {
        let rollout = state.rollout();
        for (id, _) in state.versions().iter().filter(|(_, version)| version.is_ready()) {
            let Some(generation) = fleet.generation(name, id) else { continue };
            if rollout.is_some_and(|rollout| rollout.canary == *id) {
                continue;
            }
            let (mut takes_all, mut used_ms) =
                (takes(generation, fleet.loader.threads), generation.usage.stats.last_used_ms());
            let canary = rollout.filter(|rollout| rollout.baseline == *id).map(|rollout| rollout.canary.as_str());
            if let Some(canary) = canary.and_then(|canary| fleet.generation(name, canary)) {
                takes_all = takes_all.and(takes(canary, fleet.loader.threads));
                used_ms = used_ms.max(canary.usage.stats.last_used_ms());
            }
            let (model, id) = (name.clone(), id.clone());
            residents.push(Resident { model, id, takes: takes_all, used_ms, is_kept: false });
        }
    }
    residents.sort_by_key(|resident| Reverse(resident.used_ms));
    residents
}

/// The resident versions, and those that are being loaded.
pub(super) fn accounted(fleet: &Fleet) -> [Need; 2] {
    let (mut resident, mut loading) = (Need::default(), Need::default());
    for (name, state) in fleet.models() {
        for (id, version) in state.versions() {
            if let Some(need) = version.reserved() {
                loading = loading.and(need);
            } else if let Some(generation) = fleet.generation(name, id).filter(|_| version.is_ready()) {
                resident = resident.and(takes(generation, fleet.loader.threads));
            }
        }
    }
    [resident, loading]
}

fn evict(fleet: &mut Fleet, resident: &Resident, reason: &str) {
    let Resident { model: name, id, .. } = resident;
    let Some(state) = fleet.state_mut(name) else { return };
    audit::decided("evicted", name, Change { from: state.number(id), to: None }, reason);
    state.evict(id);
    count(&fleet.metrics.lifecycle.evictions, &[reason]);
    fleet.reconcile(name);
}

/// When the first resident version will have been idle for so long.
pub(super) fn next_idle(fleet: &Fleet, idle: Duration) -> Option<Duration> {
    let used_ms = residents(fleet).last()?.used_ms;
    let at = Duration::from_millis(used_ms) + idle;
    // One more than that: an idle version is one that was used before.
    Some((at + Duration::from_millis(1)).saturating_sub(Duration::from_millis(now_ms())))
}
