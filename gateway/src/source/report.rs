//! How each source is doing, for people and for readiness.

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
    /// What is wrong, in words.
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
    /// What it has that is no release.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// The states of all of them.
#[derive(Debug, Default)]
pub struct Reports(Mutex<BTreeMap<usize, Report>>);

impl Reports {
    /// Puts a source's state in place.
    pub fn set(&self, place: usize, report: Report) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, report);
    }

    /// All of them, in the configuration's order.
    pub fn all(&self) -> Vec<Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
