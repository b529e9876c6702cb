//! Why a guest ended early.

use std::fmt;

use wasmtime::Trap;

use crate::host::{Host, HostStop};

/// Why a guest ended early; a label in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrapCause {
    /// The module reached `unreachable`: a panic, as a rule.
    Unreachable,
    /// Its deadline passed.
    Deadline,
    /// Its caller went away.
    Cancelled,
    /// The module recursed too deep.
    StackOverflow,
    /// The module was refused memory.
    Memory,
    /// The module reached outside its memory or tables.
    OutOfBounds,
    /// The module moved too many bytes through host calls.
    HostCallBytes,
    /// The module returned columns that its signature does not declare.
    BadOutput,
    /// Anything else, a division by zero for instance.
    Other,
}

impl TrapCause {
    /// Every cause.
    pub const ALL: [Self; 9] = [
        Self::Unreachable,
        Self::Deadline,
        Self::Cancelled,
        Self::StackOverflow,
        Self::Memory,
        Self::OutOfBounds,
        Self::HostCallBytes,
        Self::BadOutput,
        Self::Other,
    ];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::StackOverflow => "stack_overflow",
            Self::Memory => "memory",
            Self::OutOfBounds => "out_of_bounds",
            Self::HostCallBytes => "host_call_bytes",
            Self::BadOutput => "bad_output",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for TrapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The cause of a guest's early end, and its words for the log.
pub(crate) fn describe(error: &wasmtime::Error, host: &Host) -> (TrapCause, String) {
    let cause = match (error.downcast_ref::<Trap>(), error.downcast_ref::<HostStop>()) {
        (_, Some(HostStop::Deadline)) | (Some(Trap::Interrupt), _) => TrapCause::Deadline,
        (_, Some(HostStop::Abandoned)) => TrapCause::Cancelled,
        (_, Some(HostStop::HostCallBytes)) => TrapCause::HostCallBytes,
        (Some(Trap::StackOverflow), _) => TrapCause::StackOverflow,
        (Some(Trap::UnreachableCodeReached), _) if host.memory_refused => TrapCause::Memory,
        (Some(Trap::UnreachableCodeReached), _) => TrapCause::Unreachable,
        (Some(Trap::MemoryOutOfBounds | Trap::TableOutOfBounds | Trap::HeapMisaligned), _) => TrapCause::OutOfBounds,
        _ if host.memory_refused => TrapCause::Memory,
        _ => TrapCause::Other,
    };
    (cause, format!("{error:#}"))
}
