//! One model as the supervisor sees it: what is wanted of it, what is resident, what serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use tokio::{sync::oneshot, task::AbortHandle};

use crate::{
    card::Known,
    catalog::{Canary, Entry, State, Status},
    error::Error,
    generation::Generation,
    release::{Content, Release, by_version},
    source::Clash,
    swap::{prepare::Until, room::Need, trial::Trial},
};

/// Whoever waits for a generation.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Whether another version will do.
    pub(super) any: bool,
    reply: oneshot::Sender<Result<Arc<Generation>, Error>>,
}

impl Waiter {
    pub(super) fn new(any: bool, reply: oneshot::Sender<Result<Arc<Generation>, Error>>) -> Self {
        Self { any, reply }
    }

    /// Whoever went away needs no answer.
    pub(super) fn answer(self, answer: Result<Arc<Generation>, Error>) {
        _ = self.reply.send(answer);
    }
}

/// A model.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// By source, what it offers.
    pub(super) offers: BTreeMap<usize, Offered>,
    /// Releases by id: those wanted, those resident, and the last good one.
    pub(super) slots: BTreeMap<String, Slot>,
    /// Ids of those that answer; the first where no version is named.
    pub(super) serving: Vec<String>,
    /// The one that was switched away from last; kept warm, unless its memory is needed.
    pub(super) previous: Option<String>,
    /// The one that answered last where no version was named, even if it is not resident.
    pub(super) good: Option<String>,
    /// Until one has answered: others to try if what is wanted is of no use. What answered in an earlier life, and the next
    /// version by the policy.
    pub(super) spare: Vec<String>,
    /// From which release to which somebody went back; until a source wants something else.
    pub(super) rolled_back: Option<(String, String)>,
    /// Whether what is wanted should be resident, or only fetched.
    pub(super) resident: bool,
    /// Unloaded by hand, until loaded by hand.
    pub(super) unloaded: bool,
    /// Whether new releases are tried before they answer all.
    pub(super) gated: bool,
    /// A release that gets some requests, or copies of them, before it answers all.
    pub(super) trial: Option<Trial>,
    /// By version: that another source has other content of it.
    pub(super) clashing: BTreeMap<String, String>,
}

/// What one source offers of a model.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// Ids of releases, the preferred first.
    pub(super) ids: Vec<String>,
    /// Whether somebody said which version it is to be, so that none is preferred for its number.
    pub(super) is_chosen: bool,
}

/// A release and what has become of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) release: Release,
    pub(super) state: SlotState,
    pub(super) waiters: Vec<Waiter>,
    /// Worth knowing while it serves.
    pub(super) note: String,
    /// Whether all its files are in the local cache.
    pub(super) fetched: bool,
    /// Whether it has answered where no version was named, or somebody said that it may.
    pub(super) proven: bool,
    /// Let go of to make room or for being idle: a request brings it back, nothing else.
    pub(super) evicted: bool,
    /// Bytes it took when it was last resident.
    pub(super) cost: usize,
    /// Failures in a row.
    pub(super) failures: u32,
    /// What it told of itself when it was last resident.
    pub(super) known: Option<Arc<Known>>,
}

#[derive(Debug)]
pub(super) enum SlotState {
    /// Known, not resident.
    Idle,
    /// On its way; what it needs to be loaded is known once its turn comes.
    Busy { ticket: u64, until: Until, since: Instant, task: AbortHandle, need: Need, hurry: Arc<AtomicBool> },
    /// Resident.
    Live(Arc<Generation>),
    /// Of no use; to be tried again then, if ever.
    Failed { reason: String, retry_at: Option<Instant> },
}

impl Slot {
    pub(super) fn new(release: Release) -> Self {
        let state = match &release.content {
            // No job would tell more. The source offers another release once there is something to serve.
            Content::Unservable { reason } => SlotState::Failed { reason: reason.clone(), retry_at: None },
            _ => SlotState::Idle,
        };
        Self {
            release,
            state,
            waiters: Vec::new(),
            note: String::new(),
            fetched: false,
            proven: false,
            evicted: false,
            cost: 0,
            failures: 0,
            known: None,
        }
    }

    pub(super) fn live(&self) -> Option<&Arc<Generation>> {
        match &self.state {
            SlotState::Live(generation) => Some(generation),
            _ => None,
        }
    }

    /// Whether this job is its job.
    pub(super) fn is_at(&self, job: u64) -> bool {
        matches!(self.state, SlotState::Busy { ticket, .. } if ticket == job)
    }

    /// Whether it is being loaded, not only fetched or waiting for its turn.
    pub(super) fn is_loading(&self) -> bool {
        matches!(self.state, SlotState::Busy { need, .. } if need != Need::default())
    }

    /// Why its source has nothing to serve for it, where that is so.
    pub(super) fn unservable(&self) -> Option<&str> {
        match &self.release.content {
            Content::Unservable { reason } => Some(reason),
            _ => None,
        }
    }

    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self.state, SlotState::Failed { retry_at: None, .. })
    }
}

impl Model {
    /// The ids of the releases that should serve, the preferred first, one for each version.
    pub(super) fn wanted(&self) -> Vec<String> {
        let mut versions = BTreeSet::new();
        let mut ids: Vec<String> = self
            .offered()
            .filter(|id| self.slots.get(*id).is_some_and(|slot| versions.insert(slot.release.version.clone())))
            .cloned()
            .collect();
        if let Some((from, to)) = &self.rolled_back
            && self.slots.contains_key(to)
        {
            // In the place of what was gone back from: something newer may be on its way.
            let place = usize::from(ids.first().is_some_and(|first| first != from && first != to));
            ids.retain(|id| id != from && id != to);
            ids.insert(place.min(ids.len()), to.clone());
        }
        ids
    }

    /// All that the sources offer, the preferred first: sources come in their order, but those without a say in the
    /// version are as one, in the place of their first.
    fn offered(&self) -> impl Iterator<Item = &String> {
        let version = |id: &String| self.slots.get(id).map_or("", |slot| slot.release.version.as_str());
        let mut others: Vec<_> =
            self.offers.values().filter(|offered| !offered.is_chosen).flat_map(|o| &o.ids).collect();
        others.sort_by(|a, b| by_version(version(b), version(a)));
        self.offers.values().flat_map(move |offered| {
            if offered.is_chosen { offered.ids.iter().collect() } else { mem::take(&mut others) }
        })
    }

    /// The versions that a source has with other content than one before it: those of the first are served.
    pub(super) fn clashes(&self) -> Vec<Clash> {
        let mut first: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        let mut clashes = Vec::new();
        for (key, offered) in &self.offers {
            // The key counts from the bundles of the command line on, which belong to no source.
            let source = key.wrapping_sub(1);
            for id in &offered.ids {
                let Some(slot) = self.slots.get(id) else { continue };
                let version = slot.release.version.as_str();
                match first.get(version) {
                    Some((other, known)) if known != id && *other != source => {
                        clashes.push(Clash { version: version.to_owned(), first: *other, second: source });
                    }
                    Some(_) => {}
                    None => _ = first.insert(version, (source, id)),
                }
            }
        }
        clashes
    }

    /// What the sources want first, whatever somebody did by hand.
    pub(super) fn offered_first(&self) -> Option<&String> {
        self.offered().next()
    }

    /// The version of a release that is known.
    pub(super) fn version(&self, id: &str) -> Option<&str> {
        self.slots.get(id).map(|slot| slot.release.version.as_str())
    }

    pub(super) fn live(&self, id: &str) -> Option<&Arc<Generation>> {
        self.slots.get(id)?.live()
    }

    /// Threads that have run what serves by default.
    pub(super) fn given(&self) -> usize {
        self.serving.first().and_then(|id| self.live(id)).map_or(0, |generation| generation.given())
    }

    fn is_on_trial(&self, id: &str) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.id == id)
    }

    /// The id that should answer where no version is named.
    pub(super) fn head(&self) -> Option<String> {
        let mut wanted = self.wanted();
        let hopeful = wanted.iter().position(|id| self.slots.get(id).is_some_and(|slot| !slot.is_hopeless()));
        (!wanted.is_empty()).then(|| wanted.swap_remove(hopeful.unwrap_or(0)))
    }

    /// Where the head is yet to be tried: the id of what answers meanwhile, resident or not.
    pub(super) fn incumbent(&self) -> Option<&String> {
        let good = self.good.as_ref().filter(|_| self.gated)?;
        let slot = self.slots.get(good)?;
        let head = self.head()?;
        let is_tried = head == *good || self.slots.get(&head).is_none_or(|slot| slot.proven);
        let can = slot.live().is_some() || slot.fetched && !matches!(slot.state, SlotState::Failed { .. });
        (!is_tried && can).then_some(good)
    }

    /// While the head is not even there to be loaded: the id of what answered last.
    fn stand_in(&self) -> Option<&String> {
        let there =
            |slot: &Slot| slot.live().is_some() || slot.fetched && !matches!(slot.state, SlotState::Failed { .. });
        let is_there = |id: &String| self.slots.get(id).is_some_and(there);
        let good = self.good.as_ref().filter(|id| is_there(id))?;
        self.head().is_some_and(|head| head != *good && !is_there(&head)).then_some(good)
    }

    /// Whether what should answer where no version is named is known to be good, or on its way, and not resident, while
    /// others are.
    pub(super) fn awaits_head(&self) -> bool {
        let Some(first) = self.serving.first() else { return false };
        let hopeful = |id: &String| {
            let slot = self.slots.get(id);
            slot.is_some_and(|slot| slot.failures == 0 && !matches!(slot.state, SlotState::Failed { .. }))
        };
        let is_chosen =
            self.good.as_ref() == Some(first) || self.rolled_back.as_ref().is_some_and(|(_, to)| to == first);
        match self.incumbent() {
            Some(incumbent) => incumbent != first,
            None => !is_chosen && self.head().is_some_and(|head| head != *first && hopeful(&head)),
        }
    }

    /// Whether requests that name no version can be answered, as far as is known.
    pub(super) fn can_answer(&self) -> bool {
        let could = |id: &String| {
            let slot = self.slots.get(id);
            slot.is_some_and(|slot| slot.fetched && slot.failures == 0 && !slot.is_hopeless())
        };
        // One that was unloaded by hand is not to be answered for by another.
        !self.serving.is_empty() || self.good.is_some() || !self.resident && self.wanted().iter().any(could)
    }

    /// The ids that should answer, of those that can.
    pub(super) fn choose_serving(&self) -> Vec<String> {
        if self.unloaded {
            return Vec::new();
        }
        // What somebody went back from answers until there is what to go back to.
        let is_left =
            |id: &String| self.rolled_back.as_ref().is_some_and(|(from, to)| from == id && self.live(to).is_some());
        let can = |id: &&String| self.live(id).is_some() && !self.is_on_trial(id) && !is_left(id);
        let wanted = self.wanted();
        let mut serving: Vec<String> = wanted.iter().filter(can).cloned().collect();
        let head = wanted.iter().find(|id| self.slots.get(*id).is_some_and(|slot| !slot.is_hopeless()));
        let incumbent = self.incumbent();
        if incumbent.is_some() || !head.is_some_and(|head| can(&head)) {
            // What should answer first cannot yet: what answered stays, and first if it was.
            let mut kept: Vec<String> = match incumbent {
                Some(incumbent) => Some(incumbent).filter(can).cloned().into_iter().collect(),
                None => self.serving.iter().filter(can).cloned().collect(),
            };
            if kept.is_empty() {
                kept.extend(self.last_resorts().find(can).cloned());
            }
            serving.retain(|id| !kept.contains(id));
            serving.splice(0..0, kept);
        }
        serving
    }

    /// The release to make resident for a request: of that version, or the preferred one that is not hopeless.
    pub(super) fn candidate(&self, version: Option<&str>) -> Option<String> {
        if version.is_none()
            && let Some(good) = self.incumbent().or_else(|| self.stand_in())
        {
            return Some(good.clone());
        }
        let wanted = self.wanted();
        let of_version = |id: &&String| {
            version.is_none_or(|version| self.slots.get(*id).is_some_and(|slot| slot.release.version == version))
        };
        let hopeful = |id: &&String| self.slots.get(*id).is_some_and(|slot| !slot.is_hopeless());
        let others = self.good.iter().chain(self.spare.iter().filter(|_| version.is_none()));
        let mut candidates = wanted.iter().chain(others.filter(|id| self.slots.contains_key(*id))).filter(of_version);
        candidates.clone().find(hopeful).or_else(|| candidates.next()).cloned()
    }

    /// Another release that could be made resident in place of one that failed just now.
    pub(super) fn fallback(&self, failed: &str) -> Option<String> {
        let wanted = self.wanted();
        let could = |id: &&String| {
            id.as_str() != failed
                && self.slots.get(*id).is_some_and(|slot| !matches!(slot.state, SlotState::Failed { .. }))
        };
        wanted.iter().chain(self.last_resorts()).find(could).cloned()
    }

    /// Ids of releases to serve where none that is wanted can.
    pub(super) fn last_resorts(&self) -> impl Iterator<Item = &String> {
        self.good.iter().chain(&self.spare)
    }

    /// Whether all that is wanted, if anything is, has failed. What is tried again has, until it is good.
    pub(super) fn is_let_down(&self) -> bool {
        let failed = |slot: &Slot| match slot.state {
            SlotState::Failed { .. } => true,
            SlotState::Live(_) => false,
            SlotState::Idle | SlotState::Busy { .. } => slot.failures > 0,
        };
        self.wanted().iter().all(|id| self.slots.get(id).is_some_and(failed))
    }

    /// Ids of resident releases that nothing needs.
    pub(super) fn unneeded(&self) -> Vec<String> {
        let live = self.slots.iter().filter(|(_, slot)| slot.live().is_some()).map(|(id, _)| id);
        let is_kept = |id: &String| self.previous.as_ref() == Some(id) && !self.unloaded;
        live.filter(|id| !self.serving.contains(id) && !is_kept(id) && !self.is_on_trial(id)).cloned().collect()
    }

    /// Ids of releases that need not even be known.
    pub(super) fn forgettable(&self) -> Vec<String> {
        let offered: BTreeSet<_> = self.offers.values().flat_map(|offered| &offered.ids).collect();
        self.slots
            .iter()
            .filter(|(id, slot)| {
                let mut kept = self.last_resorts().chain(&self.previous);
                slot.live().is_none()
                    && slot.waiters.is_empty()
                    && !offered.contains(id)
                    && !kept.any(|other| other == *id)
            })
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Whether it is of no more use to anybody. What has answered can again, from the local cache.
    pub(super) fn is_gone(&self) -> bool {
        let can_answer = self.good.as_ref().and_then(|id| self.slots.get(id)).is_some_and(|slot| slot.fetched);
        (self.unloaded || !can_answer)
            && self.serving.is_empty()
            && self.offers.values().all(|offered| offered.ids.is_empty())
            && self.slots.values().all(|slot| slot.live().is_none())
    }

    /// What the catalog should say.
    pub(super) fn entry(&self) -> Entry {
        let wanted = self.wanted();
        let generations = self.serving.iter().filter_map(|id| self.live(id).cloned()).collect();
        let mut versions: Vec<Status> = Vec::new();
        let others = self.last_resorts().filter(|_| self.is_let_down());
        let left = self.rolled_back.iter().map(|(from, _)| from);
        for id in self.serving.iter().chain(&wanted).chain(others).chain(left) {
            let Some(slot) = self.slots.get(id) else { continue };
            let mut status = self.status(id, slot, &wanted);
            if let Some(clash) = self.clashing.get(&status.version) {
                status.reason = [status.reason.as_str(), clash]
                    .into_iter()
                    .filter(|text| !text.is_empty())
                    .collect::<Vec<_>>()
                    .join("; ");
            }
            match versions.iter_mut().find(|known| known.version == status.version) {
                // A version that serves while a newer build of it does not: both belong to the truth.
                Some(known) if *known != status && !status.reason.is_empty() && known.state == State::Ready => {
                    known.reason = format!("a newer build of this version does not serve: {}", status.reason);
                }
                Some(_) => {}
                None => versions.push(status),
            }
        }
        let canary = self.trial.as_ref().filter(|trial| trial.share > 0).and_then(|trial| {
            Some(Canary { generation: Arc::clone(self.live(&trial.id)?), share: trial.share, turn: 0.into() })
        });
        // What was unloaded by hand answers nobody.
        let idle = self.candidate(None).filter(|_| !self.unloaded).and_then(|id| {
            let slot = self.slots.get(&id)?;
            Some((slot.release.version.clone(), slot.known.clone()))
        });
        Entry { generations, versions, canary, idle, awaits_first: self.awaits_head() }
    }

    fn status(&self, id: &String, slot: &Slot, wanted: &[String]) -> Status {
        let (state, reason) = match &slot.state {
            _ if self.unloaded => (State::Unavailable, "unloaded".to_owned()),
            _ if self.rolled_back.as_ref().is_some_and(|(from, _)| from == id) && !self.serving.contains(id) => {
                (State::Unavailable, "rolled back, until its source offers something else".to_owned())
            }
            SlotState::Live(_) if self.is_on_trial(id) => (State::Loading, "on trial".to_owned()),
            SlotState::Live(_) if !wanted.contains(id) && wanted.is_empty() => {
                (State::Ready, "no source has it any more; it serves until it is unloaded or replaced".to_owned())
            }
            SlotState::Live(_) => (State::Ready, slot.note.clone()),
            SlotState::Busy { until: Until::Fetched, .. } => (State::Loading, "being fetched".to_owned()),
            SlotState::Busy { .. } => (State::Loading, String::new()),
            SlotState::Idle => (State::Unavailable, "not resident; the first request loads it".to_owned()),
            SlotState::Failed { reason, .. } => (State::Unavailable, reason.clone()),
        };
        let is_had = match &slot.state {
            SlotState::Live(_) | SlotState::Idle => true,
            SlotState::Busy { until, .. } => *until == Until::LoadedSoon,
            SlotState::Failed { .. } => false,
        };
        Status { version: slot.release.version.clone(), state, reason, in_reach: is_had && !self.unloaded }
    }
}

#[cfg(test)]
mod tests;
