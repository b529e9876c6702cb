//! The types of `modules/wit/module.wit`, as the host reads and writes them.

use std::sync::Arc;

use modelgate_columns::{Column, Datatype, Signature};
use wasmtime::component::{ComponentType, Lift, Lower, TypedFunc};

/// The contract's `process`. Words go in shared, so that the caller may keep them without a copy.
pub(crate) type ProcessFunc = TypedFunc<(u32, Arc<Vec<u64>>), (Result<Vec<u64>, WitError>,)>;

/// `enum datatype`.
#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum WitDatatype {
    #[component(name = "bool")]
    Bool,
    #[component(name = "u8")]
    U8,
    #[component(name = "u16")]
    U16,
    #[component(name = "u32")]
    U32,
    #[component(name = "u64")]
    U64,
    #[component(name = "i8")]
    I8,
    #[component(name = "i16")]
    I16,
    #[component(name = "i32")]
    I32,
    #[component(name = "i64")]
    I64,
    #[component(name = "f16")]
    F16,
    #[component(name = "f32")]
    F32,
    #[component(name = "f64")]
    F64,
    #[component(name = "bytes")]
    Bytes,
}

impl From<WitDatatype> for Datatype {
    fn from(datatype: WitDatatype) -> Self {
        Self::ALL[datatype as usize]
    }
}

impl From<Datatype> for WitDatatype {
    fn from(datatype: Datatype) -> Self {
        match datatype {
            Datatype::Bool => Self::Bool,
            Datatype::U8 => Self::U8,
            Datatype::U16 => Self::U16,
            Datatype::U32 => Self::U32,
            Datatype::U64 => Self::U64,
            Datatype::I8 => Self::I8,
            Datatype::I16 => Self::I16,
            Datatype::I32 => Self::I32,
            Datatype::I64 => Self::I64,
            Datatype::F16 => Self::F16,
            Datatype::F32 => Self::F32,
            Datatype::F64 => Self::F64,
            Datatype::Bytes => Self::Bytes,
        }
    }
}

/// `record column`.
#[derive(Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitColumn {
    name: String,
    datatype: WitDatatype,
    shape: Vec<i64>,
    nullable: bool,
    categories: Vec<String>,
}

/// `record signature`.
#[derive(Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitSignature {
    inputs: Vec<WitColumn>,
    outputs: Vec<WitColumn>,
}

impl From<WitSignature> for Signature {
    fn from(signature: WitSignature) -> Self {
        let columns = |columns: Vec<WitColumn>| {
            let column = |WitColumn { name, datatype, shape, nullable, categories }| Column {
                name,
                datatype: Datatype::from(datatype),
                shape,
                nullable,
                categories,
            };
            columns.into_iter().map(column).collect()
        };
        Self { inputs: columns(signature.inputs), outputs: columns(signature.outputs) }
    }
}

impl From<&Signature> for WitSignature {
    fn from(signature: &Signature) -> Self {
        let columns = |columns: &[Column]| {
            let column = |column: &Column| WitColumn {
                name: column.name.clone(),
                datatype: column.datatype.into(),
                shape: column.shape.clone(),
                nullable: column.nullable,
                categories: column.categories.clone(),
            };
            columns.iter().map(column).collect()
        };
        Self { inputs: columns(&signature.inputs), outputs: columns(&signature.outputs) }
    }
}

/// One thing wrong with the caller's data, as a module tells it.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Problem {
    /// The input column at fault.
    pub column: Option<String>,
    /// The row at fault, from 0.
    pub row: Option<u32>,
    /// The expectation, and the value that came.
    pub message: String,
}

/// `variant error`.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum WitError {
    #[component(name = "invalid-input")]
    InvalidInput(Vec<Problem>),
    #[component(name = "model")]
    Model(String),
    #[component(name = "internal")]
    Internal(String),
}

/// `enum level`.
#[derive(Clone, Copy, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "guests make them")]
pub(crate) enum WitLevel {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}
