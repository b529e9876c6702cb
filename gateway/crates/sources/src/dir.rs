//! A directory of bundles: every folder in it, three levels deep, that has a manifest.
//!
//! File events say when to look; a look reads the times of the manifests and those manifests that changed. What else a
//! manifest names is read when it is fetched, with its digest checked, so a folder that is half copied is no release yet.
//!
//! Files are touched on threads of their own: a network mount that hangs holds up only the task that waits for it.

use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use modelgate_bundle::{FileRef, MANIFEST, MAX_MANIFEST, is_inside};
use modelgate_files::beneath::{Beneath, Links};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::{
    error::{Kind, SourceError},
    listing::Listing,
    store::Incoming,
    watch::Watch,
};

/// `root/churn/3/bundle.toml`, and a level for folders that sort models by team.
const DEPTH: usize = 3;

/// Folders looked at.
const MAX_FOLDERS: usize = 20_000;

/// A manifest written so lately is read again next time: a second write may leave the same time.
const FRESH: Duration = Duration::from_secs(2);

/// Bytes copied at a time.
const PIECE: usize = 256 << 10;

/// Files copied at once, those included that hang.
const COPIES: usize = 8;

/// A copy that does not move for so long has failed.
const STALL: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct DirSource {
    folder: Arc<Folder>,
    /// The look that goes on, also where nobody could wait for its end.
    look: AsyncMutex<Option<JoinHandle<Result<Listing, SourceError>>>>,
    copies: Arc<Semaphore>,
}

#[derive(Debug)]
struct Folder {
    root: PathBuf,
    index: usize,
    seen: Mutex<HashMap<PathBuf, Seen>>,
    watch: Watch,
}

/// A manifest as it was read last.
#[derive(Clone, Debug)]
struct Seen {
    stamp: Stamp,
    manifest: Arc<[u8]>,
    /// The last one there that named a release: what it was goes on being offered while the folder has something else.
    last_known_good: Option<Arc<[u8]>>,
}

/// Changes whenever a file is replaced or written to, but for two writes within one tick of the clock. Tools may set the
/// time of the content as they please, and a new file may get an old one's number; the time of the last change tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
    inode: u64,
}

impl DirSource {
    pub(super) fn new(root: PathBuf, index: usize) -> Self {
        let folder = Folder { root, index, seen: Mutex::default(), watch: Watch::default() };
        Self { folder: Arc::new(folder), look: AsyncMutex::default(), copies: Arc::new(Semaphore::new(COPIES)) }
    }

    pub(super) async fn changed(&self) {
        self.folder.watch.changed().await;
    }

    pub(super) async fn list(&self) -> Result<Listing, SourceError> {
        self.folder.watch.open().await;
        let mut look = self.look.lock().await;
        let task = look.get_or_insert_with(|| {
            let folder = Arc::clone(&self.folder);
            aside(move || folder.list())
        });
        let listing = task.await;
        *look = None;
        listing.unwrap_or_else(|error| Err(SourceError::new(Kind::Local, format!("the look at it ended: {error}"))))
    }

    pub(super) async fn fetch(
        &self,
        at: &str,
        file: &FileRef,
        into: Incoming,
        limit: u64,
    ) -> Result<Incoming, SourceError> {
        let name = &file.file;
        if !is_inside(name) {
            return Err(SourceError::new(
                Kind::InvalidResponse,
                "expected a relative path inside the bundle, without `..`",
            ));
        }
        let stalled = |what| SourceError::new(Kind::Timeout, format!("{what} for {} s", STALL.as_secs()));
        let turn = timeout(STALL, Arc::clone(&self.copies).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(stalled("other files of this source have not been read")) };
        let copied = Arc::new(AtomicU64::new(0));
        let inner = Path::new(at).strip_prefix(&self.folder.root).map(Path::to_owned);
        let Ok(inner) = inner else { return Err(SourceError::new(Kind::Missing, "it is not in this folder")) };
        let (root, name) = (self.folder.root.clone(), name.clone());
        let copy = Copy { root, inner, name, limit, copied: Arc::clone(&copied), _turn: turn };
        let mut copy = aside(move || copy.run(into));
        let mut before = 0;
        loop {
            match timeout(STALL, &mut copy).await {
                Ok(done) => {
                    return done.unwrap_or_else(|error| {
                        Err(SourceError::new(Kind::Local, format!("the copying of it ended: {error}")))
                    });
                }
                Err(_) => {
                    let now = copied.load(Ordering::Relaxed);
                    if now == before {
                        return Err(stalled("nothing could be read"));
                    }
                    before = now;
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "bounded for each source: one look, and COPIES copies")]
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(work)
}

/// A file on its way into the local cache.
struct Copy {
    /// The source's folder, which the operator names.
    root: PathBuf,
    /// The bundle's folder in it.
    inner: PathBuf,
    name: String,
    limit: u64,
    /// Bytes so far; shared with the task that waits for it.
    copied: Arc<AtomicU64>,
    _turn: OwnedSemaphorePermit,
}

impl Copy {
    fn run(self, mut into: Incoming) -> Result<Incoming, SourceError> {
        let missing = |error: io::Error| SourceError::new(Kind::Missing, error.to_string());
        let root = Beneath::open(&self.root, Links::None).map_err(missing)?;
        let bundle = root.folder(&self.inner).map_err(missing)?;
        let mut from = bundle.file(Path::new(&self.name)).map_err(missing)?;
        let mut piece = vec![0; PIECE];
        loop {
            let count = from.read(&mut piece)?;
            if count == 0 {
                return Ok(into);
            }
            into.write(&piece[..count])?;
            if into.len() > self.limit {
                return Err(SourceError::new(Kind::TooLarge, format!("over the limit of {} bytes", self.limit)));
            }
            self.copied.store(into.len(), Ordering::Relaxed);
            if Arc::strong_count(&self.copied) == 1 {
                return Err(SourceError::new(Kind::Local, "nobody waits for it any more"));
            }
        }
    }
}

impl Folder {
    fn list(&self) -> Result<Listing, SourceError> {
        let mut listing = Listing::default();
        let mut manifests = HashMap::new();
        let root = Beneath::open(&self.root, Links::None).map_err(|error| self.unreadable(&error))?;
        let mut folders = vec![(PathBuf::new(), 0)];
        let mut looked = 0;
        let mut watched = BTreeSet::new();
        while let Some((inner, depth)) = folders.pop() {
            looked += 1;
            if looked > MAX_FOLDERS {
                listing.report(format!("at most {MAX_FOLDERS} folders are looked at"));
                break;
            }
            if listing.is_full() {
                break;
            }
            let folder = self.root.join(&inner);
            let Some(at) = folder.to_str() else {
                listing.report(format!("{}: a name that is not UTF-8", folder.display()));
                continue;
            };
            // Before it is read, so that nothing that comes meanwhile is missed.
            watched.extend(self.watch.add(&folder));
            let open = match root.folder(&inner) {
                Ok(open) => open,
                Err(error) if depth == 0 => return Err(self.unreadable(&error)),
                // Gone since it was listed, or another thing.
                Err(_) => continue,
            };
            match self.manifest(&folder, &open) {
                // A bundle's own folders are not looked into for others.
                Ok(Some(mut seen)) => {
                    if listing.add(self.index, &seen.manifest, at) {
                        seen.last_known_good = Some(Arc::clone(&seen.manifest));
                    } else if let Some(last_known_good) = &seen.last_known_good {
                        listing.add(self.index, last_known_good, at);
                    }
                    manifests.insert(folder, seen);
                    continue;
                }
                Ok(None) => {}
                Err(problem) => {
                    listing.report(format!("{}: {problem}", folder.display()));
                    if let Some(seen) = self.seen(&folder) {
                        if let Some(last_known_good) = &seen.last_known_good {
                            listing.add(self.index, last_known_good, at);
                        }
                        manifests.insert(folder, seen);
                        continue;
                    }
                }
            }
            let entries = match open.entries() {
                Ok(entries) => entries,
                Err(error) if depth == 0 => return Err(self.unreadable(&error)),
                Err(_) => continue,
            };
            if depth == DEPTH {
                continue;
            }
            // Hidden folders are where tools put what is not finished.
            for entry in
                entries.into_iter().filter(|entry| entry.is_folder && !entry.name.as_encoded_bytes().starts_with(b"."))
            {
                if entry.is_link {
                    listing.report(format!("{}: is a link, which is not followed", folder.join(entry.name).display()));
                } else {
                    folders.push((inner.join(entry.name), depth + 1));
                }
            }
        }
        self.watch.keep(watched);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = manifests;
        Ok(listing)
    }

    fn unreadable(&self, error: &io::Error) -> SourceError {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::Missing,
            io::ErrorKind::PermissionDenied => Kind::Denied,
            _ => Kind::Local,
        };
        SourceError::new(kind, format!("{}: {error}", self.root.display()))
    }

    /// The manifest of a folder that is open, read again only if it changed.
    fn manifest(&self, folder: &Path, open: &Beneath) -> Result<Option<Seen>, String> {
        let mut file = match open.file(Path::new(MANIFEST)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(format!("{MANIFEST}: {error}")),
        };
        let meta = file.metadata().map_err(|error| format!("{MANIFEST}: {error}"))?;
        let too_large = |has: u64| format!("{MANIFEST}: at most {MAX_MANIFEST} bytes are taken, it has {has}");
        if meta.len() > MAX_MANIFEST as u64 {
            return Err(too_large(meta.len()));
        }
        let stamp = Stamp {
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            size: meta.len(),
            inode: meta.ino(),
        };
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(meta.ctime().try_into().unwrap_or(0));
        let fresh = SystemTime::now().duration_since(changed).ok().is_none_or(|age| age < FRESH);
        let old = self.seen(folder);
        if let Some(old) = &old
            && old.stamp == stamp
            && !fresh
        {
            return Ok(Some(old.clone()));
        }
        let mut manifest = Vec::new();
        let read = file.by_ref().take(MAX_MANIFEST as u64 + 1).read_to_end(&mut manifest);
        read.map_err(|error| format!("{MANIFEST}: {error}"))?;
        if manifest.len() > MAX_MANIFEST {
            return Err(too_large(manifest.len() as u64));
        }
        Ok(Some(Seen { stamp, manifest: manifest.into(), last_known_good: old.and_then(|old| old.last_known_good) }))
    }

    fn seen(&self, folder: &Path) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(folder).cloned()
    }
}
