//! The reason why a release cannot serve.

use std::io;

use crate::{bundle::BundleError, source::SourceError};

/// Why a release cannot serve.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// For people; one line for each problem.
    pub(super) reason: String,
    /// Whether it may go better later.
    pub(super) transient: bool,
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { reason: error.to_string(), transient: !error.is_final() }
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        Self { reason: error.to_string(), transient: false }
    }
}

/// Of the local cache.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { reason: format!("the local cache: {error}"), transient: true }
    }
}
