//! One version of a model: where it is on its way to serve, and what it has shown.

use std::{sync::Arc, time::Instant};

use crate::{
    model_info::ModelInfo,
    release::{Content, Release},
};

/// Identifies the content of a version: two builds of one version differ in it.
pub(super) type VersionId = String;

/// A version and what has become of it.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) release: Release,
    pub(super) state: VersionState,
    pub(super) health: Health,
    /// Whether all its files are in the local cache.
    pub(super) fetched: bool,
    /// Whether requests wait for it.
    pub(super) requested: bool,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Worth knowing while it serves; of a version that failed, why.
    pub(super) note: String,
    /// Bytes that it took when it was last resident.
    pub(super) cost: usize,
    /// The facts that it reported when it was last resident.
    pub(super) info: Option<Arc<ModelInfo>>,
}

/// Where a version is on its way to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VersionState {
    Unloaded {
        /// Unloaded to make room or for being idle: only a request brings it back.
        evicted: bool,
    },
    /// Its files are on their way, or it waits for its turn to be loaded.
    Fetching(Job),
    /// Memory is set aside for it, and it is being loaded.
    Loading(Job, Need),
    /// Resident; its golden examples passed.
    Ready,
    /// Fetching or loading failed.
    Failed {
        reason: String,
        /// When it is tried again; `None` if only an operator can have it tried again.
        until: Option<Instant>,
    },
}

/// The evidence of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// The version has not answered a request that names none.
    Unproven,
    /// The version has, or an operator said that it may.
    KnownGood,
    /// The version did not load, failed its golden examples, or its rollout was withdrawn.
    Rejected,
}

/// A job that brings a version nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    /// Counts jobs.
    pub(super) id: u64,
    pub(super) goal: Goal,
}

/// The stage at which a job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// All files are in the local cache.
    Fetched,
    /// The version can serve.
    Loaded(Urgency),
}

/// For whom a job loads a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// No request waits for it.
    Background,
    /// A request waits for it.
    Request,
}

/// The memory of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// Bytes, while it is loaded.
    pub(super) bytes: usize,
    /// Module instances, once it is used.
    pub(super) instances: usize,
}

impl Need {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        let (bytes, instances) = (self.bytes, self.instances);
        Self { bytes: bytes.saturating_add(other.bytes), instances: instances.saturating_add(other.instances) }
    }
}

impl VersionState {
    /// Its name, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unloaded { evicted: false } => "unloaded",
            Self::Unloaded { evicted: true } => "evicted",
            Self::Fetching(_) => "fetching",
            Self::Loading(..) => "loading",
            Self::Ready => "ready",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Version {
    pub(super) fn new(release: Release, fetched: bool) -> Self {
        let state = match &release.content {
            // No job would tell more. The source offers another release once there is something to serve.
            Content::Unservable { reason } => VersionState::Failed { reason: reason.clone(), until: None },
            _ => VersionState::Unloaded { evicted: false },
        };
        Self {
            release,
            state,
            health: Health::Unproven,
            fetched,
            requested: false,
            failures: 0,
            note: String::new(),
            cost: 0,
            info: None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == VersionState::Ready
    }

    /// The job that brings it nearer, if there is one.
    pub(super) fn job(&self) -> Option<Job> {
        match self.state {
            VersionState::Fetching(job) | VersionState::Loading(job, _) => Some(job),
            _ => None,
        }
    }

    /// The memory that is reserved for it while it is loaded.
    pub(super) fn reserved(&self) -> Option<Need> {
        match self.state {
            VersionState::Loading(_, need) => Some(need),
            _ => None,
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.state, VersionState::Failed { .. })
    }

    /// Whether only an operator can have it tried again.
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self.state, VersionState::Failed { until: None, .. })
    }

    /// Whether it is resident or can be loaded without its source.
    pub(super) fn is_at_hand(&self) -> bool {
        self.is_ready() || self.fetched && !self.has_failed()
    }

    /// Why its source has nothing to serve for it, where that is so.
    pub(super) fn unservable(&self) -> Option<&str> {
        match &self.release.content {
            Content::Unservable { reason } => Some(reason),
            _ => None,
        }
    }
}
