//! The plan for a model: the decisions of the lifecycle, as one pure function.

use std::time::{Duration, Instant};

use crate::{
    config::Gate,
    lifecycle::{
        history::{History, Rollout},
        preference::{Preference, has_rollouts},
        state::{Desired, ModelState},
        transition::Plan,
        version::{Goal, Health, Urgency, Version, VersionId, VersionState},
    },
};

/// Rounds in which what serves and what has served are brought in line; two do, and one more shows it.
const MAX_ROUNDS: usize = 4;

/// Plans that are adopted one after the other, at most, until the next one changes nothing: a version that is tried again
/// may be what another is to be compared with.
pub(super) const ROUNDS: usize = 4;

/// The operator's settings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Policy {
    /// The trial of new versions before they answer all.
    pub(super) gate: Gate,
    /// Whether a new model is only fetched until a request asks for it.
    pub(super) lazy_load: bool,
    /// The pause after the first failure of a version; each further one doubles it.
    pub(super) retry: Duration,
}

/// Says what should serve, be tried, loaded, unloaded and forgotten, given what has become of a model's versions.
///
/// The same state gives the same plan. Adopted again and again while nothing happens, plans soon change nothing more.
pub(super) fn plan(model: &ModelState, policy: &Policy, now: Instant) -> Plan {
    let mut history = with_roll_back(model);
    let (mut canary, mut serve);
    let mut rounds = 0;
    loop {
        let preference = Preference::with(model, &history, &policy.gate);
        canary = self::canary(&preference, &policy.gate);
        serve = self::serve(&preference, canary.as_ref());
        let next = remember(&preference, &serve);
        rounds += 1;
        if next == history || rounds == MAX_ROUNDS {
            break;
        }
        // The version that answers now may be the next one's baseline, and may end a rollback.
        history = next;
    }
    let preference = Preference::with(model, &history, &policy.gate);
    let load = load(&preference, &serve, now);
    let cancel = cancel(&preference);
    let unload = unload(model, &serve, canary.as_ref(), &history);
    let forget = forget(&preference, &unload, &history);
    Plan { serve, canary, load, cancel, unload, forget, history }
}

/// An operator's rollback takes place once the version to go back to is loaded.
fn with_roll_back(model: &ModelState) -> History {
    let mut history = model.history().clone();
    if let Some(rolled_back) = &history.rolled_back
        && history.last_known_good.as_ref() == Some(&rolled_back.from)
        && model.is_ready(&rolled_back.to)
    {
        history.previous = history.last_known_good.replace(rolled_back.to.clone());
    }
    history
}

/// The preferred version is tried where it has not answered yet, and what answers is there to compare it with. While
/// something newer is on its way, what is on trial goes on.
fn canary(preference: &Preference<'_>, gate: &Gate) -> Option<Rollout> {
    let model = preference.model;
    if !has_rollouts(gate) || model.desired() == Desired::Unloaded {
        return None;
    }
    let are_ready = |rollout: &&Rollout| model.is_ready(&rollout.canary) && model.is_ready(&rollout.baseline);
    let next = preference.preferred.zip(preference.baseline);
    let next = next.map(|(canary, baseline)| Rollout { canary: canary.clone(), baseline: baseline.clone() });
    if let Some(next) = next.filter(|next| are_ready(&next)) {
        return Some(next);
    }
    let is_on = |rollout: &&Rollout| {
        let canary = model.version(&rollout.canary);
        preference.wanted.contains(&&rollout.canary)
            && canary.is_some_and(|it| it.health == Health::Unproven)
            && preference.history.last_known_good.as_ref() == Some(&rollout.baseline)
    };
    model.rollout().filter(are_ready).filter(is_on).cloned()
}

/// The versions that answer, of those that can.
fn serve(preference: &Preference<'_>, canary: Option<&Rollout>) -> Vec<VersionId> {
    let model = preference.model;
    if model.desired() == Desired::Unloaded {
        return Vec::new();
    }
    // The version that an operator went back from answers until there is the one to go back to.
    let is_left = |id: &VersionId| {
        let rolled_back = preference.history.rolled_back.as_ref();
        rolled_back.is_some_and(|rolled_back| rolled_back.from == *id && model.is_ready(&rolled_back.to))
    };
    let can = |id: &VersionId| model.is_ready(id) && canary.is_none_or(|rollout| rollout.canary != *id) && !is_left(id);
    let mut serve: Vec<VersionId> = preference.wanted.iter().filter(|id| can(id)).copied().cloned().collect();
    let is_hopeless = |id: &VersionId| model.version(id).is_none_or(Version::is_hopeless);
    let preferred = preference.preferred.filter(|id| !is_hopeless(id));
    if preference.baseline.is_some() || !preferred.is_some_and(can) {
        // The preferred version cannot answer yet: the one that an operator rolled back to or promoted does, or
        // the one that answered before.
        let history = preference.history;
        let mut kept: Vec<VersionId> = Vec::new();
        let target = history.rolled_back.iter().map(|rolled_back| &rolled_back.to).chain(&history.last_known_good);
        let candidates: Vec<_> = match preference.baseline {
            Some(baseline) => vec![baseline],
            None => target.chain(model.serving()).collect(),
        };
        for id in candidates.into_iter().filter(|id| can(id)) {
            if !kept.contains(id) {
                kept.push(id.clone());
            }
        }
        if kept.is_empty() {
            kept.extend(preference.fallbacks().find(|id| can(id)).cloned());
        }
        serve.retain(|id| !kept.contains(id));
        serve.splice(0..0, kept);
    }
    serve
}

/// The version that answers requests which name none is the last known good one from then on.
fn remember(preference: &Preference<'_>, serve: &[VersionId]) -> History {
    let mut history = preference.history.clone();
    let Some(new) = serve.first().filter(|_| !preference.awaits_preferred(serve)) else { return history };
    history.fallbacks.clear();
    if history.rolled_back.as_ref().is_some_and(|it| *new != it.to && *new != it.from) {
        history.rolled_back = None;
    }
    let old = history.last_known_good.replace(new.clone());
    if let Some(old) = old.filter(|old| old != new) {
        history.previous = preference.model.version(&old).is_some().then_some(old);
    }
    if history.previous.as_ref() == Some(new) {
        history.previous = None;
    }
    history
}

/// The jobs to start. Versions that requests wait for come first.
fn load(preference: &Preference<'_>, serve: &[VersionId], now: Instant) -> Vec<(VersionId, Goal)> {
    let model = preference.model;
    let mut load: Vec<(VersionId, Goal)> = Vec::new();
    let mut begin = |id: &VersionId, goal| {
        if !load.iter().any(|(begun, _)| begun == id) {
            load.push((id.clone(), goal));
        }
    };
    for (id, version) in model.versions().iter().filter(|(_, version)| version.requested) {
        if version.job().is_none() && !version.is_ready() {
            begin(id, Goal::Loaded(Urgency::Request));
        }
    }
    if model.desired() == Desired::Unloaded {
        return load;
    }
    let is_due = |id: &VersionId| match model.version(id).map(|version| &version.state) {
        Some(VersionState::Unloaded { evicted }) => !evicted,
        Some(VersionState::Failed { until: Some(until), .. }) => *until <= now,
        _ => false,
    };
    let has_job = |id: &VersionId| model.version(id).is_some_and(|version| version.job().is_some());
    let is_loaded = model.desired() == Desired::Loaded;
    if is_loaded
        && serve.is_empty()
        && preference.has_all_failed()
        // One after the other.
        && let Some(id) = preference.fallbacks().find(|id| is_due(id) || has_job(id))
        && is_due(id)
    {
        begin(id, Goal::Loaded(Urgency::Background));
    }
    // A canary is not loaded until its baseline is.
    let baseline = preference.baseline.filter(|id| !model.is_ready(id));
    let canary = baseline.and(preference.preferred);
    if let Some(id) = baseline.filter(|id| is_loaded && is_due(id)) {
        begin(id, Goal::Loaded(Urgency::Background));
    }
    for id in preference.wanted.iter().copied().filter(|id| Some(*id) != baseline && is_due(id)) {
        if is_loaded && canary != Some(id) {
            begin(id, Goal::Loaded(Urgency::Background));
        } else if model.version(id).is_some_and(|version| !version.fetched) {
            begin(id, Goal::Fetched);
        }
    }
    load
}

/// Versions on their way that nobody wants any more.
fn cancel(preference: &Preference<'_>) -> Vec<VersionId> {
    let is_fallback = |id: &VersionId| preference.has_all_failed() && preference.fallbacks().any(|it| it == id);
    let is_superseded = |(id, version): &(&VersionId, &Version)| {
        version.job().is_some()
            && !version.requested
            && !preference.wanted.contains(id)
            && preference.baseline != Some(*id)
            && !is_fallback(id)
    };
    preference.model.versions().iter().filter(is_superseded).map(|(id, _)| id.clone()).collect()
}

/// Resident versions that nothing needs. The previous one is kept for a rollback.
fn unload(model: &ModelState, serve: &[VersionId], canary: Option<&Rollout>, history: &History) -> Vec<VersionId> {
    let is_kept = |id: &VersionId| history.previous.as_ref() == Some(id) && model.desired() != Desired::Unloaded;
    let is_tried = |id: &VersionId| canary.is_some_and(|rollout| rollout.canary == *id);
    let ready = model.versions().iter().filter(|(_, version)| version.is_ready()).map(|(id, _)| id);
    ready.filter(|id| !serve.contains(id) && !is_kept(id) && !is_tried(id)).cloned().collect()
}

/// Versions that no source offers, nothing needs and no request waits for.
fn forget(preference: &Preference<'_>, unload: &[VersionId], history: &History) -> Vec<VersionId> {
    let model = preference.model;
    let offered = model.offered_ids();
    let mut forget = Vec::new();
    for (id, version) in model.versions() {
        let is_kept = preference.fallbacks().chain(&history.previous).any(|kept| kept == id);
        let is_used = version.requested || version.is_ready() && !unload.contains(id);
        if !is_used && !is_kept && !offered.contains(id) {
            forget.push(id.clone());
        }
    }
    forget
}
