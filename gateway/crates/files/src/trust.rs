//! Folders that this process may believe: what is in them was put there by this user, or by root.

use std::{
    fs::{self, DirBuilder, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use rustix::process::geteuid;

/// Others than the owner that may write.
const OTHERS: u32 = 0o022;

/// In such a folder nobody may remove or rename what belongs to others.
const STICKY: u32 = 0o1000;

/// Why a folder is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Its permissions, and those of all that is above it, say that nobody else can write there.
    #[default]
    Verified,
    /// The operator says so (`--trust-cache`).
    Assumed,
}

impl Trust {
    /// Makes the folder, readable by its owner only, if it is not there, and checks it as [`check`] does.
    ///
    /// # Errors
    /// A folder that cannot be made, or is not to be believed.
    pub fn make(self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        self.check(folder)
    }

    /// As [`check`], unless the operator vouches for it.
    ///
    /// # Errors
    /// As [`check`].
    pub fn check(self, folder: &Path) -> io::Result<()> {
        match self {
            Self::Verified => check(folder),
            Self::Assumed => fs::metadata(folder).map(drop),
        }
    }
}

/// Whether a folder belongs to this user or root, nobody else may write to it, and nobody else can put another one in its
/// place: what is above it belongs to this user or root too and is closed to others, sticky folders aside.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`], with the folder that is at fault and what to do about it.
pub fn check(folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    let user = geteuid().as_raw();
    is_own(&folder, &fs::metadata(&folder)?, user, false)?;
    // With links resolved, these are all the places where another folder could be put in this one's place.
    for above in folder.ancestors().skip(1) {
        is_own(above, &fs::metadata(above)?, user, true)?;
    }
    Ok(())
}

fn is_own(path: &Path, meta: &Metadata, user: u32, may_be_sticky: bool) -> io::Result<()> {
    let refuse = |problem: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    if meta.uid() != user && meta.uid() != 0 {
        return refuse(format!(
            "{} belongs to user {}, not to this one ({user}) or root: name another folder",
            path.display(),
            meta.uid()
        ));
    }
    if meta.mode() & OTHERS != 0 && !(may_be_sticky && meta.mode() & STICKY != 0) {
        return refuse(format!(
            "{} may be written to by others: take the right to write from group and others, or name another folder",
            path.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
    }

    #[test]
    fn what_others_may_write_to_is_not_believed() {
        let root = tempfile::tempdir().expect("a folder");
        let (above, folder) = (root.path().join("above"), root.path().join("above/folder"));
        Trust::Verified.make(&folder).expect("made");
        assert_eq!(fs::metadata(&above).expect("there").mode() & 0o777, 0o700);
        for mode in [0o777, 0o770, 0o702, 0o1777] {
            chmod(&folder, mode);
            assert!(check(&folder).is_err(), "{mode:o}");
        }
        chmod(&folder, 0o700);
        for (mode, good) in [(0o755, true), (0o777, false), (0o775, false), (0o1777, true), (0o1775, true)] {
            chmod(&above, mode);
            assert_eq!(check(&folder).is_ok(), good, "above it: {mode:o}");
        }
        // A link to it is as good as what it leads to.
        chmod(&above, 0o777);
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).expect("linked");
        assert!(check(&link).is_err());
    }

    #[test]
    fn what_belongs_to_another_user_is_not_believed() {
        let meta = fs::metadata("/").expect("there");
        assert!(is_own(Path::new("/"), &meta, 12345, true).is_ok(), "root's");
        let own = tempfile::tempdir().expect("a folder");
        let meta = fs::metadata(own.path()).expect("there");
        assert_eq!(is_own(own.path(), &meta, meta.uid().wrapping_add(1), true).is_ok(), meta.uid() == 0);
    }
}
