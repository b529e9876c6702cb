//! The queue before the workers: bounded in number and bytes, by priority, and within that in order of arrival.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{error::Error, generation::Generation, metrics::Metrics, tensor::Batch};

/// How many, and how much may wait.
#[derive(Clone, Copy, Debug)]
pub struct WorkersConfig {
    /// Threads.
    pub count: usize,
    /// Jobs that may wait.
    pub queue: usize,
    /// Bytes of batches and of bodies to be decoded that may wait.
    pub queue_bytes: usize,
}

/// Levels of priority.
const LEVELS: usize = 5;

/// Work at the head of a level that is looked at for what can run together.
const LOOK_AHEAD: usize = 256;

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(usize);

impl Priority {
    /// Of a request that says nothing: in the middle.
    pub const DEFAULT: Self = Self(LEVELS / 2);

    /// As the Open Inference Protocol numbers it: 1 goes first, larger numbers later, and 0 is the default. There are five
    /// levels, and the default is the third.
    pub fn of(number: u64) -> Self {
        match usize::try_from(number) {
            Ok(0) => Self::DEFAULT,
            Ok(number) => Self((number - 1).min(LEVELS - 1)),
            Err(_) => Self(LEVELS - 1),
        }
    }
}

/// A batch for one generation. Dropping it frees its place in the queue.
pub(super) struct Job {
    pub(super) generation: Arc<Generation>,
    pub(super) batch: Batch,
    /// The dimensions that its columns leave open: only batches that agree in them run together.
    pub(super) dims: Vec<u64>,
    pub(super) deadline: Instant,
    pub(super) queued: Instant,
    pub(super) reply: oneshot::Sender<Result<Batch, Error>>,
}

/// Work that is not inference, such as decoding a large body.
pub(super) struct Task {
    /// Bytes that it keeps while it waits.
    pub(super) size: usize,
    pub(super) deadline: Instant,
    pub(super) run: Box<dyn FnOnce() + Send>,
}

pub(super) enum Work {
    Run(Job),
    Task(Task),
}

impl Work {
    fn size(&self) -> usize {
        match self {
            Self::Run(job) => job.batch.size(),
            Self::Task(task) => task.size,
        }
    }
}

#[derive(Default)]
struct Waiting {
    levels: [VecDeque<Work>; LEVELS],
    count: usize,
    bytes: usize,
    idle: usize,
    closed: bool,
}

impl Waiting {
    fn pop(&mut self) -> Option<Work> {
        let work = self.levels.iter_mut().find_map(VecDeque::pop_front)?;
        self.left(&work);
        Some(work)
    }

    fn left(&mut self, work: &Work) {
        self.count -= 1;
        self.bytes -= work.size();
    }

    /// Moves to `jobs` what may run with the first of them, up to so many rows in all.
    fn take_like(&mut self, jobs: &mut Vec<Job>, max_rows: u32) {
        let Some(first) = jobs.first() else { return };
        let (id, dims) = (first.generation.id, first.dims.clone());
        let mut rows = rows_of(jobs);
        for level in 0..LEVELS {
            let mut place = 0;
            while rows < max_rows && place < self.levels[level].len().min(LOOK_AHEAD) {
                let fits = matches!(self.levels[level].get(place), Some(Work::Run(job))
                    if job.generation.id == id && job.dims == dims && rows.saturating_add(job.batch.rows) <= max_rows);
                if fits && let Some(work) = self.levels[level].remove(place) {
                    self.left(&work);
                    if let Work::Run(job) = work {
                        rows = rows.saturating_add(job.batch.rows);
                        jobs.push(job);
                    }
                } else {
                    place += 1;
                }
            }
        }
    }
}

fn rows_of(jobs: &[Job]) -> u32 {
    jobs.iter().fold(0, |rows, job| rows.saturating_add(job.batch.rows))
}

pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    pub(super) config: WorkersConfig,
    pub(super) metrics: Arc<Metrics>,
}

impl Queue {
    pub(super) fn new(config: WorkersConfig, metrics: Arc<Metrics>) -> Self {
        Self { waiting: Mutex::default(), arrived: Condvar::new(), config, metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, waiting: &Waiting) {
        self.metrics.queue_depth.set(waiting.count as i64);
        self.metrics.queue_bytes.set(waiting.bytes as i64);
    }

    /// How much waits.
    pub(super) fn len(&self) -> usize {
        self.lock().count
    }

    pub(super) fn push(&self, work: Work, priority: Priority) -> Result<(), Error> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Error::NotReady);
        }
        let bytes = waiting.bytes.saturating_add(work.size());
        // One large batch is let in where nothing else waits.
        if waiting.count >= self.config.queue || (bytes > self.config.queue_bytes && waiting.bytes > 0) {
            return Err(Error::Overloaded);
        }
        waiting.bytes = bytes;
        waiting.count += 1;
        waiting.levels[priority.0].push_back(work);
        self.tell(&waiting);
        let wake = waiting.idle > 0;
        drop(waiting);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// The next work; `None` once the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = waiting.pop() {
                self.tell(&waiting);
                return Some(work);
            }
            if waiting.closed {
                return None;
            }
            waiting.idle += 1;
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    /// A job, with what waits and may run with it; where its generation says so, also with what comes within some time.
    /// Nothing is waited for while other work waits.
    pub(super) fn gather(&self, first: Job) -> Vec<Job> {
        let batching = first.generation.batching;
        // Half of its time is for the run itself.
        let until = (first.queued + batching.max_delay).min(first.queued + (first.deadline - first.queued) / 2);
        let mut jobs = vec![first];
        if !batching.is_on() {
            return jobs;
        }
        let mut waiting = self.lock();
        loop {
            waiting.take_like(&mut jobs, batching.max_rows);
            self.tell(&waiting);
            let now = Instant::now();
            if rows_of(&jobs) >= batching.max_rows || now >= until || waiting.closed {
                return jobs;
            }
            if waiting.count > 0 {
                // This thread may have been woken for it in place of one that is idle.
                self.arrived.notify_one();
                return jobs;
            }
            waiting.idle += 1;
            (waiting, _) = self.arrived.wait_timeout(waiting, until - now).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_wait_with_their_size() {
        let config = WorkersConfig { count: 1, queue: 10, queue_bytes: 100 };
        let queue = Queue::new(config, Arc::new(Metrics::new().expect("series")));
        let push = |size| {
            let task = Task { size, deadline: Instant::now(), run: Box::new(|| {}) };
            queue.push(Work::Task(task), Priority::DEFAULT)
        };
        assert!(push(60).is_ok());
        assert!(matches!(push(60), Err(Error::Overloaded)));
        assert!(push(40).is_ok());
        queue.pop().expect("the first");
        assert!(push(60).is_ok());
    }

    #[test]
    fn one_goes_first_and_the_default_is_in_the_middle() {
        let levels: Vec<_> = [1, 2, 3, 4, 5, 6, u64::MAX].into_iter().map(|number| Priority::of(number).0).collect();
        assert_eq!(levels, [0, 1, 2, 3, 4, 4, 4]);
        assert_eq!(Priority::of(0), Priority::of(3));
    }
}
