//! The live generations by name.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::generation::Generation;

/// Which generation answers for which model. Reading takes a short lock that is never held across an `.await`.
#[derive(Debug, Default)]
pub struct Catalog {
    live: RwLock<Live>,
}

#[derive(Debug, Default)]
struct Live {
    models: BTreeMap<String, Arc<Generation>>,
    default: Option<Arc<Generation>>,
}

impl Catalog {
    /// Makes a generation the one that answers for its name, and gives the one that did before. The first of all becomes
    /// the default model, and so does its successor.
    pub fn publish(&self, generation: Arc<Generation>) -> Option<Arc<Generation>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.default.as_ref().is_none_or(|default| default.name == generation.name) {
            live.default = Some(Arc::clone(&generation));
        }
        live.models.insert(generation.name.clone(), generation)
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Generation>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).models.get(name).cloned()
    }

    /// The one of that name and version.
    pub fn version(&self, name: &str, version: &str) -> Option<Arc<Generation>> {
        self.get(name).filter(|generation| generation.version == version)
    }

    /// All live versions of that name, the newest first; none if the name is unknown.
    pub fn versions(&self, name: &str) -> Vec<Arc<Generation>> {
        self.get(name).into_iter().collect()
    }

    /// The one that answers where no model is named.
    pub fn default_model(&self) -> Option<Arc<Generation>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).default.clone()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Generation>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).models.values().cloned().collect()
    }
}
