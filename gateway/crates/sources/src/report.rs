//! The state of each source, for people and for readiness.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use serde::Serialize;

/// The state of one source.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// `waiting` before the first look has ended, then `ok` or what is wrong: `unreachable`, `denied`, …
    pub state: &'static str,
    /// The problem, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Whether what is served from it is the last good set, kept on local disk or in memory.
    pub from_cache: bool,
    /// When a look last went well, in seconds since 1970.
    pub last_success: Option<u64>,
    /// Looks that failed since.
    pub failures: u32,
    /// Releases offered.
    pub releases: usize,
    /// Its content that is no release.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A version that two sources have, each with other content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Of the version.
    pub version: String,
    /// Whose content is served.
    pub first: usize,
    /// Whose content is ignored.
    pub second: usize,
}

/// The states of all of them.
#[derive(Debug, Default)]
pub struct Reports {
    sources: Mutex<BTreeMap<usize, Report>>,
    /// By model.
    clashes: Mutex<BTreeMap<String, Vec<Clash>>>,
}

impl Reports {
    /// Puts a source's state in place.
    pub fn set(&self, index: usize, report: Report) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).insert(index, report);
    }

    /// Puts the clashes of a model in place, and gives those that are new.
    pub fn set_clashes(&self, model: &str, clashes: Vec<Clash>) -> Vec<Clash> {
        let mut all = self.clashes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if clashes.is_empty() { all.remove(model) } else { all.insert(model.to_owned(), clashes.clone()) };
        let before = before.unwrap_or_default();
        clashes.into_iter().filter(|clash| !before.contains(clash)).collect()
    }

    /// The name of a source; a bundle of the command line belongs to none.
    pub fn name(&self, index: usize) -> String {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(&index).map_or_else(|| "--bundle".to_owned(), |report| report.name.clone())
    }

    /// All of them, in the configuration's order.
    pub fn all(&self) -> Vec<Report> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (model, clashes) in &*self.clashes.lock().unwrap_or_else(PoisonError::into_inner) {
            for Clash { version, first, second } in clashes {
                let name = sources.get(first).map_or("--bundle", |report| report.name.as_str()).to_owned();
                if let Some(report) = sources.get_mut(second) {
                    let problem =
                        format!("{model} version {version}: '{name}' has other content of it, which is served");
                    report.problems.push(problem);
                }
            }
        }
        sources.into_values().collect()
    }
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
