//! The facts about a model that callers may know, whether it is resident or not.

use std::{sync::Arc, time::Duration};

use modelgate_columns::Signature;

use crate::{bundle::Example, generation::Generation, wasm::module::Isolation};

/// Facts that only a loaded model shows.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// One line for people.
    pub description: String,
    /// The chain's inputs and outputs; the first output is the prediction.
    pub signature: Signature,
    /// Columns that requests may have beside those.
    pub ignored: Vec<String>,
    /// Whether a request is one set of tensors, of which the signature has one row: see [`Generation::tensors`].
    pub tensors: bool,
    /// A row with a known answer.
    pub example: Option<Example>,
    /// Rows in one request.
    pub max_rows: u32,
    /// The time that one request may take.
    pub deadline: Duration,
    /// Whether its instances outlive a request.
    pub isolation: Isolation,
    /// Whether rows of different requests are run together, and why.
    pub batching: String,
}

impl From<&Generation> for ModelInfo {
    fn from(generation: &Generation) -> Self {
        Self {
            description: generation.description.clone(),
            signature: generation.signature.clone(),
            ignored: generation.dropped.clone(),
            tensors: generation.tensors,
            example: generation.golden.examples.first().cloned(),
            max_rows: generation.limits.rows,
            deadline: generation.limits.deadline,
            isolation: generation.isolation,
            batching: generation.batching_decision.to_string(),
        }
    }
}

/// A model in a list of models.
#[derive(Clone, Debug)]
pub struct ListedModel {
    /// The name that requests use.
    pub name: String,
    /// The version that answers, or would.
    pub version: String,
    /// Whether it answers without being loaded first.
    pub resident: bool,
    /// Why no request can have it, where that is so.
    pub reason: Option<String>,
    /// The rest; `None` until it was resident once.
    pub info: Option<ModelInfo>,
}

impl ListedModel {
    /// A model that is resident.
    pub fn resident(generation: &Generation) -> Self {
        Self {
            name: generation.name.clone(),
            version: generation.version.clone(),
            resident: true,
            reason: None,
            info: Some(generation.into()),
        }
    }

    /// A model that is not resident.
    pub fn idle(name: &str, version: &str, reason: Option<String>, info: Option<&Arc<ModelInfo>>) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            resident: false,
            reason,
            info: info.map(|info| info.as_ref().clone()),
        }
    }
}

/// A model, as the protocols' metadata calls describe it.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// The name that requests use.
    pub name: String,
    /// The versions that answer.
    pub versions: Vec<String>,
    /// The rest.
    pub info: Arc<ModelInfo>,
}
