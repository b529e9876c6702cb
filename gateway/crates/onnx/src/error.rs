//! Why a model is refused, or a batch not computed.

use modelgate_columns::LayoutError;
use thiserror::Error;

/// Why a model file is refused.
#[derive(Debug, Error)]
pub enum ModelError {
    /// Not an ONNX model, or one that contradicts itself.
    #[error("the model file is corrupt: {0}")]
    Corrupt(String),
    /// Larger than allowed.
    #[error("the model has {found} {what}, the limit is {limit}")]
    TooLarge {
        /// The unit that is counted.
        what: &'static str,
        /// The count.
        found: usize,
        /// The largest count that is taken.
        limit: usize,
    },
    /// The work or memory that it would take before it runs, or for one row, with the operator and the node.
    #[error("the model asks for too much: {0}")]
    Constants(String),
    /// Operators that nobody has, with the names of the nodes.
    #[error("the model needs operators that are not supported: {0}")]
    Unsupported(String),
    /// An input or output that packed columns cannot carry.
    #[error("{side} '{name}': {problem}")]
    Column {
        /// "input" or "output".
        side: &'static str,
        /// Its name.
        name: String,
        /// The problem.
        problem: String,
    },
    /// A sound file that the engine has no way to run.
    #[error("the engine cannot run it: {0}")]
    Engine(String),
    /// A model of another library, in that library's own format, that is refused.
    #[error("{0}")]
    Booster(String),
    /// Files beside the model that do not hold what it says.
    #[error("the model's data: {0}")]
    Data(String),
}

/// Why a batch was not computed.
#[derive(Debug, Error)]
pub enum ComputeError {
    /// The packed inputs are not what the signature says.
    #[error(transparent)]
    Input(#[from] LayoutError),
    /// The rows, or what they say, make the model's values take more memory than one run may; the text names the node.
    #[error("{0}")]
    Memory(String),
    /// The caller's values or sizes are no input of the graph: an index out of range, a text that is no number, an image that
    /// is too small.
    #[error("{message}")]
    Invalid {
        /// The input that has the value, if it is known.
        column: Option<String>,
        /// The row that has the value, counted from 0, if it is known.
        row: Option<u32>,
        /// The problem.
        message: String,
    },
    /// The deadline passed.
    #[error("the deadline passed")]
    Deadline,
    /// The model failed on these values.
    #[error("the model failed: {0}")]
    Model(String),
}

impl ComputeError {
    /// An error of the caller's that lies in no one place.
    pub(super) fn invalid(message: String) -> Self {
        Self::Invalid { column: None, row: None, message }
    }
}
