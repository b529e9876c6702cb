//! Checks of decoders, for any bytes that one may be given.
//!
//! Each function takes an input as a client, a bundle's author, a source or a module may send it, and panics where the
//! decoder breaks a promise: it panics itself, takes memory out of proportion to the input, gives a batch that is not packed
//! as its columns say, or reads back something else than it wrote. The targets in `gateway/fuzz/fuzz_targets` call them with
//! inputs that libFuzzer makes; the test `seeds` calls them with every input that is kept.

mod booster;
mod csv;
mod embeddings;
mod graph;
mod image;
mod manifest;
mod memory;
mod multipart;
mod numbers;
mod oip;
mod onnx;
mod packed;
mod predict;
mod schema;
mod scoring;
mod sources;

pub use self::{
    booster::booster,
    csv::csv,
    embeddings::embeddings,
    image::image,
    manifest::manifest,
    multipart::multipart,
    oip::oip,
    onnx::{abort_where_ours_panics, is_ours, loader, operators},
    packed::packed,
    predict::predict,
    scoring::scoring,
    sources::{mlmodel, registry, s3_listing},
};

/// A check of one input.
pub type Check = fn(&[u8]);

/// Every check by the name of its target.
pub const CHECKS: [(&str, Check); 17] = [
    ("booster_catboost", booster),
    ("booster_lightgbm", booster),
    ("booster_xgboost", booster),
    ("csv", csv),
    ("embeddings", embeddings),
    ("image", image),
    ("loader", loader),
    ("manifest", manifest),
    ("mlmodel", mlmodel),
    ("multipart", multipart),
    ("oip", oip),
    ("operators", operators),
    ("packed", packed),
    ("predict", predict),
    ("registry", registry),
    ("s3_listing", s3_listing),
    ("scoring", scoring),
];
