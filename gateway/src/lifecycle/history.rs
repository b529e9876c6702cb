//! The versions of a model that have answered, and the one that is tried against them.

use crate::lifecycle::version::VersionId;

/// The versions that have answered, for the time when a newer one does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// The version that answered last where a request named none, even if it is not resident.
    pub(super) last_known_good: Option<VersionId>,
    /// The version that was switched away from last. It stays resident until its memory is needed.
    pub(super) previous: Option<VersionId>,
    /// Until a version has answered: others to load if none that is wanted can be.
    pub(super) fallbacks: Vec<VersionId>,
    /// An operator's rollback; until a source offers something else.
    pub(super) rolled_back: Option<RolledBack>,
}

/// The version that an operator went back from, and the one that they went back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RolledBack {
    pub(super) from: VersionId,
    pub(super) to: VersionId,
}

/// A canary beside its baseline. Both are resident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rollout {
    /// The version on trial.
    pub(super) canary: VersionId,
    /// The version that answers meanwhile.
    pub(super) baseline: VersionId,
}
