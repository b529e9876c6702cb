//! Looks at one source again and again, and tells what it offers.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, time::sleep};

use crate::{
    metrics::{Metrics, lifecycle::count},
    release::{Release, VersionPolicy},
    source::{Listing, Report, Reports, Source, unix_now},
    store::Store,
};

/// Longest pause between looks at a source that fails.
const LONGEST: Duration = Duration::from_mins(1);

/// After a file event: what was begun has this long to be finished before the look.
const SETTLE: Duration = Duration::from_millis(20);

/// What a source is said to offer.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) source: usize,
    /// By model, the preferred version first within each.
    pub(super) releases: Vec<Release>,
    /// Whether the source itself says which version of a model it wants.
    pub(super) is_chosen: bool,
    /// Others of those models, for where none of these can be served.
    pub(super) spare: Vec<Release>,
    /// Whether this look was made because something changed there: then what failed is tried again at once.
    pub(super) changed: bool,
}

/// Everything that a poll needs.
#[derive(Debug)]
pub(super) struct Poll {
    pub(super) place: usize,
    pub(super) source: Arc<Source>,
    pub(super) every: Duration,
    pub(super) policy: VersionPolicy,
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reports: Arc<Reports>,
}

impl Poll {
    /// The state before the first look.
    pub(super) fn report(&self) -> Report {
        Report {
            name: self.source.name().to_owned(),
            address: self.source.address().to_owned(),
            state: "waiting",
            error: String::new(),
            from_cache: false,
            last_success: None,
            failures: 0,
            releases: 0,
            problems: Vec::new(),
        }
    }

    /// Until nobody listens.
    pub(super) async fn run(self, tell: mpsc::Sender<Offer>) {
        let mut report = self.report();
        let mut changed = true;
        loop {
            let offer = match self.source.list().await {
                Ok(listing) => {
                    // What it offered in an earlier life; before it is written over.
                    let is_first = report.last_success.is_none();
                    let before =
                        if is_first { self.store.remembered(self.source.name(), self.place) } else { Vec::new() };
                    Some(self.succeeded(listing.without_doubles(), before, &mut report, changed))
                }
                Err(error) => {
                    self.failed(error.kind.label(), error.message, &mut report);
                    // Down at the start: what it offered when it was last seen, from the local cache.
                    (report.last_success.is_none() && report.failures == 1).then(|| {
                        let releases = self.store.remembered(self.source.name(), self.place);
                        report.releases = releases.len();
                        let is_chosen = self.source.chooses();
                        Offer { source: self.place, releases, is_chosen, spare: Vec::new(), changed: true }
                    })
                }
            };
            self.reports.set(self.place, report.clone());
            if let Some(offer) = offer
                && tell.send(offer).await.is_err()
            {
                return;
            }
            changed = tokio::select! {
                () = sleep(self.pause(report.failures)) => false,
                () = self.source.changed() => {
                    sleep(SETTLE).await;
                    true
                }
            };
        }
    }

    fn succeeded(&self, listing: Listing, before: Vec<Release>, report: &mut Report, changed: bool) -> Offer {
        let name = self.source.name();
        if report.state != "ok" {
            tracing::info!(source = name, releases = listing.releases.len(), "a source answers");
        }
        if listing.problems != report.problems {
            for problem in listing.problems.iter().filter(|problem| !report.problems.contains(problem)).take(10) {
                tracing::warn!(source = name, problem, "found in a source, but no release");
            }
        }
        *report = Report {
            state: "ok",
            error: String::new(),
            from_cache: false,
            last_success: Some(unix_now()),
            failures: 0,
            releases: listing.releases.len(),
            problems: listing.problems.into_iter().take(100).collect(),
            ..self.report()
        };
        count(&self.metrics.lifecycle.source_polls, &[name, "ok"]);
        self.metrics.lifecycle.source_up.with_label_values(&[name]).set(1);
        self.metrics.lifecycle.source_success.with_label_values(&[name]).set(unix_now().cast_signed());
        let (mut releases, mut spare) = (listing.releases, before);
        let is_chosen = self.source.chooses();
        if !is_chosen {
            let (chosen, next) = chosen(releases, &self.policy);
            releases = chosen;
            spare.extend(next);
        }
        Offer { source: self.place, releases, is_chosen, spare, changed }
    }

    /// One line when it begins to fail or fails otherwise, none for each time after that.
    fn failed(&self, state: &'static str, error: String, report: &mut Report) {
        let name = self.source.name();
        count(&self.metrics.lifecycle.source_polls, &[name, state]);
        self.metrics.lifecycle.source_up.with_label_values(&[name]).set(0);
        if report.state != state {
            tracing::warn!(source = name, state, error, "a source cannot be used; what is served stays");
        }
        report.state = state;
        report.error = error;
        report.from_cache = true;
        report.failures = report.failures.saturating_add(1);
    }

    /// Longer with each failure, and never the same for two gateways that began together.
    fn pause(&self, failures: u32) -> Duration {
        let pause = self.every.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST.max(self.every));
        if failures == 0 { pause } else { pause.mul_f64(0.75 + 0.5 * random()) }
    }
}

/// From 0 to 1; good enough to spread clients in time.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

/// The wanted versions of each model, and of each the one that would be wanted next.
fn chosen(mut releases: Vec<Release>, policy: &VersionPolicy) -> (Vec<Release>, Vec<Release>) {
    releases.sort_by(|a, b| a.model.cmp(&b.model));
    let (mut wanted, mut next) = (Vec::new(), Vec::new());
    for of in releases.chunk_by(|a, b| a.model == b.model) {
        let (chosen, other) = policy.choose(of.to_vec());
        wanted.extend(chosen);
        next.extend(other);
    }
    (wanted, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Content;

    #[test]
    fn each_model_has_its_newest() {
        let release = |model: &str, version: &str| Release {
            model: model.into(),
            version: version.into(),
            id: String::new(),
            source: 0,
            content: Content::Demo,
        };
        let all = vec![release("b", "1"), release("a", "1"), release("b", "2"), release("a", "10"), release("a", "9")];
        let (wanted, next) = chosen(all, &VersionPolicy::Latest(1));
        let named = |releases: Vec<Release>| releases.into_iter().map(|r| (r.model, r.version)).collect::<Vec<_>>();
        assert_eq!(named(wanted), [("a".to_owned(), "10".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert_eq!(named(next), [("a".to_owned(), "9".to_owned()), ("b".to_owned(), "1".to_owned())]);
    }
}
