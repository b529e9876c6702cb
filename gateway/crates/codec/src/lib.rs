//! Bodies of requests into packed columns, and columns into the bodies of answers.
//!
//! - [`json`]: rows of JSON in one pass, as `/predict`, MLflow's and TensorFlow Serving's clients send them.
//! - [`embeddings`]: texts and embeddings as OpenAI's clients send and take them.
//! - [`csv`]: tables as pandas writes them.
//! - [`multipart`]: forms that are uploaded.
//! - [`oip`]: tensors of the Open Inference Protocol, in JSON and in binary.
//! - [`bounds`]: rows and bytes that a body may stand for once it is decoded.
//! - [`echo`]: the caller's own text in an error, cut at the same place everywhere.
//! - [`chunked_bytes`]: a body as it came from a socket, in pieces.
//!
//! Of the workspace, the crate imports `modelgate-columns` alone: it knows neither HTTP nor gRPC, neither bundles nor workers,
//! and decides no status.

pub mod bounds;
pub mod chunked_bytes;
pub mod csv;
pub mod echo;
pub mod embeddings;
pub mod json;
pub mod multipart;
pub mod oip;
