//! modelgate: a serverless-style WASM inference gateway.
//!
//! A request's way: [`http`] route → [`json`] decode to a columnar [`tensor`] batch → [`workers`] admission and queue →
//! one worker runs the stages of a [`generation`] ([`wasm`]; the [model](modelgate_onnx) runs natively behind the contract's import) →
//! encode.

pub mod admin;
pub mod allocator;
pub mod app;
pub mod artifact_cache;
pub mod audit;
pub mod batching_decision;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod error;
pub mod generation;
pub mod golden;
pub mod grpc;
pub mod http;
pub mod lifecycle;
pub mod loading;
pub mod memory;
pub mod metrics;
pub mod model_info;
pub mod oip;
pub mod reaper;
pub mod request_stats;
pub mod server;
pub mod shadow;
pub mod telemetry;
pub mod verified;
pub mod workers;

// Crates of their own, under the names that this crate calls them by.
pub use modelgate_bundle as bundle;
pub use modelgate_bundle::{batching, release};
pub use modelgate_codec::{bounds, chunked_bytes, csv, echo, embeddings, json, multipart};
pub use modelgate_files::trust;
pub use modelgate_sandbox as wasm;
pub use modelgate_sources as source;
pub use modelgate_sources::store;

/// Batches of packed columns.
pub mod tensor {
    pub use modelgate_columns::{Batch, parts};
}
