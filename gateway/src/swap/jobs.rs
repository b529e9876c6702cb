//! Releases on their way to be resident, and what becomes of them.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use modelgate_columns::Column;

use crate::{
    audit::{self, Change},
    card::Known,
    error::Error,
    generation::Generation,
    metrics::lifecycle::count,
    swap::{
        model::{Model, Slot, SlotState},
        prepare::{Failure, Prepared, Until},
        room::Need,
        state::{Done, Supervisor},
        trial::Trial,
    },
};

/// Longest pause before something that failed is tried again.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

impl Supervisor {
    /// Starts jobs for releases that are wanted and not there.
    pub(super) fn begin(&mut self, name: &str) {
        let Some(model) = self.models.get(name) else { return };
        if model.unloaded {
            return;
        }
        let now = Instant::now();
        let mut jobs = Vec::new();
        let is_due = |slot: &Slot| match &slot.state {
            SlotState::Idle => !slot.evicted || !slot.fetched,
            SlotState::Failed { retry_at: Some(at), .. } => *at <= now,
            _ => false,
        };
        if model.resident
            && model.serving.is_empty()
            && model.is_let_down()
            && let Some(id) = model.last_resorts().find(|id| model.slots.get(*id).is_some_and(is_due))
        {
            jobs.push((id.clone(), Until::Loaded));
        }
        // What is yet to be tried waits for what it is tried against.
        let against = model.incumbent().filter(|id| model.live(id).is_none());
        let untried = against.and_then(|_| model.head());
        if model.resident
            && let Some(id) = against
            && model.slots.get(id).is_some_and(is_due)
        {
            jobs.push((id.clone(), Until::Loaded));
        }
        for id in model.wanted().into_iter().filter(|id| Some(id) != against) {
            let Some(slot) = model.slots.get(&id) else { continue };
            let due = is_due(slot);
            if due && model.resident && untried.as_ref() != Some(&id) {
                jobs.push((id, Until::Loaded));
            } else if due && !slot.fetched {
                jobs.push((id, Until::Fetched));
            }
        }
        let mut begun = BTreeSet::new();
        for (id, until) in jobs {
            if begun.insert(id.clone()) {
                self.start(name, &id, until);
            }
        }
    }

    pub(super) fn start(&mut self, name: &str, id: &str, until: Until) {
        self.tickets += 1;
        let ticket = self.tickets;
        let room = self.rooms.asks(name, id, ticket);
        let threads = match until {
            Until::LoadedSoon => 1,
            // As many as have run what it takes the place of.
            Until::Loaded | Until::Fetched => self.models.get(name).map_or(0, Model::given),
        };
        let Some(slot) = self.models.get_mut(name).and_then(|model| model.slots.get_mut(id)) else { return };
        let hurry = Arc::new(AtomicBool::new(!slot.waiters.is_empty()));
        let job = Arc::clone(&self.preparer).prepare(
            slot.release.clone(),
            until,
            threads,
            room,
            Arc::clone(&hurry),
            slot.proven,
        );
        let (done, model, of) = (self.done.clone(), name.to_owned(), id.to_owned());
        let task = tokio::spawn(async move {
            let result = job.await;
            _ = done.send(Done { model, id: of, ticket, result }).await;
        });
        let (since, task) = (Instant::now(), task.abort_handle());
        slot.state = SlotState::Busy { ticket, until, since, task, need: Need::default(), hurry };
        // Said before anything of it is loaded: its series must not be taken for those of a model that is gone.
        self.publish(name);
    }

    /// A job has ended.
    pub(super) fn done(&mut self, done: Done) {
        let Done { model: name, id, ticket, result } = done;
        let Some(model) = self.models.get_mut(&name) else { return };
        let Some(slot) = model.slots.get_mut(&id) else { return };
        let (since, until) = match &slot.state {
            SlotState::Busy { ticket: now, since, until, .. } if *now == ticket => (*since, *until),
            // Something newer was wished for.
            _ => return,
        };
        let is_news = result.is_err() || !slot.fetched;
        match result {
            Ok(Prepared { release, generation: None }) => {
                slot.release = release;
                slot.fetched = true;
                slot.failures = 0;
                slot.state = SlotState::Idle;
                if slot.waiters.is_empty() {
                    self.settle(&name);
                } else {
                    self.start(&name, &id, Until::LoadedSoon);
                }
            }
            Ok(Prepared { release, generation: Some(generation) }) => {
                slot.release = release;
                slot.fetched = true;
                slot.failures = 0;
                self.loaded(&name, &id, &Arc::new(generation), since, until);
            }
            Err(failure) => self.failed(&name, &id, failure),
        }
        let source = self.models.get(&name).and_then(|model| model.slots.get(&id)).map(|slot| slot.release.source);
        // What only became resident again is written down already.
        if let Some(source) = source.filter(|_| until != Until::LoadedSoon || is_news) {
            self.remember(source);
        }
    }

    /// A release is good to serve.
    pub(super) fn loaded(&mut self, name: &str, id: &str, generation: &Arc<Generation>, since: Instant, until: Until) {
        let Some(model) = self.models.get_mut(name) else { return };
        let is_head = model.head().as_deref() == Some(id);
        // An older version that serves beside a newer one takes the place of none.
        let old = model.good.as_ref().filter(|old| is_head && *old != id).and_then(|old| model.live(old)).cloned();
        let is_untried = old.is_some() && model.incumbent().is_some();
        let Some(slot) = model.slots.get_mut(id) else { return };
        let note = old.as_ref().and_then(|old| changed_signature(old, generation));
        slot.note = note.clone().unwrap_or_default();
        slot.cost = generation.footprint();
        slot.known.get_or_insert_with(|| Arc::new(Known::of(generation)));
        slot.state = SlotState::Live(Arc::clone(generation));
        slot.evicted = false;
        let waiters = std::mem::take(&mut slot.waiters);
        let model_bytes = generation.model.as_ref().map_or(0, |model| model.resident_bytes());
        self.metrics.live(name, &generation.version, generation.id, &generation.digest, model_bytes);
        let from = old.as_ref().map(|old| old.version.as_str());
        let asked = if until == Until::LoadedSoon { "a request asked for it" } else { "a source offers it" };
        audit::decided("loaded", name, Change { from, to: Some(&generation.version) }, asked);
        if is_untried {
            self.end_trial(name);
        } else if until == Until::LoadedSoon {
            self.metrics.lifecycle.activation_seconds.observe(since.elapsed().as_secs_f64());
            count(&self.metrics.lifecycle.activations, &["success"]);
            tracing::debug!(model = name, version = generation.version, generation = generation.id, "resident");
        } else {
            count(&self.metrics.lifecycle.releases, &[name, "live"]);
            tracing::info!(
                model = name,
                version = generation.version,
                generation = generation.id,
                digest = generation.digest,
                replaces = old.as_ref().map(|old| old.id),
                took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
                signature = note,
                "live"
            );
        }
        if let Some(model) = self.models.get_mut(name) {
            model.resident = true;
        }
        self.settle(name);
        generation.tally.used();
        for waiter in waiters {
            waiter.answer(Ok(Arc::clone(generation)));
        }
        // Only now is it known what it takes.
        self.make_room(name, id, Need::default());
    }

    /// Puts on trial what should answer where no version is named and never has, once what answers is there to compare.
    pub(super) fn try_out(&mut self, name: &str) {
        let Some(model) = self.models.get(name).filter(|model| model.trial.is_none() && !model.unloaded) else {
            return;
        };
        let live = |id: Option<&String>| id.and_then(|id| model.live(id)).cloned();
        let Some(id) = model.head() else { return };
        let (Some(old), Some(new)) = (live(model.incumbent()), live(Some(&id))) else { return };
        let gate = self.settings.gate;
        tracing::info!(
            model = name,
            version = new.version,
            generation = new.id,
            canary = f64::from(gate.canary) / 1000.0,
            shadow = f64::from(gate.shadow) / 1000.0,
            "on trial"
        );
        if gate.shadow > 0 {
            old.shadow.set(Some(Arc::new(self.target(name, &new))));
        }
        if let Some(model) = self.models.get_mut(name) {
            model.trial = Some(Trial::new(id, &gate, &new, &old));
        }
    }

    /// A release cannot serve; what serves stays.
    pub(super) fn failed(&mut self, name: &str, id: &str, failure: Failure) {
        let Some(model) = self.models.get_mut(name) else { return };
        let Some(slot) = model.slots.get_mut(id) else { return };
        slot.failures = slot.failures.saturating_add(1);
        let pause = self.settings.poll.saturating_mul(1 << (slot.failures - 1).min(16)).min(LONGEST_RETRY);
        let reason = failure.reason;
        let is_news = slot.note != reason;
        slot.note.clone_from(&reason);
        let retry_at = failure.transient.then(|| Instant::now() + pause);
        slot.state = SlotState::Failed { reason: reason.clone(), retry_at };
        let version = slot.release.version.clone();
        let waiters = std::mem::take(&mut slot.waiters);
        if is_news {
            let outcome = if failure.transient { "unfetched" } else { "refused" };
            count(&self.metrics.lifecycle.releases, &[name, outcome]);
            let from = model.good.as_ref().and_then(|good| model.version(good));
            let action = if failure.transient { "not_loaded" } else { "refused" };
            audit::decided(action, name, Change { from, to: Some(&version) }, &reason);
            tracing::warn!(model = name, version, reason, "a release cannot serve; what is served stays");
        }
        if !waiters.is_empty() {
            count(&self.metrics.lifecycle.activations, &["failed"]);
            // Another one may do, if the request asks for no version in particular. Requests that name one get its error.
            let next = model.fallback(id);
            for waiter in waiters {
                match &next {
                    Some(next) if waiter.any => self.wait(name, next, waiter),
                    _ => waiter.answer(Err(Error::unavailable(name))),
                }
            }
        }
        self.settle(name);
    }
}

/// What callers of the old one will notice: columns that came, went or changed their type.
fn changed_signature(old: &Generation, new: &Generation) -> Option<String> {
    let mut changes = Vec::new();
    for (side, old, new) in [
        ("input", &old.signature.inputs, &new.signature.inputs),
        ("output", &old.signature.outputs, &new.signature.outputs),
    ] {
        let names: BTreeSet<_> = old.iter().chain(new).map(|column| column.name.as_str()).collect();
        for name in names {
            let find = |columns: &[Column]| columns.iter().find(|column| column.name == name).cloned();
            match (find(old), find(new)) {
                (Some(_), None) => changes.push(format!("{side} '{name}' is gone")),
                (None, Some(_)) => changes.push(format!("{side} '{name}' is new")),
                (Some(old), Some(new)) if !old.same_layout(&new) => {
                    changes.push(format!("{side} '{name}': {old} is now {new}"));
                }
                _ => {}
            }
        }
    }
    changes.truncate(20);
    (!changes.is_empty()).then(|| format!("the signature changed: {}", changes.join("; ")))
}
