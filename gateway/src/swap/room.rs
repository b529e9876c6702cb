//! Memory and instances for what is about to be loaded: asked for when a job's turn comes, so that what still waits for
//! its turn drives nothing out.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use crate::{
    bundle::Manifest,
    reaper::Unreleased,
    release::{Content, Release},
    swap::prepare::Preparer,
};

/// Jobs that may ask at once; there are fewer turns than that.
const ASKING: usize = 16;

/// How long a job waits for what was let go of to be released. Requests that hold it may take longer; then it goes on.
const RELEASE: Duration = Duration::from_millis(500);

/// Between looks whether it is.
const LOOK: Duration = Duration::from_millis(1);

/// What one instance of a small module takes, and what making it does.
const INSTANCE: usize = 512 << 10;

/// A graph of unknown size.
const GRAPH: usize = 4 << 20;

/// While a graph is read it is there as a file, as messages, as tensors, and as two plans: at most so many times the file
/// (measured: 2 to 2.7).
const HEIGHT: usize = 3;

/// What a release needs to be loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// Bytes, while it is loaded.
    pub(super) bytes: usize,
    /// Module instances, once it is used.
    pub(super) instances: usize,
}

/// A job asks.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) model: String,
    pub(super) id: String,
    pub(super) ticket: u64,
    pub(super) release: Release,
    /// Hears whether there is room only once what was let go of is released.
    pub(super) made: oneshot::Sender<bool>,
}

/// Where jobs ask.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    ask: mpsc::Sender<Room>,
    unreleased: Unreleased,
}

/// A job's way to ask.
#[derive(Debug)]
pub(super) struct Asks {
    rooms: Rooms,
    model: String,
    id: String,
    ticket: u64,
}

impl Rooms {
    pub(super) fn new(unreleased: Unreleased) -> (Self, mpsc::Receiver<Room>) {
        let (ask, asked) = mpsc::channel(ASKING);
        (Self { ask, unreleased }, asked)
    }

    pub(super) fn asks(&self, model: &str, id: &str, ticket: u64) -> Asks {
        Asks { rooms: self.clone(), model: model.to_owned(), id: id.to_owned(), ticket }
    }

    /// Bytes that were let go of and are still taken.
    pub(super) fn unreleased(&self) -> usize {
        self.unreleased.bytes()
    }
}

impl Asks {
    /// Ends once what had to go for this release is gone, or has had its time.
    pub(super) async fn made(self, release: &Release) {
        let (made, is_made) = oneshot::channel();
        let Self { rooms, model, id, ticket } = self;
        let room = Room { model, id, ticket, release: release.clone(), made };
        // No answer: nobody wants it any more.
        if rooms.ask.send(room).await.is_err() || !is_made.await.unwrap_or_default() {
            return;
        }
        let end = Instant::now() + RELEASE;
        while rooms.unreleased() > 0 && Instant::now() < end {
            sleep(LOOK).await;
        }
    }
}

impl Need {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), instances: self.instances + other.instances }
    }

    /// Of a release that may never have been resident; `cost` is what it took if it was.
    pub(super) fn of(release: &Release, mut cost: usize, preparer: &Preparer) -> Self {
        let (mut graph, mut stages) = (GRAPH, 2);
        if let Content::Bundle { manifest, .. } = &release.content
            && let Ok(manifest) = Manifest::parse(manifest)
        {
            stages = manifest.stages();
            let store = preparer.store.as_ref();
            let length = |sha256: &str| store.and_then(|store| store.length(sha256)).unwrap_or(GRAPH);
            graph = manifest.model_files().map(length).fold(0, usize::saturating_add);
            if preparer.has_model(&manifest) {
                (graph, cost) = (0, 0);
            }
        }
        // One thread's instances are there while it is checked; the others come with requests.
        let height = graph.saturating_mul(HEIGHT).saturating_add(stages * INSTANCE);
        Self { bytes: height.max(cost), instances: stages * preparer.threads }
    }
}
