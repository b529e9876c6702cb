//! Files beneath one directory descriptor: whatever is moved or linked meanwhile, nothing outside of it is opened.
//!
//! The kernel does it in one step (`openat2`, Linux 5.6). Where it cannot, every part of a path is opened by itself
//! without following links.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat},
    io::Errno,
};

/// So often is a path tried again that was moved while it was resolved.
const TRIES: usize = 16;

/// Whether links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// None: for folders that others write to.
    None,
    /// Links that stay inside: for a folder that the operator names. Kubernetes mounts its volumes so.
    Inside,
}

/// A folder, as it was when it was opened.
#[derive(Debug)]
pub struct Beneath {
    folder: OwnedFd,
    links: Links,
}

/// The content of a folder.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// Whether it is a folder, or a link to one.
    pub is_folder: bool,
    /// Whether it is a link.
    pub is_link: bool,
}

impl Beneath {
    /// The folder at this path, which may be a link itself.
    ///
    /// # Errors
    /// As for any folder that cannot be opened.
    pub fn open(folder: &Path, links: Links) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: openat(CWD, folder, flags, Mode::empty())?, links })
    }

    /// A folder in this one; an empty path is this one again.
    ///
    /// # Errors
    /// One that cannot be opened, or that is reached over a link that is not followed.
    pub fn folder(&self, path: &Path) -> io::Result<Self> {
        let folder = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        Ok(Self { folder, links: self.links })
    }

    /// A regular file in this folder.
    ///
    /// # Errors
    /// One that cannot be opened, that is no regular file, or that is reached over a link that is not followed.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        // Looked at before it is opened: a pipe would keep its reader until somebody writes to it.
        let found = self.resolve(path, OFlags::PATH | OFlags::CLOEXEC)?;
        is_regular(&found)?;
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        match openat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty()) {
            Ok(file) => Ok(file.into()),
            // No such file system is mounted here: opened by its path once more, without waiting.
            Err(Errno::NOENT) => {
                let file = self.resolve(path, flags | OFlags::NONBLOCK)?;
                is_regular(&file)?;
                Ok(file.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The content of this folder, in no order.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = |flags| statat(&self.folder, name, flags).map(|stat| FileType::from_raw_mode(stat.st_mode));
            // Not every file system tells kinds with names.
            let own = match entry.file_type() {
                FileType::Unknown => kind(AtFlags::SYMLINK_NOFOLLOW),
                known => Ok(known),
            };
            // Gone since it was listed.
            let Ok(own) = own else { continue };
            let is_link = own == FileType::Symlink;
            let is_folder =
                if is_link { kind(AtFlags::empty()) == Ok(FileType::Directory) } else { own == FileType::Directory };
            entries.push(Entry { name: OsString::from_vec(name.to_bytes().to_vec()), is_folder, is_link });
        }
        Ok(entries)
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        resolve.set(ResolveFlags::NO_SYMLINKS, self.links == Links::None);
        for _ in 0..TRIES {
            match openat2(&self.folder, path, flags, Mode::empty(), resolve) {
                Ok(opened) => return Ok(opened),
                Err(Errno::AGAIN) => {}
                // An old kernel, or a sandbox that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => return self.traverse(path, flags),
                Err(error) => return Err(io_error(error)),
            }
        }
        Err(io::Error::other("is moved again and again"))
    }

    /// One part after another, each without following a link.
    fn traverse(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let mut parts = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(io_error(Errno::XDEV)),
            }
        }
        let mut at = openat(&self.folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let Some((last, above)) = parts.split_last() else { return Ok(at) };
        for part in above {
            let through = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = openat(&at, *part, through, Mode::empty()).map_err(io_error)?;
        }
        openat(&at, *last, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(io_error)
    }
}

fn is_regular(file: &OwnedFd) -> io::Result<()> {
    if FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::RegularFile {
        Ok(())
    } else {
        Err(io::Error::other("is not a file"))
    }
}

fn io_error(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => io::Error::other("is a link, or reached over one, which is not followed"),
        Errno::XDEV => io::Error::other("leads out of its folder"),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read,
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    fn read(file: io::Result<File>) -> io::Result<String> {
        let mut text = String::new();
        file?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn no_path_leads_out() {
        let root = tempfile::tempdir().expect("a folder");
        let (secret, folder) = (root.path().join("secret"), root.path().join("folder"));
        fs::create_dir_all(folder.join("sub")).expect("made");
        fs::create_dir(&secret).expect("made");
        fs::write(secret.join("key"), "secret").expect("written");
        fs::write(folder.join("sub/in"), "in").expect("written");
        symlink("sub/in", folder.join("inner")).expect("linked");
        symlink("../secret/key", folder.join("outer")).expect("linked");
        symlink(secret.join("key"), folder.join("absolute")).expect("linked");
        symlink("../secret", folder.join("over")).expect("linked");
        symlink("/proc/self/root/etc/hostname", folder.join("magic")).expect("linked");
        let status = std::process::Command::new("mkfifo").arg(folder.join("pipe")).status();
        assert!(status.expect("mkfifo").success());
        for links in [Links::None, Links::Inside] {
            let beneath = Beneath::open(&folder, links).expect("opened");
            assert_eq!(read(beneath.file(Path::new("sub/in"))).expect("read"), "in");
            let traversed = beneath.traverse(Path::new("sub/in"), OFlags::RDONLY).map(File::from);
            assert_eq!(read(traversed).expect("read"), "in");
            assert_eq!(beneath.file(Path::new("inner")).is_ok(), links == Links::Inside);
            for bad in
                ["outer", "absolute", "over/key", "magic", "../secret/key", "/etc/hostname", "sub", "pipe", "none"]
            {
                assert!(beneath.file(Path::new(bad)).is_err(), "{links:?} {bad}");
            }
            for bad in ["inner", "outer", "absolute", "over/key", "../secret/key", "/etc/hostname"] {
                assert!(beneath.traverse(Path::new(bad), OFlags::RDONLY).is_err(), "{bad}");
            }
            assert!(beneath.folder(Path::new("over")).is_err());
            let sub = beneath.folder(Path::new("sub")).expect("opened");
            assert_eq!(read(sub.file(Path::new("in"))).expect("read"), "in");
            assert!(beneath.folder(Path::new("")).expect("opened").file(Path::new("sub/in")).is_ok());
        }
        let entries = Beneath::open(&folder, Links::None).and_then(|beneath| beneath.entries()).expect("read");
        let folders: Vec<_> =
            entries.iter().filter(|entry| entry.is_folder).map(|entry| (&entry.name, entry.is_link)).collect();
        assert_eq!(folders.len(), 2, "{folders:?}");
        // The folder itself may be a link.
        symlink(&folder, root.path().join("link")).expect("linked");
        assert!(Beneath::open(&root.path().join("link"), Links::None).is_ok());
    }

    /// As the author of a bundle does who puts a link in the place of a folder while it is read.
    #[test]
    fn a_folder_that_is_swapped_for_a_link_gives_nothing_of_what_it_leads_to() {
        let root = tempfile::tempdir().expect("a folder");
        let (a, b) = (root.path().join("source/bundle"), root.path().join("source/.other"));
        fs::create_dir_all(&a).expect("made");
        fs::create_dir(root.path().join("secret")).expect("made");
        fs::write(a.join("key"), "mine").expect("written");
        fs::write(root.path().join("secret/key"), "secret").expect("written");
        symlink(root.path().join("secret"), &b).expect("linked");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    _ = rustix::fs::renameat_with(CWD, &a, CWD, &b, rustix::fs::RenameFlags::EXCHANGE);
                }
            });
            let source = Beneath::open(&root.path().join("source"), Links::None).expect("opened");
            let flags = OFlags::RDONLY;
            for _ in 0..20_000 {
                let read = [
                    read(source.folder(Path::new("bundle")).and_then(|bundle| bundle.file(Path::new("key")))),
                    read(source.traverse(Path::new("bundle/key"), flags).map(File::from)),
                ];
                assert!(read.iter().flatten().all(|text| text == "mine"), "{read:?}");
            }
            ended.store(true, Ordering::Relaxed);
        });
    }
}
