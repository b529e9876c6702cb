//! Loads in progress, written down before they begin, so that the next process knows what the last one died of.
//!
//! A file `loading/ID.NAME` stands for each load that goes on. Its process holds a lock on it and removes it at the end,
//! whatever came of the load. A file that nobody has locked is what a process left that died, and counts as a death of
//! that release in `died/ID`; a load that goes well forgets them. Gateways that share a cache share what they know.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use modelgate_bundle::release::Release;
use modelgate_files::{temporary::temporary_path, trust::Trust};
use rustix::fs::{FlockOperation, flock};

/// Deaths after which a release is not loaded again by itself.
const DEATHS: usize = 1;

/// The same for one that has answered before: it is more likely that its process was killed for something else.
const DEATHS_OF_PROVEN: usize = 3;

/// Where attempts are written down.
#[derive(Clone, Debug)]
pub struct Attempts {
    folder: PathBuf,
    /// Files of this process's loads.
    own: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// A load that goes on; dropped when it has ended.
#[derive(Debug)]
pub struct Attempt {
    path: PathBuf,
    own: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// Locked as long as it is open.
    _file: File,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
        // Gone already where the process is about to end.
        _ = fs::remove_file(&self.path);
    }
}

/// Why a load does not begin.
#[derive(Debug)]
pub enum NotBegun {
    /// So many processes died while they loaded this, the last one of that, where it is known.
    Died(usize, String),
    /// Nothing can be written down.
    Local(io::Error),
}

impl From<io::Error> for NotBegun {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

impl Attempts {
    /// Uses two folders in `store`, making them if they are not there.
    pub fn at(store: &Path, trust: Trust) -> io::Result<Self> {
        trust.make(&store.join("loading"))?;
        trust.make(&store.join("died"))?;
        Ok(Self { folder: store.to_owned(), own: Arc::default() })
    }

    /// Writes down that a release is about to be loaded. `is_proven` where it has answered before.
    ///
    /// # Errors
    /// [`NotBegun::Died`] where processes died of it; [`NotBegun::Local`] where the disk fails.
    pub fn begin(&self, release: &Release, is_proven: bool) -> Result<Attempt, NotBegun> {
        self.check(&release.id, is_proven)?;
        let loading = self.folder.join("loading");
        let unique = temporary_path(&loading);
        let unique = unique.file_stem().unwrap_or_default().to_string_lossy();
        let path = loading.join(format!("{}.{unique}", release.id));
        // Locked under another name first: the others never see it without its lock.
        let hidden = loading.join(format!(".{unique}"));
        let mut file = File::create_new(&hidden)?;
        let begun = flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(file, "{} {}", release.model, release.version))
            .and_then(|()| fs::rename(&hidden, &path));
        if let Err(error) = begun {
            _ = fs::remove_file(&hidden);
            return Err(error.into());
        }
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        Ok(Attempt { path, own: Arc::clone(&self.own), _file: file })
    }

    /// Whether what has this id may be loaded by itself.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn check(&self, id: &str, is_proven: bool) -> Result<(), NotBegun> {
        let (deaths, reason) = self.deaths(id)?;
        if deaths >= if is_proven { DEATHS_OF_PROVEN } else { DEATHS } {
            return Err(NotBegun::Died(deaths, reason));
        }
        Ok(())
    }

    /// A process that only loaded this died of it, or had to be killed.
    ///
    /// # Errors
    /// A disk that fails.
    pub fn note_death(&self, id: &str, reason: &str) -> io::Result<()> {
        let (deaths, _) = self.deaths(id)?;
        let line = reason.lines().next().unwrap_or_default();
        fs::write(self.died(id), format!("{}\n{line}\n", deaths + 1))
    }

    /// A load went well, or somebody wants it tried again: earlier deaths count no more.
    pub fn forget(&self, id: &str) {
        // Whatever is still lying about counts first, so that it does not later.
        _ = self.deaths(id);
        _ = fs::remove_file(self.died(id));
    }

    /// The process is about to end by itself: what it still loads is no death.
    pub fn end(&self) {
        for path in std::mem::take(&mut *self.own.lock().unwrap_or_else(PoisonError::into_inner)) {
            _ = fs::remove_file(path);
        }
    }

    fn died(&self, id: &str) -> PathBuf {
        self.folder.join("died").join(id)
    }

    /// The number of processes that died while they loaded this release, and what is known of the last one.
    fn deaths(&self, id: &str) -> io::Result<(usize, String)> {
        let text = fs::read_to_string(self.died(id)).unwrap_or_default();
        let mut lines = text.lines();
        let known = lines.next().and_then(|count| count.trim().parse().ok()).unwrap_or(0);
        let reason = lines.next().unwrap_or_default().to_owned();
        let left = fs::read_dir(self.folder.join("loading"))?.flatten().filter(|entry| is_left(entry, id));
        let left: Vec<_> = left.map(|entry| entry.path()).collect();
        if left.is_empty() {
            return Ok((known, reason));
        }
        let deaths = known + left.len();
        fs::write(self.died(id), format!("{deaths}\n"))?;
        for path in left {
            _ = fs::remove_file(path);
        }
        Ok((deaths, String::new()))
    }
}

/// Whether this stands for a load of the release in a process that died.
fn is_left(entry: &fs::DirEntry, id: &str) -> bool {
    let name = entry.file_name();
    let is_of = name.to_str().and_then(|name| name.split_once('.')).is_some_and(|(release, _)| release == id);
    is_of && File::open(entry.path()).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelgate_bundle::release::Content;

    fn release(id: &str) -> Release {
        Release { model: "m".into(), version: "1".into(), id: id.into(), source: 0, content: Content::Demo }
    }

    /// As it is left where the process ends at once.
    fn die(attempt: Attempt) {
        let Attempt { path, .. } = &attempt;
        let (path, kept) = (path.clone(), path.with_extension("kept"));
        fs::rename(&path, &kept).expect("renamed");
        drop(attempt);
        fs::rename(kept, path).expect("renamed");
    }

    #[test]
    fn what_a_process_died_of_is_not_begun_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (bad, good) = (release("bad"), release("good"));
        let attempts = Attempts::at(folder.path(), Trust::Verified).expect("folders");
        let others = Attempts::at(folder.path(), Trust::Verified).expect("folders");
        // Loads that go on, here or elsewhere, are no deaths, nor are those that ended.
        let first = attempts.begin(&bad, false).expect("begun");
        drop(others.begin(&bad, false).expect("begun"));
        drop(first);
        die(attempts.begin(&bad, false).expect("begun"));
        for both in [&attempts, &others] {
            assert!(matches!(both.begin(&bad, false), Err(NotBegun::Died(1, _))));
            drop(both.begin(&good, false).expect("another one"));
        }
        // What has answered has more lives.
        die(others.begin(&bad, true).expect("begun"));
        die(others.begin(&bad, true).expect("begun"));
        assert!(matches!(attempts.begin(&bad, true), Err(NotBegun::Died(3, _))));
        attempts.forget("bad");
        drop(others.begin(&bad, false).expect("wanted by hand"));
    }

    #[test]
    fn what_a_process_of_its_own_died_of_is_told_and_not_begun_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let attempts = Attempts::at(folder.path(), Trust::Verified).expect("folders");
        let attempt = attempts.begin(&release("bad"), false).expect("begun");
        attempts.note_death("bad", "it took too much").expect("written");
        drop(attempt);
        match attempts.begin(&release("bad"), false) {
            Err(NotBegun::Died(1, reason)) => assert_eq!(reason, "it took too much"),
            other => panic!("{other:?}"),
        }
        attempts.check("bad", true).expect("proven ones have more lives");
        attempts.forget("bad");
        attempts.check("bad", false).expect("wanted by hand");
    }

    #[test]
    fn a_process_that_ends_by_itself_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let attempts = Attempts::at(folder.path(), Trust::Verified).expect("folders");
        let attempt = attempts.begin(&release("a"), false).expect("begun");
        attempts.end();
        std::mem::forget(attempt);
        drop(attempts.begin(&release("a"), false).expect("no death"));
    }
}
