//! An estimate of the memory of a version that is about to be loaded.

use crate::{
    bundle::Manifest,
    lifecycle::{loader::VersionLoader, version::Need},
    release::{Content, Release},
};

/// The memory of one instance of a small module, and of making it.
const INSTANCE: usize = 512 << 10;

/// A graph of unknown size.
const GRAPH: usize = 4 << 20;

/// While a graph is read it is there as a file, as messages, as tensors, and as two plans: at most so many times the file
/// (measured: 2 to 2.7).
const HEIGHT: usize = 3;

/// Of a version that may never have been resident; `cost` is what it took if it was, in bytes.
pub(super) fn estimate(release: &Release, mut cost: usize, loader: &VersionLoader) -> Need {
    let (mut graph, mut stages) = (GRAPH, 2);
    if let Content::Bundle { manifest, .. } = &release.content
        && let Ok(manifest) = Manifest::parse(manifest)
    {
        stages = manifest.stages();
        let store = loader.fetcher.store.as_ref();
        let length = |sha256: &str| store.and_then(|store| store.length(sha256)).unwrap_or(GRAPH);
        graph = manifest.model_files().map(length).fold(0, usize::saturating_add);
        if loader.has_model(&manifest) {
            (graph, cost) = (0, 0);
        }
    }
    // One thread's instances are there while it is checked; the others come with requests.
    let height = graph.saturating_mul(HEIGHT).saturating_add(stages * INSTANCE);
    Need { bytes: height.max(cost), instances: stages * loader.threads }
}
