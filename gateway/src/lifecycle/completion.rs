//! The consequences of a job's end.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use modelgate_columns::Column;

use crate::{
    audit::{self, Change},
    error::Error,
    generation::Generation,
    lifecycle::{
        apply::{Fleet, JobEnd},
        commands::wait,
        failure::Failure,
        loader::Outcome,
        offers::write_down,
        preference::Preference,
        transition::Facts,
        version::{Goal, Job, Urgency, Version, VersionId},
    },
    metrics::lifecycle::count,
    model_info::ModelInfo,
    release::Release,
    telemetry::request_id::enter,
};

/// Takes in the end of a job. Gives the model and version that it loaded, if any: only now is it known what it takes.
pub(super) fn ended(fleet: &mut Fleet, end: JobEnd) -> Option<(String, VersionId)> {
    let JobEnd { model: name, id, job, result, mut request } = end;
    let _entered = enter(&mut request);
    let state = fleet.state_mut(&name)?;
    // Otherwise it was cancelled.
    let job = state.version(&id).and_then(Version::job).filter(|at| at.id == job)?;
    let was_fetched = state.version(&id).is_some_and(|version| version.fetched);
    let is_news = result.is_err() || !was_fetched;
    let since = fleet.end_job(&name, &id).map_or(Duration::ZERO, |since| since.elapsed());
    let mut loaded_now = None;
    match result {
        Ok(Outcome { release, generation: None }) => {
            if let Some(state) = fleet.state_mut(&name) {
                state.fetched(&id, release);
            }
            fleet.reconcile(&name);
        }
        Ok(Outcome { release, generation: Some(generation) }) => {
            loaded(fleet, &name, &id, job, release, &Arc::new(generation), since);
            loaded_now = Some((name.clone(), id.clone()));
        }
        Err(failure) => failed(fleet, &name, &id, &failure),
    }
    let source = fleet.state(&name).and_then(|state| state.version(&id)).map(|version| version.release.source);
    // A version that only became resident again is written down already.
    let is_again = job.goal == Goal::Loaded(Urgency::Request) && !is_news;
    if let Some(source) = source.filter(|_| !is_again) {
        write_down(fleet, source);
    }
    loaded_now
}

/// A version can serve.
fn loaded(
    fleet: &mut Fleet,
    name: &str,
    id: &str,
    job: Job,
    release: Release,
    generation: &Arc<Generation>,
    took: Duration,
) {
    let Some(state) = fleet.state(name) else { return };
    let preference = Preference::new(state, &fleet.policy.gate);
    let is_preferred = preference.preferred.is_some_and(|preferred| preferred == id);
    let is_untried = preference.baseline.is_some_and(|baseline| state.is_ready(baseline));
    // An older version that serves beside a newer one takes the place of none.
    let known_good = state.history().last_known_good.as_ref().filter(|known_good| is_preferred && *known_good != id);
    let old = known_good.and_then(|known_good| fleet.generation(name, known_good)).cloned();
    let note = old.as_ref().and_then(|old| changed_signature(old, generation));
    let facts = Facts {
        cost: generation.footprint(),
        info: Some(Arc::new(ModelInfo::from(generation.as_ref()))),
        note: note.clone().unwrap_or_default(),
    };
    if let Some(state) = fleet.state_mut(name) {
        state.loaded(id, release, facts);
    }
    fleet.keep(name, id, Arc::clone(generation));
    let model_bytes = generation.model.as_ref().map_or(0, |model| model.resident_bytes());
    let metrics = &fleet.metrics;
    metrics.live(name, &generation.version, generation.id, &generation.digest, model_bytes);
    let from = old.as_ref().map(|old| old.version.as_str());
    let is_requested = job.goal == Goal::Loaded(Urgency::Request);
    let asked = if is_requested { "a request asked for it" } else { "a source offers it" };
    audit::decided("loaded", name, Change { from, to: Some(&generation.version) }, asked);
    if old.is_some() && is_untried {
        // The rollout says the rest.
    } else if is_requested {
        metrics.lifecycle.activation_seconds.observe(took.as_secs_f64());
        count(&metrics.lifecycle.activations, &["success"]);
        tracing::debug!(model = name, version = generation.version, generation = generation.id, "resident");
    } else {
        count(&metrics.lifecycle.releases, &[name, "live"]);
        tracing::info!(
            model = name,
            version = generation.version,
            generation = generation.id,
            digest = generation.digest,
            replaces = old.as_ref().map(|old| old.id),
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            signature = note,
            "live"
        );
    }
    let waiters = fleet.waiters(name, id);
    fleet.reconcile(name);
    generation.usage.stats.used();
    for waiter in waiters {
        waiter.answer(Ok(Arc::clone(generation)));
    }
}

/// A version cannot serve; what serves stays.
fn failed(fleet: &mut Fleet, name: &str, id: &str, failure: &Failure) {
    let retry = fleet.policy.retry;
    let Some(state) = fleet.state_mut(name) else { return };
    let reason = failure.reason.as_str();
    let is_news = state.version(id).is_some_and(|version| version.note != reason);
    state.failed(id, reason, failure.transient, Instant::now(), retry);
    if is_news {
        let known_good = state.history().last_known_good.as_ref();
        let (from, to) = (known_good.and_then(|known_good| state.number(known_good)), state.number(id));
        let (outcome, action) =
            if failure.transient { ("fetch_failed", "not_loaded") } else { ("rejected", "refused") };
        audit::decided(action, name, Change { from, to }, reason);
        tracing::warn!(model = name, version = to, reason, "failed to load a model version; what is served stays");
        count(&fleet.metrics.lifecycle.releases, &[name, outcome]);
    }
    let waiters = fleet.waiters(name, id);
    if !waiters.is_empty() {
        count(&fleet.metrics.lifecycle.activations, &["failed"]);
        // Another one may do, if the request asks for no version in particular. Requests that name one get its error.
        let state = fleet.state(name);
        let next = state.and_then(|state| Preference::new(state, &fleet.policy.gate).fallback(id).cloned());
        for waiter in waiters {
            match &next {
                Some(next) if waiter.any => wait(fleet, name, next, waiter),
                _ => waiter.answer(Err(Error::unavailable(name))),
            }
        }
    }
    fleet.reconcile(name);
}

/// Differences that callers of the old one will notice: columns that came, went or changed their type.
fn changed_signature(old: &Generation, new: &Generation) -> Option<String> {
    let mut changes = Vec::new();
    for (side, old, new) in [
        ("input", &old.signature.inputs, &new.signature.inputs),
        ("output", &old.signature.outputs, &new.signature.outputs),
    ] {
        let names: BTreeSet<_> = old.iter().chain(new).map(|column| column.name.as_str()).collect();
        for name in names {
            let find = |columns: &[Column]| columns.iter().find(|column| column.name == name).cloned();
            match (find(old), find(new)) {
                (Some(_), None) => changes.push(format!("{side} '{name}' is gone")),
                (None, Some(_)) => changes.push(format!("{side} '{name}' is new")),
                (Some(old), Some(new)) if !old.same_layout(&new) => {
                    changes.push(format!("{side} '{name}': {old} is now {new}"));
                }
                _ => {}
            }
        }
    }
    changes.truncate(20);
    (!changes.is_empty()).then(|| format!("the signature changed: {}", changes.join("; ")))
}
