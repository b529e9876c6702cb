//! The modules that come with the gateway.

use std::io::Read;

use flate2::read::DeflateDecoder;

/// The beginning of their names in a manifest.
pub(super) const PREFIX: &str = "builtin:";

// By build.rs: a line for each module, with its digest.
include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// A module that comes with the gateway.
#[derive(Debug)]
pub struct Builtin {
    /// Its name in a manifest: `builtin:tabular`.
    pub name: &'static str,
    /// The sha256 of its wasm.
    pub digest: [u8; 32],
    /// The wasm, deflated: together they are three megabytes, most of which few gateways need.
    packed: &'static [u8],
}

impl Builtin {
    /// Every one.
    pub fn all() -> &'static [Self] {
        &BUILTIN
    }

    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        BUILTIN.iter().find(|builtin| builtin.name == name)
    }

    /// Its wasm: of text, a few milliseconds' work.
    pub fn wasm(&self) -> Vec<u8> {
        let mut wasm = Vec::new();
        // The build wrote it; were it damaged, so would be the code around it, and no module is compiled of it.
        _ = DeflateDecoder::new(self.packed).read_to_end(&mut wasm);
        wasm
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn every_module_unpacks_to_its_digest() {
        for builtin in Builtin::all() {
            assert_eq!(<[u8; 32]>::from(Sha256::digest(builtin.wasm())), builtin.digest, "{}", builtin.name);
            assert!(builtin.name.starts_with(PREFIX));
        }
        assert!(Builtin::named("builtin:text").is_some() && Builtin::named("builtin:none").is_none());
    }
}
