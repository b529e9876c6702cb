//! Why a module has no result, and whose fault it is.

use std::fmt;

use modelgate_columns::LayoutError;

/// Why [`init`](crate::Module::init), [`process`](crate::Module::process) or [`model::compute`](crate::model::compute)
/// has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The caller's data is at fault: answered with status 422 and these problems.
    InvalidInput(Vec<Problem>),
    /// The model refused or failed: answered with status 500; the text goes to the log.
    Model(String),
    /// The module failed, or its configuration is wrong: answered with status 500; the text goes to the log.
    Internal(String),
}

/// One thing wrong with the caller's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The input column at fault, if it is one column.
    pub column: Option<String>,
    /// The row at fault, counted from 0, if it is one row.
    pub row: Option<u32>,
    /// The expectation, and the value that came. Callers see it.
    pub message: String,
}

impl Problem {
    /// A value of one column and row is at fault.
    pub fn at(column: impl Into<String>, row: usize, message: impl Into<String>) -> Self {
        Self { column: Some(column.into()), row: u32::try_from(row).ok(), message: message.into() }
    }
}

impl Error {
    /// The caller's value in that column and row (counted from 0) is at fault.
    pub fn invalid(column: impl Into<String>, row: usize, message: impl Into<String>) -> Self {
        Self::InvalidInput(vec![Problem::at(column, row, message)])
    }

    /// The caller's batch as a whole is at fault.
    pub fn invalid_batch(message: impl Into<String>) -> Self {
        Self::InvalidInput(vec![Problem { column: None, row: None, message: message.into() }])
    }

    /// The model is not what the module needs, or gave what cannot be used.
    pub fn model(message: impl Into<String>) -> Self {
        Self::Model(message.into())
    }

    /// The module failed, or its configuration is wrong.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal(message.into())
    }
}

/// Packed words that do not fit the signature are never the caller's fault.
impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::Internal(if error.column.is_empty() {
            error.message
        } else {
            ["column '", &error.column, "': ", &error.message].concat()
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidInput(problems) => {
                f.write_str("invalid input")?;
                problems.iter().try_for_each(|problem| write!(f, "; {problem}"))
            }
            Self::Model(message) => write!(f, "model: {message}"),
            Self::Internal(message) => f.write_str(message),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = &self.column {
            write!(f, "column '{column}', ")?;
        }
        if let Some(row) = self.row {
            write!(f, "row {row}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
