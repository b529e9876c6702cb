//! Write a module for modelgate: a struct, a configuration type and one function over typed columns.
//!
//! ```
//! use modelgate_module::{Batch, Column, Datatype, Error, Module, Packer, Signature};
//!
//! /// What the stage's configuration file holds.
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     threshold: f64,
//! }
//!
//! struct Flag {
//!     threshold: f64,
//! }
//!
//! impl Module for Flag {
//!     type Config = Config;
//!
//!     fn init(config: Config) -> Result<(Self, Signature), Error> {
//!         let signature = Signature {
//!             inputs: vec![Column::scalar("amount", Datatype::F64)],
//!             outputs: vec![Column::scalar("large", Datatype::Bool)],
//!         };
//!         Ok((Self { threshold: config.threshold }, signature))
//!     }
//!
//!     fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
//!         let amounts = inputs.values::<f64>("amount")?;
//!         for (flag, amount) in outputs.bools("large")?.iter_mut().zip(amounts) {
//!             *flag = u8::from(*amount > self.threshold);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! modelgate_module::export!(Flag);
//!
//! // Natively, with nothing but `cargo test`:
//! use modelgate_module::testing::{Host, rows};
//! let mut flag = Host::new().start::<Flag>(r#"{"threshold": 100}"#).unwrap();
//! assert_eq!(flag.run(rows![[99.5], [1e6]]).unwrap(), rows![[false], [true]]);
//! ```
//!
//! A crate that is a module has `crate-type = ["cdylib"]` and is built with
//! `cargo build --release --target wasm32-unknown-unknown`. The file it gives goes into a bundle as it is.
//!
//! - [`Batch`] gives typed views of the inputs that borrow from the packed words.
//! - [`Packer`] writes the outputs in place.
//! - [`Error`] says whose fault it is: the caller's (status 422, with column and row), the model's or the module's.
//! - [`model`] invokes the bundle's preloaded model, [`log`] writes to the gateway's log.
//! - [`testing`] is a native mock of the gateway.
//!
//! A module has no clock, no files, no network and no randomness: what it answers depends on its configuration, the
//! model and the batch, and on nothing else.

mod batch;
mod columns;
mod element;
mod error;
mod live;
pub mod log;
pub mod model;
mod packer;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;

pub use batch::Batch;
pub use columns::{Bools, Optional, Text};
pub use element::Element;
pub use error::{Error, Problem};
pub use live::{Live, NoConfig};
pub use modelgate_columns::{Column, Datatype, Signature, Strings, Values, View};
pub use packer::Packer;

/// The trait that an author implements.
pub trait Module: Sized {
    /// The stage's configuration file, parsed from JSON. [`NoConfig`] if there is nothing to configure. A stage without
    /// a file is given `{}`.
    type Config: serde::de::DeserializeOwned;

    /// Called once for each instance, before anything else. Says what [`process`](Self::process) takes and gives. It
    /// must give the same answer each time it is given the same configuration and model.
    ///
    /// An error here keeps the bundle from going live; its text is shown to the person who deploys it.
    fn init(config: Self::Config) -> Result<(Self, Signature), Error>;

    /// Called for each batch: reads the columns of `inputs` and writes each column of `outputs`, in the signature's
    /// order.
    ///
    /// It may keep caches in `self`, but one call's answer must not depend on another's data.
    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error>;
}

/// Makes the type, which implements [`Module`], the module that this crate is built into. Once for each crate.
///
/// The message of a panic goes to the gateway's log before the module traps. `export!(Type, silent)` leaves that out, and
/// with it the import of the log, which makes a fresh instance a little cheaper (it takes memory, so the component
/// needs two more core instances).
///
/// Built for another target than wasm32, it only checks that the type is a module.
#[macro_export]
macro_rules! export {
    ($module:ty) => {
        $crate::export!(@module $module, $crate::guest::log_panics());
    };
    ($module:ty, silent) => {
        $crate::export!(@module $module, ());
    };
    (@module $module:ty, $start:expr) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_a_module<M: $crate::Module>() {}
            is_a_module::<$module>();
        };
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            // One instance of the WebAssembly module is one instance of the author's type, and runs on one thread.
            ::std::thread_local! {
                static LIVE: $crate::guest::Slot<$module> = const { $crate::guest::Slot::empty() };
            }
            struct Guest;
            impl $crate::guest::Guest for Guest {
                fn init(config: ::std::vec::Vec<u8>) -> $crate::guest::Init {
                    $start;
                    LIVE.with(|live| live.init(&config))
                }
                fn process(rows: u32, inputs: ::std::vec::Vec<u64>) -> $crate::guest::Process {
                    LIVE.with(|live| live.process(rows, &inputs))
                }
            }
            $crate::guest::export_bindings!(Guest with_types_in $crate::guest::bindings);
        };
    };
}
