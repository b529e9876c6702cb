//! Packs the modules that come with the gateway for `builtin.rs`, which embeds them.

#![expect(clippy::disallowed_methods, reason = "a build script is told by its environment")]

use std::{env, fmt::Write as _, fs, io::Write as _, path::Path};

use flate2::{Compression, write::DeflateEncoder};
use sha2::{Digest, Sha256};

const MODULES: [&str; 5] = ["tabular", "predict", "text", "pool", "image"];

fn main() {
    let out = env::var("OUT_DIR").unwrap_or_default();
    let out = Path::new(&out);
    let mut list = format!("const BUILTIN: [Builtin; {}] = [\n", MODULES.len());
    for module in MODULES {
        let from = Path::new("../../../modules/dist").join(format!("{module}.wasm"));
        println!("cargo::rerun-if-changed={}", from.display());
        match fs::read(&from).and_then(|wasm| Ok((pack(&wasm, &out.join(module))?, wasm))) {
            Ok(((), wasm)) => {
                let digest: [u8; 32] = Sha256::digest(&wasm).into();
                _ = writeln!(
                    list,
                    "    Builtin {{ name: \"builtin:{module}\", digest: {digest:?}, packed: \
                     include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{module}\")) }},"
                );
            }
            Err(error) => println!("cargo::error={}: {error}: run `make modules` first", from.display()),
        }
    }
    list += "];\n";
    if let Err(error) = fs::write(out.join("builtin.rs"), list) {
        println!("cargo::error=builtin.rs: {error}");
    }
}

fn pack(wasm: &[u8], to: &Path) -> std::io::Result<()> {
    let mut packer = DeflateEncoder::new(fs::File::create(to)?, Compression::best());
    packer.write_all(wasm)?;
    packer.finish()?;
    Ok(())
}
