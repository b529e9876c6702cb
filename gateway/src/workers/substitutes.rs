//! Threads that stand in for workers which are held up, so that a long run costs its own model and no other.
//!
//! A module is stopped at its deadline, but a node of a graph is not: it may hold its thread for long, and a deadline may be
//! an hour. Whatever has run for 50 ms has held up its thread. While work of other models waits, a substitute serves them,
//! one for each thread that is held up, and ends when it returns. The kernel shares the cores between them.

use std::{
    sync::{Arc, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    queue::Queue,
    spawn::{join, spawn},
};

/// The interval at which the watchdog looks while work waits.
const TICK: Duration = Duration::from_millis(20);

/// The interval at which the log says that a substitute was started.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Substitutes at most beside so many workers.
pub fn most(workers: usize) -> usize {
    2 * workers + 2
}

/// Starts substitutes as long as the queue is open, then waits for them. Each does `serve`, with its number among all threads.
pub(super) fn watch(queue: &Arc<Queue>, serve: fn(&Queue, usize)) {
    let mut threads: Vec<Option<JoinHandle<()>>> = (0..most(queue.config.count)).map(|_| None).collect();
    let mut logged: Option<Instant> = None;
    let mut state = queue.lock();
    while !state.closed {
        if !state.needs_watch() {
            state.is_watched = false;
            state = queue.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_watched = true;
            continue;
        }
        state = queue.watch.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        let now = Instant::now();
        for model in state.threads.mark_stuck(now) {
            queue.metrics.stuck_runs.inc();
            tracing::warn!(model = &*model, "a run goes on after its deadline, and holds its thread until it ends");
        }
        if !state.wants_substitute(threads.len(), now) {
            continue;
        }
        let Some(number) = threads.iter().position(|thread| thread.as_ref().is_none_or(JoinHandle::is_finished)) else {
            continue;
        };
        if logged.is_none_or(|at| now - at >= LOG_EVERY)
            && let Some((model, held)) = state.threads.longest(now)
        {
            logged = Some(now);
            let held_ms = held.as_millis();
            tracing::warn!(model = &*model, held_ms, "a run holds up a worker; a substitute serves other models");
        }
        let thread = start(queue, number, serve);
        if thread.is_some() {
            state.substitutes += 1;
            queue.metrics.substitutes.set(state.substitutes as i64);
        }
        threads[number] = thread;
    }
    drop(state);
    join(threads.into_iter().flatten());
}

fn start(queue: &Arc<Queue>, number: usize, serve: fn(&Queue, usize)) -> Option<JoinHandle<()>> {
    let shared = Arc::clone(queue);
    let run = move || {
        serve(&shared, shared.config.count + number);
        let mut state = shared.lock();
        state.substitutes -= 1;
        shared.metrics.substitutes.set(state.substitutes as i64);
    };
    let thread = spawn(format!("substitute-{number}"), run);
    thread.inspect_err(|error| tracing::warn!(%error, "a substitute for a worker cannot be started")).ok()
}
