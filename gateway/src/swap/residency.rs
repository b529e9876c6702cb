//! What is resident: within the memory budget and the instance pool, and not for longer than it is used.

use std::time::Duration;

use crate::{
    bundle::Manifest,
    metrics::lifecycle::count,
    release::{Content, Release},
    swap::state::Supervisor,
    tally::now_ms,
};

/// A generation that could be let go.
pub(super) struct Resident {
    model: String,
    id: String,
    bytes: usize,
    slots: usize,
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

    /// Every generation that could be let go.
    pub(super) fn residents(&self) -> Vec<Resident> {
        let mut residents = Vec::new();
        for (name, model) in &self.models {
            for (id, slot) in &model.slots {
                let on_trial = model.trial.as_ref().is_some_and(|trial| trial.id == *id);
                if let Some(generation) = slot.live()
                    && !on_trial
                {
                    residents.push(Resident {
                        model: name.clone(),
                        id: id.clone(),
                        bytes: generation.footprint(),
                        slots: generation.pool_slots(self.preparer.threads),
                        used_ms: generation.tally.last_used_ms(),
                    });
                }
            }
        }
        residents
    }

    /// Lets go of what was longest unused until this release fits.
    pub(super) fn make_room(&mut self, name: &str, id: &str) {
        let Some(slot) = self.models.get(name).and_then(|model| model.slots.get(id)) else { return };
        let is_live = slot.live().is_some();
        let cost = if slot.cost > 0 { slot.cost } else { expected_cost(&slot.release) };
        let mut residents = self.residents();
        // A model that changes is replaced by itself: letting go of it would only cost an activation.
        residents.sort_by_key(|resident| std::cmp::Reverse(resident.used_ms));
        let bytes = residents.iter().map(|resident| resident.bytes).sum::<usize>() + if is_live { 0 } else { cost };
        let slots = residents.iter().map(|resident| resident.slots).sum::<usize>()
            + if is_live { 0 } else { 2 * self.preparer.threads };
        let mut over_bytes = bytes.saturating_sub(self.settings.budget.unwrap_or(usize::MAX));
        let mut over_slots = slots.saturating_sub(self.settings.pool);
        while over_bytes > 0 || over_slots > 0 {
            let Some(resident) = residents.pop() else { break };
            if resident.model == name && resident.id == id {
                continue;
            }
            over_bytes = over_bytes.saturating_sub(resident.bytes);
            over_slots = over_slots.saturating_sub(resident.slots);
            self.evict(&resident.model, &resident.id, "budget");
        }
    }

    pub(super) fn evict(&mut self, name: &str, id: &str, reason: &str) {
        let Some(model) = self.models.get_mut(name) else { return };
        if model.trial.is_some() && model.serving.iter().any(|serving| serving == id) {
            // Something is being judged against it.
            return;
        }
        let was_serving = model.serving.iter().any(|serving| serving == id);
        model.serving.retain(|serving| serving != id);
        if model.previous.as_deref() == Some(id) {
            model.previous = None;
        }
        if was_serving && model.serving.is_empty() {
            model.resident = false;
        }
        count(&self.metrics.lifecycle.evictions, &[reason]);
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

/// Before a release was ever loaded: the manifest names no sizes, so a middling guess.
fn expected_cost(release: &Release) -> usize {
    const GUESS: usize = 8 << 20;
    match &release.content {
        Content::Bundle { manifest, .. } if Manifest::parse(manifest).is_ok_and(|m| m.model_sha256().is_none()) => {
            GUESS / 4
        }
        _ => GUESS,
    }
}
