//! The values that go into the [state of a model](super::state::ModelState) and come out of it: offers, plans, facts, changes.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    lifecycle::{
        history::{History, Rollout},
        version::{Goal, Job, VersionId},
    },
    model_info::ModelInfo,
    release::Release,
    store::Remembered,
};

/// The result of [`plan`](super::plan::plan) for a model, which [`ModelState::adopt`](super::state::ModelState::adopt) takes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Versions that answer, the preferred first.
    pub(super) serve: Vec<VersionId>,
    /// A version that is tried before it answers all.
    pub(super) canary: Option<Rollout>,
    /// Jobs to start.
    pub(super) load: Vec<(VersionId, Goal)>,
    /// Versions whose jobs are to end: nobody wants them any more.
    pub(super) cancel: Vec<VersionId>,
    /// Resident versions that nothing needs.
    pub(super) unload: Vec<VersionId>,
    /// Versions that need not even be known.
    pub(super) forget: Vec<VersionId>,
    /// The versions that have answered, now that these serve.
    pub(super) history: History,
}

/// A source's report on one model.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceOffer {
    /// The versions that it wants served, the preferred first.
    pub(super) releases: Vec<Release>,
    pub(super) is_chosen: bool,
    /// Others, for where none of these can serve, and whether their files are in the local cache.
    pub(super) fallbacks: Vec<(Release, bool)>,
    /// The version that answered in an earlier life, and whether its files are in the local cache.
    pub(super) remembered: Vec<(Remembered, bool)>,
    /// Whether every source has been heard by now.
    pub(super) is_last: bool,
}

/// The answer to a request for a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// The version answers now.
    Ready,
    /// The request waits until the version is loaded.
    Waits,
    /// The version failed, and is not tried again yet.
    Failed,
}

/// The facts that a version showed when it was loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Bytes that it takes.
    pub(super) cost: usize,
    pub(super) info: Option<Arc<ModelInfo>>,
    pub(super) note: String,
}

/// The result of an operator's rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RollBack {
    pub(super) from: VersionId,
    pub(super) to: VersionId,
    /// Whether it takes place at once; otherwise once `to` is loaded.
    pub(super) is_ready: bool,
}

/// The changes of [`ModelState::adopt`](super::state::ModelState::adopt), for the holder of jobs and generations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Jobs to start.
    pub(super) started: Vec<(VersionId, Job)>,
    /// Versions whose jobs are to end.
    pub(super) cancelled: Vec<VersionId>,
    /// Sources of which something else is to be remembered over a restart than before: of the version that answers now,
    /// and of the one that did.
    pub(super) unwritten: BTreeSet<usize>,
    /// Whether anything else changed.
    pub(super) is_changed: bool,
}
