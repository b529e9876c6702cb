//! Tensors as the Open Inference Protocol has them, for REST and gRPC alike: named, typed, shaped, in any order, with
//! values as JSON or as bytes; packed into a model's columns, and taken out of its answer.

mod error;
pub mod input;
mod interface;
pub mod json;
pub mod output;
pub mod request;
pub mod strings;
pub mod wire;

use modelgate_columns::{Column, Datatype};

pub use self::{error::Error, interface::Interface};

/// A datatype of that protocol name.
pub fn datatype(name: &str) -> Option<Datatype> {
    Datatype::ALL.into_iter().find(|datatype| datatype.protocol_name() == name)
}

/// A column's shape as the protocol has it: with the rows in front, or a tensor's own where the model takes tensors as they
/// are.
pub fn shape(column: &Column, tensors: bool) -> &[i64] {
    if tensors { column.inner_shape() } else { &column.shape }
}

/// A name from outside as errors repeat it.
pub use crate::echo::echo as shown;
