//! A native mock of the gateway, so that a module is tested with plain `cargo test`.
//!
//! ```
//! # use modelgate_module::{Batch, Column, Datatype, Error, Module, NoConfig, Packer, Signature, log, model};
//! # struct Score;
//! # impl Module for Score {
//! #     type Config = NoConfig;
//! #     fn init(_: NoConfig) -> Result<(Self, Signature), Error> {
//! #         log::info("ready");
//! #         Ok((Self, model::signature()))
//! #     }
//! #     fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
//! #         outputs.replace(model::compute(inputs.rows() as u32, inputs.words())?);
//! #         Ok(())
//! #     }
//! # }
//! use modelgate_module::testing::{Host, rows};
//!
//! // A model that doubles: its signature, and a closure that stands for the graph.
//! let signature = Signature {
//!     inputs: vec![Column::scalar("x", Datatype::F32)],
//!     outputs: vec![Column::scalar("y", Datatype::F32)],
//! };
//! let host = Host::new().model(signature, |inputs, outputs| {
//!     let doubled: Vec<f32> = inputs.values::<f32>("x")?.iter().map(|x| x * 2.0).collect();
//!     outputs.write("y", &doubled)
//! });
//! let mut module = host.start::<Score>("")?;
//! assert_eq!(module.run(rows![[1.5], [2.0]])?, rows![[3.0], [4.0]]);
//! assert_eq!(module.logs(), [(log::Level::Info, "ready".to_owned())]);
//! # Ok::<(), Error>(())
//! ```

mod host;
mod value;

pub use host::{Host, Running};
pub(crate) use host::{compute, log, model_signature};
pub use value::{Row, Value};

#[doc(inline)]
pub use crate::__rows as rows;

/// Rows of plain Rust values: `rows![[2.5, "a"], [None::<f64>, "b"]]` is a `Vec<Row>`.
#[doc(hidden)]
#[macro_export]
macro_rules! __rows {
    ($([$($value:expr),* $(,)?]),* $(,)?) => {
        ::std::vec![$(::std::vec![$($crate::testing::Value::from($value)),*]),*]
    };
}
