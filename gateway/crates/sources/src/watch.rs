//! File events of folders, by inotify. They only ever say "look again": what is there is read by looking.

use std::{
    collections::BTreeSet,
    mem::{self, MaybeUninit},
    os::fd::OwnedFd,
    path::Path,
    sync::{Mutex, PoisonError},
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::{io::unix::AsyncFd, sync::OnceCell};

/// Watches any number of folders.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Made on first use: it belongs to an event loop. `None` where the system refuses.
    events: OnceCell<Option<AsyncFd<OwnedFd>>>,
    /// The system's numbers for the folders.
    watched: Mutex<BTreeSet<i32>>,
}

/// Events after which a bundle may have come, gone or changed.
const INTERESTING: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);

impl Watch {
    /// Before anything is watched; inside the event loop.
    pub(super) async fn open(&self) -> Option<&AsyncFd<OwnedFd>> {
        let make = async || {
            let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
            #[expect(
                deprecated,
                reason = "its trouble is with types that change their descriptor; the other one is unsafe"
            )]
            AsyncFd::new(fd).ok()
        };
        self.events.get_or_init(make).await.as_ref()
    }

    /// Watches this folder too, from any thread, and gives the system's number for it. Where that fails the poll has to do.
    pub(super) fn add(&self, folder: &Path) -> Option<i32> {
        let events = self.events.get()?.as_ref()?;
        inotify::add_watch(events.get_ref(), folder, INTERESTING | WatchFlags::ONLYDIR).ok()
    }

    /// Watches no others any more: a folder that was moved away would be watched where it is.
    pub(super) fn keep(&self, folders: BTreeSet<i32>) {
        let Some(Some(events)) = self.events.get() else { return };
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *watched, folders);
        for old in before.difference(&watched) {
            // Gone already with the folder, if that was deleted.
            _ = inotify::remove_watch(events.get_ref(), *old);
        }
    }

    /// Ends with the next event, and takes those that came with it.
    pub(super) async fn changed(&self) {
        let Some(events) = self.open().await else { return std::future::pending().await };
        loop {
            let Ok(mut guard) = events.readable().await else { return std::future::pending().await };
            let mut seen = false;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(events.get_ref(), &mut buffer);
            while let Ok(event) = reader.next() {
                // That a folder is watched no more is no news from it.
                seen |= event.events() != ReadFlags::IGNORED;
            }
            guard.clear_ready();
            if seen {
                return;
            }
        }
    }
}
