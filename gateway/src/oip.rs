//! The Open Inference Protocol: its tensors, and what it tells of a model.

pub mod describe;
pub mod statistics;

pub use modelgate_codec::oip::*;
