//! Puts the modules that come with the gateway where `manifest.rs` embeds them from.

#![expect(clippy::disallowed_methods, reason = "a build script is told by its environment")]

use std::{env, fs, path::Path};

fn main() {
    let out = env::var("OUT_DIR").unwrap_or_default();
    let out = Path::new(&out);
    let dist = Path::new("../../../modules/dist");
    for module in ["tabular.wasm", "predict.wasm"] {
        let from = dist.join(module);
        println!("cargo::rerun-if-changed={}", from.display());
        if let Err(error) = fs::copy(&from, out.join(module)) {
            println!("cargo::error={}: {error}: run `make modules` first", from.display());
        }
    }
}
