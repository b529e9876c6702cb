//! Panics as lines of the log, with the request that they befell.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
};

/// Logs panics from now on. Their backtrace is in the line if `RUST_BACKTRACE` asks for it.
pub fn log() {
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("something that is no text");
        let place = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(panic = message, place, backtrace, "a thread panicked");
    }));
}
