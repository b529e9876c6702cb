//! The limits and the isolation that a bundle asks for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one generation for each request and each worker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of linear memory, summed over the stages of one worker.
    pub memory: usize,
    /// Of one request, its time in the queue included.
    pub deadline: Duration,
    /// In one request.
    pub rows: u32,
    /// Bytes through the contract's imports in one request.
    pub host_call_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 64 << 20, deadline: Duration::from_secs(5), rows: 10_000, host_call_bytes: 256 << 20 }
    }
}

/// Whether instances outlive a request. The greater isolates more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A worker's instances are kept between requests: a module can hand one client's values to the next.
    #[default]
    Worker,
    /// Each request gets fresh ones, in the state that `init` left.
    Request,
}

impl Isolation {
    /// Every isolation, the least first.
    pub const ALL: [Self; 2] = [Self::Worker, Self::Request];

    /// Its name in manifests and metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Request => "request",
        }
    }
}
