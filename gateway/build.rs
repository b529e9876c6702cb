//! Puts the modules that come with the gateway where `bundle.rs` embeds them from.

use std::{env, fs, path::Path};

fn main() {
    let out = env::var("OUT_DIR").unwrap_or_default();
    let dist = Path::new("../modules/dist");
    for module in ["tabular.wasm", "predict.wasm"] {
        let from = dist.join(module);
        println!("cargo::rerun-if-changed={}", from.display());
        if let Err(error) = fs::copy(&from, Path::new(&out).join(module)) {
            println!("cargo::error={}: {error}: run `make modules` first", from.display());
        }
    }
}
