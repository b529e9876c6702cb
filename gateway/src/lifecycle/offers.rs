//! The consequences of a source's offer, and the notes that are kept of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Instant,
};

use crate::{
    audit::{self, Change},
    bundle::Manifest,
    lifecycle::{
        apply::Fleet,
        state::{Desired, ModelState},
        transition::SourceOffer,
        watcher::Offer,
    },
    metrics::lifecycle::count,
    release::Content,
    store::Remembered,
};

/// A source says all that it has.
pub(super) fn offered(fleet: &mut Fleet, offer: Offer) {
    fleet.silent.remove(&offer.source);
    let Offer { source, is_chosen, is_partial, changed, .. } = offer;
    let key = key(source);
    let by_model = by_model(fleet, offer);
    let (mut is_news, is_last) = (false, fleet.silent.is_empty());
    let mut restored = BTreeSet::new();
    let has_lost = |name: &String, state: &ModelState| {
        let offered = state.offers().get(&key);
        !by_model.contains_key(name) && offered.is_some_and(|offered| !(offered.ids.is_empty() && is_partial))
    };
    let lost: Vec<_> =
        fleet.models().filter(|(name, state)| has_lost(name, state)).map(|(name, _)| name.clone()).collect();
    for name in lost {
        if fleet.state_mut(&name).is_some_and(|state| state.withdraw_offer(key)) {
            is_news = true;
            report_conflicts(fleet, &name);
            reconcile_and_tell(fleet, &name);
        }
    }
    for (name, offer) in by_model {
        let state = fleet.state_or_new(&name);
        let is_restart = !offer.remembered.is_empty();
        let is_other = state.offer(key, SourceOffer { is_chosen, is_last, ..offer });
        is_news |= is_other;
        if is_restart {
            // Another source may have the same content, and answer for it from now on.
            restored.extend(state.source_of_last_known_good());
        }
        if changed {
            state.retry_now(Instant::now());
        }
        if is_other || changed {
            report_conflicts(fleet, &name);
            reconcile_and_tell(fleet, &name);
        }
    }
    if is_news {
        restored.insert(source);
        for source in restored {
            write_down(fleet, source);
        }
        clean(fleet);
    }
}

/// Sources count from 0; before them come the bundles of the command line.
fn key(source: usize) -> usize {
    source.wrapping_add(1)
}

fn by_model(fleet: &Fleet, offer: Offer) -> BTreeMap<String, SourceOffer> {
    let mut by_model: BTreeMap<String, SourceOffer> = BTreeMap::new();
    for release in offer.releases {
        by_model.entry(release.model.clone()).or_default().releases.push(release);
    }
    for remembered in offer.remembered {
        let name = &remembered.release.model;
        // Where it answered in an earlier life, and the source could not tell whether it still has it.
        if remembered.is_last_known_good && (offer.is_partial || by_model.contains_key(name)) {
            let fetched = fleet.loader.fetcher.has(&remembered.release);
            by_model.entry(name.clone()).or_default().remembered.push((remembered, fetched));
        }
    }
    for release in offer.fallbacks {
        let is_needed = |state: &ModelState| state.history().last_known_good.is_none();
        let is_needed = fleet.state(&release.model).is_none_or(is_needed);
        if let Some(of_model) = by_model.get_mut(&release.model).filter(|_| is_needed) {
            let fetched = fleet.loader.fetcher.has(&release);
            of_model.fallbacks.push((release, fetched));
        }
    }
    by_model
}

/// Says which versions of a model a source has with other content than one before it: an error of the later source.
fn report_conflicts(fleet: &mut Fleet, name: &str) {
    let Some(state) = fleet.state(name) else { return };
    let clashes = state.clashes();
    let reports = &fleet.reports;
    let conflicts = clashes.iter().map(|clash| {
        let source = reports.name(clash.second);
        (clash.version.clone(), format!("source '{source}' has other content of this version, which is ignored"))
    });
    let conflicts = conflicts.collect();
    for clash in reports.set_clashes(name, clashes) {
        tracing::error!(
            model = name,
            version = clash.version,
            served_from = reports.name(clash.first),
            ignored = reports.name(clash.second),
            "two sources have this version with different content; the later one's is ignored"
        );
    }
    if let Some(state) = fleet.state_mut(name) {
        state.set_conflicts(conflicts);
    }
}

/// A resident version takes over at once where it is wanted again: no job tells of that.
fn reconcile_and_tell(fleet: &mut Fleet, name: &str) {
    let first = |fleet: &Fleet| {
        let first = fleet.state(name)?.serving().first()?;
        fleet.generation(name, first).cloned()
    };
    let old = first(fleet);
    fleet.reconcile(name);
    if let (Some(old), Some(new)) = (old, first(fleet))
        && old.id != new.id
    {
        count(&fleet.metrics.lifecycle.releases, &[name, "switched"]);
        let change = Change { from: Some(&old.version), to: Some(&new.version) };
        audit::decided("switched", name, change, "resident already, and offered again");
        tracing::info!(
            model = name,
            version = new.version,
            generation = new.id,
            replaces = old.id,
            "resident already, and live again"
        );
    }
}

/// Removes files from the cache that no version needs any more. What a source had is not known before it has spoken.
fn clean(fleet: &Fleet) {
    let Some(store) = fleet.loader.fetcher.store.as_ref().filter(|_| fleet.silent.is_empty()) else { return };
    let versions = fleet.models().flat_map(|(_, state)| state.versions().values());
    let used = versions.filter_map(|version| match &version.release.content {
        Content::Bundle { manifest, .. } => Manifest::parse(manifest).and_then(|manifest| manifest.files()).ok(),
        Content::Folder(_) | Content::Demo | Content::Onnx { .. } | Content::Unservable { .. } => None,
    });
    store.retain(&used.flatten().map(|file| file.sha256).collect());
}

/// Writes down the sources of which another version answers now, or none any more.
pub(super) fn write_down_changes(fleet: &mut Fleet) {
    for source in mem::take(&mut fleet.unwritten) {
        write(fleet, source, &remembered(fleet, source));
    }
}

/// Writes down what a source offers, as far as it could be served without the source. A source that has nothing any more
/// does not undo what was written down of it.
pub(super) fn write_down(fleet: &Fleet, source: usize) {
    let remembered = remembered(fleet, source);
    if !remembered.is_empty() {
        write(fleet, source, &remembered);
    }
}

fn remembered(fleet: &Fleet, source: usize) -> Vec<Remembered> {
    fleet.models().flat_map(|(_, state)| state.remembered(source, key(source))).collect()
}

fn write(fleet: &Fleet, source: usize, remembered: &[Remembered]) {
    let (Some(store), Some(named)) = (&fleet.loader.fetcher.store, fleet.loader.fetcher.sources.get(source)) else {
        return;
    };
    if let Err(error) = store.remember(named.identity(), remembered) {
        tracing::warn!(source = named.name(), %error, "failed to write down what the source offers");
    }
}

/// Whether nothing that was there at the start is on its way any more, and something can answer.
pub(super) fn is_reconciled(fleet: &Fleet) -> bool {
    let mut is_answerable = false;
    for (_, state) in fleet.models() {
        let mut versions = state.versions().values();
        if versions.clone().any(|version| version.job().is_some()) {
            return false;
        }
        is_answerable |= !state.serving().is_empty()
            || state.desired() != Desired::Loaded && versions.clone().any(|version| version.fetched)
            // A model that its source has nothing to serve for says so in its own answers; the server is as ready as it
            // can be.
            || versions.any(|version| version.unservable().is_some());
    }
    fleet.silent.is_empty() && is_answerable
}
