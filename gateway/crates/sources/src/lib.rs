//! Where bundles come from: a directory, an S3 bucket, the MLflow registry.
//!
//! A [`Source`] is looked at again and again. Each look gives all that it offers, cheaply where nothing has changed; files
//! are fetched later, and only those that the local [`store`] has not. `docs/sources.md` describes the sources to users.
//!
//! Of the workspace, the crate imports `modelgate-bundle` (manifests and versions), `modelgate-files`, `modelgate-throttle`
//! and the form of boosters from `modelgate-onnx` alone: it loads no model, and does not know who decides that one is.

mod artifact_folder;
mod artifacts;
mod converted;
mod dir;
mod error;
mod listing;
mod mlflow;
mod mlmodel;
mod push;
mod report;
mod s3;
mod s3_bound;
mod s3_client;
mod signature;
mod source;
mod spec;
pub mod store;
mod tls;
#[doc(hidden)]
pub mod untrusted;
mod watch;

pub use self::{
    converted::Converted,
    error::{Kind, SourceError},
    listing::Listing,
    push::push,
    report::{Clash, Report, Reports, unix_now},
    source::Source,
    spec::{Environment, Spec},
    tls::http_client,
};
