//! JSON rows to columns and back.

pub mod decode;
pub mod encode;
