//! Long work that rests while requests are served, so that they do not notice it.
//!
//! A low priority alone does not do that. Where all cores are busy, a thread that never waits fills every gap on its core.
//! To the kernel that core is then never idle, so it moves no waiting thread there: threads that serve take turns of
//! several milliseconds on another. Work that sleeps after each short stretch leaves the gaps where they were.

use std::{
    cell::RefCell,
    mem, thread,
    time::{Duration, Instant},
};

/// Work between two rests.
const STRETCH: Duration = Duration::from_micros(100);

/// A rest: long enough for those that wait to be moved to the core that it leaves.
const REST: Duration = Duration::from_millis(1);

/// Of a long list, between two looks at the clock.
const ITEMS: usize = 512;

thread_local! {
    /// The throttle of this thread, while it runs work that rests.
    static THROTTLE: RefCell<Option<Throttle>> = const { RefCell::new(None) };
}

struct Throttle {
    served: Box<dyn Fn() -> u64>,
    /// The requests served when it last was to rest.
    before: u64,
    begun: Instant,
    /// The time that it may still rest, in all.
    left: Duration,
    rested: Duration,
}

/// Does this on this thread, with a rest at a [`give_way`] in it wherever what was `served` has risen meanwhile. Rests at
/// `most` so long in all. Tells how long it did.
pub fn resting<T>(served: impl Fn() -> u64 + 'static, most: Duration, work: impl FnOnce() -> T) -> (T, Duration) {
    /// Also where it panics.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            THROTTLE.take();
        }
    }
    let before = served();
    let _end = End;
    let throttle =
        Throttle { served: Box::new(served), before, begun: Instant::now(), left: most, rested: Duration::ZERO };
    THROTTLE.set(Some(throttle));
    let done = work();
    (done, THROTTLE.with_borrow(|throttle| throttle.as_ref().map_or(Duration::ZERO, |throttle| throttle.rested)))
}

/// Rests, if it is time to. For loops of work that may be long, every so many microseconds; on other threads, nothing.
pub fn give_way() {
    THROTTLE.with_borrow_mut(|throttle| {
        if let Some(throttle) = throttle
            && throttle.begun.elapsed() >= STRETCH
        {
            throttle.rest();
        }
    });
}

impl Throttle {
    fn rest(&mut self) {
        // Since the last rest began: where this work keeps others from being served, they were while it rested.
        let before = mem::replace(&mut self.before, (self.served)());
        if self.before != before && !self.left.is_zero() {
            let begun = Instant::now();
            thread::sleep(REST.min(self.left));
            let rested = begun.elapsed();
            self.left = self.left.saturating_sub(rested);
            self.rested += rested;
        }
        self.begun = Instant::now();
    }
}

/// Going through long lists.
pub trait GivingWay: Iterator + Sized {
    /// The same, with a [`give_way`] every now and then.
    fn giving_way(self) -> impl Iterator<Item = Self::Item> {
        let mut count = 0_usize;
        self.inspect(move |_| {
            count += 1;
            if count.is_multiple_of(ITEMS) {
                give_way();
            }
        })
    }
}

impl<I: Iterator> GivingWay for I {}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    /// Looks after stretches of work, and tells how long it took at each.
    fn rests(most: Duration, served: &[u64]) -> Vec<Duration> {
        let count = Rc::new(Cell::new(0));
        let seen = Rc::clone(&count);
        let (took, rested): (Vec<_>, _) = resting(
            move || seen.get(),
            most,
            || {
                let look = |&served: &u64| {
                    let stretch = Instant::now();
                    while stretch.elapsed() < STRETCH {}
                    count.set(count.get() + served);
                    let begun = Instant::now();
                    give_way();
                    begun.elapsed()
                };
                served.iter().map(look).collect()
            },
        );
        assert!(rested <= took.iter().sum::<Duration>(), "{rested:?} of {took:?}");
        took
    }

    #[test]
    fn it_rests_only_while_something_is_served() {
        let took = rests(Duration::MAX, &[3, 0, 1]);
        assert!(took[0] >= REST && took[2] >= REST, "{took:?}");
        let idle = (0..50).map(|_| rests(Duration::MAX, &[0])[0]).min();
        assert!(idle < Some(REST / 4), "{idle:?}");
    }

    #[test]
    fn it_does_not_rest_for_ever() {
        let took: Duration = rests(2 * REST, &[1; 100]).into_iter().sum();
        assert!(took >= 2 * REST, "{took:?}");
        let none = (0..50).map(|_| rests(Duration::ZERO, &[1])[0]).min();
        assert!(none < Some(REST / 4), "{none:?}");
    }

    #[test]
    fn other_work_does_not_rest() {
        let took = (0..50).map(|_| {
            let begun = Instant::now();
            assert_eq!((0..2 * ITEMS).giving_way().count(), 2 * ITEMS);
            begun.elapsed()
        });
        assert!(took.min() < Some(REST));
        // Nor does what comes after work that panicked.
        let panicked = std::panic::catch_unwind(|| resting(|| 1, Duration::MAX, || panic!("in its work")));
        assert!(panicked.is_err() && THROTTLE.with_borrow(Option::is_none));
    }
}
