//! The sandbox: modules compiled, instantiated, limited and called.

pub mod cache;
pub mod contract;
pub mod engine;
pub mod host;
pub mod instance;
pub mod module;
