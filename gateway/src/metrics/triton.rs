//! Series under the names that Triton gives them.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{model::ModelMetrics, outcome::Outcome, register::register};

/// Series under the names that Triton gives them, computed when they are asked for.
#[derive(Debug)]
pub(super) struct Triton {
    success: IntCounterVec,
    failure: IntCounterVec,
    count: IntCounterVec,
    exec: IntCounterVec,
    pub(super) pending: IntGaugeVec,
    pub(super) durations: [IntCounterVec; 5],
}

impl Triton {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let model = ["model", "version"];
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).and_then(|family| register(registry, family))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).and_then(|family| register(registry, family))
        };
        let us = |part: &str, what: &str| {
            counter(&format!("nv_inference_{part}_duration_us"), &format!("Cumulative {what} in microseconds."), &model)
        };
        Ok(Self {
            success: counter("nv_inference_request_success", "Successful requests.", &model)?,
            failure: counter("nv_inference_request_failure", "Failed requests.", &["model", "version", "reason"])?,
            count: counter("nv_inference_count", "Rows inferred.", &model)?,
            exec: counter("nv_inference_exec_count", "Executions; a batch counts once.", &model)?,
            pending: gauge("nv_inference_pending_request_count", "Requests not yet answered.", &model)?,
            durations: [
                us("request", "time of successful requests")?,
                us("queue", "time in the queue")?,
                us("compute_input", "time decoding")?,
                us("compute_infer", "time in the stages")?,
                us("compute_output", "time encoding")?,
            ],
        })
    }

    pub(super) fn remove(&self, model: &str, version: &str) {
        let labels = [model, version];
        for family in [&self.success, &self.count, &self.exec].into_iter().chain(&self.durations) {
            _ = family.remove_label_values(&labels);
        }
        for reason in ["OTHER", "REJECTED", "BACKEND", "CANCELED"] {
            _ = self.failure.remove_label_values(&[model, version, reason]);
        }
        _ = self.pending.remove_label_values(&labels);
    }

    /// Called with the list of generations locked, so one at a time.
    pub(super) fn update(&self, series: &ModelMetrics) {
        let labels = [series.model.as_str(), series.version.as_str()];
        raise(&self.success.with_label_values(&labels), series.count(Outcome::Success));
        for reason in ["OTHER", "REJECTED", "BACKEND", "CANCELED"] {
            let total = Outcome::ALL
                .into_iter()
                .filter(|outcome| outcome.triton_reason() == Some(reason))
                .map(|outcome| series.count(outcome))
                .sum();
            raise(&self.failure.with_label_values(&[labels[0], labels[1], reason]), total);
        }
        let us = |seconds: f64| (seconds * 1e6) as u64;
        raise(&self.count.with_label_values(&labels), series.rows.get_sample_sum() as u64);
        raise(&self.exec.with_label_values(&labels), series.batch_rows.get_sample_count());
        raise(&self.durations[0].with_label_values(&labels), us(series.total.get_sample_sum()));
        raise(&self.durations[1].with_label_values(&labels), us(series.queue.get_sample_sum()));
        let stages = series.stages.iter().map(Histogram::get_sample_sum).sum();
        raise(&self.durations[3].with_label_values(&labels), us(stages));
    }
}

/// Brings a counter up to a total kept elsewhere. Counters only grow, so a late reader adds nothing.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
