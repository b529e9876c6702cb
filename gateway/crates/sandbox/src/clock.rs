//! The clock that ends guests which run too long. It ticks only while guests run: an idle gateway sleeps.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// The interval between two ticks, hence how late after its deadline a looping guest may be stopped.
const TICK: Duration = Duration::from_millis(5);

/// Ticks without a guest after which the clock parks. To wake it takes a system call, which no run pays for as long as a
/// gateway gets ten requests a second.
const LINGER: u32 = 20;

/// One more guest that runs, in the low half of [`Shared::guests`].
const RUNNING: u64 = 1;

/// One more guest that has begun, in the high half.
const BEGUN: u64 = 1 << 32;

/// The handle of the thread. The thread ends with it.
#[derive(Debug)]
pub(crate) struct Clock {
    shared: Arc<Shared>,
    thread: Thread,
}

/// The part that the thread shares.
#[derive(Debug, Default)]
struct Shared {
    /// The guests that run, and those that have ever begun: one that began and ended between two looks is seen, too.
    guests: AtomicU64,
    /// Set by the thread before it parks, cleared by the one who wakes it.
    is_parked: AtomicBool,
    is_over: AtomicBool,
}

/// A guest that runs. The clock ticks as long as there is one.
#[must_use = "the clock may stop as soon as this is dropped"]
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(RUNNING, Ordering::SeqCst);
    }
}

impl Clock {
    /// Starts the thread, which calls `tick` at each tick until that gives `false`.
    pub(crate) fn start(tick: impl FnMut() -> bool + Send + 'static) -> io::Result<Self> {
        Self::with_linger(LINGER, tick)
    }

    fn with_linger(linger: u32, tick: impl FnMut() -> bool + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("epoch".into()).spawn(move || of_thread.run(linger, tick))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Lets the clock tick until the guard is dropped. To be taken before a guest's epoch deadline is set.
    pub(crate) fn run_guest(&self) -> Running<'_> {
        let before = self.shared.guests.fetch_add(BEGUN | RUNNING, Ordering::SeqCst);
        // The first of several guests wakes the thread. Either it sees here that the thread is parked, or the thread sees
        // before it parks that a guest runs: each writes first and reads afterwards.
        if running(before) == 0 && self.shared.is_parked.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(&self.shared)
    }

    #[cold]
    fn wake(&self) {
        if self.shared.is_parked.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, linger: u32, mut tick: impl FnMut() -> bool) {
        let (mut seen, mut quiet) = (0, 0);
        while !self.is_over.load(Ordering::SeqCst) && tick() {
            thread::sleep(TICK);
            let guests = self.guests.load(Ordering::SeqCst);
            quiet = if guests == seen && running(guests) == 0 { quiet + 1 } else { 0 };
            seen = guests;
            if quiet >= linger {
                self.park();
                quiet = 0;
            }
        }
    }

    /// Until a guest begins.
    fn park(&self) {
        self.is_parked.store(true, Ordering::SeqCst);
        if running(self.guests.load(Ordering::SeqCst)) == 0 {
            // `park` may return for no reason.
            while self.is_parked.load(Ordering::SeqCst) && !self.is_over.load(Ordering::SeqCst) {
                thread::park();
            }
        }
        self.is_parked.store(false, Ordering::SeqCst);
    }
}

fn running(guests: u64) -> u32 {
    (guests & u64::from(u32::MAX)) as u32
}

/// Ticks from now until `deadline`: rounded up, and one more because the current one has already begun.
pub(crate) fn ticks_until(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    u64::try_from(left.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX >> 1) + 1
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// A clock that parks after so many ticks, and its ticks.
    fn clock(linger: u32) -> (Clock, Arc<AtomicU64>) {
        let ticks = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&ticks);
        let tick = move || {
            count.fetch_add(1, Ordering::SeqCst);
            true
        };
        (Clock::with_linger(linger, tick).expect("a thread"), ticks)
    }

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            thread::yield_now();
        }
    }

    #[test]
    fn ticks_round_up_and_never_overflow() {
        assert_eq!(ticks_until(Instant::now()), 1);
        let ticks = ticks_until(Instant::now() + TICK * 10);
        assert!((10..=11).contains(&ticks), "{ticks}");
    }

    #[test]
    fn the_clock_parks_without_guests_and_ticks_with_one() {
        let (clock, ticks) = clock(2);
        let is_parked = || clock.shared.is_parked.load(Ordering::SeqCst);
        eventually("it parks", is_parked);
        let before = ticks.load(Ordering::SeqCst);
        let guest = clock.run_guest();
        let other = clock.run_guest();
        eventually("it ticks", || ticks.load(Ordering::SeqCst) >= before + 10);
        drop(guest);
        assert!(!is_parked(), "another guest runs");
        drop(other);
        eventually("it parks again", is_parked);
    }

    /// Guests begin at every moment of the way to being parked: each sees the clock tick.
    #[test]
    fn no_guest_is_left_without_a_tick() {
        let (clock, ticks) = clock(0);
        thread::scope(|scope| {
            for number in 0..4 {
                let (clock, ticks) = (&clock, &ticks);
                scope.spawn(move || {
                    for round in 0..100 {
                        let pause = TICK / 100 * ((7 * round + 31 * number) % 130);
                        let until = Instant::now() + pause;
                        while Instant::now() < until {
                            thread::yield_now();
                        }
                        let _guest = clock.run_guest();
                        let before = ticks.load(Ordering::SeqCst);
                        eventually("a tick", || ticks.load(Ordering::SeqCst) > before);
                    }
                });
            }
        });
    }

    #[test]
    fn the_thread_ends_with_its_handle_and_with_its_engine() {
        let (alive, ended) = mpsc::channel::<()>();
        let tick = move || {
            let _alive = &alive;
            true
        };
        let clock = Clock::with_linger(1, tick).expect("a thread");
        eventually("it parks", || clock.shared.is_parked.load(Ordering::SeqCst));
        drop(clock);
        assert_eq!(ended.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));

        let (alive, ended) = mpsc::channel::<()>();
        let _clock = Clock::start(move || {
            let _alive = &alive;
            false
        });
        assert_eq!(ended.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
