//! The configuration as it stands in the file.

use modelgate_module::Column;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) outputs: Option<Vec<Output>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) pick: Option<Pick>,
    pub(crate) classes: Option<Classes>,
    /// The class that each of a row's values belongs to: told to callers, the values stay as they are.
    pub(crate) names: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) squeeze: bool,
}

impl Output {
    /// The model's output under its own name.
    pub(crate) fn as_is(column: &Column) -> Self {
        Self {
            name: column.name.clone(),
            from: column.name.clone(),
            pick: None,
            classes: None,
            names: None,
            squeeze: false,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pick {
    Argmax,
}

/// The value that stands for each class.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "`classes`: expected a list of strings, of integers or of booleans")]
pub(crate) enum Classes {
    Numbers(Vec<i64>),
    Names(Vec<String>),
    Bools(Vec<bool>),
}

impl Classes {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(classes) => classes.len(),
            Self::Names(classes) => classes.len(),
            Self::Bools(classes) => classes.len(),
        }
    }
}
