//! Names for files that are written beside their place and then renamed.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Numbers the names of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A path in `folder` that no other process uses. Gateways in containers share folders and all have the process id 1, so it is
/// of random keys, which each process draws anew, and a number. Create it with `create_new` all the same.
pub fn temporary_path(folder: &Path) -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{:016x}-{number}.part", RandomState::new().hash_one(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_the_same() {
        let folder = Path::new("/x");
        let (first, second) = (temporary_path(folder), temporary_path(folder));
        assert!(first != second && first.parent() == Some(folder), "{first:?}, {second:?}");
    }
}
