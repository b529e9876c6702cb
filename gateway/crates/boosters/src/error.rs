//! Why a model is refused, or rows are not scored.

use thiserror::Error;

/// Why a model file is refused, in one sentence.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BoosterError {
    /// Not a model of the library, or one that contradicts itself.
    #[error("the {library} model is corrupt: {problem}")]
    Corrupt {
        /// The library whose format the file has.
        library: &'static str,
        /// The problem.
        problem: String,
    },
    /// A sound model with something that this crate does not compute as its library does.
    #[error("the {library} model has {what}, which is not supported")]
    Unsupported {
        /// The library.
        library: &'static str,
        /// The part that is not supported.
        what: String,
    },
    /// Rows that the model does not take.
    #[error("{0}")]
    Rows(String),
    /// A value that the model does not take.
    #[error("{message}")]
    Value {
        /// The row.
        row: usize,
        /// The feature.
        column: usize,
        /// The problem.
        message: String,
    },
    /// A file of none of the libraries.
    #[error("the file is no model of XGBoost (.json, .ubj), LightGBM (.txt) or CatBoost (.cbm, .json)")]
    Unknown,
}

/// The outcome of reading something.
pub(crate) type Read<T> = Result<T, BoosterError>;

/// A shorthand for the errors of one library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader(pub(crate) &'static str);

impl Reader {
    pub(crate) fn corrupt(self, problem: impl Into<String>) -> BoosterError {
        BoosterError::Corrupt { library: self.0, problem: problem.into() }
    }

    pub(crate) fn unsupported(self, what: impl Into<String>) -> BoosterError {
        BoosterError::Unsupported { library: self.0, what: what.into() }
    }
}
