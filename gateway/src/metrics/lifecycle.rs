//! The series of what comes and goes: sources, swaps, activations, evictions, release gates.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::metrics::register::register;

/// Upper bounds of the histograms of work that takes milliseconds to minutes, in seconds.
const SLOW: [f64; 13] = [1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0, 2.5, 10.0, 60.0, 300.0];

/// Sources, swaps, activations, evictions, release gates.
#[derive(Debug)]
pub struct Lifecycle {
    /// 1 while the last look at a source went well.
    pub source_up: IntGaugeVec,
    /// Looks at a source, by how they ended.
    pub source_polls: IntCounterVec,
    /// When a look at a source last went well, in seconds since 1970.
    pub source_success: IntGaugeVec,
    /// Bytes fetched from a source.
    pub fetched_bytes: IntCounterVec,
    /// Files of a release that were in the local cache already.
    pub reused_files: IntCounterVec,
    /// Releases of a model, by what became of them.
    pub releases: IntCounterVec,
    /// Time that the parts of making a release live took.
    pub release_seconds: HistogramVec,
    /// Activations on a request, by how they ended.
    pub activations: IntCounterVec,
    /// From the first request for a model that was not resident to its generation.
    pub activation_seconds: Histogram,
    /// Generations unloaded to make room or for being idle.
    pub evictions: IntCounterVec,
    /// Generations resident, those kept for a rollback included.
    pub resident: IntGauge,
    /// Their memory, estimated.
    pub resident_bytes: IntGauge,
    /// The memory that the process may take; 0 is no limit.
    pub budget_bytes: IntGauge,
    /// Versions known, resident or not.
    pub known: IntGauge,
    /// Generations switched away from that still have requests in flight.
    pub draining: IntGauge,
    /// Copies of requests run by a generation on trial, by how its answer compares.
    pub shadow: IntCounterVec,
}

impl Lifecycle {
    /// Registers all of them.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).and_then(|family| register(registry, family))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).and_then(|family| register(registry, family))
        };
        let one = |name: &str, help: &str| IntGauge::new(name, help).and_then(|gauge| register(registry, gauge));
        let slow = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SLOW.to_vec());
        Ok(Self {
            source_up: gauge("modelgate_source_up", "1 while the last look at a source went well.", &["source"])?,
            source_polls: counter(
                "modelgate_source_polls_total",
                "Looks at a source, by how they ended.",
                &["source", "outcome"],
            )?,
            source_success: gauge(
                "modelgate_source_last_success_timestamp_seconds",
                "When a look at a source last went well, in seconds since 1970.",
                &["source"],
            )?,
            fetched_bytes: counter("modelgate_source_fetched_bytes_total", "Bytes fetched.", &["source"])?,
            reused_files: counter(
                "modelgate_source_reused_files_total",
                "Files of a release that were in the local cache already.",
                &["source"],
            )?,
            releases: counter(
                "modelgate_releases_total",
                "Releases of a model, by what became of them.",
                &["model", "outcome"],
            )?,
            release_seconds: HistogramVec::new(
                slow(
                    "modelgate_release_duration_seconds",
                    "Time that the parts of making a release live took; rest is what load and check left to requests.",
                ),
                &["part"],
            )
            .and_then(|family| register(registry, family))?,
            activations: counter(
                "modelgate_activations_total",
                "Models made resident because a request named them, by how it ended.",
                &["outcome"],
            )?,
            activation_seconds: Histogram::with_opts(slow(
                "modelgate_activation_duration_seconds",
                "From the first request for a model that was not resident until it was.",
            ))
            .and_then(|histogram| register(registry, histogram))?,
            evictions: counter(
                "modelgate_evictions_total",
                "Generations unloaded to make room or for being idle.",
                &["reason"],
            )?,
            resident: one(
                "modelgate_resident_generations",
                "Generations resident, those kept for a rollback included.",
            )?,
            resident_bytes: one("modelgate_resident_bytes", "Memory of the resident generations, estimated.")?,
            budget_bytes: one("modelgate_memory_budget_bytes", "Memory that the process may take; 0 is no limit.")?,
            known: one("modelgate_known_versions", "Versions of models known, resident or not.")?,
            draining: one(
                "modelgate_draining_generations",
                "Generations switched away from that still have requests.",
            )?,
            shadow: counter(
                "modelgate_shadow_requests_total",
                "Copies of requests run by a release on trial, by how its answer compares.",
                &["model", "outcome"],
            )?,
        })
    }

    /// Removes the series of a model that is not known any more.
    pub fn forget(&self, model: &str) {
        for outcome in RELEASE_OUTCOMES {
            _ = self.releases.remove_label_values(&[model, outcome]);
        }
        for outcome in COPY_OUTCOMES {
            _ = self.shadow.remove_label_values(&[model, outcome]);
        }
    }
}

/// The outcomes of a release, under the names of 0.1 last: see [`OLD_OUTCOMES`].
const RELEASE_OUTCOMES: [&str; 10] = [
    "live",
    "switched",
    "rejected",
    "fetch_failed",
    "superseded",
    "promoted",
    "withdrawn",
    "rolled_back",
    "refused",
    "unfetched",
];

/// Outcomes that had another name in 0.1, and that name. Both are counted until 0.3.
const OLD_OUTCOMES: [(&str, &str); 3] =
    [("rejected", "refused"), ("fetch_failed", "unfetched"), ("invalid_response", "garbage")];

/// The outcomes of a request's copy.
pub const COPY_OUTCOMES: [&str; 5] = ["failed", "same", "different", "incompatible", "skipped"];

/// Counts one of something. An outcome is the last label, and is counted under its name of 0.1 too.
pub fn count(family: &IntCounterVec, labels: &[&str]) {
    let counter: IntCounter = family.with_label_values(labels);
    counter.inc();
    if let Some((outcome, rest)) = labels.split_last()
        && let Some((_, old)) = OLD_OUTCOMES.iter().find(|(new, _)| new == outcome)
    {
        family.with_label_values(&[rest, &[*old]].concat()).inc();
    }
}
