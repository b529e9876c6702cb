//! Where a bundle's files are, and how they are read: bounded, inside their folder, with the digest checked.

use std::{
    io::Read,
    path::{Component, Path},
};

use sha2::{Digest, Sha256};

/// The largest file of a bundle, in bytes.
pub const MAX_FILE: u64 = 1 << 30;

/// Bytes worked on before others get their turn.
const PIECE: usize = 64 << 10;

/// Gives a file's bytes by its name in the manifest and its digest there.
pub(super) enum Files<'a> {
    Folder(&'a Path),
    Embedded(&'a [(&'a str, &'a [u8])]),
    /// By digest alone.
    Stored(&'a dyn Fn(&str) -> Result<Vec<u8>, String>),
}

impl Files<'_> {
    /// One sentence says what is wrong.
    pub(super) fn read(&self, file: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Folder(folder) => read_inside(folder, file).map_err(|error| format!("{file}: {error}")),
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
            Ok(bytes)
        } else {
            Err(format!("{file}: wrong digest: the manifest says sha256 {expected}, the file has {actual}"))
        }
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

/// Reads a file that is really inside the folder: no `..`, no absolute path, no link out of it.
pub fn read_inside(folder: &Path, file: &str) -> Result<Vec<u8>, String> {
    if !is_inside(file) {
        return Err("expected a relative path inside the bundle, without `..`".into());
    }
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    let path = folder.join(file).canonicalize().map_err(|error| error.to_string())?;
    if !path.starts_with(&folder) {
        return Err("is a link that leaves the bundle".into());
    }
    // Before it is opened: a pipe would keep whoever opens it until somebody writes to it.
    if !std::fs::metadata(&path).map_err(|error| error.to_string())?.is_file() {
        return Err("is not a file".into());
    }
    let file = std::fs::File::open(&path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
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
