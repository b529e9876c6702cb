//! The commands of requests and operators.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use tokio::sync::oneshot;

use crate::{
    audit::{self, Change},
    error::Error,
    generation::Generation,
    lifecycle::{
        apply::{Fleet, Waiter},
        offers::write_down,
        preference::Preference,
        state::Desired,
        transition::{Requested, RollBack},
        version::Version,
    },
    metrics::lifecycle::count,
};

/// Requests that may wait for one model.
const MAX_WAITERS: usize = 4096;

/// The commands of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Load the model, and try again what failed.
    Load,
    /// Unload the model until it is loaded again.
    Unload,
    /// Go back to the version that answered before.
    RollBack,
    /// End a rollout: the canary answers all from now on.
    Promote,
}

/// Where the answer to a command goes.
pub(super) type Reply = oneshot::Sender<Result<(), Error>>;

impl Command {
    /// The call's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Unload => "unload",
            Self::RollBack => "rollback",
            Self::Promote => "promote",
        }
    }
}

/// A request names a model that is not resident.
pub(super) fn activate(fleet: &mut Fleet, name: &str, number: Option<&str>, waiter: Waiter) {
    let Some(state) = fleet.state(name) else {
        waiter.answer(Err(Error::unknown_model(name)));
        return;
    };
    if fleet.waiting(name) >= MAX_WAITERS {
        waiter.answer(Err(Error::Overloaded));
        return;
    }
    let id = Preference::new(state, &fleet.policy.gate).candidate(number).cloned();
    // A shadow gets copies of requests and answers none.
    let is_shadow =
        |id: &str| fleet.policy.gate.canary == 0 && state.rollout().is_some_and(|rollout| rollout.canary == id);
    match id.filter(|id| state.desired() != Desired::Unloaded && !is_shadow(id)) {
        Some(id) => wait(fleet, name, &id, waiter),
        None => waiter.answer(Err(Error::unavailable(name))),
    }
}

/// Lets a caller wait for a version, which is loaded if it is not on its way.
pub(super) fn wait(fleet: &mut Fleet, name: &str, id: &str, waiter: Waiter) {
    let Some(state) = fleet.state_mut(name) else { return };
    match state.request(id, Instant::now()) {
        Requested::Ready => match fleet.generation(name, id) {
            Some(generation) => waiter.answer(Ok(Arc::clone(generation))),
            None => waiter.answer(Err(Error::unavailable(name))),
        },
        Requested::Failed => {
            let unservable = state.version(id).and_then(Version::unservable);
            waiter.answer(Err(unservable.map_or_else(
                || Error::unavailable(name),
                |reason| Error::Unservable { model: name.to_owned(), reason: reason.to_owned() },
            )));
        }
        Requested::Waits => {
            let is_on_its_way = state.version(id).and_then(Version::job).is_some();
            fleet.wait(name, id, waiter);
            if !is_on_its_way {
                fleet.reconcile(name);
            }
        }
    }
}

/// An operator's command.
pub(super) fn command(fleet: &mut Fleet, name: &str, command: Command, reply: Reply) {
    let Some(state) = fleet.state_mut(name) else {
        _ = reply.send(Err(Error::unknown_model(name)));
        return;
    };
    let answer = match command {
        Command::Load => {
            let reset = state.load();
            let sources = reset.iter().filter_map(|id| Some(state.version(id)?.release.source));
            let sources: BTreeSet<_> = sources.collect();
            if let Some(store) = &fleet.loader.fetcher.store {
                for id in &reset {
                    store.attempts.forget(id);
                }
            }
            fleet.reconcile(name);
            // A version that can be tried again is remembered again.
            for source in sources {
                write_down(fleet, source);
            }
            return reply_when_loaded(fleet, name, reply);
        }
        Command::Unload => {
            state.unload();
            Ok(())
        }
        Command::RollBack => match roll_back(fleet, name) {
            Ok(None) => Ok(()),
            Ok(Some(id)) => {
                tracing::info!(
                    model = name,
                    ?command,
                    release = id,
                    "operator command accepted; the version is loaded first"
                );
                fleet.reconcile(name);
                let (waiter, loaded) = oneshot::channel();
                wait(fleet, name, &id, Waiter::new(false, waiter));
                return reply_after(loaded, reply);
            }
            Err(error) => Err(error),
        },
        Command::Promote => promote(fleet, name, "by hand"),
    };
    if answer.is_ok() {
        tracing::info!(model = name, ?command, "operator command applied");
    }
    fleet.reconcile(name);
    _ = reply.send(answer);
}

fn reply_when_loaded(fleet: &mut Fleet, name: &str, reply: Reply) {
    let (waiter, loaded) = oneshot::channel();
    let waiter = Waiter::new(true, waiter);
    // Requests may be content with what answered last; an operator who loads the model is not.
    let id = fleet.state(name).and_then(|state| {
        let preference = Preference::new(state, &fleet.policy.gate);
        preference.baseline.or(preference.preferred).cloned()
    });
    match id {
        Some(id) => wait(fleet, name, &id, waiter),
        None => activate(fleet, name, None, waiter),
    }
    reply_after(loaded, reply);
}

/// Gives the version to wait for, if it must be loaded first.
fn roll_back(fleet: &mut Fleet, name: &str) -> Result<Option<String>, Error> {
    let Some(state) = fleet.state_mut(name) else { return Err(Error::unknown_model(name)) };
    if state.rollout().is_some() {
        withdraw(fleet, name, "withdrawn by hand");
        return Ok(None);
    }
    let nothing = || Error::Refused(format!("'{name}' has no earlier release to go back to"));
    let RollBack { from, to, is_ready } = state.roll_back().ok_or_else(nothing)?;
    let change = Change { from: state.number(&from), to: state.number(&to) };
    audit::decided("rolled_back", name, change, if is_ready { "done" } else { "once it is loaded" });
    let sources: Vec<_> = [&from, &to].iter().filter_map(|id| Some(state.version(id)?.release.source)).collect();
    fleet.unwritten.extend(sources);
    count(&fleet.metrics.lifecycle.releases, &[name, "rolled_back"]);
    Ok((!is_ready).then_some(to))
}

/// Ends a rollout: the canary answers all from now on. [`Fleet::reconcile`] has to follow.
///
/// # Errors
/// [`Error::Refused`] without a rollout.
pub(super) fn promote(fleet: &mut Fleet, name: &str, why: &str) -> Result<(), Error> {
    let nothing = || Error::Refused(format!("no release of '{name}' is on trial"));
    let Some(state) = fleet.state_mut(name) else { return Err(Error::unknown_model(name)) };
    let rollout = state.promote().ok_or_else(nothing)?;
    let change = Change { from: state.number(&rollout.baseline), to: state.number(&rollout.canary) };
    audit::decided("promoted", name, change, why);
    let ids = [&rollout.baseline, &rollout.canary];
    let sources: Vec<_> = ids.iter().filter_map(|id| Some(state.version(id)?.release.source)).collect();
    fleet.unwritten.extend(sources);
    count(&fleet.metrics.lifecycle.releases, &[name, "promoted"]);
    let judge = fleet.judges().find(|(model, _)| *model == name).map(|(_, judge)| judge.since.elapsed().as_secs());
    tracing::info!(model = name, release = rollout.canary, why, after_s = judge, "promoted");
    Ok(())
}

/// Ends a rollout: the canary is not to serve. [`Fleet::reconcile`] has to follow.
pub(super) fn withdraw(fleet: &mut Fleet, name: &str, reason: &str) {
    let Some(state) = fleet.state_mut(name) else { return };
    let Some(rollout) = state.reject(reason) else { return };
    let change = Change { from: state.number(&rollout.canary), to: state.number(&rollout.baseline) };
    audit::decided("withdrawn", name, change, reason);
    count(&fleet.metrics.lifecycle.releases, &[name, "withdrawn"]);
    tracing::warn!(model = name, release = rollout.canary, reason, "a release on trial was withdrawn");
}

fn reply_after(loaded: oneshot::Receiver<Result<Arc<Generation>, Error>>, reply: Reply) {
    tokio::spawn(async move {
        let answer = match loaded.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::NotReady),
        };
        _ = reply.send(answer);
    });
}
