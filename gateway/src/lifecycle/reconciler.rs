//! The one task that hears sources, jobs, requests and operators in turn, and sleeps until the next of them or the next
//! deadline.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use crate::{
    lifecycle::{
        apply::{Fleet, FromJobs, Waiter},
        commands::{self, Command, Reply},
        completion,
        offers::{self, write_down_changes},
        residency::{Residency, next_idle},
        rollout::Verdict,
        snapshot::{Snapshot, snapshot},
        version::{Need, VersionState},
        watcher::Offer,
    },
    telemetry::request_id::{RequestId, enter},
};

/// The interval at which rollouts are judged and the process's memory is looked at, while either may change.
const TICK: Duration = Duration::from_millis(100);

/// The same while no request comes.
const QUIET: Duration = Duration::from_secs(2);

/// Between two times at which it is written down what answers.
const WRITING: Duration = Duration::from_secs(1);

/// A question of a request.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) question: Question,
    pub(super) request: Option<RequestId>,
}

/// A question, with where the answer goes.
#[derive(Debug)]
pub(super) enum Question {
    Activate { model: String, version: Option<String>, waiter: Waiter },
    Command { model: String, command: Command, reply: Reply },
    State { reply: oneshot::Sender<Snapshot> },
}

/// The task.
#[derive(Debug)]
pub(super) struct Reconciler {
    pub(super) fleet: Fleet,
    pub(super) residency: Residency,
    /// After so long without a request a version is unloaded.
    pub(super) idle: Option<Duration>,
    /// Set once what was there at the start has become something.
    pub(super) reconciled: Arc<AtomicBool>,
    pub(super) timers: Timers,
}

/// The moment that the deadlines count from.
#[derive(Debug)]
pub(super) struct Timers {
    written: Instant,
    /// Everything that was due by then was looked at.
    ticked: Instant,
    /// Runs of chains by then.
    runs: u64,
    /// Whether there were any between the last two looks.
    is_active: bool,
}

impl Timers {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { written: now, ticked: now, runs: 0, is_active: false }
    }
}

impl Reconciler {
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut offers: mpsc::Receiver<Offer>,
        from_jobs: FromJobs,
    ) {
        let FromJobs { mut ended, mut requests } = from_jobs;
        loop {
            let wake = self.next_deadline(Instant::now());
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.asked(message),
                    // Nobody can ask any more; what is served stays until the end.
                    None => std::future::pending().await,
                },
                Some(offer) = offers.recv() => offers::offered(&mut self.fleet, offer),
                Some(end) = ended.recv() => {
                    if let Some((name, id)) = completion::ended(&mut self.fleet, end) {
                        self.residency.make_room(&mut self.fleet, &name, &id, Need::default());
                    }
                }
                Some(request) = requests.recv() => self.residency.ask(request),
                () = until(wake) => self.tick(),
            }
            self.residency.grant(&mut self.fleet);
            self.look_reconciled();
        }
    }

    fn asked(&mut self, message: Message) {
        let Message { question, mut request } = message;
        let _entered = enter(&mut request);
        match question {
            Question::Activate { model, version, waiter } => {
                commands::activate(&mut self.fleet, &model, version.as_deref(), waiter);
            }
            Question::Command { model, command, reply } => {
                commands::command(&mut self.fleet, &model, command, reply);
            }
            Question::State { reply } => {
                let is_reconciled = self.reconciled.load(Ordering::Relaxed);
                _ = reply.send(snapshot(&self.fleet, &self.residency, is_reconciled));
            }
        }
    }

    /// Does what is due.
    fn tick(&mut self) {
        let (now, runs) = (Instant::now(), self.runs());
        let is_active = runs != self.timers.runs;
        self.timers = Timers { ticked: now, runs, is_active, ..self.timers };
        self.judge();
        if !self.fleet.unwritten.is_empty() && now.duration_since(self.timers.written) > WRITING {
            self.timers.written = now;
            write_down_changes(&mut self.fleet);
        }
        let is_due = |state: &VersionState| matches!(state, VersionState::Failed { until: Some(at), .. } if *at <= now);
        let models = self.fleet.models();
        let due = models.filter(|(_, state)| state.versions().values().any(|version| is_due(&version.state)));
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.fleet.reconcile(&name);
        }
        if self.residency.is_limited() {
            self.residency.keep_to_budget(&mut self.fleet);
        }
        if let Some(idle) = self.idle {
            Residency::unload_idle(&mut self.fleet, idle);
        }
    }

    fn judge(&mut self) {
        let gate = self.fleet.policy.gate;
        let judges = self.fleet.judges();
        let verdicts: Vec<_> = judges.map(|(name, judge)| (name.clone(), judge.verdict(&gate))).collect();
        for (name, verdict) in verdicts {
            match verdict {
                Verdict::Open => continue,
                // There is a rollout, so it is not refused.
                Verdict::Promote => _ = commands::promote(&mut self.fleet, &name, "as good as the old one"),
                Verdict::Withdraw(reason) => commands::withdraw(&mut self.fleet, &name, &reason),
            }
            self.fleet.reconcile(&name);
        }
    }

    fn runs(&self) -> u64 {
        self.fleet.metrics.runs.load(Ordering::Relaxed)
    }

    /// When something is due that no event tells of.
    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut at = |deadline: Instant| next = Some(next.map_or(deadline, |next| next.min(deadline)));
        if !self.fleet.unwritten.is_empty() {
            at(self.timers.written + WRITING + TICK);
        }
        let mut is_busy = false;
        for version in self.fleet.models().flat_map(|(_, state)| state.versions().values()) {
            is_busy |= version.job().is_some();
            // One from before is of a version that is not wanted now; an event tells of it if it is again.
            if let VersionState::Failed { until: Some(until), .. } = version.state
                && until > self.timers.ticked
            {
                at(until);
            }
        }
        let is_judging = self.fleet.policy.gate.canary > 0 && self.fleet.judges().next().is_some();
        if is_judging || self.residency.is_limited() {
            let is_active = self.timers.is_active || self.runs() != self.timers.runs;
            let is_quiet = !is_active && !is_busy && self.fleet.unreleased() == 0;
            at(self.timers.ticked + if is_quiet { QUIET } else { TICK });
        }
        if let Some(left) = self.idle.and_then(|idle| next_idle(&self.fleet, idle)) {
            at(now + left.max(TICK));
        }
        next
    }

    /// Ready once every source has spoken and what it offered has become something, for better or worse.
    pub(super) fn look_reconciled(&self) {
        if !self.reconciled.load(Ordering::Relaxed) && offers::is_reconciled(&self.fleet) {
            self.reconciled.store(true, Ordering::Release);
        }
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        write_down_changes(&mut self.fleet);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
