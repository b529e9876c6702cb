//! Messages to the gateway's log.
//!
//! They are bounded for each request: what exceeds the bundle's limit is dropped and counted. A module that never calls
//! these functions does not import the log at all.

/// The level of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the module's author.
    Debug,
    /// For the operator of the gateway.
    Info,
    /// Something is amiss.
    Warn,
    /// Something failed.
    Error,
}

/// Logs the message.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::guest::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::log(level, message);
}

/// Logs for the module's author.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// Logs for the operator of the gateway.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Logs that something is amiss.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Logs that something failed.
pub fn error(message: &str) {
    log(Level::Error, message);
}
