//! Manifests of bundles.

use modelgate_bundle::{MAX_MANIFEST, Manifest, is_inside, is_sha256};

use crate::memory::{self, Allowance};

/// Memory of a manifest: TOML as a tree, and what is made of it.
const MANIFEST: Allowance = Allowance { factor: 256, floor: 256 << 10 };

/// A manifest: its files are inside the bundle and have digests, whatever else is wrong with it.
pub fn manifest(text: &[u8]) {
    let parsed = memory::within(MANIFEST, text.len(), || Manifest::parse(text));
    let Ok(manifest) = parsed else { return };
    assert!(text.len() <= MAX_MANIFEST);
    let problems = memory::within(MANIFEST, text.len(), || manifest.problems());
    if let Ok(files) = memory::within(MANIFEST, text.len(), || manifest.files()) {
        for file in &files {
            assert!(is_inside(&file.file) && is_sha256(&file.sha256), "{file:?}");
        }
        let named = manifest.model_files().all(|digest| files.iter().any(|file| file.sha256 == digest));
        assert!(named, "the model's files are among all files");
    }
    assert_eq!(manifest.model_identity().is_some(), manifest.model_files().next().is_some());
    assert!(manifest.builtin_modules().count() <= manifest.stages());
    assert!(manifest.stages() > 0 || !problems.is_empty(), "a bundle without a stage is refused");
}
