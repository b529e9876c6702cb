//! The whole state of the lifecycle as JSON, for a person who asks why a version does or does not serve.

use std::time::Instant;

use serde::Serialize;

use crate::{
    lifecycle::{
        apply::Fleet,
        residency::{Residency, accounted},
        state::{Desired, ModelState},
        version::{Goal, Health, Need, Urgency, Version, VersionState},
    },
    request_stats::now_ms,
    source::{Report, unix_now},
};

/// The state at one moment. Times are in seconds since 1970.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    /// The gateway's version.
    gateway: &'static str,
    /// When this was written down.
    now: u64,
    /// Whether what was there at the start has been loaded, or failed.
    is_reconciled: bool,
    memory: Memory,
    models: Vec<Model>,
    sources: Vec<Report>,
}

#[derive(Debug, Serialize)]
struct Memory {
    /// Bytes that the process may take; `null` without a limit.
    budget_bytes: Option<usize>,
    /// Bytes that the process takes beyond what is accounted for, or less than it.
    unaccounted_bytes: isize,
    resident: Amount,
    reserved: Amount,
    /// Bytes that were unloaded and are still taken.
    unreleased_bytes: usize,
    /// Module instances that may be alive at once.
    max_instances: usize,
    /// Versions whose job waits for memory, in their order.
    waiting: Vec<Waiting>,
}

#[derive(Debug, Serialize)]
struct Amount {
    bytes: usize,
    instances: usize,
}

impl From<Need> for Amount {
    fn from(Need { bytes, instances }: Need) -> Self {
        Self { bytes, instances }
    }
}

#[derive(Debug, Serialize)]
struct Waiting {
    model: String,
    version: String,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    desired: &'static str,
    /// The versions that answer; the first where a request names none.
    serving: Vec<String>,
    last_known_good: Option<String>,
    previous: Option<String>,
    rolled_back: Option<RolledBack>,
    rollout: Option<Rollout>,
    /// Requests that wait for any version.
    waiting_requests: usize,
    versions: Vec<OfModel>,
}

#[derive(Debug, Serialize)]
struct RolledBack {
    from: String,
    to: String,
}

#[derive(Debug, Serialize)]
struct Rollout {
    canary: String,
    baseline: String,
    /// When the comparison began.
    since: Option<u64>,
    /// Shares of the requests that the canary answers, and of which it gets copies.
    canary_share: f64,
    shadow_share: f64,
    requests: Option<Requests>,
}

#[derive(Debug, Serialize)]
struct Requests {
    canary: u64,
    baseline: u64,
}

/// A version of a model.
#[derive(Debug, Serialize)]
struct OfModel {
    version: String,
    /// The digest of its content.
    id: String,
    /// `null` for a bundle of the command line.
    source: Option<String>,
    state: &'static str,
    /// Since when it is in that state.
    since: Option<u64>,
    health: &'static str,
    /// Whether its files are in the local cache.
    is_fetched: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    /// When a request last came for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<Job>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved: Option<Amount>,
    /// Bytes that it took when it was last resident.
    resident_bytes: usize,
    /// Failures in a row.
    failures: u32,
    /// When a version that failed is tried again; without it, only an operator can have it tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Debug, Serialize)]
struct Job {
    goal: &'static str,
    is_requested: bool,
}

/// The state of all models, and of what they wait for.
pub(super) fn snapshot(fleet: &Fleet, residency: &Residency, is_reconciled: bool) -> Snapshot {
    let (now, [resident, reserved]) = (Instant::now(), accounted(fleet));
    let version = |model: &str, id: &str| number(fleet.state(model), id);
    let waiting = residency.waiting();
    let memory = Memory {
        budget_bytes: residency.limit(),
        unaccounted_bytes: residency.drift(),
        resident: resident.into(),
        reserved: reserved.into(),
        unreleased_bytes: fleet.unreleased(),
        max_instances: residency.pool(),
        waiting: waiting.map(|(model, id)| Waiting { version: version(model, id), model: model.clone() }).collect(),
    };
    let models = fleet.models().map(|(name, state)| model(fleet, name, state, now)).collect();
    let (gateway, sources) = (env!("CARGO_PKG_VERSION"), fleet.reports.all());
    Snapshot { gateway, now: unix_now(), is_reconciled, memory, models, sources }
}

fn number(state: Option<&ModelState>, id: &str) -> String {
    state.and_then(|state| state.number(id)).unwrap_or(id).to_owned()
}

fn model(fleet: &Fleet, name: &str, state: &ModelState, now: Instant) -> Model {
    let number = |id: &String| number(Some(state), id);
    let history = state.history();
    Model {
        name: name.to_owned(),
        desired: match state.desired() {
            Desired::Fetched => "fetched",
            Desired::Loaded => "loaded",
            Desired::Unloaded => "unloaded",
        },
        serving: state.serving().iter().map(number).collect(),
        last_known_good: history.last_known_good.as_ref().map(number),
        previous: history.previous.as_ref().map(number),
        rolled_back: history.rolled_back.as_ref().map(|it| RolledBack { from: number(&it.from), to: number(&it.to) }),
        rollout: state.rollout().map(|rollout| {
            let judge = fleet.judges().find(|(model, _)| *model == name).map(|(_, judge)| judge);
            let gate = fleet.policy.gate;
            let share = |thousandths: u32| f64::from(thousandths) / 1000.0;
            Rollout {
                canary: number(&rollout.canary),
                baseline: number(&rollout.baseline),
                since: judge.map(|judge| unix_now().saturating_sub(judge.since.elapsed().as_secs())),
                canary_share: share(gate.canary),
                shadow_share: share(gate.shadow),
                requests: judge.map(|judge| {
                    let [canary, baseline] = judge.requests();
                    Requests { canary, baseline }
                }),
            }
        }),
        waiting_requests: fleet.waiting(name),
        versions: state.versions().iter().map(|(id, version)| of_model(fleet, name, id, version, now)).collect(),
    }
}

fn of_model(fleet: &Fleet, name: &str, id: &str, version: &Version, now: Instant) -> OfModel {
    let generation = fleet.generation(name, id);
    let (reason, until) = match &version.state {
        VersionState::Failed { reason, until } => (reason, *until),
        _ => (&version.note, None),
    };
    OfModel {
        version: version.release.version.clone(),
        id: id.to_owned(),
        source: fleet.loader.fetcher.sources.get(version.release.source).map(|source| source.name().to_owned()),
        state: version.state.name(),
        since: fleet.since(name, id),
        health: match version.health {
            Health::Unproven => "unproven",
            Health::KnownGood => "known_good",
            Health::Rejected => "rejected",
        },
        is_fetched: version.fetched,
        generation: generation.map(|generation| generation.id),
        last_used: generation.map(|generation| {
            let idle_ms = now_ms().saturating_sub(generation.usage.stats.last_used_ms());
            unix_now().saturating_sub(idle_ms / 1000)
        }),
        job: version.job().map(|job| match job.goal {
            Goal::Fetched => Job { goal: "fetched", is_requested: false },
            Goal::Loaded(urgency) => Job { goal: "loaded", is_requested: urgency == Urgency::Request },
        }),
        reserved: version.reserved().map(Amount::from),
        resident_bytes: version.cost,
        failures: version.failures,
        retry: until.map(|until| unix_now() + until.saturating_duration_since(now).as_secs()),
        reason: reason.clone(),
    }
}
