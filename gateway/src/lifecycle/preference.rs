//! The preferred versions of a model: questions about a state that change nothing.

use std::collections::BTreeSet;

use crate::{
    config::Gate,
    lifecycle::{
        history::History,
        state::{Desired, ModelState},
        version::{Health, Version, VersionId, VersionState},
    },
};

/// A state as seen with the order of its versions worked out.
#[derive(Debug)]
pub(super) struct Preference<'a> {
    pub(super) model: &'a ModelState,
    pub(super) history: &'a History,
    /// Versions that should serve, the preferred first, one for each version number.
    pub(super) wanted: Vec<&'a VersionId>,
    /// The version that should answer where a request names none: the first that is wanted and not hopeless.
    pub(super) preferred: Option<&'a VersionId>,
    /// While the preferred version is yet to be tried: the version that answers meanwhile, resident or not.
    pub(super) baseline: Option<&'a VersionId>,
}

/// Whether new versions are tried before they answer all.
pub(super) fn has_rollouts(gate: &Gate) -> bool {
    gate.canary > 0 || gate.shadow > 0
}

impl<'a> Preference<'a> {
    pub(super) fn new(model: &'a ModelState, gate: &Gate) -> Self {
        Self::with(model, model.history(), gate)
    }

    /// As if `history` were the model's.
    pub(super) fn with(model: &'a ModelState, history: &'a History, gate: &Gate) -> Self {
        let wanted = wanted(model, history);
        let is_hopeful = |id: &&&VersionId| model.version(id).is_some_and(|version| !version.is_hopeless());
        let preferred = wanted.iter().find(is_hopeful).or(wanted.first()).copied();
        let mut this = Self { model, history, wanted, preferred, baseline: None };
        if has_rollouts(gate) {
            this.baseline = this.untried_against();
        }
        this
    }

    fn version(&self, id: &str) -> Option<&'a Version> {
        self.model.version(id)
    }

    fn untried_against(&self) -> Option<&'a VersionId> {
        let (known_good, preferred) = (self.history.last_known_good.as_ref()?, self.preferred?);
        let is_untried = self.version(preferred).is_some_and(|version| version.health != Health::KnownGood);
        (preferred != known_good && is_untried && self.version(known_good)?.is_at_hand()).then_some(known_good)
    }

    /// While the preferred version is not even there to be loaded: the last known good one.
    fn stand_in(&self) -> Option<&'a VersionId> {
        let is_at_hand = |id: &VersionId| self.version(id).is_some_and(Version::is_at_hand);
        let known_good = self.history.last_known_good.as_ref().filter(|id| is_at_hand(id))?;
        self.preferred.is_some_and(|preferred| preferred != known_good && !is_at_hand(preferred)).then_some(known_good)
    }

    /// Versions to serve where none that is wanted can.
    pub(super) fn fallbacks(&self) -> impl Iterator<Item = &'a VersionId> + use<'a> {
        self.history.last_known_good.iter().chain(&self.history.fallbacks)
    }

    /// Whether all that is wanted, if anything is, has failed. A version that is tried again has, until it is loaded.
    pub(super) fn has_all_failed(&self) -> bool {
        let failed = |version: &Version| match version.state {
            VersionState::Failed { .. } => true,
            VersionState::Ready => false,
            _ => version.failures > 0,
        };
        self.wanted.iter().all(|id| self.version(id).is_some_and(failed))
    }

    /// Whether the version that should answer where a request names none is not resident, and is known to be good or on
    /// its way, while others serve.
    pub(super) fn awaits_preferred(&self, serving: &[VersionId]) -> bool {
        let Some(first) = serving.first() else { return false };
        if let Some(baseline) = self.baseline {
            return baseline != first;
        }
        let is_hopeful = |id: &str| self.version(id).is_some_and(|it| it.failures == 0 && !it.has_failed());
        let is_chosen = self.history.last_known_good.as_ref() == Some(first)
            || self.history.rolled_back.as_ref().is_some_and(|rolled_back| rolled_back.to == *first);
        !is_chosen && self.preferred.is_some_and(|preferred| preferred != first && is_hopeful(preferred))
    }

    /// Whether requests that name no version can be answered, as far as is known.
    pub(super) fn can_answer(&self) -> bool {
        let could = |id: &&VersionId| {
            self.version(id).is_some_and(|version| version.fetched && version.failures == 0 && !version.is_hopeless())
        };
        // A model that was unloaded by hand is not to be answered for by another.
        !self.model.serving().is_empty()
            || self.history.last_known_good.is_some()
            || self.model.desired() != Desired::Loaded && self.wanted.iter().any(could)
    }

    /// The version to load for a request: of that number, or the preferred one that is not hopeless.
    pub(super) fn candidate(&self, number: Option<&str>) -> Option<&'a VersionId> {
        if number.is_none()
            && let Some(known_good) = self.baseline.or_else(|| self.stand_in())
        {
            return Some(known_good);
        }
        let is_named = |id: &&VersionId| number.is_none_or(|number| self.model.number(id) == Some(number));
        let is_hopeful = |id: &&VersionId| self.version(id).is_some_and(|version| !version.is_hopeless());
        let fallbacks = self.history.fallbacks.iter().filter(|_| number.is_none());
        let others = self.history.last_known_good.iter().chain(fallbacks).filter(|id| self.version(id).is_some());
        let mut candidates = self.wanted.iter().copied().chain(others).filter(is_named);
        candidates.clone().find(is_hopeful).or_else(|| candidates.next())
    }

    /// Another version that could be loaded in place of one that failed just now.
    pub(super) fn fallback(&self, failed: &str) -> Option<&'a VersionId> {
        let could = |id: &&VersionId| *id != failed && self.version(id).is_some_and(|version| !version.has_failed());
        self.wanted.iter().copied().chain(self.fallbacks()).find(could)
    }

    /// Whether nothing needs the model any more. A version that has answered can again, from the local cache.
    pub(super) fn is_gone(&self) -> bool {
        let known_good = self.history.last_known_good.as_ref().and_then(|id| self.version(id));
        (self.model.desired() == Desired::Unloaded || !known_good.is_some_and(|version| version.fetched))
            && self.model.serving().is_empty()
            && self.model.offers().values().all(|offered| offered.ids.is_empty())
            && !self.model.versions().values().any(Version::is_ready)
    }
}

fn wanted<'a>(model: &'a ModelState, history: &'a History) -> Vec<&'a VersionId> {
    let mut numbers = BTreeSet::new();
    let mut ids = model.offered();
    ids.retain(|id| model.number(id).is_some_and(|number| numbers.insert(number)));
    if let Some(rolled_back) = history.rolled_back.as_ref().filter(|it| model.version(&it.to).is_some()) {
        // In the place of the version that was gone back from: something newer may be on its way.
        let (from, to) = (&rolled_back.from, &rolled_back.to);
        let index = usize::from(ids.first().is_some_and(|first| *first != from && *first != to));
        ids.retain(|id| *id != from && *id != to);
        ids.insert(index.min(ids.len()), to);
    }
    ids
}
