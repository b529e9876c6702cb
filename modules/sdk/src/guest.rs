//! The other side of the contract: what the gateway calls, and what it offers.
//!
//! Only `export!` and this crate use it.

use std::cell::RefCell;

use modelgate_columns::{Column, Datatype, Signature};

use crate::{Error, Live, Module, Problem, log::Level};

#[expect(missing_docs, clippy::pedantic, reason = "generated from modules/wit; the only unsafe code of a module")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "module",
        pub_export_macro: true,
        export_macro_name: "export_bindings",
        default_bindings_module: "modelgate_module::guest::bindings",
    });
}

pub use bindings::{Guest, export_bindings};

use bindings::modelgate::module::{log as host_log, model as host_model, types};

/// The result of the exported `init`.
pub type Init = Result<types::Signature, types::Error>;

/// The result of the exported `process`.
pub type Process = Result<Vec<u64>, types::Error>;

/// Sends the message of a panic to the gateway's log before the module traps.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string())));
}

/// Where the one instance of the author's type lives.
#[derive(Debug)]
pub struct Slot<M>(RefCell<Option<Live<M>>>);

impl<M: Module> Slot<M> {
    /// Before `init`.
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }

    /// The exported `init`.
    pub fn init(&self, config: &[u8]) -> Init {
        let live = Live::<M>::init(config).map_err(to_host)?;
        let signature = live.signature();
        let columns = |columns: &[Column]| columns.iter().map(column_to_host).collect();
        let signature = types::Signature { inputs: columns(&signature.inputs), outputs: columns(&signature.outputs) };
        *self.0.borrow_mut() = Some(live);
        Ok(signature)
    }

    /// The exported `process`.
    pub fn process(&self, rows: u32, words: &[u64]) -> Process {
        match self.0.borrow_mut().as_mut() {
            Some(live) => live.process(rows, words).map_err(to_host),
            None => Err(types::Error::Internal("`process` was called before `init`".to_owned())),
        }
    }
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => host_log::Level::Debug,
        Level::Info => host_log::Level::Info,
        Level::Warn => host_log::Level::Warn,
        Level::Error => host_log::Level::Error,
    };
    host_log::log(level, message);
}

pub(crate) fn model_signature() -> Signature {
    let signature = host_model::describe();
    let columns = |columns: Vec<types::Column>| columns.into_iter().map(column_from_host).collect();
    Signature { inputs: columns(signature.inputs), outputs: columns(signature.outputs) }
}

pub(crate) fn compute(rows: u32, inputs: &[u64]) -> Result<Vec<u64>, Error> {
    host_model::compute(rows, inputs).map_err(|error| match error {
        types::Error::InvalidInput(problems) => Error::InvalidInput(
            problems
                .into_iter()
                .map(|problem| Problem { column: problem.column, row: problem.row, message: problem.message })
                .collect(),
        ),
        types::Error::Model(message) => Error::Model(message),
        types::Error::Internal(message) => Error::Internal(message),
    })
}

#[cold]
fn to_host(error: Error) -> types::Error {
    match error {
        Error::InvalidInput(problems) => types::Error::InvalidInput(
            problems
                .into_iter()
                .map(|problem| types::Problem { column: problem.column, row: problem.row, message: problem.message })
                .collect(),
        ),
        Error::Model(message) => types::Error::Model(message),
        Error::Internal(message) => types::Error::Internal(message),
    }
}

/// The contract's datatypes, in the order of [`Datatype::ALL`].
const DATATYPES: [types::Datatype; 13] = [
    types::Datatype::Bool,
    types::Datatype::U8,
    types::Datatype::U16,
    types::Datatype::U32,
    types::Datatype::U64,
    types::Datatype::I8,
    types::Datatype::I16,
    types::Datatype::I32,
    types::Datatype::I64,
    types::Datatype::F16,
    types::Datatype::F32,
    types::Datatype::F64,
    types::Datatype::Bytes,
];

fn column_to_host(column: &Column) -> types::Column {
    types::Column {
        name: column.name.clone(),
        datatype: DATATYPES[column.datatype as usize],
        shape: column.shape.clone(),
        nullable: column.nullable,
        categories: column.categories.clone(),
    }
}

fn column_from_host(column: types::Column) -> Column {
    Column {
        name: column.name,
        datatype: Datatype::ALL[column.datatype as usize],
        shape: column.shape,
        nullable: column.nullable,
        categories: column.categories,
    }
}
