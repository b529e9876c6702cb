//! The configuration as it stands in the file.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The output's name.
    pub(crate) name: String,
    /// The model's output; by itself the first of shape `[-1, n, width]`.
    pub(crate) from: Option<String>,
    /// The model's input that is 1 for tokens and 0 for padding; without such an input all are tokens.
    pub(crate) mask: String,
    pub(crate) pooling: Pooling,
    /// Whether embeddings are divided by their length (L2).
    pub(crate) normalize: bool,
    /// The name of a further output: the number of tokens of each row.
    pub(crate) tokens: Option<String>,
    pub(crate) rows: Runs,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "embedding".into(),
            from: None,
            mask: "attention_mask".into(),
            pooling: Pooling::Mean,
            normalize: false,
            tokens: None,
            rows: Runs::Alone,
        }
    }
}

/// The way from a row's tokens to one embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pooling {
    /// The mean over its tokens.
    Mean,
    /// That of its first token.
    Cls,
    /// The largest of each dimension.
    Max,
}

/// The rows of a run of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Runs {
    /// Each by itself, without its padding.
    Alone,
    /// Each by itself, as it is padded.
    Padded,
    /// All of the batch, as they are padded.
    Together,
}
