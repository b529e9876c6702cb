//! The sandbox: WebAssembly modules compiled, instantiated, limited and called.
//!
//! - [`engine`]: the wasmtime engine and its instance pool.
//! - `clock`: the clock that ends guests which run too long.
//! - [`module`]: the compiler, from a module's bytes to something that can be instantiated in microseconds.
//! - [`cache`]: compiled code on local disk.
//! - [`contract`] and [`host`]: the imports of `modules/wit/module.wit`, and the limits on their use.
//! - [`instance`]: the live instances of a bundle's stages, and one call through all of them.
//! - [`trap`]: why a guest ended early.
//! - [`Limits`] and [`Isolation`], which a bundle asks for. Without the feature `runtime`, the crate is these two alone.
//!
//! Of the workspace, the crate imports `modelgate-columns`, `modelgate-onnx` (the session behind the contract's `compute`)
//! and `modelgate-files` alone: it knows neither bundles nor requests.

mod limits;

#[cfg(feature = "runtime")]
pub mod cache;
#[cfg(feature = "runtime")]
mod clock;
#[cfg(feature = "runtime")]
pub mod contract;
#[cfg(feature = "runtime")]
pub mod engine;
#[cfg(feature = "runtime")]
pub mod host;
#[cfg(feature = "runtime")]
pub mod instance;
#[cfg(feature = "runtime")]
pub mod module;
#[cfg(feature = "runtime")]
pub mod trap;

pub use self::limits::{Isolation, Limits};
