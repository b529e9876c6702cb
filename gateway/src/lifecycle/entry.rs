//! The catalog's entry of a model.

use std::sync::Arc;

use crate::{
    catalog::{Canary, Entry, State, Status},
    generation::Generation,
    lifecycle::{
        plan::Policy,
        preference::Preference,
        state::{Desired, ModelState},
        version::{Goal, Urgency, Version, VersionId, VersionState},
    },
};

/// The entry of a model. `generation` gives the generation of a version that is resident.
pub(super) fn entry(
    model: &ModelState,
    policy: &Policy,
    generation: &dyn Fn(&str) -> Option<Arc<Generation>>,
) -> Entry {
    let preference = Preference::new(model, &policy.gate);
    let is_unloaded = model.desired() == Desired::Unloaded;
    let canary = model.rollout().filter(|_| policy.gate.canary > 0).and_then(|rollout| {
        Some(Canary { generation: generation(&rollout.canary)?, share: policy.gate.canary, turn: 0.into() })
    });
    // A model that was unloaded by hand answers nobody.
    let idle = preference.candidate(None).filter(|_| !is_unloaded).and_then(|id| model.version(id));
    Entry {
        generations: model.serving().iter().filter_map(|id| generation(id)).collect(),
        versions: statuses(&preference),
        canary,
        idle: idle.map(|version| (version.release.version.clone(), version.info.clone())),
        awaits_first: preference.awaits_preferred(model.serving()),
    }
}

/// One for each version number.
fn statuses(preference: &Preference<'_>) -> Vec<Status> {
    let model = preference.model;
    let mut statuses: Vec<Status> = Vec::new();
    let others = preference.fallbacks().filter(|_| preference.has_all_failed());
    let left = model.history().rolled_back.iter().map(|rolled_back| &rolled_back.from);
    for id in model.serving().iter().chain(preference.wanted.iter().copied()).chain(others).chain(left) {
        let Some(version) = model.version(id) else { continue };
        let mut status = status(preference, id, version);
        if let Some(conflict) = model.conflicts().get(&status.version) {
            let texts = [status.reason.as_str(), conflict];
            status.reason = texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        }
        match statuses.iter_mut().find(|known| known.version == status.version) {
            // A version that serves while a newer build of it does not: both belong to the truth.
            Some(known) if *known != status && !status.reason.is_empty() && known.state == State::Ready => {
                known.reason = format!("a newer build of this version does not serve: {}", status.reason);
            }
            Some(_) => {}
            None => statuses.push(status),
        }
    }
    statuses
}

fn status(preference: &Preference<'_>, id: &VersionId, version: &Version) -> Status {
    let model = preference.model;
    let is_unloaded = model.desired() == Desired::Unloaded;
    let is_left = model.history().rolled_back.as_ref().is_some_and(|rolled_back| rolled_back.from == *id);
    let is_tried = model.rollout().is_some_and(|rollout| rollout.canary == *id);
    let (state, reason) = match &version.state {
        _ if is_unloaded => (State::Unavailable, "unloaded".to_owned()),
        _ if is_left && !model.serving().contains(id) => {
            (State::Unavailable, "rolled back, until its source offers something else".to_owned())
        }
        VersionState::Ready if is_tried => (State::Loading, "on trial".to_owned()),
        VersionState::Ready if preference.wanted.is_empty() => {
            (State::Ready, "no source has it any more; it serves until it is unloaded or replaced".to_owned())
        }
        VersionState::Ready => (State::Ready, version.note.clone()),
        VersionState::Fetching(job) if job.goal == Goal::Fetched => (State::Loading, "being fetched".to_owned()),
        VersionState::Fetching(_) | VersionState::Loading(..) => (State::Loading, String::new()),
        VersionState::Unloaded { .. } => (State::Unavailable, "not resident; the first request loads it".to_owned()),
        VersionState::Failed { reason, .. } => (State::Unavailable, reason.clone()),
    };
    let is_had = match &version.state {
        VersionState::Ready | VersionState::Unloaded { .. } => true,
        VersionState::Fetching(job) | VersionState::Loading(job, _) => job.goal == Goal::Loaded(Urgency::Request),
        VersionState::Failed { .. } => false,
    };
    Status { version: version.release.version.clone(), state, reason, in_reach: is_had && !is_unloaded }
}
