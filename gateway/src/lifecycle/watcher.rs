//! Looks at one source again and again, and tells what it offers.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    metrics::{Metrics, lifecycle::count},
    release::{Content, Release, VersionPolicy},
    source::{Kind, Listing, Report, Reports, Source, unix_now},
    store::{Remembered, Store},
};

/// Longest pause between looks at a source that fails.
const LONGEST: Duration = Duration::from_mins(1);

/// A first look that takes longer is not waited for where something is remembered.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lines in the log within a minute.
const MAX_REPORTED: usize = 100;

/// After a file event: what was begun has this long to be finished before the look.
const SETTLE: Duration = Duration::from_millis(20);

/// The reported offer of a source.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) source: usize,
    /// By model, the preferred version first within each.
    pub(super) releases: Vec<Release>,
    /// Whether the source itself says which version of a model it wants.
    pub(super) is_chosen: bool,
    /// Others of those models, for where none of these can be served.
    pub(super) fallbacks: Vec<Release>,
    /// Its offer in an earlier life, before the first success.
    pub(super) remembered: Vec<Remembered>,
    /// Whether it may have more than it could tell: then what is remembered goes on being good.
    pub(super) is_partial: bool,
    /// Whether this look was made because something changed there: then what failed is tried again at once.
    pub(super) changed: bool,
}

/// Everything that looks at a source need.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) index: usize,
    pub(super) source: Arc<Source>,
    pub(super) every: Duration,
    pub(super) policy: VersionPolicy,
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reports: Arc<Reports>,
}

impl Watcher {
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
    pub(super) async fn run(self, offers: mpsc::Sender<Offer>) {
        let mut report = self.report();
        let mut reported = Reported::default();
        let mut changed = true;
        // What it offered in an earlier life; before it is written over.
        let mut before = self.store.remembered(self.source.identity(), self.index);
        let mut cached = Some(self.cached(&before));
        loop {
            let listing = {
                let mut look = pin!(self.source.list());
                match timeout(PATIENCE, &mut look).await {
                    Ok(listing) => listing,
                    Err(_) => {
                        // It may hang for long; what is remembered need not wait for that.
                        if let Some(offer) = cached.take_if(|offer| !offer.remembered.is_empty()) {
                            report.from_cache = true;
                            report.releases = offer.remembered.len();
                            self.reports.set(self.index, report.clone());
                            if offers.send(offer).await.is_err() {
                                return;
                            }
                        }
                        look.await
                    }
                }
            };
            let offer = match listing {
                Ok(listing) => {
                    cached = None;
                    let before = mem::take(&mut before);
                    Some(self.succeeded(listing.without_doubles(), before, &mut report, &mut reported, changed))
                }
                Err(error) => {
                    self.failed(error.kind.label(), error.message, &mut report, &mut reported);
                    // Down at the start: what it offered when it was last seen, from the local cache.
                    let offer = cached.take();
                    if let Some(offer) = &offer {
                        report.from_cache = !offer.remembered.is_empty();
                        report.releases = offer.remembered.len();
                    }
                    offer
                }
            };
            self.reports.set(self.index, report.clone());
            if let Some(offer) = offer
                && offers.send(offer).await.is_err()
            {
                return;
            }
            // A registry that answers that there is no such version yet is well, and is to be asked soon: it may come.
            let failures = if report.state == Kind::Missing.label() { 0 } else { report.failures };
            changed = tokio::select! {
                () = sleep(self.pause(failures)) => false,
                () = self.source.changed() => {
                    sleep(SETTLE).await;
                    true
                }
            };
        }
    }

    fn cached(&self, before: &[Remembered]) -> Offer {
        Offer {
            source: self.index,
            // To what somebody went back, the source did not offer.
            releases: before
                .iter()
                .filter(|remembered| remembered.instead_of.is_none())
                .map(|remembered| remembered.release.clone())
                .collect(),
            is_chosen: self.source.chooses(),
            fallbacks: Vec::new(),
            remembered: before.to_vec(),
            is_partial: true,
            changed: true,
        }
    }

    fn succeeded(
        &self,
        listing: Listing,
        remembered: Vec<Remembered>,
        report: &mut Report,
        reported: &mut Reported,
        changed: bool,
    ) -> Offer {
        let name = self.source.name();
        if report.state != "ok" && reported.is_news("ok") {
            tracing::info!(source = name, releases = listing.releases.len(), "a source answers");
        }
        if listing.problems != report.problems {
            for problem in listing.problems.iter().filter(|problem| !report.problems.contains(problem)).take(10) {
                if reported.is_news(problem) {
                    tracing::warn!(source = name, problem, "found in a source, but no release");
                }
            }
        }
        reported.is_due = false;
        let is_partial = !listing.problems.is_empty();
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
        let mut releases = listing.releases;
        for release in releases.iter_mut().filter(|release| matches!(release.content, Content::Onnx { .. })) {
            // It was fetched in an earlier life.
            if let Some(known) = remembered.iter().find(|known| known.release.id == release.id) {
                release.content = known.release.content.clone();
            }
        }
        let mut fallbacks: Vec<_> = remembered.iter().map(|known| known.release.clone()).collect();
        let is_chosen = self.source.chooses();
        if !is_chosen {
            let (chosen, next) = chosen(releases, &self.policy);
            releases = chosen;
            fallbacks.extend(next);
        }
        Offer { source: self.index, releases, is_chosen, fallbacks, remembered, is_partial, changed }
    }

    /// One line when it begins to fail or fails otherwise, none for each time after that.
    fn failed(&self, state: &'static str, error: String, report: &mut Report, reported: &mut Reported) {
        let name = self.source.name();
        count(&self.metrics.lifecycle.source_polls, &[name, state]);
        self.metrics.lifecycle.source_up.with_label_values(&[name]).set(0);
        reported.is_due |= report.state != state;
        if reported.is_due && reported.is_news(state) {
            reported.is_due = false;
            tracing::warn!(source = name, state, error, "a source cannot be used; what is served stays");
        }
        report.state = state;
        report.error = error;
        report.from_cache = report.last_success.is_some() || report.from_cache;
        report.failures = report.failures.saturating_add(1);
    }

    /// Longer with each failure, and never the same for two gateways that began together.
    fn pause(&self, failures: u32) -> Duration {
        let pause = self.every.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST.max(self.every));
        if failures == 0 { pause } else { pause.mul_f64(0.75 + 0.5 * random()) }
    }
}

/// Problems that were logged lately: one that comes and goes with every look is not logged each time.
#[derive(Debug, Default)]
struct Reported {
    lately: HashMap<String, Instant>,
    /// Whether a failure is yet to be told.
    is_due: bool,
}

impl Reported {
    fn is_news(&mut self, what: &str) -> bool {
        let now = Instant::now();
        self.lately.retain(|_, at| now.duration_since(*at) < LONGEST);
        if self.lately.len() >= MAX_REPORTED || self.lately.contains_key(what) {
            return false;
        }
        self.lately.insert(what.to_owned(), now);
        true
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
    for versions in releases.chunk_by(|a, b| a.model == b.model) {
        let (chosen, other) = policy.choose(versions.to_vec());
        wanted.extend(chosen);
        next.extend(other);
    }
    (wanted, next)
}

#[cfg(test)]
mod tests {
    use super::*;

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
