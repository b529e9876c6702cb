//! The Unix socket for calls that change what is served: the file system says who may connect.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, extract::connect_info::Connected, serve::IncomingStream};
use tokio::{
    net::{UnixListener, UnixSocket},
    time::timeout,
};

use crate::trust::Trust;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

/// The process at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) user: u32,
    pub(crate) process: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Process {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(peer) => Self { user: peer.uid(), process: peer.pid() },
            // Connected all the same, so one that the file system lets in.
            Err(_) => Self { user: u32::MAX, process: None },
        }
    }
}

/// A listening socket; its file goes with it.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a socket, removed at the end if it is still that socket's.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| now.ino() == self.inode) {
            _ = fs::remove_file(&self.path);
        }
    }
}

impl AdminSocket {
    /// Listens at `path`, for this user and root alone. Takes the place of a socket that nobody answers on any more.
    ///
    /// # Errors
    /// A folder that others may write to, a file that is no socket, or one on which another gateway answers.
    pub fn bind(path: &Path, trust: Trust) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        trust.make(folder)?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file of another kind is there"));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway answers on it"));
            }
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        let file = SocketFile { path: path.to_owned(), inode: fs::symlink_metadata(path)?.ino() };
        // Nobody can connect before `listen`, so it was never open to others.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener: socket.listen(BACKLOG)?, file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Answers until `stop` ends; requests in flight then have `drain` to finish.
    pub(crate) async fn serve(self, router: Router, stop: impl Future<Output = ()> + Send + 'static, drain: Duration) {
        let Self { listener, file } = self;
        let (ended, mut end) = tokio::sync::oneshot::channel::<()>();
        let stop = async move {
            stop.await;
            drop(ended);
        };
        let service = router.into_make_service_with_connect_info::<Process>();
        let serving = axum::serve(listener, service).with_graceful_shutdown(stop).into_future();
        tokio::pin!(serving);
        tokio::select! {
            _ = &mut serving => return,
            _ = &mut end => {}
        }
        _ = timeout(drain, serving).await;
        drop(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let first = AdminSocket::bind(&path, Trust::Verified).expect("bound");
        let mode = fs::symlink_metadata(&path).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = AdminSocket::bind(&path, Trust::Verified).expect_err("another one answers");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists(), "it goes with its socket");

        // As a process leaves it that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        drop(AdminSocket::bind(&path, Trust::Verified).expect("replaced"));

        fs::write(&path, b"a file").expect("written");
        assert!(AdminSocket::bind(&path, Trust::Verified).is_err());
        assert_eq!(fs::read(&path).expect("there"), b"a file");
    }
}
