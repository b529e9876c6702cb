//! Bundles: what a model is served from, read whole and verified.
//!
//! `modules/BUNDLE.md` describes the format. [`Manifest`] is its `bundle.toml`, [`Bundle`] the manifest with the files that it
//! names, [`Golden`] the rows with known answers, [`plain`] the bundle around an ONNX file that has none ([`text_chain`]:
//! one that takes tokens, [`images`]: one that takes pixels), [`Ceilings`] what the operator lets a manifest ask for.
//! [`release`] is a version of a model as a source offers it, and the order of
//! versions.
//!
//! Of the workspace, the crate imports `modelgate-files`, `modelgate-throttle`, `modelgate-onnx` (a loaded model) and
//! `modelgate-sandbox` (limits and isolation) alone: it knows neither sources nor requests, and runs nothing.

pub mod batching;
mod booster;
mod builtin;
mod bundle;
mod ceilings;
mod error;
mod files;
mod golden;
pub mod images;
pub mod labels;
mod manifest;
pub mod plain;
mod python;
pub mod release;
pub mod text_chain;

pub use self::{
    builtin::Builtin,
    bundle::{Bundle, ModelFile, Stage},
    ceilings::Ceilings,
    error::BundleError,
    files::{MAX_FILE, is_inside, read_beneath, read_inside},
    golden::{Example, Golden},
    manifest::{FileRef, MANIFEST, MAX_MANIFEST, Manifest, is_label, is_sha256, parse_bytes},
};
