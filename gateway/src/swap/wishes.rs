//! What requests and people ask for.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{
    audit::{self, Change},
    error::Error,
    generation::Generation,
    metrics::lifecycle::count,
    shadow::Target,
    swap::{
        model::{Slot, SlotState, Waiter},
        prepare::Until,
        state::Supervisor,
    },
};

/// Requests that may wait for one model.
const MAX_WAITERS: usize = 4096;

/// What a person may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Make it resident, and try again what failed.
    Load,
    /// Let go of it until it is loaded again.
    Unload,
    /// Go back to the release that answered before.
    RollBack,
    /// End a trial: the release answers all from now on.
    Promote,
}

impl Wish {
    /// The call's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Unload => "unload",
            Self::RollBack => "rollback",
            Self::Promote => "promote",
        }
    }
}

impl Supervisor {
    /// A request names a model that is not resident.
    pub(super) fn activate(&mut self, name: &str, version: Option<&str>, waiter: Waiter) {
        let Some(model) = self.models.get(name) else {
            waiter.answer(Err(Error::unknown_model(name)));
            return;
        };
        let waiting: usize = model.slots.values().map(|slot| slot.waiters.len()).sum();
        if waiting >= MAX_WAITERS {
            waiter.answer(Err(Error::Overloaded));
            return;
        }
        match model.candidate(version) {
            // Copies are answered to nobody.
            Some(id) if model.trial.as_ref().is_some_and(|trial| trial.id == id && trial.share == 0) => {
                waiter.answer(Err(Error::unavailable(name)));
            }
            Some(id) if !model.unloaded => self.wait(name, &id, waiter),
            _ => waiter.answer(Err(Error::unavailable(name))),
        }
    }

    /// Lets a request wait for a release, which is loaded if it is not on its way.
    pub(super) fn wait(&mut self, name: &str, id: &str, waiter: Waiter) {
        let Some(slot) = self.models.get_mut(name).and_then(|model| model.slots.get_mut(id)) else { return };
        let now = Instant::now();
        match &slot.state {
            SlotState::Live(generation) => waiter.answer(Ok(Arc::clone(generation))),
            SlotState::Busy { hurry, .. } => {
                hurry.store(true, Ordering::Relaxed);
                slot.waiters.push(waiter);
            }
            SlotState::Failed { retry_at, .. } if retry_at.is_none_or(|at| at > now) => {
                let error = slot.unservable().map_or_else(
                    || Error::unavailable(name),
                    |reason| Error::Unservable { model: name.to_owned(), reason: reason.to_owned() },
                );
                waiter.answer(Err(error));
            }
            SlotState::Idle | SlotState::Failed { .. } => {
                slot.waiters.push(waiter);
                self.start(name, id, Until::LoadedSoon);
            }
        }
    }

    pub(super) fn wish(&mut self, name: &str, wish: &Wish, reply: oneshot::Sender<Result<(), Error>>) {
        let Some(model) = self.models.get_mut(name) else {
            _ = reply.send(Err(Error::unknown_model(name)));
            return;
        };
        let answer = match wish {
            Wish::Load => {
                model.unloaded = false;
                model.resident = true;
                for slot in model.slots.values_mut() {
                    slot.evicted = false;
                    if matches!(slot.state, SlotState::Failed { .. }) && slot.unservable().is_none() {
                        if let Some(store) = &self.preparer.store {
                            store.attempts.forget(&slot.release.id);
                        }
                        slot.state = SlotState::Idle;
                        slot.note.clear();
                    }
                }
                self.settle(name);
                return self.reply_when_loaded(name, reply);
            }
            Wish::Unload => {
                model.unloaded = true;
                model.resident = false;
                self.end_trial(name);
                Ok(())
            }
            Wish::RollBack => match self.roll_back(name) {
                Ok(None) => Ok(()),
                Ok(Some(id)) => {
                    tracing::info!(model = name, ?wish, release = id, "done by hand, once it is loaded");
                    self.settle(name);
                    return self.reply_when_live(name, &id, reply);
                }
                Err(error) => Err(error),
            },
            Wish::Promote => match &model.trial {
                Some(_) => {
                    self.promote(name, "by hand");
                    Ok(())
                }
                None => Err(Error::Refused(format!("no release of '{name}' is on trial"))),
            },
        };
        if answer.is_ok() {
            tracing::info!(model = name, ?wish, "done by hand");
        }
        self.settle(name);
        _ = reply.send(answer);
    }

    fn reply_when_loaded(&mut self, name: &str, reply: oneshot::Sender<Result<(), Error>>) {
        let (waiter, loaded) = oneshot::channel();
        let waiter = Waiter::new(true, waiter);
        // Requests may be content with what answered last; whoever wants it loaded is not.
        match self.models.get(name).and_then(|model| model.incumbent().cloned().or_else(|| model.head())) {
            Some(id) => self.wait(name, &id, waiter),
            None => self.activate(name, None, waiter),
        }
        reply_after(loaded, reply);
    }

    fn reply_when_live(&mut self, name: &str, id: &str, reply: oneshot::Sender<Result<(), Error>>) {
        let (waiter, loaded) = oneshot::channel();
        self.wait(name, id, Waiter::new(false, waiter));
        reply_after(loaded, reply);
    }

    /// Gives the id to wait for, if it must be loaded first.
    fn roll_back(&mut self, name: &str) -> Result<Option<String>, Error> {
        let Some(model) = self.models.get_mut(name) else { return Err(Error::unknown_model(name)) };
        if let Some(trial) = &model.trial {
            let id = trial.id.clone();
            self.withdraw(name, &id, "withdrawn by hand".into());
            return Ok(None);
        }
        let nothing = || Error::Refused(format!("'{name}' has no earlier release to go back to"));
        let can = |slot: &Slot| slot.live().is_some() || slot.fetched && !slot.is_hopeless();
        let to = model.previous.clone().filter(|id| model.slots.get(id).is_some_and(can)).ok_or_else(nothing)?;
        let from = model.good.clone().filter(|_| !model.unloaded).ok_or_else(nothing)?;
        // Back from going back: what the sources want again.
        let offered = model.offered_first() == Some(&to);
        let is_live = model.live(&to).is_some();
        model.rolled_back = (!offered).then(|| (from.clone(), to.clone()));
        if is_live {
            (model.good, model.previous) = (Some(to.clone()), Some(from.clone()));
        } else {
            model.resident = true;
        }
        if let Some(slot) = model.slots.get_mut(&to) {
            (slot.evicted, slot.proven) = (false, true);
        }
        self.unwritten.extend(model.slots.values().map(|slot| slot.release.source));
        count(&self.metrics.lifecycle.releases, &[name, "rolled_back"]);
        if let Some(model) = self.models.get(name) {
            let change = Change { from: model.version(&from), to: model.version(&to) };
            audit::decided("rolled_back", name, change, if is_live { "done" } else { "once it is loaded" });
        }
        Ok((!is_live).then_some(to))
    }

    pub(super) fn target(&self, name: &str, generation: &Arc<Generation>) -> Target {
        let of = |outcome| self.metrics.lifecycle.shadow.with_label_values(&[name, outcome]);
        Target {
            generation: Arc::clone(generation),
            share: self.settings.gate.shadow,
            same: of("same"),
            different: of("different"),
            failed: of("failed"),
            incompatible: of("incompatible"),
            skipped: of("skipped"),
        }
    }

    pub(super) fn promote(&mut self, name: &str, why: &str) {
        if let Some(trial) = self.end_trial(name) {
            if let Some(model) = self.models.get_mut(name) {
                if let Some(slot) = model.slots.get_mut(&trial.id) {
                    slot.proven = true;
                    self.unwritten.insert(slot.release.source);
                }
                if model.live(&trial.id).is_some() {
                    // Also where something newer is on its way.
                    model.previous = model.good.replace(trial.id.clone());
                }
            }
            count(&self.metrics.lifecycle.releases, &[name, "promoted"]);
            let to = self.models.get(name).and_then(|model| model.version(&trial.id));
            audit::decided("promoted", name, Change { from: Some(&trial.against().version), to }, why);
            tracing::info!(
                model = name,
                release = trial.id,
                why,
                after_s = trial.since.elapsed().as_secs(),
                "promoted"
            );
        }
    }

    pub(super) fn withdraw(&mut self, name: &str, id: &str, reason: String) {
        let trial = self.end_trial(name);
        count(&self.metrics.lifecycle.releases, &[name, "withdrawn"]);
        let from = self.models.get(name).and_then(|model| model.version(id));
        let to = trial.as_ref().map(|trial| trial.against().version.as_str());
        audit::decided("withdrawn", name, Change { from, to }, &reason);
        tracing::warn!(model = name, release = id, reason, "a release on trial was withdrawn");
        // First out of the catalog, then released.
        if let Some(slot) = self.models.get_mut(name).and_then(|model| model.slots.get_mut(id)) {
            let state = SlotState::Failed { reason, retry_at: None };
            if let SlotState::Live(generation) = std::mem::replace(&mut slot.state, state) {
                self.publish(name);
                self.hand_over(name, generation);
            }
        }
    }
}

fn reply_after(loaded: oneshot::Receiver<Result<Arc<Generation>, Error>>, reply: oneshot::Sender<Result<(), Error>>) {
    tokio::spawn(async move {
        let answer = match loaded.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::NotReady),
        };
        _ = reply.send(answer);
    });
}
