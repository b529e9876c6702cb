//! What the supervisor knows, and the step that brings what serves in line with what is wanted.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    card::Known,
    catalog::Catalog,
    generation::Generation,
    metrics::{Metrics, lifecycle::count},
    reaper::Reaper,
    release::Release,
    source::Reports,
    swap::{
        budget::Budget,
        model::{Model, Slot, SlotState},
        prepare::{Failure, Prepared, Preparer},
        room::{Room, Rooms},
        trial::{Gate, Trial},
    },
};

/// The source's number of bundles named on the command line; before all others.
pub const GIVEN: usize = usize::MAX;

/// What came of a job.
pub(super) struct Done {
    pub(super) model: String,
    pub(super) id: String,
    pub(super) ticket: u64,
    pub(super) result: Result<Prepared, Failure>,
}

/// What the supervisor goes by.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) default_model: Option<String>,
    pub(super) on_demand: bool,
    /// Module instances alive at once.
    pub(super) pool: usize,
    pub(super) idle: Option<Duration>,
    pub(super) gate: Gate,
    pub(super) poll: Duration,
    /// How many.
    pub(super) sources: usize,
    pub(super) settled: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) settings: Settings,
    pub(super) budget: Budget,
    pub(super) preparer: Arc<Preparer>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) reports: Arc<Reports>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reaper: Reaper,
    pub(super) models: BTreeMap<String, Model>,
    /// Sources that have not said anything yet.
    pub(super) silent: HashSet<usize>,
    /// The first bundle on the command line.
    first_given: Option<String>,
    /// Sources of which something answers that did not before; to be written down.
    pub(super) unwritten: BTreeSet<usize>,
    pub(super) written: Instant,
    pub(super) tickets: u64,
    pub(super) done: mpsc::Sender<Done>,
    pub(super) finished: Option<mpsc::Receiver<Done>>,
    /// Where jobs ask for memory.
    pub(super) rooms: Rooms,
    pub(super) asked: Option<mpsc::Receiver<Room>>,
    /// Those who asked and must wait for a load to end.
    pub(super) asking: VecDeque<Room>,
}

impl Supervisor {
    pub(super) fn new(
        settings: Settings,
        budget: Budget,
        preparer: Preparer,
        catalog: Arc<Catalog>,
        reports: Arc<Reports>,
        metrics: Arc<Metrics>,
        given: Vec<(Release, Arc<Generation>)>,
    ) -> std::io::Result<Self> {
        let (known, on_demand) = (Arc::clone(&catalog), settings.on_demand);
        // Where hundreds of models are known and few resident, the series of those that are not would take more memory
        // than many a model.
        let keeps = move |model: &str, version: Option<&str>| {
            if on_demand && version.is_some() { known.answers(model, version) } else { known.knows(model, version) }
        };
        let reaper = Reaper::start(Arc::clone(&metrics), keeps)?;
        let (done, finished) = mpsc::channel(64);
        let (rooms, asked) = Rooms::new(reaper.unreleased());
        let mut this = Self {
            budget,
            rooms,
            asked: Some(asked),
            asking: VecDeque::new(),
            silent: (0..settings.sources).collect(),
            first_given: None,
            settings,
            preparer: Arc::new(preparer),
            catalog,
            reports,
            metrics,
            reaper,
            models: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            written: Instant::now(),
            tickets: 0,
            done,
            finished: Some(finished),
        };
        let gated = this.is_gated();
        this.metrics.lifecycle.budget_bytes.set(gauge(this.budget.limit().unwrap_or(0)));
        for (release, generation) in given {
            let name = release.model.clone();
            this.first_given.get_or_insert_with(|| name.clone());
            let model = this.models.entry(name.clone()).or_default();
            model.resident = true;
            model.gated = gated;
            let offered = model.offers.entry(0).or_default();
            offered.is_chosen = true;
            offered.ids.push(release.id.clone());
            let mut slot = Slot::new(release);
            slot.cost = generation.footprint();
            slot.known = Some(Arc::new(Known::of(&generation)));
            slot.fetched = true;
            slot.state = SlotState::Live(generation);
            model.slots.insert(slot.release.id.clone(), slot);
            this.settle(&name);
        }
        this.look_settled();
        Ok(this)
    }

    /// Begins what should begin, and makes what serves what should serve.
    pub(super) fn settle(&mut self, name: &str) {
        if let Some(model) = self.models.get_mut(name)
            && let Some((from, to)) = model.rolled_back.clone()
            && model.good.as_ref() == Some(&from)
            && model.live(&to).is_some()
        {
            // It had to be loaded first.
            self.unwritten.extend(model.slots.get(&to).map(|slot| slot.release.source));
            (model.good, model.previous) = (Some(to), Some(from));
        }
        self.begin(name);
        self.try_out(name);
        let Some(model) = self.models.get_mut(name) else { return };
        model.serving = model.choose_serving();
        if let Some(new) = model.serving.first().cloned().filter(|_| !model.awaits_head()) {
            if let Some(slot) = model.slots.get_mut(&new) {
                slot.proven = true;
            }
            model.spare.clear();
            if model.rolled_back.as_ref().is_some_and(|(from, to)| new != *to && new != *from) {
                model.rolled_back = None;
            }
            let old = model.good.replace(new.clone());
            if old.as_ref() != Some(&new) {
                self.unwritten.extend(model.slots.get(&new).map(|slot| slot.release.source));
            }
            if let Some(old) = old.filter(|old| *old != new) {
                model.previous = model.slots.contains_key(&old).then_some(old);
            }
            if model.previous.as_ref() == Some(&new) {
                model.previous = None;
            }
        }
        let unneeded = model.unneeded();
        let wanted = model.wanted();
        let superseded: Vec<_> = model
            .slots
            .iter()
            .filter(|(id, slot)| {
                matches!(slot.state, SlotState::Busy { .. })
                    && !wanted.contains(id)
                    && slot.waiters.is_empty()
                    && model.incumbent() != Some(*id)
                    && !(model.is_let_down() && model.last_resorts().any(|other| other == *id))
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in superseded {
            if let Some(slot) = model.slots.get_mut(&id) {
                if let SlotState::Busy { task, .. } = &slot.state {
                    task.abort();
                }
                slot.state = SlotState::Idle;
                count(&self.metrics.lifecycle.releases, &[name, "superseded"]);
            }
        }
        // The catalog lets go first, so that no request finds what is being retired.
        self.publish(name);
        for id in unneeded {
            self.retire(name, &id);
        }
        if let Some(model) = self.models.get_mut(name) {
            for id in model.forgettable() {
                model.slots.remove(&id);
            }
            if model.is_gone() {
                self.models.remove(name);
                self.catalog.remove(name);
                // Of one that never went live, no generation's end tells.
                self.metrics.lifecycle.forget(name);
            }
        }
        self.gauge();
    }

    /// Whether new releases are tried before they answer all.
    pub(super) fn is_gated(&self) -> bool {
        self.settings.gate.canary > 0 || self.settings.gate.shadow > 0
    }

    pub(super) fn publish(&mut self, name: &str) {
        if let Some(model) = self.models.get(name) {
            self.catalog.set(name, model.entry());
        }
        // One that has yet to show that it can answers for no other.
        let can = || self.models.iter().find(|(_, model)| model.can_answer()).map(|(name, _)| name.clone());
        let first = || can().or_else(|| self.models.keys().next().cloned());
        let default = self.settings.default_model.clone().or_else(|| self.first_given.clone()).or_else(first);
        self.catalog.set_default(default);
    }

    /// Not resident any more.
    pub(super) fn retire(&mut self, name: &str, id: &str) {
        let Some(slot) = self.models.get_mut(name).and_then(|model| model.slots.get_mut(id)) else { return };
        if slot.live().is_some()
            && let SlotState::Live(generation) = std::mem::replace(&mut slot.state, SlotState::Idle)
        {
            self.hand_over(name, generation);
        }
    }

    pub(super) fn hand_over(&self, name: &str, generation: Arc<Generation>) {
        generation.shadow.set(None);
        self.metrics.ended(name, &generation.version, generation.id, &generation.digest);
        self.reaper.retire(generation);
    }

    /// The release on trial, if any, is on trial no more; what it is now, the next [`settle`](Self::settle) decides.
    pub(super) fn end_trial(&mut self, name: &str) -> Option<Trial> {
        let trial = self.models.get_mut(name)?.trial.take()?;
        trial.against().shadow.set(None);
        Some(trial)
    }

    pub(super) fn gauge(&self) {
        let live = self.models.values().flat_map(|model| model.slots.values()).filter_map(Slot::live);
        let (count, bytes) = live.fold((0, 0), |(count, bytes), live| (count + 1, bytes + live.footprint()));
        self.metrics.lifecycle.resident.set(count);
        self.metrics.lifecycle.resident_bytes.set(gauge(bytes));
        let known: usize = self.models.values().map(|model| model.wanted().len()).sum();
        self.metrics.lifecycle.known.set(gauge(known));
    }

    /// Ready once every source has spoken and what it offered has become something, for better or worse.
    pub(super) fn look_settled(&self) {
        if self.settings.settled.load(Ordering::Relaxed) || !self.silent.is_empty() {
            return;
        }
        let on_its_way = |model: &Model| model.slots.values().any(|slot| matches!(slot.state, SlotState::Busy { .. }));
        let answers = self
            .models
            .values()
            .any(|model| !model.serving.is_empty() || !model.resident && model.slots.values().any(|slot| slot.fetched));
        // A model that its source has nothing to serve for is told in its own answers; the server is as ready as it can be.
        let is_told = self.models.values().any(|model| model.slots.values().any(|slot| slot.unservable().is_some()));
        if (answers || is_told) && !self.models.values().any(on_its_way) {
            self.settings.settled.store(true, Ordering::Release);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.write_down();
    }
}

/// As gauges have it.
fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
