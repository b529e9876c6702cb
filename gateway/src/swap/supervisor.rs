//! The one task that decides what is resident and what serves: it hears sources, jobs, requests and people in turn.

use std::{
    collections::BTreeMap,
    mem,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use crate::{
    audit::{self, Change},
    bundle::Manifest,
    error::Error,
    metrics::lifecycle::count,
    release::{Content, Release},
    store::Remembered,
    swap::{
        model::{Offered, Slot, SlotState, Waiter},
        poll::Offer,
        state::Supervisor,
        trial::Verdict,
        wishes::Wish,
    },
};

/// How often trials are judged, and idle models and failures looked at.
const TICK: Duration = Duration::from_millis(100);

/// Between two times at which it is written down what answers.
const WRITING: Duration = Duration::from_secs(1);

/// Releases of a model that are known for the case that none that is wanted can be served.
const MAX_SPARE: usize = 3;

/// A question, with where the answer goes.
#[derive(Debug)]
pub(super) enum Message {
    Activate { model: String, version: Option<String>, waiter: Waiter },
    Wish { model: String, wish: Wish, reply: oneshot::Sender<Result<(), Error>> },
}

impl Supervisor {
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, mut offers: mpsc::Receiver<Offer>) {
        let (Some(mut finished), Some(mut asked)) = (self.finished.take(), self.asked.take()) else { return };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(Message::Activate { model, version, waiter }) => self.activate(&model, version.as_deref(), waiter),
                    Some(Message::Wish { model, wish, reply }) => self.wish(&model, &wish, reply),
                    // Nobody can ask any more; what is served stays until the end.
                    None => std::future::pending().await,
                },
                Some(offer) = offers.recv() => self.offered(offer),
                Some(done) = finished.recv() => self.done(done),
                Some(room) = asked.recv() => self.asking.push_back(room),
                _ = tick.tick() => self.tick(),
            }
            self.give_rooms();
            self.look_settled();
        }
    }

    /// A source tells all that it has.
    pub(super) fn offered(&mut self, offer: Offer) {
        self.silent.remove(&offer.source);
        let key = offer.source.wrapping_add(1);
        let mut by_model: BTreeMap<String, Vec<Release>> = BTreeMap::new();
        for release in offer.releases {
            by_model.entry(release.model.clone()).or_default().push(release);
        }
        let mut spare: BTreeMap<String, Vec<Release>> = BTreeMap::new();
        for release in offer.spare {
            spare.entry(release.model.clone()).or_default().push(release);
        }
        let mut good: Vec<Remembered> = offer.remembered;
        // Where it answered in an earlier life, and the source could not tell whether it still has it.
        good.retain(|of| of.is_good && (offer.is_partial || by_model.contains_key(&of.release.model)));
        for name in good.iter().map(|of| &of.release.model) {
            by_model.entry(name.clone()).or_default();
        }
        let mut is_news = false;
        let gated = self.is_gated();
        let known: Vec<String> = self.models.keys().cloned().collect();
        for name in known.iter().filter(|name| !by_model.contains_key(*name)) {
            let Some(model) = self.models.get_mut(name) else { continue };
            if model.offers.get(&key).is_none_or(|offered| offered.ids.is_empty() && offer.is_partial) {
                continue;
            }
            if model.offers.remove(&key).is_some_and(|offered| !offered.ids.is_empty()) {
                is_news = true;
                self.tell_clashes(name);
                self.end_unwanted_trial(name);
                self.settle_and_tell(name);
            }
        }
        for (name, releases) in by_model {
            let is_new = !self.models.contains_key(&name);
            let model = self.models.entry(name.clone()).or_default();
            if is_new {
                model.resident = !self.settings.on_demand;
                model.gated = gated;
            }
            let mut restored = None;
            let ids: Vec<_> = releases.iter().map(|release| release.id.clone()).collect();
            let is_other = model.offers.get(&key).is_none_or(|offered| offered.ids != ids);
            for release in releases {
                let slot = model.slots.entry(release.id.clone()).or_insert_with(|| Slot::new(release.clone()));
                // The same, but perhaps not in the same place.
                if slot.release.source == release.source && !matches!(release.content, Content::Onnx { .. }) {
                    slot.release = release;
                }
            }
            if model.good.is_none() {
                for release in spare.remove(&name).unwrap_or_default() {
                    if model.spare.contains(&release.id) || model.spare.len() >= MAX_SPARE {
                        continue;
                    }
                    model.spare.push(release.id.clone());
                    let mut slot = Slot::new(release);
                    slot.fetched = self.preparer.has(&slot.release);
                    model.slots.entry(slot.release.id.clone()).or_insert(slot);
                }
            }
            let of_model = good.iter().filter(|of| of.release.model == name);
            for Remembered { release, instead_of, .. } in of_model {
                let slot = model.slots.entry(release.id.clone()).or_insert_with(|| Slot::new(release.clone()));
                slot.fetched |= self.preparer.has(release);
                if slot.fetched {
                    slot.proven = true;
                    restored = Some((release.id.clone(), instead_of.clone()));
                }
            }
            if let Some((id, _)) = &restored {
                model.good.get_or_insert_with(|| id.clone());
            }
            model.offers.insert(key, Offered { ids, is_chosen: offer.is_chosen });
            if let Some((to, Some(from))) = restored
                && model.good.as_ref() == Some(&to)
                && model.offered_first() == Some(&from)
            {
                model.rolled_back = Some((from, to));
            }
            if !is_other && !offer.changed {
                continue;
            }
            if is_other {
                is_news = true;
                let first = model.offered_first().cloned();
                // Somebody went back from a release: a source that wants another one is heard again.
                if model.rolled_back.as_ref().is_some_and(|(from, _)| first.as_ref() != Some(from)) {
                    model.rolled_back = None;
                }
                self.end_unwanted_trial(&name);
            }
            let model = self.models.entry(name.clone()).or_default();
            if offer.changed {
                // Something was written there: what could not be fetched may be whole now.
                for slot in model.slots.values_mut() {
                    if let SlotState::Failed { retry_at: Some(at), .. } = &mut slot.state {
                        *at = Instant::now();
                    }
                }
            }
            self.tell_clashes(&name);
            self.settle_and_tell(&name);
        }
        if is_news {
            self.remember(offer.source);
            self.clean();
        }
    }

    /// Says which versions of a model a source has with other content than one before it: an error of the later source.
    fn tell_clashes(&mut self, name: &str) {
        let Some(model) = self.models.get_mut(name) else { return };
        let clashes = model.clashes();
        let source = |place| self.reports.name(place);
        model.clashing = clashes
            .iter()
            .map(|clash| {
                let told =
                    format!("source '{}' has other content of this version, which is ignored", source(clash.second));
                (clash.version.clone(), told)
            })
            .collect();
        for clash in self.reports.set_clashes(name, clashes) {
            tracing::error!(
                model = name,
                version = clash.version,
                served_from = source(clash.first),
                ignored = source(clash.second),
                "two sources have this version with different content; the later one's is ignored"
            );
        }
    }

    /// A release on trial may be one that nobody wants any more.
    fn end_unwanted_trial(&mut self, name: &str) {
        let Some(model) = self.models.get(name) else { return };
        let wanted = model.wanted();
        if model.trial.as_ref().is_some_and(|trial| !wanted.contains(&trial.id)) {
            self.end_trial(name);
        }
    }

    /// What is resident already takes over at once where it is wanted again: no job tells of that.
    fn settle_and_tell(&mut self, name: &str) {
        let first = |this: &Self| {
            let model = this.models.get(name)?;
            model.serving.first().and_then(|id| model.live(id)).cloned()
        };
        let old = first(self);
        self.settle(name);
        if let (Some(old), Some(new)) = (old, first(self))
            && old.id != new.id
        {
            count(&self.metrics.lifecycle.releases, &[name, "switched"]);
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

    /// Removes files from the cache that no release needs any more. What a source had is not known before it has spoken.
    fn clean(&self) {
        let Some(store) = self.preparer.store.as_ref().filter(|_| self.silent.is_empty()) else { return };
        let slots = self.models.values().flat_map(|model| model.slots.values());
        let used = slots.filter_map(|slot| match &slot.release.content {
            Content::Bundle { manifest, .. } => Manifest::parse(manifest).and_then(|manifest| manifest.files()).ok(),
            Content::Folder(_) | Content::Demo | Content::Onnx { .. } | Content::Unservable { .. } => None,
        });
        store.retain(&used.flatten().map(|file| file.sha256).collect());
    }

    pub(super) fn write_down(&mut self) {
        for source in mem::take(&mut self.unwritten) {
            self.remember(source);
        }
    }

    /// Writes down what a source offers, as far as it could be served without the source.
    pub(super) fn remember(&self, source: usize) {
        let (Some(store), Some(named)) = (&self.preparer.store, self.preparer.sources.get(source)) else { return };
        let key = source.wrapping_add(1);
        let good: Vec<Remembered> = self
            .models
            .values()
            .filter_map(|model| {
                let of = &model.offers.get(&key)?.ids;
                let is_usable = |slot: &&Slot| slot.fetched && !slot.is_hopeless() && slot.release.source == source;
                let usable = of.iter().filter_map(|id| model.slots.get(id)).filter(is_usable);
                let is_proven = usable.clone().any(|slot| slot.proven);
                let good = model.good.iter();
                // Of what it offers nothing has served yet; what might can still.
                let others = good.chain(model.spare.iter().filter(|_| !is_proven)).filter(|id| !of.contains(id));
                let other = others.filter_map(|id| model.slots.get(id)).find(is_usable);
                let remembered = usable.chain(other).map(|slot| {
                    let is = |id: Option<&String>| id == Some(&slot.release.id);
                    let left = model.rolled_back.as_ref().filter(|(_, to)| is(Some(to)));
                    Remembered {
                        release: slot.release.clone(),
                        is_good: is(model.good.as_ref()),
                        instead_of: left.map(|(from, _)| from.clone()),
                    }
                });
                Some(remembered.collect::<Vec<_>>())
            })
            .flatten()
            .collect();
        if !good.is_empty()
            && let Err(error) = store.remember(named.identity(), &good)
        {
            tracing::warn!(source = named.name(), %error, "what the source offers could not be written down");
        }
    }

    pub(super) fn tick(&mut self) {
        let trials: Vec<(String, String, Verdict)> = self
            .models
            .iter()
            .filter_map(|(name, model)| {
                let trial = model.trial.as_ref()?;
                let verdict = trial.judge(model.live(&trial.id)?, &self.settings.gate);
                Some((name.clone(), trial.id.clone(), verdict))
            })
            .collect();
        for (name, id, verdict) in trials {
            match verdict {
                Verdict::Open => continue,
                Verdict::Promote => self.promote(&name, "as good as the old one"),
                Verdict::Withdraw(reason) => self.withdraw(&name, &id, reason),
            }
            self.settle(&name);
        }
        let now = Instant::now();
        if now.duration_since(self.written) > WRITING {
            self.written = now;
            self.write_down();
        }
        let due: Vec<_> = self
            .models
            .iter()
            .filter(|(_, model)| {
                model
                    .slots
                    .values()
                    .any(|slot| matches!(&slot.state, SlotState::Failed { retry_at: Some(at), .. } if *at <= now))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in &due {
            self.begin(name);
        }
        self.keep_to_budget();
        if let Some(idle) = self.settings.idle {
            self.unload_idle(idle);
        }
    }
}
