//! `modelgate precompile`.

use std::{fs, path::Path};

use anyhow::Context;

use crate::{
    bundle::Bundle,
    cli::{bundles::load_with, print::say},
    trust::Trust,
    wasm::cache::CodeCache,
};

/// The demo's modules are those that come with the gateway.
pub(super) fn precompile(folder: &Path) -> anyhow::Result<()> {
    let cache = CodeCache::at(folder, Trust::Verified).with_context(|| folder.display().to_string())?;
    load_with(cache, Bundle::demo()?)?;
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(!entries.is_empty(), "{}: nothing could be written", folder.display());
    for entry in entries {
        say(&format!("{} {} bytes", entry.path().display(), entry.metadata()?.len()));
    }
    Ok(())
}
