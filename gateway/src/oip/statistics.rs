//! The statistics of a model's requests, in the protocol's terms.

use serde::Serialize;

use crate::{
    generation::Generation,
    metrics::{ModelMetrics, Outcome},
};

/// A count, and the time in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Duration {
    /// The count.
    pub count: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}

impl Duration {
    fn of_seconds(count: u64, seconds: f64) -> Self {
        Self { count, ns: (seconds * 1e9) as u64 }
    }

    fn of_micros(count: u64, micros: u64) -> Self {
        Self { count, ns: micros.saturating_mul(1_000) }
    }
}

/// Of one model.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModelStatistics {
    /// The model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it last answered, in milliseconds since 1970; 0 if it never did.
    pub last_inference: u64,
    /// Rows answered.
    pub inference_count: u64,
    /// Runs of its chain; a batch counts once.
    pub execution_count: u64,
    /// Where the time went.
    pub inference_stats: InferenceStatistics,
    /// By batch size; not kept.
    pub batch_stats: [(); 0],
}

/// Where the time went. Nothing is cached, so the last two stay zero.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct InferenceStatistics {
    /// Requests that were answered.
    pub success: Duration,
    /// Requests that were not.
    pub fail: Duration,
    /// From admission to the start of the work.
    pub queue: Duration,
    /// Decoding.
    pub compute_input: Duration,
    /// In the stages.
    pub compute_infer: Duration,
    /// Encoding.
    pub compute_output: Duration,
    /// Answers from a cache.
    pub cache_hit: Duration,
    /// Answers looked for in a cache.
    pub cache_miss: Duration,
}

impl ModelStatistics {
    /// Of one generation's model, from its series.
    pub fn new(generation: &Generation) -> Self {
        Self::counted(&generation.name, &generation.version, Some(&generation.metrics))
    }

    /// Of a version by what it counted, if that is known.
    pub fn counted(name: &str, version: &str, metrics: Option<&ModelMetrics>) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        let Some(metrics) = metrics else { return Self { name, version, ..Self::default() } };
        let success = metrics.count(Outcome::Success);
        let stages: f64 = metrics.stages.iter().map(prometheus::Histogram::get_sample_sum).sum();
        Self {
            name,
            version,
            last_inference: metrics.last_success_ms(),
            inference_count: metrics.rows.get_sample_sum() as u64,
            execution_count: metrics.batch_rows.get_sample_count(),
            inference_stats: InferenceStatistics {
                success: Duration::of_seconds(success, metrics.total.get_sample_sum()),
                fail: Duration { count: metrics.failures(), ns: 0 },
                queue: Duration::of_seconds(metrics.queue.get_sample_count(), metrics.queue.get_sample_sum()),
                compute_input: Duration::of_micros(success, metrics.decode_us.get()),
                compute_infer: Duration::of_seconds(success, stages),
                compute_output: Duration::of_micros(success, metrics.encode_us.get()),
                cache_hit: Duration::default(),
                cache_miss: Duration::default(),
            },
            batch_stats: [],
        }
    }
}
