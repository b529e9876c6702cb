//! Lets a build set the version, which is in the name of each entry of the code cache.

#![expect(clippy::disallowed_methods, reason = "a build script is told by its environment")]

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MODELGATE_VERSION");
    if let Some(version) = env::var("MODELGATE_VERSION").ok().filter(|version| !version.is_empty()) {
        println!("cargo::rustc-env=CARGO_PKG_VERSION={version}");
    }
}
