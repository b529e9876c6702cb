//! From a bundle to a generation that has shown what it can do: loaded, its rows tried together, its golden examples
//! answered as expected. Every way to a live model leads through here.

use std::time::{Duration, Instant};

use crate::{
    artifact_cache::ArtifactCache,
    batching_decision::{self, Cause, EarlierDecision},
    bundle::{Bundle, BundleError},
    generation::{Generation, Runner},
    golden,
    metrics::Metrics,
    wasm::module::Isolation,
};

/// A generation that may serve.
#[derive(Debug)]
pub struct Verified {
    /// The generation.
    pub generation: Generation,
    /// Instances that have answered the golden examples.
    pub runner: Runner,
    /// The time that loading took, without the checks after it.
    pub load: Duration,
}

/// Loads a bundle, decides whether rows of different requests may be run together, and runs the golden examples. `read`
/// gives the bundle; it is called again where a module turns out to need instances for each request. Where an earlier load
/// of the same bundle `found` something out, that is not tried again.
///
/// # Errors
/// Everything that is wrong with the bundle, golden examples that are answered otherwise included.
pub fn load(
    read: &dyn Fn() -> Result<Bundle, BundleError>,
    artifacts: &ArtifactCache,
    metrics: &Metrics,
    found: Option<&EarlierDecision>,
) -> Result<Verified, BundleError> {
    let start = Instant::now();
    let artifacts = &artifacts.and_plan(found.map(|found| found.plan.as_str()));
    let mut bundle = read()?;
    if found.is_some_and(EarlierDecision::is_stateful) {
        bundle.isolation = Isolation::Request;
    }
    let (wanted, tolerance) = (bundle.batching, bundle.batching_tolerance);
    let mut generation = Generation::load(bundle, artifacts, metrics)?;
    let load = start.elapsed();
    let again = found.and_then(|found| found.again(&generation, wanted));
    let (decision, batching) = again.unwrap_or_else(|| batching_decision::decide(&generation, wanted, tolerance, load));
    if decision.cause == Cause::Stateful && generation.isolation != Isolation::Request {
        generation = Generation::load(Bundle { isolation: Isolation::Request, ..read()? }, artifacts, metrics)?;
    }
    (generation.batching_decision, generation.batching) = (decision, batching);
    log_decision(&generation);
    let mut runner = generation.new_runner();
    let problems = golden::check(&generation, &mut runner);
    if !problems.is_empty() {
        return Err(BundleError { problems });
    }
    Ok(Verified { generation, runner, load })
}

/// Logs the decision, once for each load.
fn log_decision(generation: &Generation) {
    let (model, version, decision) = (&generation.name, &generation.version, &generation.batching_decision);
    let (cause, detail) = (decision.cause.label(), &decision.detail);
    match decision.cause {
        Cause::Tried | Cause::Analysed => {
            tracing::info!(model, version, cause, detail, "rows of different requests are run together");
        }
        Cause::Differs | Cause::Stateful => {
            tracing::warn!(model, version, cause, detail, "rows of different requests are not run together");
        }
        _ => tracing::info!(model, version, cause, detail, "rows of different requests are not run together"),
    }
}
