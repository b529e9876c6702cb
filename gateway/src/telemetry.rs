//! The log: its form, the request that a line belongs to, and the lines about requests that failed.

pub mod failures;
pub mod format;
pub mod panics;
pub mod request_id;
