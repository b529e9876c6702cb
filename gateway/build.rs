//! Puts the modules that come with the gateway where `bundle.rs` embeds them from, and lets a build set the version.

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
    // The image's version, where it is not the manifest's.
    println!("cargo::rerun-if-env-changed=MODELGATE_VERSION");
    if let Some(version) = env::var("MODELGATE_VERSION").ok().filter(|version| !version.is_empty()) {
        println!("cargo::rustc-env=CARGO_PKG_VERSION={version}");
    }
}
