//! One account of the memory that requests take, from the first byte of a request to the last byte of its answer.
//!
//! A request holds a [`Permit`]. The permit grows with what the request takes (its body as it comes, the inflated body,
//! decoded columns, the encoded answer), travels with it, and gives everything back when it is dropped.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    bounds::{Meter, Shortage},
    error::Error,
};

/// Bytes by which a permit grows at least, so that a small request counts once and not at each step.
const SMALL_STEP: usize = 4 << 10;

/// Bytes by which a large permit grows at least.
const LARGE_STEP: usize = 64 << 10;

/// A permit over so many bytes is large: twice the largest body that is decoded where it is read, and a little more.
const LARGE: usize = 136 << 10;

/// The stage of a request when it asks for memory. Small requests that have come whole may fill the account; others
/// leave a part of it to them, so that slow uploads and large batches cost only their own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Its body is still coming.
    Arriving,
    /// Its body has come.
    Whole,
    /// A stream of a connection that has many, or an answer that no inference made.
    Stream,
}

/// The time that a body may take to come before it may have to make room for others.
const UPLOAD_AGE: Duration = Duration::from_secs(2);

/// Memory that all requests may take together.
#[derive(Debug)]
pub struct Account {
    used: AtomicUsize,
    limit: usize,
    /// Bodies that are slow to come, the oldest first.
    uploads: Mutex<VecDeque<(Instant, oneshot::Sender<()>)>>,
}

impl Account {
    /// An account of so many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, uploads: Mutex::default() })
    }

    /// Bytes that requests take now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that they may take.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Up to where a claim of so many bytes may fill the account, in bytes.
    pub fn ceiling(&self, bytes: usize, claim: Claim) -> usize {
        match claim {
            Claim::Arriving => self.limit / 2,
            Claim::Stream => self.limit - self.limit / 4,
            Claim::Whole if bytes > LARGE => self.limit - self.limit / 8,
            Claim::Whole => self.limit,
        }
    }

    /// Notes a body that is slow to come. What is given ends when the body has to make room for others.
    pub fn upload(&self) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        while uploads.front().is_some_and(|(_, upload)| upload.is_closed()) {
            uploads.pop_front();
        }
        uploads.push_back((Instant::now(), end));
        ended
    }

    /// Ends the body that has been coming for longest, if that is for long; whether there is one.
    pub fn end_upload(&self) -> bool {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, upload)) = uploads.front() {
            if upload.is_closed() {
                uploads.pop_front();
            } else if since.elapsed() < UPLOAD_AGE {
                return false;
            } else {
                return uploads.pop_front().is_some();
            }
        }
        false
    }

    fn take(&self, bytes: usize, ceiling: usize) -> bool {
        // Nothing is read or written on the strength of this number, so the order of accesses is of no concern.
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.checked_add(bytes).is_some_and(|after| after <= ceiling);
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// One request's part of the account. Dropping it gives the part back.
#[derive(Debug)]
pub struct Permit {
    account: Arc<Account>,
    held: usize,
}

impl Permit {
    /// A permit for nothing yet.
    pub fn new(account: &Arc<Account>) -> Self {
        Self { account: Arc::clone(account), held: 0 }
    }

    /// The account that it is a part of.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Grows to at least so many bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where the account could not hold them even if it were empty, [`Error::Overloaded`] where it
    /// cannot now.
    pub fn cover(&mut self, bytes: usize, claim: Claim) -> Result<(), Error> {
        if bytes <= self.held {
            return Ok(());
        }
        let most = self.account.ceiling(bytes, claim);
        if bytes > most {
            return Err(Error::TooLarge(format!("the request takes more than {most} bytes of memory")));
        }
        let step = if bytes > LARGE { LARGE_STEP } else { SMALL_STEP };
        let more = bytes.next_multiple_of(step).min(most) - self.held;
        if !self.account.take(more, most) {
            return Err(Error::Overloaded);
        }
        self.held += more;
        Ok(())
    }

    /// Comes to what a request takes from now on: grows to at least so many bytes, or gives back what is over.
    ///
    /// # Errors
    /// As [`cover`](Self::cover).
    pub fn settle(&mut self, bytes: usize) -> Result<(), Error> {
        // What a small request gives back is not worth the access.
        if self.held > LARGE && self.held > bytes {
            self.account.give_back(self.held - bytes);
            self.held = bytes;
        }
        self.cover(bytes, Claim::Whole)
    }

    /// All that is held, to go elsewhere for a while; this one holds nothing then.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = Self::new(&self.account);
        std::mem::replace(self, empty)
    }

    /// Binds the permit to the bytes of an answer: it ends when the last of them has left.
    pub fn bind(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Bound { bytes, _permit: self })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.give_back(self.held);
    }
}

struct Bound<T> {
    bytes: T,
    _permit: Permit,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Bound<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl Meter for Permit {
    fn meter(&mut self, bytes: usize) -> Result<(), Shortage> {
        self.cover(bytes, Claim::Whole).map_err(|error| match error {
            Error::TooLarge(_) => Shortage::Always,
            _ => Shortage::Now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::{Bounds, Excess};

    #[test]
    fn small_requests_have_room_where_uploads_have_none() {
        let account = Account::new(1 << 20);
        let mut uploads: Vec<_> = (0..8).map(|_| Permit::new(&account)).collect();
        let refused = uploads.iter_mut().filter_map(|permit| permit.cover(150 << 10, Claim::Arriving).err()).count();
        assert_eq!(refused, 6, "half of the account, in steps of 64 KiB");
        let mut large = Permit::new(&account);
        large.cover(300 << 10, Claim::Whole).expect("a part above the uploads");
        assert!(matches!(large.cover(700 << 10, Claim::Whole), Err(Error::Overloaded)));
        assert!(matches!(large.cover(2 << 20, Claim::Whole), Err(Error::TooLarge(_))));
        let mut small = Permit::new(&account);
        for bytes in [1, 100 << 10] {
            small.cover(bytes, Claim::Whole).expect("what is left is for small ones");
        }
        drop((uploads, large, small));
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn an_answer_holds_its_permit_until_its_last_part_is_gone() {
        let account = Account::new(1 << 20);
        let mut permit = Permit::new(&account);
        permit.cover(200 << 10, Claim::Whole).expect("room");
        permit.settle(10 << 10).expect("less");
        assert_eq!(account.used(), 10 << 10);
        let mut elsewhere = permit.take();
        assert_eq!((permit.held(), elsewhere.held()), (0, 10 << 10));
        elsewhere.settle(11 << 10).expect("a little more");
        let bytes = elsewhere.bind(vec![7; 11 << 10]);
        let part = bytes.slice(5..6);
        drop(bytes);
        assert_eq!((account.used(), part.as_ref()), (12 << 10, &[7][..]));
        drop(part);
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn what_is_decoded_is_counted_while_it_grows() {
        let account = Account::new(16 << 20);
        let mut permit = Permit::new(&account);
        let mut bounds = Bounds::new(10_000, 64 << 20, 1 << 20).counted(&mut permit);
        bounds.reach(4 << 20).expect("room");
        assert_eq!(account.used(), 5 << 20);
        let mut other = Permit::new(&account);
        other.cover(8 << 20, Claim::Whole).expect("room");
        assert_eq!(bounds.reach(6 << 20), Err(Excess::Memory));
        assert_eq!(bounds.reach(20 << 20), Err(Excess::Bytes(12 << 20)));
    }
}
