//! Failures of a source.

use std::fmt;

/// A class of failures; a label in metrics and a word in `GET /v2/repository/sources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No answer at that address.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The credentials are wrong or not enough.
    Denied,
    /// The bucket, folder, model or file is not there.
    Missing,
    /// The clocks differ too much for signed requests.
    ClockSkew,
    /// The server reports a failure of its own.
    Server,
    /// The answer makes no sense, or ended early.
    InvalidResponse,
    /// Larger than is taken.
    TooLarge,
    /// The local disk.
    Local,
}

impl Kind {
    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::ClockSkew => "clock_skew",
            Self::Server => "server_error",
            Self::InvalidResponse => "invalid_response",
            Self::TooLarge => "too_large",
            Self::Local => "local",
        }
    }
}

/// Why a source gave nothing.
#[derive(Clone, Debug)]
pub struct SourceError {
    /// The class.
    pub kind: Kind,
    /// For people, without secrets.
    pub message: String,
}

/// Characters of a server's own words that are repeated.
const MAX_WORDS: usize = 300;

impl SourceError {
    /// The message is shortened.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message: String = message.into();
        let message = message.chars().take(MAX_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { kind, message }
    }

    /// Whether trying again is of no use.
    pub fn is_final(&self) -> bool {
        self.kind == Kind::TooLarge
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.label(), self.message)
    }
}

impl std::error::Error for SourceError {}

impl From<std::io::Error> for SourceError {
    fn from(error: std::io::Error) -> Self {
        let kind = if error.kind() == std::io::ErrorKind::TimedOut { Kind::Timeout } else { Kind::Local };
        Self::new(kind, error.to_string())
    }
}
