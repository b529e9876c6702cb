//! Makes the gRPC code from the protocol's description, and lets a build set the version and how the binary is linked.

#![expect(clippy::disallowed_methods, reason = "a build script is told by its environment")]

use std::{env, error::Error, fs, path::Path};

const PROTO: &str = "proto/open_inference.proto";

fn main() {
    let out = env::var("OUT_DIR").unwrap_or_default();
    let out = Path::new(&out);
    // The image's version, where it is not the manifest's.
    println!("cargo::rerun-if-env-changed=MODELGATE_VERSION");
    if let Some(version) = env::var("MODELGATE_VERSION").ok().filter(|version| !version.is_empty()) {
        println!("cargo::rustc-env=CARGO_PKG_VERSION={version}");
    }
    // As the image has it. Packed relocations are megabytes smaller; the loader that reads them, glibc 2.36 or later, goes into
    // the image too. Functions of equal code are kept once: two megabytes. Rust's own linker, the default on x86-64, can do
    // that.
    println!("cargo::rerun-if-env-changed=MODELGATE_LINK");
    if env::var("MODELGATE_LINK").is_ok_and(|link| link == "small") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
            println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
        }
    }
    println!("cargo::rerun-if-changed={PROTO}");
    if let Err(error) = grpc(out) {
        println!("cargo::error={PROTO}: {error}");
    }
}

/// The messages and the server's part of the service, and the description itself for reflection.
fn grpc(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_file(PROTO)?;
    fs::write(out.join("open_inference.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .build_client(false)
        // Raw tensors are parts of the message as it came, not copies of them.
        .bytes(".")
        // Looks at a message before it is decoded.
        .codec_path("crate::grpc::codec::CheckedCodec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
