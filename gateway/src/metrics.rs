//! Every series the gateway exports. Labels come from bundles and from fixed lists, never from a request, so that no
//! client can add one.

pub mod lifecycle;
mod model;
mod outcome;
mod register;
mod triton;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicU64},
    time::SystemTime,
};

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, process_collector::ProcessCollector,
};

use self::{lifecycle::Lifecycle, register::register, triton::Triton};
pub use self::{model::ModelMetrics, outcome::Outcome};
use crate::wasm::instance::TrapCause;

/// Upper bounds of the latency histograms, in seconds.
const LATENCY: [f64; 19] = [
    10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0,
    2.5, 5.0, 10.0,
];

/// Upper bounds of the rows histogram.
const ROWS: [f64; 8] = [1.0, 2.0, 8.0, 32.0, 128.0, 1_024.0, 8_192.0, 65_536.0];

/// The registry and the series that are not of one model.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    triton: Triton,
    /// By model and version: the handles of generations that are alive, and of the last one for what it counted.
    generations: Mutex<BTreeMap<(String, String), Handles>>,
    /// Sources, swaps, activations, evictions.
    pub lifecycle: Lifecycle,
    /// Requests by route and status code.
    pub http_requests: IntCounterVec,
    /// Of those, the ones to `/predict` that were answered.
    pub predicted: IntCounter,
    /// And those to `/v2/models/{model}/infer`.
    pub inferred: IntCounter,
    /// From the first byte of a request's body to the last byte handed to the socket.
    pub http_seconds: Histogram,
    /// Connections open now.
    pub connections: IntGauge,
    /// Work waiting for a worker now.
    pub queue_depth: IntGauge,
    /// The amount of work that may wait.
    pub queue_capacity: IntGauge,
    /// Bytes of the work waiting now.
    pub queue_bytes: IntGauge,
    /// The bytes that may wait; one larger piece may, where nothing else waits.
    pub queue_bytes_capacity: IntGauge,
    /// Bytes that requests take now, from their bodies to their answers; set when it is asked for.
    pub request_memory: IntGauge,
    /// The bytes that they may take.
    pub request_memory_capacity: IntGauge,
    /// Worker threads.
    pub workers: IntGauge,
    /// Threads that stand in for workers which are held up.
    pub substitutes: IntGauge,
    /// Runs that went on after their deadline.
    pub stuck_runs: IntCounter,
    /// Runs of chains for requests, of all models; not a series.
    pub runs: AtomicU64,
    /// Panics of the gateway's own code that were caught.
    pub panics: IntCounter,
    /// Bytes of binary tensors copied from bodies into columns.
    pub copied_to_columns: IntCounter,
    /// Bytes of columns copied into modules, at the head of a chain.
    pub copied_to_modules: IntCounter,
}

/// The series of one version of a model.
#[derive(Debug)]
struct Handles {
    last: Arc<ModelMetrics>,
    alive: Vec<Weak<ModelMetrics>>,
}

#[derive(Debug)]
struct Families {
    requests: IntCounterVec,
    rows: HistogramVec,
    batch_rows: HistogramVec,
    total: HistogramVec,
    queue: HistogramVec,
    queue_depth: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    stage: HistogramVec,
    model: HistogramVec,
    traps: IntCounterVec,
    handovers: IntCounterVec,
    instances: IntGaugeVec,
    instance_memory: IntGaugeVec,
    model_memory: IntGaugeVec,
    info: GaugeVec,
}

impl Metrics {
    /// An empty registry with every family in it.
    ///
    /// # Errors
    /// None in practice: the names are fixed and distinct, and a test makes one.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(None, None)?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let build = GaugeVec::new(Opts::new("modelgate_build_info", "The gateway's version; always 1."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        register(&registry, build)?;
        let started = Gauge::new("modelgate_start_time_seconds", "When the gateway started, in seconds since 1970.")?;
        started.set(SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64()));
        register(&registry, started)?;

        let model = ["model", "version"];
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).and_then(|family| register(&registry, family))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).and_then(|family| register(&registry, family))
        };
        let seconds = |name: &str, help: &str, labels: &[&str]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(LATENCY.to_vec()), labels)
                .and_then(|family| register(&registry, family))
        };
        let one = |name: &str, help: &str| IntGauge::new(name, help).and_then(|gauge| register(&registry, gauge));
        let copied = counter(
            "modelgate_copied_bytes_total",
            "Bytes copied from bodies of binary tensors into columns, and of all columns into the first module.",
            &["to"],
        )?;
        let http_requests = counter("modelgate_http_requests_total", "HTTP requests.", &["route", "status"])?;
        Ok(Self {
            families: Families {
                requests: counter(
                    "modelgate_requests_total",
                    "Requests to a model, by how they ended.",
                    &["model", "version", "outcome"],
                )?,
                rows: HistogramVec::new(
                    HistogramOpts::new("modelgate_request_rows", "Rows of each request that was answered.")
                        .buckets(ROWS.to_vec()),
                    &model,
                )
                .and_then(|family| register(&registry, family))?,
                batch_rows: HistogramVec::new(
                    HistogramOpts::new(
                        "modelgate_batch_rows",
                        "Rows of each run of a model's chain; requests that run together count once.",
                    )
                    .buckets(ROWS.to_vec()),
                    &model,
                )
                .and_then(|family| register(&registry, family))?,
                total: seconds(
                    "modelgate_request_duration_seconds",
                    "From the decoded batch to the encoded answer.",
                    &model,
                )?,
                queue: seconds("modelgate_queue_duration_seconds", "From admission to a worker.", &model)?,
                queue_depth: gauge(
                    "modelgate_model_queue_depth",
                    "Requests to a model that wait for a worker.",
                    &model,
                )?,
                queue_bytes: gauge(
                    "modelgate_model_queue_bytes",
                    "Bytes of the requests to a model that wait for a worker.",
                    &model,
                )?,
                stage: seconds(
                    "modelgate_stage_duration_seconds",
                    "In one stage, the model's time within it included.",
                    &["model", "version", "stage"],
                )?,
                model: seconds("modelgate_model_duration_seconds", "In the model.", &model)?,
                traps: counter(
                    "modelgate_traps_total",
                    "Modules ended early, by cause.",
                    &["model", "version", "cause"],
                )?,
                handovers: counter(
                    "modelgate_handovers_total",
                    "Requests begun where they were read that took too long there and went to a worker.",
                    &model,
                )?,
                instances: gauge("modelgate_instances", "Module instances alive.", &model)?,
                instance_memory: gauge(
                    "modelgate_instance_memory_bytes",
                    "Linear memory of module instances.",
                    &model,
                )?,
                model_memory: gauge(
                    "modelgate_model_memory_bytes",
                    "Memory of the loaded model, estimated from its constants.",
                    &model,
                )?,
                info: GaugeVec::new(
                    Opts::new("modelgate_generation_info", "The live generation of a model; always 1."),
                    &["model", "version", "generation", "digest"],
                )
                .and_then(|family| register(&registry, family))?,
            },
            triton: Triton::new(&registry)?,
            predicted: http_requests.with_label_values(&["/predict", "200"]),
            inferred: http_requests.with_label_values(&["/v2/models/{model}/infer", "200"]),
            http_requests,
            http_seconds: Histogram::with_opts(
                HistogramOpts::new("modelgate_http_request_duration_seconds", "From a request's head to its answer.")
                    .buckets(LATENCY.to_vec()),
            )
            .and_then(|histogram| register(&registry, histogram))?,
            connections: one("modelgate_connections", "Connections open.")?,
            queue_depth: one("modelgate_queue_depth", "Work waiting for a worker.")?,
            queue_capacity: one("modelgate_queue_capacity", "How much work may wait.")?,
            queue_bytes: one("modelgate_queue_bytes", "Bytes of the work that waits for a worker.")?,
            queue_bytes_capacity: one("modelgate_queue_bytes_capacity", "How many bytes of work may wait.")?,
            request_memory: one(
                "modelgate_request_memory_bytes",
                "Memory that requests take, bodies and answers included.",
            )?,
            request_memory_capacity: one(
                "modelgate_request_memory_capacity_bytes",
                "How much memory requests may take.",
            )?,
            workers: one("modelgate_workers", "Worker threads.")?,
            substitutes: one(
                "modelgate_substitute_workers",
                "Threads that stand in for workers which a long run holds up.",
            )?,
            stuck_runs: IntCounter::new(
                "modelgate_stuck_runs_total",
                "Runs that held their thread for longer than 100 ms after their deadline while other work waited.",
            )
            .and_then(|counter| register(&registry, counter))?,
            runs: AtomicU64::new(0),
            panics: IntCounter::new("modelgate_panics_total", "Panics of the gateway's own code that were caught.")
                .and_then(|counter| register(&registry, counter))?,
            copied_to_columns: copied.with_label_values(&["columns"]),
            copied_to_modules: copied.with_label_values(&["module"]),
            generations: Mutex::default(),
            lifecycle: Lifecycle::new(&registry)?,
            registry,
        })
    }

    /// The series of one generation. `stages` are the names of its stages.
    pub fn model(&self, model: &str, version: &str, stages: &[&str]) -> Arc<ModelMetrics> {
        let labels = [model, version];
        let families = &self.families;
        let metrics = Arc::new(ModelMetrics {
            outcomes: Outcome::ALL
                .map(|outcome| families.requests.with_label_values(&[model, version, outcome.label()])),
            traps: TrapCause::ALL.map(|cause| families.traps.with_label_values(&[model, version, cause.label()])),
            rows: families.rows.with_label_values(&labels),
            batch_rows: families.batch_rows.with_label_values(&labels),
            last_success_ms: AtomicU64::new(0),
            total: families.total.with_label_values(&labels),
            queue: families.queue.with_label_values(&labels),
            queue_depth: families.queue_depth.with_label_values(&labels),
            queue_bytes: families.queue_bytes.with_label_values(&labels),
            stages: stages.iter().map(|stage| families.stage.with_label_values(&[model, version, stage])).collect(),
            model_seconds: families.model.with_label_values(&labels),
            instances: families.instances.with_label_values(&labels),
            instance_memory: families.instance_memory.with_label_values(&labels),
            handovers: families.handovers.with_label_values(&labels),
            pending: self.triton.pending.with_label_values(&labels),
            decode_us: self.triton.durations[2].with_label_values(&labels),
            encode_us: self.triton.durations[4].with_label_values(&labels),
            model: model.to_owned(),
            version: version.to_owned(),
            stage_names: stages.iter().map(|&stage| stage.to_owned()).collect(),
        });
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let series = generations
            .entry((model.to_owned(), version.to_owned()))
            .or_insert_with(|| Handles { last: Arc::clone(&metrics), alive: Vec::new() });
        series.last = Arc::clone(&metrics);
        series.alive.retain(|handle| handle.strong_count() > 0);
        series.alive.push(Arc::downgrade(&metrics));
        metrics
    }

    /// The counts of a version's last generation, as long as they are kept.
    pub fn last(&self, model: &str, version: &str) -> Option<Arc<ModelMetrics>> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.get(&(model.to_owned(), version.to_owned())).map(|handles| Arc::clone(&handles.last))
    }

    /// Removes the series of every version that is not `known` and of which no generation is alive. Counters of a version
    /// that is known but not resident stay.
    pub fn retain(&self, known: impl Fn(&str, &str) -> bool, known_model: impl Fn(&str) -> bool) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.retain(|(model, version), handles| {
            // One is our own.
            let alive = Arc::strong_count(&handles.last) > 1
                || handles
                    .alive
                    .iter()
                    .any(|handle| handle.upgrade().is_some_and(|handle| !Arc::ptr_eq(&handle, &handles.last)));
            if alive || known(model, version) {
                return true;
            }
            self.families.remove(&handles.last);
            self.triton.remove(model, version);
            if !known_model(model) {
                self.lifecycle.forget(model);
            }
            false
        });
    }

    /// Tells that a generation is not live any more.
    pub fn ended(&self, model: &str, version: &str, generation: u64, digest: &str) {
        _ = self.families.info.remove_label_values(&[model, version, &generation.to_string(), digest]);
    }

    /// Tells that no generation of this version is resident.
    pub fn not_resident(&self, model: &str, version: &str) {
        self.families.model_memory.with_label_values(&[model, version]).set(0);
    }

    /// Tells that a generation is live.
    pub fn live(&self, model: &str, version: &str, generation: u64, digest: &str, model_bytes: usize) {
        self.families.info.with_label_values(&[model, version, &generation.to_string(), digest]).set(1.0);
        self.families.model_memory.with_label_values(&[model, version]).set(i64::try_from(model_bytes).unwrap_or(0));
    }

    /// All series in Prometheus' text format 0.0.4.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        for handles in generations.values() {
            self.triton.update(&handles.last);
        }
        let mut text = Vec::with_capacity(16 << 10);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl Families {
    fn remove(&self, series: &ModelMetrics) {
        let labels = [series.model.as_str(), series.version.as_str()];
        let [model, version] = labels;
        for outcome in Outcome::ALL {
            _ = self.requests.remove_label_values(&[model, version, outcome.label()]);
        }
        for cause in TrapCause::ALL {
            _ = self.traps.remove_label_values(&[model, version, cause.label()]);
        }
        for stage in &series.stage_names {
            _ = self.stage.remove_label_values(&[model, version, stage]);
        }
        for family in [&self.rows, &self.batch_rows, &self.total, &self.queue, &self.model] {
            _ = family.remove_label_values(&labels);
        }
        for family in [&self.instances, &self.instance_memory, &self.model_memory, &self.queue_depth, &self.queue_bytes]
        {
            _ = family.remove_label_values(&labels);
        }
        _ = self.handovers.remove_label_values(&labels);
    }
}

#[cfg(test)]
mod tests;
