//! A reservation is a call: a job asks for the memory and the instances of the version that it is about to load, and goes
//! on once it has them. Jobs ask when their turn comes, so that a job that waits for its turn drives nothing out.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use crate::{lifecycle::version::VersionId, reaper::Unreleased, release::Release};

/// Jobs that may ask at once; there are fewer turns than that.
const ASKING: usize = 16;

/// The time that a job waits until unloaded generations are released. Requests that hold it may take longer; then it
/// goes on.
const RELEASE: Duration = Duration::from_millis(500);

/// Between looks whether it is.
const LOOK: Duration = Duration::from_millis(1);

/// A job asks.
#[derive(Debug)]
pub(super) struct ReservationRequest {
    pub(super) model: String,
    pub(super) id: VersionId,
    pub(super) job: u64,
    pub(super) release: Release,
    /// Hears whether the memory is free only once what was unloaded is released.
    pub(super) granted: oneshot::Sender<bool>,
}

/// Where jobs ask.
#[derive(Clone, Debug)]
pub(super) struct Reservations {
    ask: mpsc::Sender<ReservationRequest>,
    unreleased: Unreleased,
}

/// A job's way to ask.
#[derive(Debug)]
pub(super) struct Reservation {
    reservations: Reservations,
    model: String,
    id: VersionId,
    job: u64,
}

impl Reservations {
    pub(super) fn new(unreleased: Unreleased) -> (Self, mpsc::Receiver<ReservationRequest>) {
        let (ask, asked) = mpsc::channel(ASKING);
        (Self { ask, unreleased }, asked)
    }

    /// For the job of a version.
    pub(super) fn reservation(&self, model: &str, id: &str, job: u64) -> Reservation {
        Reservation { reservations: self.clone(), model: model.to_owned(), id: id.to_owned(), job }
    }

    /// Bytes that were unloaded and are still taken.
    pub(super) fn unreleased(&self) -> usize {
        self.unreleased.bytes()
    }
}

impl Reservation {
    /// Reserves what loading this release takes. Ends once the memory is free, or what was unloaded for it has had its time
    /// to be released. The reservation holds until the job ends.
    pub(super) async fn reserve(self, release: &Release) {
        let (granted, is_granted) = oneshot::channel();
        let Self { reservations, model, id, job } = self;
        let request = ReservationRequest { model, id, job, release: release.clone(), granted };
        // No answer: the job was cancelled.
        if reservations.ask.send(request).await.is_err() || !is_granted.await.unwrap_or_default() {
            return;
        }
        let end = Instant::now() + RELEASE;
        while reservations.unreleased() > 0 && Instant::now() < end {
            sleep(LOOK).await;
        }
    }
}
