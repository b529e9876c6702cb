//! Why a request of the protocol is refused.

use crate::bounds::Excess;

/// One variant for each answer a caller can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not JSON.
    #[error("malformed JSON at line {line} column {column}: {message}")]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// JSON that is no request of the protocol, or tensors that are not what the model takes.
    #[error("{0}")]
    Invalid(String),
    /// More rows than a request may have.
    #[error("at most {0} rows are taken in one request")]
    TooManyRows(u32),
    /// More memory than a request may take.
    #[error("the request takes more memory than it may")]
    Excess(Excess),
    /// A fault of the decoder itself.
    #[error("a tensor was left unread")]
    Internal,
}

impl From<Excess> for Error {
    fn from(excess: Excess) -> Self {
        Self::Excess(excess)
    }
}
