//! Memory that is free goes back to the machine.
//!
//! The allocator keeps what was freed for a second, and looks whether that is over only when somebody takes or frees a
//! page. Reading a model takes many times what the model holds, and an idle gateway would keep that forever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A little more than the allocator's delay.
const DELAY: Duration = Duration::from_millis(1100);

/// How often it was asked for since the last time.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Gives back what is free a second from now. Without waiting, and on one thread however often it is called.
pub fn give_back_soon() {
    if ASKED.fetch_add(1, Ordering::AcqRel) > 0 {
        return;
    }
    // The allocator looks when a thread ends that took memory, as each does for its name.
    let spawned = thread::Builder::new().name("give-back".into()).spawn(|| {
        loop {
            let asked = ASKED.load(Ordering::Acquire);
            thread::sleep(DELAY);
            if ASKED.compare_exchange(asked, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    });
    if spawned.is_err() {
        // Then the next load tries again.
        ASKED.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    /// Bytes of this process in memory.
    fn resident() -> usize {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[test]
    fn what_was_freed_goes_back() {
        const PIECES: usize = 50_000;
        let pieces: Vec<Vec<u8>> = (0..PIECES).map(|piece| vec![piece as u8 | 1; 4096]).collect();
        let most = resident();
        drop(pieces);
        give_back_soon();
        // Other tests take memory meanwhile: half of it is enough to see.
        let deadline = Instant::now() + Duration::from_secs(30);
        while resident() + PIECES * 4096 / 2 > most {
            assert!(Instant::now() < deadline, "{} of {most} bytes are still there", resident());
            thread::sleep(Duration::from_millis(50));
        }
    }
}
