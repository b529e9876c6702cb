//! Where a bundle's files are, and how they are read: bounded, inside their folder, with the digest checked.

use std::{
    io::Read,
    path::{Component, Path},
};

use modelgate_files::beneath::{Beneath, Links};
use sha2::{Digest, Sha256};

/// The largest file of a bundle, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// Bytes worked on before others get their turn.
const PIECE: usize = 64 << 10;

/// Gives a file's bytes by its name in the manifest and its digest there.
pub(super) enum Files<'a> {
    /// A folder that the operator names.
    Folder(&'a Beneath),
    Embedded(&'a [(&'a str, &'a [u8])]),
    /// By digest alone.
    Stored(&'a dyn Fn(&str) -> Result<Vec<u8>, String>),
}

impl Files<'_> {
    /// One sentence says what is wrong.
    pub(super) fn read(&self, file: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Folder(folder) => read_beneath(folder, file, MAX_FILE).map_err(|error| format!("{file}: {error}")),
            Self::Embedded(files) => files
                .iter()
                .find(|(name, _)| *name == file)
                .map(|(_, bytes)| bytes.to_vec())
                .ok_or_else(|| format!("{file}: not among the embedded files")),
            Self::Stored(_) => Err(format!("{file}: its digest is missing")),
        }
    }

    /// `field` is where the manifest should have the digest.
    pub(super) fn verified(&self, file: &str, sha256: Option<&str>, field: &str) -> Result<Vec<u8>, String> {
        let expected = sha256.ok_or_else(|| format!("{file}: its digest is missing ({field})"))?;
        let bytes = match self {
            Self::Stored(read) => read(expected).map_err(|error| format!("{file}: {error}"))?,
            _ => self.read(file)?,
        };
        let mut hash = Sha256::new();
        for piece in bytes.chunks(PIECE) {
            hash.update(piece);
            modelgate_throttle::give_way();
        }
        let actual = format!("{:x}", hash.finalize());
        if actual == expected {
            return Ok(bytes);
        }
        let has = match self {
            // Told to everyone, who may ask for the digest of something that they may not read.
            Self::Stored(_) => "another",
            Self::Folder(_) | Self::Embedded(_) => actual.as_str(),
        };
        Err(format!("{file}: wrong digest: the manifest says sha256 {expected}, the file has {has}"))
    }
}

/// Whether a manifest may name it: relative, inside the folder, one way of writing it.
pub fn is_inside(file: &str) -> bool {
    !file.is_empty()
        && file.len() <= 512
        && !file.contains('\\')
        && !file.chars().any(char::is_control)
        && Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Reads a file that is really inside a folder that the operator names: no `..`, no absolute path, no link out of it.
pub fn read_inside(folder: &Path, file: &str) -> Result<Vec<u8>, String> {
    let folder = Beneath::open(folder, Links::Inside).map_err(|error| error.to_string())?;
    read_beneath(&folder, file, MAX_FILE)
}

/// Reads a file of at most `limit` bytes in a folder that is open.
pub fn read_beneath(folder: &Beneath, file: &str, limit: u64) -> Result<Vec<u8>, String> {
    if !is_inside(file) {
        return Err("expected a relative path inside the bundle, without `..`".into());
    }
    let file = folder.file(Path::new(file)).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("is larger than {limit} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("in"), b"x").expect("written");
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("out")).expect("linked");
        assert_eq!(read_inside(folder.path(), "in"), Ok(b"x".to_vec()));
        std::fs::create_dir(folder.path().join("folder")).expect("made");
        for bad in ["", "folder", "../in", "/etc/hostname", "out", ".", "missing", "a\\b", "a\nb"] {
            assert!(read_inside(folder.path(), bad).is_err(), "{bad}");
        }
    }
}
