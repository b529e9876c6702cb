//! The queues before the workers, one for each model, under one lock: [`FairQueue`] decides whose work comes next, and
//! threads wait here for it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    config::{Priority, WorkersConfig},
    fair_queue::{Capacity, FairQueue, New},
    job::Job,
    threads::{Running, Threads},
};
use crate::{error::Error, metrics::Metrics};

/// The time that a substitute without work waits for some.
const SUBSTITUTE_IDLE: Duration = Duration::from_secs(1);

/// Work that is not inference, such as decoding a large body.
pub(super) struct Task {
    /// Bytes that it keeps while it waits.
    pub(super) size: usize,
    pub(super) queued: Instant,
    pub(super) deadline: Instant,
    /// Runs it, or gives its caller an error in place of that.
    pub(super) run: Box<dyn FnOnce(Option<Error>) + Send>,
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

    fn queued(&self) -> Instant {
        match self {
            Self::Run(job) => job.queued,
            Self::Task(task) => task.queued,
        }
    }

    fn deadline(&self) -> Instant {
        match self {
            Self::Run(job) => job.deadline,
            Self::Task(task) => task.deadline,
        }
    }

    fn refuse(self) {
        match self {
            Self::Run(job) => job.refuse(Error::Overloaded),
            Self::Task(task) => (task.run)(Some(Error::Overloaded)),
        }
    }
}

/// Counts a request among what waits of its model, or no longer.
fn count(job: &Job, by: i64) {
    let metrics = &job.generation.metrics;
    metrics.queue_depth.add(by);
    metrics.queue_bytes.add(by * i64::try_from(job.batch.size()).unwrap_or(0));
}

fn left(work: &Work) {
    if let Work::Run(job) = work {
        count(job, -1);
    }
}

fn rows_of(jobs: &[Job]) -> u32 {
    jobs.iter().fold(0, |rows, job| rows.saturating_add(job.batch.rows))
}

pub(super) struct State {
    waiting: FairQueue<Work>,
    pub(super) threads: Threads,
    /// Workers that wait for work.
    idle: usize,
    /// Substitutes there are.
    pub(super) substitutes: usize,
    /// The threads that wait for work.
    idle_substitutes: usize,
    /// Whether the watchdog looks at the clock.
    pub(super) is_watched: bool,
    pub(super) closed: bool,
}

impl State {
    /// Whether there is something that the watchdog decides.
    pub(super) fn needs_watch(&self) -> bool {
        self.waiting.count() > 0 || self.substitutes > 0
    }

    /// Whether another substitute, of `most`, would have work that nobody else is there for.
    pub(super) fn wants_substitute(&self, most: usize, now: Instant) -> bool {
        self.idle == 0
            && self.idle_substitutes == 0
            && self.substitutes < self.threads.held_up(now).min(most)
            && self.waiting.has_work(|model| !self.threads.is_held_by(model, now))
    }

    /// Ends what a thread was doing.
    fn finish(&mut self, thread: usize, now: Instant) {
        if let Some(running) = self.threads.entry(thread).take() {
            let spent = running.spent(now);
            self.waiting.finish(running.turn, spent);
        }
    }

    /// The next work for a thread, of the models that it may serve.
    fn next(&mut self, thread: usize, is_substitute: bool, now: Instant) -> Option<Work> {
        if self.waiting.count() == 0 {
            return None;
        }
        for running in self.threads.running() {
            let spent = running.spent(now);
            self.waiting.charge(&mut running.turn, spent);
        }
        let threads = &self.threads;
        let (turn, work) = self.waiting.pop(|model| !is_substitute || !threads.is_held_by(model, now))?;
        left(&work);
        *self.threads.entry(thread) = Some(Running::new(turn, now, work.deadline()));
        Some(work)
    }

    /// Moves to `jobs` what waits and may run with the first of them, up to so many rows in all.
    fn take_like(&mut self, thread: usize, jobs: &mut Vec<Job>, max_rows: u32) {
        let (Some(first), Some(running)) = (jobs.first(), self.threads.entry(thread)) else { return };
        let (id, dims) = (first.generation.id, first.dims.clone());
        let mut rows = rows_of(jobs);
        let wanted = |work: &Work| match work {
            Work::Run(job)
                if job.generation.id == id && job.dims == dims && rows.saturating_add(job.batch.rows) <= max_rows =>
            {
                rows = rows.saturating_add(job.batch.rows);
                true
            }
            _ => false,
        };
        let taken = |work| {
            left(&work);
            if let Work::Run(job) = work {
                jobs.push(job);
            }
        };
        self.waiting.take(&running.turn, wanted, taken);
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    /// Work has come that a worker may do.
    arrived: Condvar,
    /// Work has come that a substitute may do.
    left_over: Condvar,
    /// There is something to watch.
    pub(super) watch: Condvar,
    /// The moment that times of arrival count from.
    start: Instant,
    pub(super) config: WorkersConfig,
    pub(super) metrics: Arc<Metrics>,
}

impl Queue {
    /// With places for so many substitutes.
    pub(super) fn new(config: WorkersConfig, substitutes: usize, metrics: Arc<Metrics>) -> Self {
        let state = State {
            waiting: FairQueue::new(Capacity { slots: config.queue, bytes: config.queue_bytes }),
            threads: Threads::new(config.count + substitutes),
            idle: 0,
            substitutes: 0,
            idle_substitutes: 0,
            is_watched: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            left_over: Condvar::new(),
            watch: Condvar::new(),
            start: Instant::now(),
            config,
            metrics,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, state: &State) {
        self.metrics.queue_depth.set(state.waiting.count() as i64);
        self.metrics.queue_bytes.set(state.waiting.bytes() as i64);
    }

    /// The amount of work that waits.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.count()
    }

    /// Queues work of a model; work that is of none has the name "".
    ///
    /// # Errors
    /// [`Error::Overloaded`] where the model has no share left, or holds as many threads beyond its deadlines as there are
    /// workers.
    pub(super) fn push(&self, model: &str, work: Work, priority: Priority) -> Result<(), Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::NotReady);
        }
        if state.threads.stuck(model) >= self.config.count {
            return Err(Error::Overloaded);
        }
        let (size, at) = (work.size(), work.queued().saturating_duration_since(self.start));
        if let Work::Run(job) = &work {
            count(job, 1);
        }
        let new = New { item: work, size, at, level: priority.0 };
        let displaced = state.waiting.push(model, self.config.weights.weight(model), new).map_err(|refused| {
            left(&refused);
            Error::Overloaded
        })?;
        displaced.iter().for_each(left);
        self.report(&state);
        let (worker, substitute) = (state.idle > 0, state.idle_substitutes > 0);
        let watch = !worker && !state.is_watched;
        drop(state);
        if worker {
            self.arrived.notify_one();
        } else if substitute {
            self.left_over.notify_one();
        }
        if watch {
            self.watch.notify_one();
        }
        displaced.into_iter().for_each(Work::refuse);
        Ok(())
    }

    /// The next work for a worker, which has done what it had; `None` once the queue is closed and empty.
    pub(super) fn pop(&self, thread: usize) -> Option<Work> {
        let mut state = self.lock();
        let mut now = Instant::now();
        state.finish(thread, now);
        loop {
            if let Some(work) = state.next(thread, false, now) {
                self.report(&state);
                // The callers that pushed the rest may have counted on this thread.
                if state.needs_watch() && !state.is_watched {
                    self.watch.notify_one();
                }
                return Some(work);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            now = Instant::now();
        }
    }

    /// The next work for a substitute; `None` once there is no need for it any more.
    pub(super) fn pop_left_over(&self, thread: usize) -> Option<Work> {
        let mut state = self.lock();
        let mut now = Instant::now();
        state.finish(thread, now);
        loop {
            if state.closed || state.substitutes > state.threads.held_up(now) {
                return None;
            }
            if let Some(work) = state.next(thread, true, now) {
                self.report(&state);
                return Some(work);
            }
            state.idle_substitutes += 1;
            (state, _) = self.left_over.wait_timeout(state, SUBSTITUTE_IDLE).unwrap_or_else(PoisonError::into_inner);
            state.idle_substitutes -= 1;
            now = Instant::now();
        }
    }

    /// A job, with what waits and may run with it; where its generation says so, also with what comes within some time.
    /// Nothing is waited for while other work waits.
    pub(super) fn gather(&self, thread: usize, first: Job) -> Vec<Job> {
        let batching = first.generation.batching;
        // Half of its time is for the run itself.
        let until = (first.queued + batching.max_delay).min(first.queued + (first.deadline - first.queued) / 2);
        let mut jobs = vec![first];
        if !batching.is_on() {
            return jobs;
        }
        let is_worker = thread < self.config.count;
        let mut state = self.lock();
        loop {
            state.take_like(thread, &mut jobs, batching.max_rows);
            self.report(&state);
            let now = Instant::now();
            if let Some(running) = state.threads.entry(thread) {
                // It has waited so far, and keeps nobody from anything by that.
                running.since = now;
                running.deadline = jobs.iter().map(|job| job.deadline).fold(running.deadline, Instant::max);
            }
            if rows_of(&jobs) >= batching.max_rows || now >= until || state.closed || !is_worker {
                return jobs;
            }
            if state.waiting.count() > 0 {
                // This thread may have been woken for it in place of one that is idle.
                self.arrived.notify_one();
                return jobs;
            }
            state.idle += 1;
            (state, _) = self.arrived.wait_timeout(state, until - now).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        for waits in [&self.arrived, &self.left_over, &self.watch] {
            waits.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::config::Weights, *};

    #[test]
    fn tasks_wait_with_their_size() {
        let config = WorkersConfig {
            count: 1,
            queue: 10,
            queue_bytes: 100,
            weights: Weights::default(),
            request_priority: false,
        };
        let queue = Queue::new(config, 0, Arc::new(Metrics::new().expect("series")));
        let push = |size| {
            let now = Instant::now();
            let task = Task { size, queued: now, deadline: now, run: Box::new(|_| {}) };
            queue.push("", Work::Task(task), Priority::DEFAULT)
        };
        assert!(push(60).is_ok());
        assert!(matches!(push(60), Err(Error::Overloaded)));
        assert!(push(40).is_ok());
        queue.pop(0).expect("the first");
        assert!(push(60).is_ok());
    }
}
