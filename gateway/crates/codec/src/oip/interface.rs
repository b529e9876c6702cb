//! A model as its requests and answers see it.

use modelgate_columns::Column;

use crate::json::decode::Inputs;

/// The part of a model that decoding a request and encoding its answer need.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'m> {
    /// The model's name, as requests give it.
    pub name: &'m str,
    /// Its version.
    pub version: &'m str,
    /// The columns of a request.
    pub inputs: Inputs<'m>,
    /// The columns of an answer.
    pub outputs: &'m [Column],
    /// Inputs that the model passes over, sorted.
    pub dropped: &'m [String],
    /// Whether it takes tensors as they are, without rows in front.
    pub tensors: bool,
}

impl Interface<'_> {
    /// Whether the model passes over an input of this name.
    pub fn drops(&self, name: &str) -> bool {
        self.dropped.binary_search_by(|dropped| dropped.as_str().cmp(name)).is_ok()
    }
}
