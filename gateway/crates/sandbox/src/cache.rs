//! Machine code kept on local disk, so that a restart does not compile again.
//!
//! An entry is named by the sha256 of what was compiled, the engine's compatibility hash and the gateway's version. It
//! is written beside its place and renamed, so a half-written entry is never seen, and it ends with the sha256 of its
//! content, so a damaged one is compiled anew. The folder is private to the gateway's user: a user who can write there
//! can run code in this process. Precompiled code is never taken from a bundle or a remote source. Code that comes with
//! the gateway, compiled when its image was built, is looked for where the kept code has none; it is only read. Last
//! comes code that a process of this gateway has just compiled (see `gateway/src/loading.rs`): it is kept once it is
//! used.

use std::{
    collections::HashMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Seek, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use modelgate_files::{temporary::temporary_path, trust::Trust};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::engine::WasmEngine;

/// Bytes of the digest at the end of an entry.
const DIGEST: usize = 32;

/// Entries kept; the oldest go first.
const MAX_ENTRIES: usize = 512;

/// Machine code by the names of entries.
pub type Code = HashMap<String, Vec<u8>>;

/// The code that a process which keeps nothing has used.
#[derive(Debug, Default)]
pub struct Collected {
    /// The names of all entries.
    pub names: Vec<String>,
    /// The entries that were in no folder.
    pub code: Code,
}

/// Where compiled code is kept, if anywhere.
#[derive(Clone, Debug, Default)]
pub struct CodeCache {
    folder: Option<PathBuf>,
    /// Only read.
    shipped: Vec<PathBuf>,
    /// Compiled by another process of this gateway.
    offered: Arc<Code>,
    /// The code in use, reported to another process instead of being kept.
    collected: Option<Arc<Mutex<Collected>>>,
}

impl CodeCache {
    /// No cache: everything is compiled each time.
    pub fn off() -> Self {
        Self::default()
    }

    /// Only reads, from these folders, and gathers what is used.
    pub fn collecting(folders: Vec<PathBuf>, collected: Arc<Mutex<Collected>>) -> Self {
        Self { shipped: folders, collected: Some(collected), ..Self::default() }
    }

    /// The same, with code for entries that are in no folder. An entry that is used is kept.
    #[must_use]
    pub fn and_offered(&self, offered: Arc<Code>) -> Self {
        Self { offered, ..self.clone() }
    }

    /// The folders that are read.
    pub fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.folder.iter().chain(&self.shipped)
    }

    /// The folder that is written to.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether an entry is in one of the folders.
    pub fn has(&self, name: &str) -> bool {
        self.folders().any(|folder| folder.join(name).is_file())
    }

    /// Uses `folder`, making it (readable by its owner only) if it is not there. Refuses one that others may write to, or
    /// may put another one in the place of.
    pub fn at(folder: &Path, trust: Trust) -> io::Result<Self> {
        trust.make(folder)?;
        Ok(Self { folder: Some(folder.to_owned()), ..Self::default() })
    }

    /// Reads what is not there from `folder` as well, which is never written to. Refuses one that is not there or that
    /// others may write to.
    pub fn and_shipped(mut self, folder: &Path, trust: Trust) -> io::Result<Self> {
        trust.check(folder)?;
        self.shipped.push(folder.to_owned());
        Ok(self)
    }

    /// The compiled component for what `key` identifies (all that decides the code: wasm, config, …), from the cache or
    /// from `make` and [`Component::new`].
    pub fn component(
        &self,
        engine: &WasmEngine,
        key: &[&[u8]],
        make: impl FnOnce() -> wasmtime::Result<Vec<u8>>,
    ) -> wasmtime::Result<Component> {
        let name = entry_name(engine, key);
        let collect = |with: &dyn Fn(&mut Collected)| {
            if let Some(collected) = &self.collected {
                with(&mut collected.lock().unwrap_or_else(PoisonError::into_inner));
            }
        };
        collect(&|collected| collected.names.push(name.clone()));
        if let Some(component) = self.folders().find_map(|folder| load(engine, &folder.join(&name))) {
            return Ok(component);
        }
        if let Some(code) = self.offered.get(&name)
            && let Ok(component) = deserialize(engine, code)
        {
            return Ok(self.keep(engine, &name, code).unwrap_or(component));
        }
        let component = Component::new(engine.inner(), make()?)?;
        if self.collected.is_some() {
            let code = component.serialize()?;
            collect(&|collected| _ = collected.code.insert(name.clone(), code.clone()));
        } else if self.folder.is_some() {
            match component.serialize() {
                Ok(code) => return Ok(self.keep(engine, &name, &code).unwrap_or(component)),
                Err(error) => tracing::warn!(%error, "compiled code could not be cached"),
            }
        }
        Ok(component)
    }

    /// Writes an entry, and gives its component as it is loaded from the file: its pages are the file's, so they can be
    /// dropped when memory is short, and every process that has the same entry shares them. `None` if that failed.
    fn keep(&self, engine: &WasmEngine, name: &str, code: &[u8]) -> Option<Component> {
        let path = self.folder.as_ref()?.join(name);
        match write(&path, code) {
            Ok(()) => load(engine, &path),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code could not be cached");
                None
            }
        }
    }
}

/// The component of an undamaged entry, mapped from its file.
fn load(engine: &WasmEngine, path: &Path) -> Option<Component> {
    let file = verified(path)?;
    // The open file itself: another one may have been put in the path's place.
    deserialize_file(engine, &file).ok().or_else(|| {
        // Without /proc. The digest at the end is not looked at by wasmtime, which finds its parts from the front.
        let mut code = Vec::new();
        let mut file = &file;
        file.rewind().ok()?;
        file.read_to_end(&mut code).ok()?;
        deserialize(engine, &code).ok()
    })
}

#[expect(unsafe_code, reason = "wasmtime cannot verify machine code; see the comment")]
fn deserialize_file(engine: &WasmEngine, file: &fs::File) -> wasmtime::Result<Component> {
    // SAFETY: as for `deserialize`; and the file does not change while it is mapped: entries are never written to, only
    // replaced and removed as a whole, in a folder where nobody else can write.
    unsafe { Component::deserialize_file(engine.inner(), format!("/proc/self/fd/{}", file.as_raw_fd())) }
}

#[expect(unsafe_code, reason = "wasmtime cannot verify machine code; see the comment")]
fn deserialize(engine: &WasmEngine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was written by `Component::serialize` of this same version and engine configuration (both are in
    // the entry's name, and wasmtime checks them again), into a folder that belongs to this user or root and that nobody else can
    // write to or replace, or that the operator vouches for (`--trust-cache`). Its digest was verified just before. Or it
    // came through a pipe from a process that this one started from its own binary for this load: `loading` says what that
    // is worth.
    unsafe { Component::deserialize(engine.inner(), code) }
}

/// The name of the entry for what `key` identifies.
pub(super) fn entry_name(engine: &WasmEngine, key: &[&[u8]]) -> String {
    let mut compatibility = DefaultHasher::new();
    engine.inner().precompile_compatibility_hash().hash(&mut compatibility);
    let mut hash = Sha256::new();
    hash.update(compatibility.finish().to_le_bytes());
    for part in key {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("{:x}-{}.cwasm", hash.finalize(), env!("CARGO_PKG_VERSION"))
}

/// An entry's file, if the digest at its end is that of what comes before.
fn verified(path: &Path) -> Option<fs::File> {
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len().checked_sub(DIGEST as u64)?;
    let mut hash = Sha256::new();
    io::copy(&mut (&file).take(length), &mut hash).ok()?;
    let mut digest = [0; DIGEST];
    file.read_exact(&mut digest).ok()?;
    (hash.finalize().as_slice() == digest).then_some(file)
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
    let temporary = temporary_path(folder);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(code)?;
            file.write_all(&Sha256::digest(code))
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        _ = fs::remove_file(&temporary);
    }
    drop_oldest(folder);
    written
}

/// Keeps the folder bounded.
fn drop_oldest(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<_> =
        entries.flatten().filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    if entries.len() > MAX_ENTRIES {
        entries.sort();
        for (_, path) in &entries[..entries.len() - MAX_ENTRIES] {
            _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PoolSize;

    #[test]
    fn a_damaged_entry_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.cwasm");
        write(&path, b"machine code").expect("written");
        assert!(verified(&path).is_some());
        let mut bytes = fs::read(&path).expect("there");
        bytes[3] ^= 1;
        fs::write(&path, bytes).expect("damaged");
        assert!(verified(&path).is_none());
        fs::write(&path, b"short").expect("cut");
        assert!(verified(&path).is_none());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("opened");
        assert!(CodeCache::at(folder.path(), Trust::Verified).is_err());
        assert!(CodeCache::off().and_shipped(folder.path(), Trust::Verified).is_err());
    }

    #[test]
    fn code_that_is_kept_is_mapped_from_its_file() {
        let engine = WasmEngine::new(PoolSize { instances: 1, ..PoolSize::default() }).expect("an engine");
        let folder = tempfile::tempdir().expect("a folder");
        let cache = CodeCache::at(folder.path(), Trust::Verified).expect("a folder");
        let component = cache.component(&engine, &[b"empty"], || Ok(b"\0asm\x0d\0\x01\0".to_vec())).expect("wasm");
        let maps = || fs::read_to_string("/proc/self/maps").expect("maps");
        let folder = folder.path().to_str().expect("a name");
        assert!(maps().contains(folder), "mapped as soon as it is compiled");
        drop(component);
        assert!(!maps().contains(folder));
        let never = || Err(wasmtime::format_err!("compiled though it was there"));
        let _kept = cache.component(&engine, &[b"empty"], never).expect("taken");
        assert!(maps().contains(folder));
    }

    #[test]
    fn shipped_code_is_taken_and_a_damaged_entry_is_compiled_anew() {
        let engine = WasmEngine::new(PoolSize { instances: 1, ..PoolSize::default() }).expect("an engine");
        let shipped = tempfile::tempdir().expect("a folder");
        let key: [&[u8]; 1] = [b"an empty component"];
        let make = || Ok(b"\0asm\x0d\0\x01\0".to_vec());
        CodeCache::at(shipped.path(), Trust::Verified)
            .map(|cache| cache.component(&engine, &key, make))
            .expect("a folder")
            .expect("wasm");

        let own = tempfile::tempdir().expect("a folder");
        let cache = CodeCache::at(own.path(), Trust::Verified)
            .and_then(|cache| cache.and_shipped(shipped.path(), Trust::Verified))
            .expect("folders");
        let never = || Err(wasmtime::format_err!("compiled though it was there"));
        cache.component(&engine, &key, never).expect("taken");
        assert_eq!(fs::read_dir(own.path()).expect("there").count(), 0, "what is shipped is not kept twice");

        let entry = fs::read_dir(shipped.path()).expect("there").flatten().next().expect("an entry").path();
        fs::write(&entry, b"damaged").expect("written");
        assert!(cache.component(&engine, &key, never).is_err());
        cache.component(&engine, &key, make).expect("wasm");
        assert_eq!(fs::read_dir(own.path()).expect("there").count(), 1);
        assert_eq!(fs::read(&entry).expect("there"), b"damaged", "what is shipped is never written to");
    }
}
