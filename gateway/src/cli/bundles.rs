//! Bundles as `serve` would load them, for the commands that look at one.

use std::{path::Path, sync::Arc};

use crate::{
    artifact_cache::ArtifactCache,
    bundle::{Bundle, BundleError},
    config::cache_folder,
    generation::Generation,
    loading::{Loader, LoadingConfig, Vetted},
    metrics::Metrics,
    trust::Trust,
    verified,
    wasm::{
        cache::CodeCache,
        engine::{PoolSize, WasmEngine},
        module::Compiler,
    },
};

/// This program, whatever has become of its file since it was started.
pub(super) const OWN_BINARY: &str = "/proc/self/exe";

/// A bundle from a folder, or the embedded one.
pub(super) fn read(path: &Path) -> Result<Bundle, BundleError> {
    if path == Path::new("demo") && !path.exists() { Bundle::demo() } else { Bundle::read(path) }
}

/// Loads one bundle as `serve` would, without its golden examples.
pub(super) fn load(path: &Path) -> Result<Generation, BundleError> {
    load_with(code_cache(), read(path)?)
}

/// The machine code that this user's gateways keep.
pub(super) fn code_cache() -> CodeCache {
    let folder = cache_folder();
    folder.and_then(|folder| CodeCache::at(&folder, Trust::Verified).ok()).unwrap_or_else(CodeCache::off)
}

pub(super) fn load_with(cache: CodeCache, bundle: Bundle) -> Result<Generation, BundleError> {
    let (artifacts, metrics) = means(cache)?;
    Generation::load(bundle, &artifacts, &metrics)
}

/// Loads one bundle as `serve` would, with all that is tried before it serves.
pub(super) fn load_verified(path: &Path) -> Result<Generation, BundleError> {
    let (artifacts, metrics) = means(code_cache())?;
    let vetted = vet(path, &artifacts)?;
    let artifacts = artifacts.and_code(Arc::clone(&vetted.code));
    Ok(verified::load(&|| read(path), &artifacts, &metrics, vetted.found())?.generation)
}

/// Lets one bundle be loaded by a child, as `serve` would.
pub(super) fn vet(path: &Path, artifacts: &ArtifactCache) -> Result<Vetted, BundleError> {
    if path == Path::new("demo") && !path.exists() {
        return Ok(Vetted::default());
    }
    let loader = Loader::new(
        LoadingConfig::of_commands(OWN_BINARY.into()),
        artifacts.compiler.cache().folder(),
        Trust::Verified,
    );
    Ok(loader.vet_static(path, artifacts, 1, true)?)
}

/// An empty cache and metrics for one command, to load bundles with.
pub(super) fn means(cache: CodeCache) -> Result<(ArtifactCache, Metrics), BundleError> {
    let engine = WasmEngine::new(PoolSize::default()).map_err(|error| BundleError::from(format!("{error:#}")))?;
    let metrics = Metrics::new().map_err(|error| BundleError::from(error.to_string()))?;
    Ok((ArtifactCache::new(Compiler::new(engine, cache)), metrics))
}
