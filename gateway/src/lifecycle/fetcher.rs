//! Brings the files of releases into the local cache.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use modelgate_onnx::{BoosterForm, Mode};
use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    bundle::{FileRef, Manifest, is_inside, plain},
    lifecycle::failure::Failure,
    metrics::Metrics,
    release::{Content, Release},
    source::{Kind, Source},
    store::Store,
};

/// Files fetched at once for one release.
const FETCHES: usize = 4;

/// Releases of one source fetched at once.
const FETCHED_RELEASES: usize = 4;

/// The sources and the local cache.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) sources: Vec<Arc<Source>>,
    pub(super) store: Option<Store>,
    metrics: Arc<Metrics>,
    /// Bytes of a release's files at most.
    max_bundle: u64,
    /// By source: one that is slow holds up no other.
    turns: Vec<Semaphore>,
}

impl Fetcher {
    pub(super) fn new(sources: Vec<Arc<Source>>, store: Option<Store>, metrics: Arc<Metrics>, max_bundle: u64) -> Self {
        let turns = sources.iter().map(|_| Semaphore::new(FETCHED_RELEASES)).collect();
        Self { sources, store, metrics, max_bundle, turns }
    }

    /// Whether all files of a release are in the local cache.
    pub(super) fn has(&self, release: &Release) -> bool {
        let (Some(store), Content::Bundle { manifest, .. }) = (&self.store, &release.content) else { return false };
        let files = Manifest::parse(manifest).and_then(|manifest| manifest.files());
        files.is_ok_and(|files| files.iter().all(|file| store.has(&file.sha256)))
    }

    /// Brings every file that is not there yet into the local cache.
    pub(super) async fn fetch(&self, mut release: Release) -> Result<Release, Failure> {
        let (Some(store), Some(source)) = (&self.store, self.sources.get(release.source)) else { return Ok(release) };
        let Some(turns) = self.turns.get(release.source) else { return Ok(release) };
        let _turn = match &release.content {
            Content::Folder(_) | Content::Demo => return Ok(release),
            Content::Unservable { reason } => {
                return Err(Failure { reason: reason.clone(), transient: false });
            }
            Content::Bundle { .. } | Content::Onnx { .. } => turns.acquire().await.ok(),
        };
        let start = Instant::now();
        if let Content::Onnx { at, booster } = &release.content {
            let (folder, graph) = at.rsplit_once('/').unwrap_or(("", at));
            let manifest = self.fetch_graph(store, source, &release, folder, graph, booster.as_ref()).await?;
            release.content = Content::Bundle { manifest: manifest.into(), at: folder.to_owned() };
            self.record_time(start);
            return Ok(release);
        }
        let Content::Bundle { manifest, at } = &release.content else { return Ok(release) };
        let files = Manifest::parse(manifest)
            .and_then(|manifest| manifest.files())
            .map_err(|reason| Failure { reason, transient: false })?;
        let mut seen = HashSet::new();
        let files = files.into_iter().filter(|file| seen.insert(file.sha256.clone()));
        let (there, missing): (Vec<_>, Vec<_>) = files.partition(|file| store.has(&file.sha256));
        let over_limit = |what: &str| Failure {
            reason: format!("{what}: too_large: the bundle is larger than the limit of {} bytes", self.max_bundle),
            transient: false,
        };
        let too_large = || over_limit("its files together");
        let lengths = there.iter().filter_map(|file| store.length(&file.sha256)).map(|length| length as u64);
        let left = self.max_bundle.checked_sub(lengths.fold(0, u64::saturating_add)).ok_or_else(too_large)?;
        let name = source.name();
        self.metrics.lifecycle.reused_files.with_label_values(&[name]).inc_by(there.len() as u64);
        if missing.is_empty() {
            return Ok(release);
        }
        let budget = AtomicU64::new(left);
        let fetch = |file: FileRef| {
            let (source, budget) = (Arc::clone(source), &budget);
            async move {
                let message = |reason: String| Failure { reason: format!("{}: {reason}", file.file), transient: true };
                let left = budget.load(Ordering::Relaxed);
                let incoming = store.incoming()?;
                let fetched = source.fetch(at, &file, incoming, left).await.map_err(|error| {
                    match error.kind {
                        // The limit is the room that the other files left.
                        Kind::TooLarge => over_limit(&file.file),
                        _ => Failure { reason: format!("{}: {error}", file.file), transient: true },
                    }
                })?;
                let bytes = fetched.len();
                let spent = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
                if spent.is_err() {
                    return Err(too_large());
                }
                self.metrics.lifecycle.fetched_bytes.with_label_values(&[source.name()]).inc_by(bytes);
                // A digest that is wrong now may be that of a file half replaced.
                fetched.finish(Some(&file.sha256)).map_err(message)?;
                Ok(())
            }
        };
        let fetches: Vec<_> = missing.into_iter().map(fetch).collect();
        // In order: of several that are missing, it is always the same one that is told.
        stream::iter(fetches).buffered(FETCHES).try_collect::<()>().await?;
        self.record_time(start);
        Ok(release)
    }

    /// Brings a graph that has no bundle, and the files beside it that hold its larger tensors, or a booster's file. Gives a
    /// manifest of them.
    async fn fetch_graph(
        &self,
        store: &Store,
        source: &Source,
        release: &Release,
        folder: &str,
        graph: &str,
        booster: Option<&BoosterForm>,
    ) -> Result<Vec<u8>, Failure> {
        let mut left = self.max_bundle;
        // Named by nobody else, so their digests are those of what comes.
        let mut fetch = async |name: &str| {
            let message = |reason: String, transient| Failure { reason: format!("{name}: {reason}"), transient };
            if !is_inside(name) {
                return Err(message("the graph's data is not beside it".into(), false));
            }
            let file = FileRef { file: name.to_owned(), sha256: String::new() };
            let incoming = store.incoming()?;
            let fetched = source.fetch(folder, &file, incoming, left).await;
            let fetched = fetched.map_err(|error| message(error.to_string(), !error.is_final()))?;
            left -= fetched.len().min(left);
            self.metrics.lifecycle.fetched_bytes.with_label_values(&[source.name()]).inc_by(fetched.len());
            fetched.finish(None).map_err(|reason| message(reason, true))
        };
        let sha256 = fetch(graph).await?;
        if let Some(form) = booster {
            let file = FileRef { file: graph.to_owned(), sha256 };
            return Ok(plain::booster_manifest("model", &release.version, &file, form).into_bytes());
        }
        let (cache, digest) = (store.clone(), sha256.clone());
        #[expect(clippy::disallowed_methods, reason = "one for each release that is fetched, and those are counted")]
        let named = spawn_blocking(move || cache.read(&digest).map(modelgate_onnx::data_files)).await;
        let unread = |reason: String| Failure { reason, transient: true };
        let named = named.map_err(|error| unread(error.to_string()))?.map_err(unread)?;
        let mut data = Vec::new();
        for name in named {
            let sha256 = fetch(&name).await?;
            data.push(FileRef { file: name, sha256 });
        }
        let graph = FileRef { file: graph.to_owned(), sha256 };
        Ok(plain::manifest("graph", &release.version, &graph, &data, Mode::Auto).into_bytes())
    }

    /// Removes files that are not what they were, so that the next try fetches them again. Tells whether any was.
    pub(super) fn discard_damaged(&self, manifest: &[u8]) -> bool {
        let (Some(store), Ok(files)) = (&self.store, Manifest::parse(manifest).and_then(|manifest| manifest.files()))
        else {
            return false;
        };
        let mut any = false;
        for file in files {
            let good =
                store.read(&file.sha256).is_ok_and(|bytes| format!("{:x}", Sha256::digest(&bytes)) == file.sha256);
            if !good {
                store.discard(&file.sha256);
                any = true;
            }
        }
        any
    }

    fn record_time(&self, start: Instant) {
        self.metrics.lifecycle.release_seconds.with_label_values(&["fetch"]).observe(start.elapsed().as_secs_f64());
    }
}
