//! The id of a request, from accept to guest, loader and source.
//!
//! Each thread knows the request that it works for now. Code that hands work of a request to another thread or
//! task takes the id along: [`RequestId::current`] before, [`enter`] or [`scope`] there. Every log line that is written meanwhile carries the
//! id (see [`format`](super::format)), also those of crates that know no requests. Successful requests pay for this with
//! two moves of a few words, and no allocation.

use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    mem,
    pin::Pin,
    sync::LazyLock,
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with a request's id, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken from a caller.
const MAX_ID: usize = 128;

/// A random start, from which requests that bring no id are numbered.
static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));

thread_local! {
    /// The request that this thread works for.
    static CURRENT: RefCell<Option<RequestId>> = const { RefCell::new(None) };
}

/// A request's id. A copy costs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Id);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Id {
    /// The caller's: ASCII without spaces.
    Given(HeaderValue),
    /// Made here.
    Made(u64),
}

impl RequestId {
    /// The caller's id, if it is one that can be logged and sent back; else a new one, for the request of this number.
    pub fn from_headers(headers: &HeaderMap, number: u64) -> Self {
        if let Some(id) = headers.get(REQUEST_ID)
            && (1..=MAX_ID).contains(&id.len())
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
        {
            return Self(Id::Given(id.clone()));
        }
        Self(Id::Made(START.wrapping_add(number)))
    }

    /// The id of the request that this thread works for.
    pub fn current() -> Option<Self> {
        // Nothing is current any more at the end of a thread.
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }

    /// The value of the header.
    pub fn header(&self) -> HeaderValue {
        match &self.0 {
            Id::Given(id) => id.clone(),
            Id::Made(id) => {
                let digits = *id;
                let digit = |index: usize| b"0123456789abcdef"[(digits >> (60 - 4 * index) & 15) as usize];
                let digits: [u8; 16] = std::array::from_fn(digit);
                HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
            }
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Given(id) => f.write_str(id.to_str().unwrap_or_default()),
            Id::Made(id) => write!(f, "{id:016x}"),
        }
    }
}

/// For as long as this is there, the thread works for another request, or for none. The slot has the one from before.
#[derive(Debug)]
pub struct Entered<'a>(&'a mut Option<RequestId>);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        swap(self.0);
    }
}

/// Lets this thread work for the request in `slot` until the guard is dropped; the id is in the slot again then.
pub fn enter(slot: &mut Option<RequestId>) -> Entered<'_> {
    swap(slot);
    Entered(slot)
}

fn swap(slot: &mut Option<RequestId>) {
    _ = CURRENT.try_with(|current| mem::swap(&mut *current.borrow_mut(), slot));
}

/// Each thread that polls `future` works for this request meanwhile. The future stays where it is: moved in here, it would
/// take its space twice.
pub async fn scope<F: Future>(mut id: Option<RequestId>, mut future: Pin<&mut F>) -> F::Output {
    poll_fn(|context| {
        let _entered = enter(&mut id);
        future.as_mut().poll(context)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn id(text: &'static str) -> RequestId {
        RequestId::from_headers(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(text))]), 0)
    }

    #[test]
    fn an_id_that_is_made_is_the_same_in_the_log_and_in_the_answer() {
        for number in [0, 1, u64::MAX] {
            let made = RequestId::from_headers(&HeaderMap::new(), number);
            assert_eq!(made.header().to_str().expect("ASCII"), made.to_string());
            assert_eq!(made.to_string().len(), 16);
        }
        let too_long = "x".repeat(MAX_ID + 1);
        for bad in ["", "with space", &too_long] {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(bad).expect("a value"))]);
            assert_eq!(RequestId::from_headers(&headers, 7), RequestId::from_headers(&HeaderMap::new(), 7), "{bad}");
        }
    }

    #[test]
    fn requests_are_nested_and_left() {
        let (mut outer, mut inner) = (Some(id("outer")), Some(id("inner")));
        let outside = enter(&mut outer);
        {
            let _inside = enter(&mut inner);
            assert_eq!(RequestId::current(), Some(id("inner")));
        }
        assert_eq!(RequestId::current(), Some(id("outer")));
        drop(outside);
        assert_eq!(RequestId::current(), None);
        assert_eq!((outer, inner), (Some(id("outer")), Some(id("inner"))));
    }

    #[tokio::test]
    async fn tasks_of_one_thread_keep_their_own() {
        let work = async |name: &'static str| {
            let check = async {
                for _ in 0..3 {
                    assert_eq!(RequestId::current(), Some(id(name)));
                    tokio::task::yield_now().await;
                }
            };
            scope(Some(id(name)), pin!(check)).await;
        };
        tokio::join!(work("a"), work("b"));
        assert_eq!(RequestId::current(), None);
    }
}
