//! The live generations by name, and what else is known.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use serde::Serialize;

use crate::{
    generation::Generation,
    json::decode::MODEL_KEY,
    model_info::{ListedModel, ModelInfo},
};

/// The generation that answers for each model. Reading takes a short lock that is never held across an `.await`.
#[derive(Debug, Default)]
pub struct Catalog {
    live: RwLock<Live>,
}

#[derive(Debug, Default)]
struct Live {
    models: BTreeMap<String, Entry>,
    /// The model that answers where none is named.
    default: Option<String>,
    /// Counts changes.
    revision: u64,
}

/// One model.
#[derive(Debug, Default)]
pub struct Entry {
    /// Its resident generations; the first answers where no version is named.
    pub generations: Vec<Arc<Generation>>,
    /// Whether the one that answers where no version is named is not resident, though these are.
    pub awaits_first: bool,
    /// Every version that is known.
    pub versions: Vec<Status>,
    /// A generation that gets a share of the requests that name no version.
    pub canary: Option<Canary>,
    /// Where none is resident: the version that a request would make so, and what it told when it was last.
    pub idle: Option<(String, Option<Arc<ModelInfo>>)>,
}

impl Entry {
    fn live(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.generations.iter().chain(self.canary.iter().map(|canary| &canary.generation))
    }
}

/// A generation on trial.
#[derive(Debug)]
pub struct Canary {
    /// The generation.
    pub generation: Arc<Generation>,
    /// Its share of the requests, in thousandths.
    pub share: u32,
    /// Counts requests.
    pub turn: AtomicU32,
}

impl Canary {
    fn is_next(&self) -> bool {
        // A multiplier prime to 1000 spreads the turns evenly.
        self.turn.fetch_add(1, Ordering::Relaxed).wrapping_mul(619) % 1000 < self.share
    }
}

/// The state of a version, in the Open Inference Protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// The version answers.
    Ready,
    /// The version does not answer; the reason says why.
    Unavailable,
    /// The version is being fetched, loaded or tried.
    Loading,
    /// The version answers no new requests.
    Unloading,
}

/// A version that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub version: String,
    /// Whether it answers.
    pub state: State,
    /// Why it does not, or what else should be known; may be empty.
    pub reason: String,
    /// Whether requests that name it are answered, if need be once it is loaded.
    pub in_reach: bool,
}

/// The catalog's entry for a name and version.
#[derive(Clone, Debug)]
pub enum Found {
    /// A generation that answers now.
    Live(Arc<Generation>),
    /// A model that is not resident.
    Idle(String),
    /// Nothing of that name; `None` where there is no default model.
    NoModel(Option<String>),
    /// The model, but not that version.
    NoVersion(String),
}

impl Catalog {
    /// Makes a generation the only one that answers for its name, and gives the one that did before. The first of all
    /// becomes the default model.
    pub fn publish(&self, generation: Arc<Generation>) -> Option<Arc<Generation>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let name = generation.name.clone();
        live.revision += 1;
        live.default.get_or_insert_with(|| name.clone());
        let status =
            Status { version: generation.version.clone(), state: State::Ready, reason: String::new(), in_reach: true };
        let entry = Entry { generations: vec![generation], versions: vec![status], ..Entry::default() };
        live.models.insert(name, entry)?.generations.into_iter().next()
    }

    /// Puts a whole entry in place.
    pub fn set(&self, name: &str, entry: Entry) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.revision += 1;
        let old = live.models.insert(name.to_owned(), entry);
        drop(live);
        drop(old);
    }

    /// Forgets a model.
    pub fn remove(&self, name: &str) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.revision += 1;
        let old = live.models.remove(name);
        drop(live);
        drop(old);
    }

    /// Says which model answers where none is named.
    pub fn set_default(&self, name: Option<String>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.revision += 1;
        live.default = name;
    }

    /// The generation for a request. Where a trial runs, it may be the one on trial.
    pub fn find(&self, name: Option<&str>, version: Option<&str>) -> Found {
        self.found(name, version, true)
    }

    /// The generation for a call that asks about a model, which is no turn of a trial.
    pub fn look(&self, name: &str, version: Option<&str>) -> Found {
        self.found(Some(name), version, false)
    }

    fn found(&self, name: Option<&str>, version: Option<&str>, takes_turn: bool) -> Found {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let Some(name) = name.or(live.default.as_deref()) else { return Found::NoModel(None) };
        let Some(entry) = live.models.get(name) else { return Found::NoModel(Some(name.to_owned())) };
        let Some(version) = version else {
            if takes_turn
                && let Some(canary) = &entry.canary
                && canary.is_next()
            {
                return Found::Live(Arc::clone(&canary.generation));
            }
            let first = entry.generations.first().filter(|_| !entry.awaits_first);
            return first.map_or_else(|| Found::Idle(name.to_owned()), |first| Found::Live(Arc::clone(first)));
        };
        match entry.live().find(|generation| generation.version == version) {
            Some(generation) => Found::Live(Arc::clone(generation)),
            None if entry.versions.iter().any(|known| known.version == version) => Found::Idle(name.to_owned()),
            None => Found::NoVersion(name.to_owned()),
        }
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Generation>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).models.get(name)?.generations.first().cloned()
    }

    /// The one of that name and version.
    pub fn version(&self, name: &str, version: &str) -> Option<Arc<Generation>> {
        self.versions(name).into_iter().find(|generation| generation.version == version)
    }

    /// All live versions of that name, the preferred first; none if the name is unknown.
    pub fn versions(&self, name: &str) -> Vec<Arc<Generation>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.models.get(name).map(|entry| entry.generations.clone()).unwrap_or_default()
    }

    /// The one that answers where no model is named.
    pub fn default_model(&self) -> Option<Arc<Generation>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.models.get(live.default.as_deref()?)?.generations.first().cloned()
    }

    /// The preferred generation of every model that has one resident, by name.
    pub fn all(&self) -> Vec<Arc<Generation>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.models.values().filter_map(|entry| entry.generations.first().cloned()).collect()
    }

    /// Every generation that answers requests, also those on trial, by name.
    pub fn live(&self) -> Vec<Arc<Generation>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.models.values().flat_map(Entry::live).cloned().collect()
    }

    /// The facts about a version; where none is named, about the one that a request would get.
    pub fn status(&self, name: &str, version: Option<&str>) -> Option<Status> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let versions = &live.models.get(name)?.versions;
        let found = match version {
            Some(version) => versions.iter().find(|known| known.version == version),
            None => versions.iter().find(|known| known.in_reach).or_else(|| versions.first()),
        };
        found.cloned()
    }

    /// The facts that a model which is not resident told when it was last, and its version.
    pub fn idle(&self, name: &str) -> Option<(String, Arc<ModelInfo>)> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let entry = live.models.get(name).filter(|entry| entry.generations.is_empty())?;
        let (version, info) = entry.idle.as_ref()?;
        Some((version.clone(), Arc::clone(info.as_ref()?)))
    }

    /// A number that is another one after each change.
    pub fn revision(&self) -> u64 {
        self.live.read().unwrap_or_else(PoisonError::into_inner).revision
    }

    /// Every model that requests may name, resident or not.
    pub fn listed(&self) -> Vec<ListedModel> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let listed = |(name, entry): (&String, &Entry)| match (entry.generations.first(), &entry.idle) {
            (Some(generation), _) => Some(ListedModel::resident(generation)),
            (None, Some((version, info))) => {
                let mut versions = entry.versions.iter().filter(|status| status.version == *version);
                let status = versions.next().filter(|status| status.state == State::Unavailable && !status.in_reach);
                Some(ListedModel::idle(name, version, status.map(|status| status.reason.clone()), info.as_ref()))
            }
            (None, None) => None,
        };
        live.models.iter().filter_map(listed).collect()
    }

    /// Whether the default model has a column `model`, as far as that is known without loading it; false without a default
    /// model. The preferred version decides, whichever version a request gets.
    pub fn default_takes_model_key(&self) -> Option<bool> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = live.default.as_deref().and_then(|name| live.models.get(name)) else { return Some(false) };
        if let Some(first) = entry.generations.first().filter(|_| !entry.awaits_first) {
            return Some(first.takes_model_key());
        }
        let (_, info) = entry.idle.as_ref()?;
        Some(info.as_ref()?.signature.inputs.iter().any(|column| column.name == MODEL_KEY))
    }

    /// The name of the model that answers where none is named.
    pub fn default_name(&self) -> Option<String> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).default.clone()
    }

    /// The names of all models that requests may name, resident or not.
    pub fn names(&self) -> Vec<String> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let known = live.models.iter().filter(|(_, entry)| !entry.generations.is_empty() || entry.idle.is_some());
        known.map(|(name, _)| name.clone()).collect()
    }

    /// Whether this version is known, or where none is given this model.
    pub fn knows(&self, name: &str, version: Option<&str>) -> bool {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.models.get(name).is_some_and(|entry| {
            version.is_none_or(|version| entry.versions.iter().any(|known| known.version == version))
        })
    }

    /// Whether this version, or where none is given some version, is resident or on its way.
    pub fn answers(&self, name: &str, version: Option<&str>) -> bool {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.models.get(name).is_some_and(|entry| {
            let mut versions =
                entry.versions.iter().filter(|known| version.is_none_or(|version| known.version == version));
            versions.any(|known| known.state != State::Unavailable)
        })
    }

    /// Every version that is known, by model.
    pub fn index(&self) -> Vec<(String, Vec<Status>)> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.models.iter().map(|(name, entry)| (name.clone(), entry.versions.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_told_apart() {
        let catalog = Catalog::default();
        assert!(matches!(catalog.find(None, None), Found::NoModel(None)));
        let status = |version: &str| Status {
            version: version.into(),
            state: State::Unavailable,
            reason: String::new(),
            in_reach: version == "1",
        };
        catalog.set(
            "m",
            Entry { versions: vec![status("2"), status("1")], idle: Some(("2".into(), None)), ..Entry::default() },
        );
        assert!(matches!(catalog.find(Some("x"), None), Found::NoModel(Some(name)) if name == "x"));
        assert!(matches!(catalog.find(Some("m"), None), Found::Idle(_)));
        assert!(matches!(catalog.find(Some("m"), Some("1")), Found::Idle(_)));
        assert!(matches!(catalog.find(Some("m"), Some("3")), Found::NoVersion(_)));
        catalog.set_default(Some("m".into()));
        assert!(matches!(catalog.find(None, Some("2")), Found::Idle(name) if name == "m"));
        assert_eq!(catalog.names(), ["m"]);
        // A request that names no version gets whichever can be had.
        let status = |version| catalog.status("m", version).map(|status| (status.version, status.in_reach));
        assert_eq!(status(None), Some(("1".into(), true)));
        assert_eq!(status(Some("2")), Some(("2".into(), false)));
        assert_eq!(status(Some("3")), None);
        catalog.remove("m");
        assert!(catalog.index().is_empty() && catalog.default_model().is_none());
    }
}
