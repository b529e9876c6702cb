//! What is resident: within the memory budget and the instance pool, and not for longer than it is used.

use std::time::{Duration, Instant};

use crate::{
    audit::{self, Change},
    generation::Generation,
    metrics::lifecycle::count,
    swap::{
        budget::resident_memory,
        model::{Slot, SlotState},
        room::{Need, Room},
        state::Supervisor,
    },
    tally::now_ms,
};

/// A generation that could be let go.
pub(super) struct Resident {
    model: String,
    id: String,
    takes: Need,
    used_ms: u64,
}

impl Supervisor {
    pub(super) fn unload_idle(&mut self, idle: Duration) {
        let before = now_ms().saturating_sub(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        let stale: Vec<_> = self.residents().into_iter().filter(|resident| resident.used_ms < before).collect();
        for resident in stale {
            self.evict(&resident.model, &resident.id, "idle");
        }
    }

    /// Every generation that could be let go, the one used last first. What is on trial goes with what it is tried against.
    fn residents(&self) -> Vec<Resident> {
        let mut residents = Vec::new();
        let takes = |generation: &Generation| Need {
            bytes: generation.footprint(),
            instances: generation.pool_slots(self.preparer.threads),
        };
        for (name, model) in &self.models {
            let trial = model.trial.as_ref();
            let tried = trial.and_then(|trial| Some((trial.against().id, model.live(&trial.id)?)));
            for (id, slot) in &model.slots {
                let Some(generation) = slot.live().filter(|_| trial.is_none_or(|trial| trial.id != *id)) else {
                    continue;
                };
                let mut resident = Resident {
                    model: name.clone(),
                    id: id.clone(),
                    takes: takes(generation),
                    used_ms: generation.tally.last_used_ms(),
                };
                if let Some((_, tried)) = tried.filter(|(against, _)| *against == generation.id) {
                    resident.takes = resident.takes.and(takes(tried));
                    resident.used_ms = resident.used_ms.max(tried.tally.last_used_ms());
                }
                residents.push(resident);
            }
        }
        residents.sort_by_key(|resident| std::cmp::Reverse(resident.used_ms));
        residents
    }

    /// What is resident, and what is being loaded.
    fn accounted(&self) -> [Need; 2] {
        let mut sums = [Need::default(); 2];
        for slot in self.models.values().flat_map(|model| model.slots.values()) {
            let (place, takes) = match &slot.state {
                SlotState::Live(generation) => {
                    let instances = generation.pool_slots(self.preparer.threads);
                    (0, Need { bytes: generation.footprint(), instances })
                }
                SlotState::Busy { need, .. } => (1, *need),
                SlotState::Idle | SlotState::Failed { .. } => continue,
            };
            sums[place] = sums[place].and(takes);
        }
        sums
    }

    /// Bytes to be given back, if so many were taken beside what is resident and what is being loaded.
    fn over(&self, bytes: usize) -> usize {
        let [resident, loading] = self.accounted();
        self.budget.over(resident.and(loading).bytes.saturating_add(bytes))
    }

    /// Releases that are about to be loaded, in the order in which they asked: sets aside what that takes. Where it does
    /// not fit beside another load, that one is waited for, and nothing has to go for the sake of two at once.
    pub(super) fn give_rooms(&mut self) {
        if !self.asking.is_empty() {
            self.look_at_memory();
        }
        while let Some(Room { model, id, ticket, release, .. }) = self.asking.front() {
            let slot = self.models.get(model).and_then(|model| model.slots.get(id));
            let Some(slot) = slot.filter(|slot| slot.is_at(*ticket)) else {
                // Nobody wants it any more.
                self.asking.pop_front();
                continue;
            };
            let need = Need::of(release, slot.cost, &self.preparer);
            let is_loading = self.models.values().flat_map(|model| model.slots.values()).any(Slot::is_loading);
            if is_loading && self.over(need.bytes) > 0 {
                return;
            }
            let Some(Room { model, id, made, .. }) = self.asking.pop_front() else { return };
            self.make_room(&model, &id, need);
            let slot = self.models.get_mut(&model).and_then(|model| model.slots.get_mut(&id));
            if let Some(SlotState::Busy { need: taken, .. }) = slot.map(|slot| &mut slot.state) {
                *taken = need;
            }
            // Is there room only once what has just been let go of is released?
            _ = made.send(self.over(self.rooms.unreleased()) > 0);
        }
    }

    /// Lets go of what was longest unused until there is room for `need` beside the rest. This release stays, and what
    /// answers for its model: the release may be of no use.
    pub(super) fn make_room(&mut self, name: &str, id: &str, need: Need) {
        let [resident, loading] = self.accounted();
        let taken = resident.and(loading).and(need);
        let mut over_bytes = self.budget.over(taken.bytes);
        let mut over_instances = taken.instances.saturating_sub(self.settings.pool);
        if over_bytes == 0 && over_instances == 0 {
            return;
        }
        let mut residents = self.residents();
        while over_bytes > 0 || over_instances > 0 {
            let Some(resident) = residents.pop() else { break };
            let answers = || self.models.get(name).is_some_and(|model| model.good.as_ref() == Some(&resident.id));
            if resident.model == name && (resident.id == id || answers()) {
                continue;
            }
            over_bytes = over_bytes.saturating_sub(resident.takes.bytes);
            over_instances = over_instances.saturating_sub(resident.takes.instances);
            self.evict(&resident.model, &resident.id, "budget");
        }
    }

    fn look_at_memory(&mut self) {
        let (now, unreleased) = (Instant::now(), self.rooms.unreleased());
        // Of what is let go of only the estimate is known: better look when it is gone.
        if self.budget.limit().is_none() || unreleased > 0 && !self.budget.is_stale(now) {
            return;
        }
        if let Some(taken) = resident_memory() {
            let accounted = self.accounted()[0].bytes.saturating_add(unreleased);
            self.budget.look(taken, accounted, now);
            tracing::trace!(taken, accounted, drift = self.budget.drift(), "memory");
        }
    }

    /// What grew since it was loaded, or what nobody accounts for, may drive something out. The one used last stays: it
    /// would only be loaded again.
    pub(super) fn keep_to_budget(&mut self) {
        self.look_at_memory();
        let mut over = self.over(0);
        if over == 0 {
            return;
        }
        let mut residents = self.residents();
        while over > 0 && residents.len() > 1 {
            let Some(resident) = residents.pop() else { break };
            over = over.saturating_sub(resident.takes.bytes);
            self.evict(&resident.model, &resident.id, "budget");
        }
    }

    pub(super) fn evict(&mut self, name: &str, id: &str, reason: &str) {
        let Some(model) = self.models.get_mut(name) else { return };
        let trial =
            model.trial.as_ref().filter(|trial| model.live(id).is_some_and(|live| live.id == trial.against().id));
        if let Some(tried) = trial.map(|trial| trial.id.clone()) {
            // Tried again once a request has brought back what it is tried against.
            self.end_trial(name);
            self.publish(name);
            self.retire(name, &tried);
        }
        let Some(model) = self.models.get_mut(name) else { return };
        let was_serving = model.serving.iter().any(|serving| serving == id);
        model.serving.retain(|serving| serving != id);
        if was_serving && model.serving.is_empty() {
            model.resident = false;
        }
        count(&self.metrics.lifecycle.evictions, &[reason]);
        audit::decided("evicted", name, Change { from: model.version(id), to: None }, reason);
        if let Some(slot) = model.slots.get_mut(id) {
            slot.evicted = true;
        }
        // First out of the catalog, then released, and then told.
        self.publish(name);
        self.retire(name, id);
        self.publish(name);
        self.gauge();
    }
}
