//! The events on one connection that decide when it ends.
//!
//! HTTP/1 sends one answer at a time, and the kernel ends a connection whose client takes none of it. HTTP/2 keeps many
//! answers that a client has not asked to be sent, so that each of them is watched here.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
};
use hyper::body::{Frame, SizeHint};

use crate::memory::Permit;

/// The largest part of an answer that is handed over at once, in bytes: what a client takes of it shows after so many.
const PART: usize = 64 << 10;

/// The interval at which a connection that was told to end is looked at.
pub(super) const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Streams that a client may reset before their answer has begun, unless most others were answered.
const MAX_RESETS: u32 = 200;

/// Streams that a client may reset within a second before their answer has begun, unless most others were answered.
/// Nothing more is read of its connection then.
const MAX_RESETS_PER_SECOND: u32 = 200;

/// The time that a connection may stay, in each of its states.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the first request, and without any.
    pub(super) idle: Duration,
    /// For a client that takes nothing of an answer.
    pub(super) write: Duration,
    /// For the connection as a whole.
    pub(super) age: Option<Duration>,
}

/// The verdict on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then; never where nothing can change.
    Keep(Option<Instant>),
    /// End it once what it is in the middle of is done.
    Close,
    /// End it now.
    Cut,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    patience: Patience,
    /// Whether any request has come.
    begun: AtomicBool,
    /// Whether it is HTTP/2; what follows is only kept then.
    multiplexed: AtomicBool,
    /// Requests not yet answered to the last byte.
    open: AtomicUsize,
    /// When the last of them ended, in milliseconds from the start.
    quiet: AtomicU64,
    answered: AtomicU32,
    reset: AtomicU32,
    /// When the last second of resets began, in milliseconds from the start.
    resets_since: AtomicU64,
    /// Resets since then.
    resets: AtomicU32,
    is_flood: AtomicBool,
    /// Answers of which something was handed over and not yet sent.
    answers: Mutex<HashMap<u64, Arc<Progress>>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Progress {
    /// Parts handed over and not yet sent.
    unsent: AtomicUsize,
    /// When one was handed over or sent last, in milliseconds from the connection's start.
    last: AtomicU64,
}

impl Activity {
    pub(super) fn new(patience: Patience) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            patience,
            begun: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            quiet: AtomicU64::new(0),
            answered: AtomicU32::new(0),
            reset: AtomicU32::new(0),
            resets_since: AtomicU64::new(0),
            resets: AtomicU32::new(0),
            is_flood: AtomicBool::new(false),
            answers: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// A request of a connection that has one at a time.
    pub(super) fn request(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// A request of a connection that has many.
    pub(super) fn stream(self: &Arc<Self>) -> Stream {
        self.begun.store(true, Ordering::Relaxed);
        self.multiplexed.store(true, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::new(Progress { unsent: AtomicUsize::new(0), last: AtomicU64::new(self.now()) });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.answers().insert(id, Arc::clone(&progress));
        Stream { id, activity: Arc::clone(self), progress, answered: AtomicBool::new(false), permit: None }
    }

    /// Requests not yet answered to the last byte.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<u64, Arc<Progress>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether its client resets streams faster than they can be answered, so that it has to end.
    pub(super) fn is_flood(&self) -> bool {
        self.is_flood.load(Ordering::Relaxed)
    }

    /// Counts a stream that ended before its answer began. All of a connection's streams end on one thread.
    fn count_reset(&self, now: u64) {
        let reset = self.reset.fetch_add(1, Ordering::Relaxed) + 1;
        if now.saturating_sub(self.resets_since.load(Ordering::Relaxed)) >= 1_000 {
            self.resets_since.store(now, Ordering::Relaxed);
            self.resets.store(0, Ordering::Relaxed);
        }
        let lately = self.resets.fetch_add(1, Ordering::Relaxed) + 1;
        if lately > MAX_RESETS_PER_SECOND && reset > self.answered.load(Ordering::Relaxed) {
            self.is_flood.store(true, Ordering::Relaxed);
        }
    }

    /// When it is looked at for the first time.
    pub(super) fn first_look(&self) -> Instant {
        let Patience { idle, write, age } = self.patience;
        self.start + idle.min(write).min(age.unwrap_or(idle))
    }

    /// The verdict now.
    pub(super) fn judge(&self, now: Instant) -> Verdict {
        let Patience { idle, write, age } = self.patience;
        let end = age.map(|age| self.start + age);
        if end.is_some_and(|end| now >= end) {
            return Verdict::Close;
        }
        if !self.begun.load(Ordering::Relaxed) {
            return if now >= self.start + idle { Verdict::Cut } else { self.keep(self.start + idle) };
        }
        if !self.multiplexed.load(Ordering::Relaxed) {
            // Silence between requests and slow heads are hyper's affair, answers the kernel's.
            return Verdict::Keep(end);
        }
        let (answered, reset) = (self.answered.load(Ordering::Relaxed), self.reset.load(Ordering::Relaxed));
        if reset > MAX_RESETS && reset > answered {
            return Verdict::Close;
        }
        let stalled = self.stalled();
        if stalled.is_some_and(|since| now >= since + write) {
            return Verdict::Cut;
        }
        let quiet = self.at(self.quiet.load(Ordering::Relaxed));
        let busy = self.open.load(Ordering::Relaxed) > 0;
        if !busy && now >= quiet + idle {
            return Verdict::Close;
        }
        // Whatever begins from now on is over time at the earliest then.
        let soonest = if busy { now + write.min(idle) / 2 } else { quiet + idle };
        self.keep(stalled.map_or(soonest, |since| soonest.min(since + write)))
    }

    /// The verdict on a connection that was told to end, and has not.
    pub(super) fn judge_closing(&self, now: Instant) -> Verdict {
        if !self.multiplexed.load(Ordering::Relaxed) {
            // Ends with the answer that is on its way.
            return if self.begun.load(Ordering::Relaxed) { Verdict::Keep(None) } else { Verdict::Cut };
        }
        let over_time = self.stalled().is_some_and(|since| now >= since + self.patience.write);
        if over_time || self.open.load(Ordering::Relaxed) == 0 {
            return Verdict::Cut;
        }
        Verdict::Keep(Some(now + CLOSE_GRACE))
    }

    /// Since when nothing was taken of the answer of which nothing was taken for longest.
    fn stalled(&self) -> Option<Instant> {
        self.answers().values().filter_map(|answer| answer.unsent_since()).min().map(|since| self.at(since))
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn keep(&self, until: Instant) -> Verdict {
        let end = self.patience.age.map(|age| self.start + age);
        Verdict::Keep(Some(end.map_or(until, |end| end.min(until))))
    }
}

impl Progress {
    fn unsent_since(&self) -> Option<u64> {
        (self.unsent.load(Ordering::Relaxed) > 0).then(|| self.last.load(Ordering::Relaxed))
    }
}

/// One request of a connection that has many, until its answer was sent.
#[derive(Debug)]
pub(super) struct Stream {
    id: u64,
    activity: Arc<Activity>,
    progress: Arc<Progress>,
    answered: AtomicBool,
    /// Covers the stream and its request's head.
    pub(super) permit: Option<Permit>,
}

impl Stream {
    fn touch(&self) {
        self.progress.last.store(self.activity.now(), Ordering::Relaxed);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let activity = &self.activity;
        activity.answers().remove(&self.id);
        let now = activity.now();
        activity.quiet.store(now, Ordering::Relaxed);
        activity.open.fetch_sub(1, Ordering::Relaxed);
        if *self.answered.get_mut() {
            activity.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            activity.count_reset(now);
        }
    }
}

/// An answer that is handed over in parts, each of which tells when it was sent.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    stream: Arc<Stream>,
    rest: Bytes,
}

impl Answer {
    pub(super) fn new(body: Body, stream: Stream) -> Self {
        // A body of something is asked for it once its head is on its way, which it never is after a reset.
        stream.answered.store(body.is_end_stream(), Ordering::Relaxed);
        Self { body, stream: Arc::new(stream), rest: Bytes::new() }
    }

    fn part(&mut self) -> Frame<Bytes> {
        let bytes = self.rest.split_to(self.rest.len().min(PART));
        self.stream.touch();
        self.stream.progress.unsent.fetch_add(1, Ordering::Relaxed);
        Frame::data(Bytes::from_owner(Part { bytes, stream: Arc::clone(&self.stream) }))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.stream.answered.store(true, Ordering::Relaxed);
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.part())));
        }
        Pin::new(&mut self.body).poll_frame(context).map_ok(|frame| match frame.into_data() {
            Ok(data) if data.is_empty() => Frame::data(data),
            Ok(data) => {
                self.rest = data;
                self.part()
            }
            Err(trailers) => trailers,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, of_body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[derive(Debug)]
struct Part {
    bytes: Bytes,
    stream: Arc<Stream>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.stream.progress.unsent.fetch_sub(1, Ordering::Relaxed);
        self.stream.touch();
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn activity(age: Option<Duration>) -> Arc<Activity> {
        Activity::new(Patience { idle: 60 * SECOND, write: 30 * SECOND, age })
    }

    #[test]
    fn a_connection_without_a_request_is_cut() {
        let activity = activity(None);
        let idle = activity.start + 60 * SECOND;
        assert_eq!(activity.judge(activity.first_look()), Verdict::Keep(Some(idle)));
        assert_eq!(activity.judge(idle), Verdict::Cut);
        activity.request();
        assert_eq!(activity.judge(idle), Verdict::Keep(None));
    }

    #[test]
    fn a_connection_without_streams_is_closed_and_so_is_an_old_one() {
        let activity = activity(Some(600 * SECOND));
        let stream = activity.stream();
        assert!(matches!(activity.judge(activity.start + 300 * SECOND), Verdict::Keep(Some(_))));
        drop(stream);
        assert!(matches!(activity.judge(activity.start + 59 * SECOND), Verdict::Keep(Some(_))));
        assert_eq!(activity.judge(activity.start + 61 * SECOND), Verdict::Close);
        assert_eq!(activity.judge_closing(activity.start + 66 * SECOND), Verdict::Cut);
        let _stream = activity.stream();
        assert!(matches!(activity.judge_closing(activity.start + 66 * SECOND), Verdict::Keep(Some(_))));
        assert_eq!(activity.judge(activity.start + 600 * SECOND), Verdict::Close);
    }

    #[test]
    fn many_resets_are_too_many_unless_others_are_answered() {
        let activity = activity(None);
        for _ in 0..=MAX_RESETS {
            drop(activity.stream());
        }
        assert_eq!(activity.judge(activity.start + SECOND), Verdict::Close);
        for _ in 0..=MAX_RESETS {
            drop(Answer::new(Body::empty(), activity.stream()));
        }
        assert!(matches!(activity.judge(activity.start + SECOND), Verdict::Keep(_)));
    }

    #[test]
    fn a_flood_of_resets_ends_the_connection_at_once() {
        let activity = activity(None);
        for second in 0..3 {
            for _ in 0..MAX_RESETS_PER_SECOND {
                activity.count_reset(1_000 * second);
            }
            assert!(!activity.is_flood(), "slow resets are none");
        }
        // Nor is an answer that was made and never asked for.
        drop(Answer::new(Body::from("too late"), activity.stream()));
        assert!(activity.is_flood());
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_over_time_and_one_that_is_not_made_is_not() {
        let activity = activity(None);
        let late = activity.start + 31 * SECOND;
        let mut answer = Answer::new(Body::from(vec![7; PART + 5]), activity.stream());
        assert!(matches!(activity.judge(late), Verdict::Keep(_)), "nothing was handed over");
        let first = answer.frame().await.expect("a part").expect("good").into_data().expect("data");
        assert_eq!((first.len(), answer.size_hint().exact()), (PART, Some(5)));
        assert_eq!(activity.judge(late), Verdict::Cut);
        drop(first);
        assert!(matches!(activity.judge(late), Verdict::Keep(_)));
        let last = answer.frame().await.expect("a part").expect("good").into_data().expect("data");
        assert!(answer.is_end_stream());
        drop(answer);
        assert_eq!((last.len(), activity.judge(late)), (5, Verdict::Cut));
        drop(last);
        assert_eq!(activity.open.load(Ordering::Relaxed), 0);
    }
}
