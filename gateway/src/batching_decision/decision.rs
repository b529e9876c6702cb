//! The decision about one generation, and its cause.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The decision about one generation.
#[derive(Clone, Debug)]
pub struct BatchingDecision {
    /// The cause of the decision.
    pub cause: Cause,
    /// The same for people: a sentence without subject and full stop.
    pub detail: String,
}

/// The cause of the decision whether rows are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The trial: rows together give the same bits as alone, and faster. They are joined.
    Tried,
    /// The analysis: no row of the trial could be run, but all parts are known to keep rows apart. They are joined.
    Analysed,
    /// The manifest.
    Manifest,
    /// Each request has instances of its own.
    Isolation,
    /// The analysis: the graph lets rows meet.
    Dependent,
    /// The trial: a row's answer differs beside other rows.
    Differs,
    /// The trial: the same row gets another answer later. Each request gets instances of its own.
    Stateful,
    /// The trial: rows together are no faster than one after another.
    Slower,
    /// The trial could not be made.
    Untried,
}

impl Cause {
    /// Its name in documents for programs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tried => "tried",
            Self::Analysed => "analysed",
            Self::Manifest => "manifest",
            Self::Isolation => "isolation",
            Self::Dependent => "dependent",
            Self::Differs => "differs",
            Self::Stateful => "stateful",
            Self::Slower => "slower",
            Self::Untried => "untried",
        }
    }
}

impl fmt::Display for BatchingDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.is_on() { "on" } else { "off" }, self.detail)
    }
}

impl BatchingDecision {
    /// Before anything is known.
    pub fn undecided() -> Self {
        Self::new(Cause::Untried, "not tried")
    }

    pub(super) fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }

    /// Whether rows of different requests are run together.
    pub fn is_on(&self) -> bool {
        matches!(self.cause, Cause::Tried | Cause::Analysed)
    }

    /// Whether a row's answer may depend on the rows of its own request, so that examples are worth something alone only.
    pub fn rows_may_meet(&self) -> bool {
        matches!(self.cause, Cause::Manifest | Cause::Dependent | Cause::Differs | Cause::Stateful)
    }
}
