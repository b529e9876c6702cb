//! Files of bundles on local disk, named by their sha256.
//!
//! A file is written beside its place and renamed, with its digest checked on the way, so whatever is there is whole.
//! Beside the files stands, for each source, the last set of releases that it offered: a gateway that starts while the
//! source is down serves those.

pub mod attempts;

use std::{
    collections::HashSet,
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use modelgate_bundle::{
    Manifest, is_sha256,
    release::{Content, Release},
};
use modelgate_files::{temporary::temporary_path, trust::Trust};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::attempts::Attempts;

/// A file that nothing refers to is kept for so long: another gateway may be about to use it.
const GRACE: Duration = Duration::from_hours(1);

/// The time for which the files of a source's last offer are kept, if no gateway renews it.
const REMEMBERED: Duration = Duration::from_hours(24 * 30);

/// Bytes read before others get their turn.
const PIECE: u64 = 64 << 10;

/// A file that has taken longer than this must have come with [`SLOWEST`] bytes a second: it keeps others waiting.
const LONG: Duration = Duration::from_mins(1);
const SLOWEST: u64 = 1 << 10;

/// A folder of files by digest.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    /// Loads in progress, and what processes died of.
    pub attempts: Attempts,
}

/// A release that a source offered in an earlier life.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The release.
    pub release: Release,
    /// Whether it is the version that answered last.
    pub is_last_known_good: bool,
    /// The id of the release that somebody went back from to this one.
    pub instead_of: Option<String>,
}

/// The same as it is written down.
#[derive(Debug, Deserialize, Serialize)]
struct Line {
    model: String,
    version: String,
    id: String,
    manifest: String,
    at: String,
    #[serde(default)]
    is_good: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instead_of: Option<String>,
}

impl Store {
    /// Uses `folder`, making it if it is not there. Refuses one that others may write to, or may put another one in the
    /// place of: what is remembered there says what is served.
    pub fn at(folder: &Path, trust: Trust) -> io::Result<Self> {
        for inner in ["files", "sources"] {
            trust.make(&folder.join(inner))?;
        }
        Ok(Self { folder: folder.to_owned(), attempts: Attempts::at(folder, trust)? })
    }

    /// Where a file is, or would be.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join("files").join(sha256)
    }

    /// Whether it has this file.
    pub fn has(&self, sha256: &str) -> bool {
        is_sha256(sha256) && self.path(sha256).is_file()
    }

    /// A file's length; `None` if it is not there.
    pub fn length(&self, sha256: &str) -> Option<usize> {
        let file = is_sha256(sha256).then(|| fs::metadata(self.path(sha256)).ok())??;
        usize::try_from(file.len()).ok()
    }

    /// A file's bytes. The reader checks the digest again.
    pub fn read(&self, sha256: &str) -> Result<Vec<u8>, String> {
        if !is_sha256(sha256) {
            return Err("not a digest".into());
        }
        let read = || {
            let mut file = fs::File::open(self.path(sha256))?;
            let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
            while Read::take(&mut file, PIECE).read_to_end(&mut bytes)? > 0 {
                modelgate_throttle::give_way();
            }
            Ok(bytes)
        };
        read().map_err(|error: io::Error| format!("not in the local cache: {error}"))
    }

    /// Removes a file that turned out to be damaged.
    pub fn discard(&self, sha256: &str) {
        if is_sha256(sha256) {
            _ = fs::remove_file(self.path(sha256));
        }
    }

    /// A place for a file that arrives.
    pub fn incoming(&self) -> io::Result<Incoming> {
        let path = temporary_path(&self.folder.join("files"));
        let file = fs::File::create_new(&path)?;
        Ok(Incoming {
            store: self.clone(),
            path,
            file: Some(file),
            hash: Sha256::new(),
            bytes: 0,
            begun: Instant::now(),
        })
    }

    /// Remembers what a source offers, by the source's identity.
    pub fn remember(&self, source: &str, releases: &[Remembered]) -> io::Result<()> {
        let remembered: Vec<_> = releases
            .iter()
            .filter_map(|Remembered { release, is_last_known_good, instead_of }| match &release.content {
                Content::Bundle { manifest, at } => Some(Line {
                    model: release.model.clone(),
                    version: release.version.clone(),
                    id: release.id.clone(),
                    manifest: String::from_utf8_lossy(manifest).into_owned(),
                    at: at.clone(),
                    is_good: *is_last_known_good,
                    instead_of: instead_of.clone(),
                }),
                Content::Folder(_) | Content::Demo | Content::Onnx { .. } | Content::Unservable { .. } => None,
            })
            .collect();
        let temporary = temporary_path(&self.folder.join("sources"));
        let written = fs::File::create_new(&temporary)
            .and_then(|mut file| file.write_all(&serde_json::to_vec(&remembered)?))
            .and_then(|()| fs::rename(&temporary, self.source_path(source)));
        if written.is_err() {
            _ = fs::remove_file(&temporary);
        }
        written
    }

    /// The last offer of a source; nothing if that is not known.
    pub fn remembered(&self, source: &str, index: usize) -> Vec<Remembered> {
        let lines = lines(&self.source_path(source)).into_iter();
        let remembered = lines.map(|line| Remembered {
            release: Release {
                model: line.model,
                version: line.version,
                id: line.id,
                source: index,
                content: Content::Bundle { manifest: line.manifest.into_bytes().into(), at: line.at },
            },
            is_last_known_good: line.is_good,
            instead_of: line.instead_of,
        });
        remembered.collect()
    }

    /// Digests of what other gateways that use this cache may need, with their sources gone.
    fn remembered_files(&self) -> HashSet<String> {
        let entries = fs::read_dir(self.folder.join("sources")).into_iter().flatten().flatten();
        let fresh = entries.filter(|entry| age(entry).is_some_and(|age| age < REMEMBERED));
        let manifests = fresh.flat_map(|entry| lines(&entry.path())).map(|line| line.manifest);
        let files = manifests
            .filter_map(|manifest| Manifest::parse(manifest.as_bytes()).and_then(|manifest| manifest.files()).ok());
        files.flatten().map(|file| file.sha256).collect()
    }

    fn source_path(&self, source: &str) -> PathBuf {
        // A name may have any characters; its digest has none that matter to a file system.
        self.folder.join("sources").join(format!("{:x}.json", Sha256::digest(source)))
    }

    /// Removes what is neither among `used` nor remembered for any source, and has not been touched for a while.
    pub fn retain(&self, used: &HashSet<String>) {
        let Ok(entries) = fs::read_dir(self.folder.join("files")) else { return };
        let unused = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            !name.to_str().is_some_and(|name| used.contains(name)) && age(entry).is_some_and(|age| age > GRACE)
        });
        let mut unused = unused.peekable();
        if unused.peek().is_none() {
            return;
        }
        let remembered = self.remembered_files();
        for entry in unused {
            if !entry.file_name().to_str().is_some_and(|name| remembered.contains(name)) {
                _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Since it was last written.
fn age(entry: &fs::DirEntry) -> Option<Duration> {
    SystemTime::now().duration_since(entry.metadata().ok()?.modified().ok()?).ok()
}

/// The lines that are written there; nothing if they make no sense.
fn lines(path: &Path) -> Vec<Line> {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// A file that arrives; dropped before [`finish`](Self::finish) it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    store: Store,
    path: PathBuf,
    file: Option<fs::File>,
    hash: Sha256,
    bytes: u64,
    begun: Instant,
}

impl Incoming {
    /// Adds a piece. [`io::ErrorKind::TimedOut`] where they come too slowly.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        let taken = self.begun.elapsed();
        if taken > LONG && self.bytes < taken.as_secs().saturating_mul(SLOWEST) {
            let message = format!("only {} bytes came in {} s", self.bytes, taken.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        self.file.as_mut().map_or_else(|| Err(io::ErrorKind::NotFound.into()), |file| file.write_all(piece))
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Puts it into its place, if it has the expected digest. Gives the digest.
    pub fn finish(mut self, expected: Option<&str>) -> Result<String, String> {
        let actual = format!("{:x}", std::mem::take(&mut self.hash).finalize());
        if let Some(expected) = expected
            && actual != expected
        {
            // Told to everyone: what a source gave may be something that its author cannot read.
            return Err(format!("wrong digest: the manifest says sha256 {expected}, the file has another"));
        }
        drop(self.file.take());
        fs::rename(&self.path, self.store.path(&actual)).map_err(|error| format!("the local cache: {error}"))?;
        Ok(actual)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Gone already after `finish`.
        _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_with_the_right_digest_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path(), Trust::Verified).expect("a store");
        let digest = format!("{:x}", Sha256::digest(b"hello"));
        let mut half = store.incoming().expect("a file");
        half.write(b"hel").expect("written");
        assert!(half.finish(Some(&digest)).is_err());
        assert!(!store.has(&digest));
        drop(store.incoming().expect("another"));
        let mut whole = store.incoming().expect("a file");
        whole.write(b"hel").expect("written");
        whole.write(b"lo").expect("written");
        assert_eq!(whole.finish(Some(&digest)).as_deref(), Ok(digest.as_str()));
        assert_eq!(store.read(&digest).as_deref(), Ok(b"hello".as_slice()));
        let left = fs::read_dir(folder.path().join("files")).expect("there").count();
        assert_eq!(left, 1, "no parts are left");
        for bad in ["../../etc/passwd", "", "AB"] {
            assert!(!store.has(bad) && store.read(bad).is_err());
        }
    }

    #[test]
    fn a_file_that_dribbles_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path(), Trust::Verified).expect("a store");
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).expect("up for longer");
        let mut slow = store.incoming().expect("a file");
        slow.begun = ago(50);
        slow.write(b"a").expect("not for long yet");
        slow.begun = ago(100);
        slow.write(&vec![0; 200 << 10]).expect("fast enough");
        slow.begun = ago(400);
        assert_eq!(slow.write(b"b").map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    }

    #[test]
    fn the_last_set_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::at(folder.path(), Trust::Verified).expect("a store");
        assert!(store.remembered("s3/../x", 0).is_empty());
        let release = Release {
            model: "m".into(),
            version: "1".into(),
            id: "abc".into(),
            source: 0,
            content: Content::Bundle { manifest: b"x".as_slice().into(), at: "p".into() },
        };
        let remembered = Remembered { release, is_last_known_good: true, instead_of: Some("b".into()) };
        store.remember("s3/../x", &[remembered]).expect("written");
        let back = store.remembered("s3/../x", 2);
        assert_eq!((back.len(), back[0].release.source, back[0].release.id.as_str()), (1, 2, "abc"));
        assert_eq!((back[0].is_last_known_good, back[0].instead_of.as_deref()), (true, Some("b")));
    }
}
