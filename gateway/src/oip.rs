//! Tensors as the Open Inference Protocol has them, for REST and gRPC alike: named, typed, shaped, in any order, with
//! values as JSON or as bytes; packed into a generation's columns, and taken out of its answer.

pub mod describe;
pub mod input;
pub mod json;
pub mod output;
pub mod request;
pub mod statistics;
pub mod strings;

/// A datatype of that protocol name.
pub fn datatype(name: &str) -> Option<modelgate_columns::Datatype> {
    modelgate_columns::Datatype::ALL.into_iter().find(|datatype| datatype.protocol_name() == name)
}

/// A name from outside as errors repeat it.
pub use crate::echo::echo as shown;
