//! Whose work comes next: a queue for each model, served in turn by weight and by the time that its work has taken.
//!
//! Start-time fair queueing, which is deficit round robin with the smallest quantum: each model has a virtual clock, which
//! advances by the time of its work divided by its weight, and the model whose clock is furthest behind is served. A clock
//! of a model without work does not fall behind, so that nobody saves up turns. The time of a piece of work is known only
//! after it: a model is charged its mean in advance, what it takes beyond that while it runs, and the difference at the end.
//!
//! The queues share slots and bytes. One model may fill all of them where no other has work. Where another comes, the
//! model that is most above its share loses what it queued last, so that a flood of requests costs its own model alone.
//!
//! Pure decisions: no clock, no lock, no effects.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Levels of priority within a model's queue.
pub(super) const LEVELS: usize = 5;

/// The worth of one level of priority in time of arrival: work waits for no more than four times this behind work that
/// came later.
pub(super) const AGEING: Duration = Duration::from_millis(250);

/// Work at the head of a level that is looked at for what can run together.
const LOOK_AHEAD: usize = 256;

/// A single piece of work is charged no more than this.
const MAX_CHARGE: Duration = Duration::from_mins(1);

/// Models without work whose clocks are kept while others have work. Each turn looks at all of them.
const MAX_IDLE: usize = 128;

/// Capacity for waiting work that an empty queue keeps.
const KEPT_ROOM: usize = 64;

/// The largest weight.
pub(super) const MAX_WEIGHT: u32 = 1_000;

/// Time of work divided by a weight; the unit is a nanosecond divided by [`MAX_WEIGHT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Virtual(u128);

impl Virtual {
    /// Later by `time` of work at a weight of 1 to [`MAX_WEIGHT`].
    pub(super) fn after(self, time: Duration, weight: u32) -> Self {
        Self(self.0 + time.as_nanos() * u128::from(MAX_WEIGHT) / u128::from(weight.clamp(1, MAX_WEIGHT)))
    }

    fn before(self, time: Duration, weight: u32) -> Self {
        Self(self.0.saturating_sub(Self(0).after(time, weight).0))
    }
}

/// The work that may wait, of all models together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    pub(super) slots: usize,
    pub(super) bytes: usize,
}

/// Work that is to wait.
pub(super) struct New<T> {
    pub(super) item: T,
    /// Bytes that it keeps while it waits.
    pub(super) size: usize,
    /// When it came, since a moment that is the same for all.
    pub(super) at: Duration,
    /// Its priority: 0 goes first.
    pub(super) level: usize,
}

struct Waiting<T> {
    item: T,
    size: usize,
    /// When it came, later by [`AGEING`] for each level: what has the least goes first.
    rank: Duration,
}

/// A model's turn, from [`FairQueue::pop`] to [`FairQueue::finish`].
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) model: Arc<str>,
    charged: Duration,
}

struct Flow<T> {
    weight: u32,
    levels: [VecDeque<Waiting<T>>; LEVELS],
    count: usize,
    bytes: usize,
    running: usize,
    clock: Virtual,
    /// The time that its work has taken, on average.
    mean: Duration,
}

impl<T> Flow<T> {
    fn new(weight: u32, clock: Virtual) -> Self {
        Self {
            weight,
            levels: std::array::from_fn(|_| VecDeque::new()),
            count: 0,
            bytes: 0,
            running: 0,
            clock,
            mean: Duration::ZERO,
        }
    }

    fn is_idle(&self) -> bool {
        self.count == 0 && self.running == 0
    }

    /// The level whose first work goes first, and that work's rank.
    fn first(&self) -> Option<(usize, Duration)> {
        let ranks = self.levels.iter().enumerate().filter_map(|(level, queue)| Some((level, queue.front()?.rank)));
        ranks.min_by_key(|&(_, rank)| rank)
    }

    /// The level whose last work came last, by rank.
    fn last(&self) -> Option<usize> {
        let ranks = self.levels.iter().enumerate().filter_map(|(level, queue)| Some((level, queue.back()?.rank)));
        ranks.max_by_key(|&(_, rank)| rank).map(|(level, _)| level)
    }

    fn left(&mut self, size: usize) {
        self.count -= 1;
        self.bytes -= size;
        if self.count == 0 {
            for queue in self.levels.iter_mut().filter(|queue| queue.capacity() > KEPT_ROOM) {
                *queue = VecDeque::new();
            }
        }
    }
}

/// The queues of all models.
pub(super) struct FairQueue<T> {
    capacity: Capacity,
    flows: HashMap<Arc<str>, Flow<T>>,
    count: usize,
    bytes: usize,
    running: usize,
    /// The clock of the model that was served last.
    now: Virtual,
    /// The clock that is furthest ahead.
    top: Virtual,
}

impl<T> FairQueue<T> {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            flows: HashMap::new(),
            count: 0,
            bytes: 0,
            running: 0,
            now: Virtual::default(),
            top: Virtual::default(),
        }
    }

    /// Work that waits.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether work of a model waits that `may` be served.
    pub(super) fn has_work(&self, may: impl Fn(&str) -> bool) -> bool {
        self.count > 0 && self.flows.iter().any(|(model, flow)| flow.count > 0 && may(model))
    }

    /// Queues work of a model of this weight. Gives what lost its slot to it.
    ///
    /// # Errors
    /// The work itself where the model has no share left for it.
    pub(super) fn push(&mut self, model: &str, weight: u32, new: New<T>) -> Result<Vec<T>, T> {
        let displaced = if self.fits(new.size) {
            Vec::new()
        } else {
            match self.make_room(model, weight, new.size) {
                Some(displaced) => displaced,
                None => return Err(new.item),
            }
        };
        let now = self.now;
        let flow = match self.flows.get_mut(model) {
            Some(flow) => flow,
            None => self.admit(model, weight),
        };
        if flow.count == 0 {
            flow.clock = flow.clock.max(now);
        }
        let level = new.level.min(LEVELS - 1);
        let rank = new.at + AGEING * u32::try_from(level).unwrap_or(0);
        flow.levels[level].push_back(Waiting { item: new.item, size: new.size, rank });
        flow.count += 1;
        flow.bytes += new.size;
        self.count += 1;
        self.bytes += new.size;
        Ok(displaced)
    }

    /// The next work of the models that `may` be served, with their turn.
    pub(super) fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<(Turn, T)> {
        let waiting = self.flows.iter().filter(|(model, flow)| flow.count > 0 && may(model));
        let firsts = waiting.filter_map(|(model, flow)| Some((flow.clock, flow.first()?.1, model)));
        let model = Arc::clone(firsts.min()?.2);
        let flow = self.flows.get_mut(&model)?;
        let (level, _) = flow.first()?;
        let Waiting { item, size, .. } = flow.levels[level].pop_front()?;
        self.now = self.now.max(flow.clock);
        let charged = flow.mean;
        flow.clock = flow.clock.after(charged, flow.weight);
        flow.running += 1;
        flow.left(size);
        self.top = self.top.max(flow.clock);
        self.running += 1;
        self.count -= 1;
        self.bytes -= size;
        Some((Turn { model, charged }, item))
    }

    /// Takes more work for a turn: what is `wanted`, in order.
    pub(super) fn take(&mut self, turn: &Turn, mut wanted: impl FnMut(&T) -> bool, mut taken: impl FnMut(T)) {
        let Some(flow) = self.flows.get_mut(&turn.model) else { return };
        for level in 0..LEVELS {
            let mut index = 0;
            while index < flow.levels[level].len().min(LOOK_AHEAD) {
                let is_wanted = flow.levels[level].get(index).is_some_and(|waiting| wanted(&waiting.item));
                if is_wanted && let Some(Waiting { item, size, .. }) = flow.levels[level].remove(index) {
                    flow.left(size);
                    self.count -= 1;
                    self.bytes -= size;
                    taken(item);
                } else {
                    index += 1;
                }
            }
        }
    }

    /// Charges a turn that has taken `spent` so far and is not at its end.
    pub(super) fn charge(&mut self, turn: &mut Turn, spent: Duration) {
        let spent = spent.min(MAX_CHARGE);
        if spent <= turn.charged {
            return;
        }
        if let Some(flow) = self.flows.get_mut(&turn.model) {
            flow.clock = flow.clock.after(spent.saturating_sub(turn.charged), flow.weight);
            self.top = self.top.max(flow.clock);
            turn.charged = spent;
        }
    }

    /// Ends a turn, which took `spent`.
    pub(super) fn finish(&mut self, mut turn: Turn, spent: Duration) {
        let spent = spent.min(MAX_CHARGE);
        self.charge(&mut turn, spent);
        if let Some(flow) = self.flows.get_mut(&turn.model) {
            flow.clock = flow.clock.before(turn.charged.saturating_sub(spent), flow.weight);
            flow.mean = (flow.mean * 7 + spent) / 8;
            flow.running -= 1;
        }
        self.running -= 1;
        if self.running == 0 && self.count == 0 {
            // Nobody waited for what anybody had too much.
            self.now = self.top;
        }
    }

    fn fits(&self, size: usize) -> bool {
        // One large piece is let in where nothing else waits.
        self.count < self.capacity.slots && (self.bytes == 0 || self.bytes.saturating_add(size) <= self.capacity.bytes)
    }

    fn admit(&mut self, model: &str, weight: u32) -> &mut Flow<T> {
        if self.flows.len() >= MAX_IDLE {
            let now = self.now;
            self.flows.retain(|_, flow| !flow.is_idle() || flow.clock > now);
            if self.flows.len() >= 2 * MAX_IDLE {
                self.flows.retain(|_, flow| !flow.is_idle());
            }
        }
        let now = self.now;
        self.flows.entry(Arc::from(model)).or_insert_with(|| Flow::new(weight, now))
    }

    /// Takes room from the models that have more than their share, if this one has not and they have enough.
    fn make_room(&mut self, model: &str, weight: u32, size: usize) -> Option<Vec<T>> {
        let (count, bytes) = self.flows.get(model).map_or((0, 0), |flow| (flow.count, flow.bytes));
        let others = self.flows.iter().filter(|(name, flow)| flow.count > 0 && &***name != model);
        let weights = others.clone().map(|(_, flow)| u64::from(flow.weight)).sum::<u64>() + u64::from(weight);
        let capacity = self.capacity;
        let share = |whole: usize, weight: u32| {
            let share = whole as u128 * u128::from(weight) / u128::from(weights.max(1));
            usize::try_from(share).unwrap_or(usize::MAX).max(1)
        };
        let within = count < share(capacity.slots, weight)
            && (count == 0 || bytes.saturating_add(size) <= share(capacity.bytes, weight));
        if !within {
            return None;
        }
        let slots_over = |flow: &Flow<T>| flow.count.saturating_sub(share(capacity.slots, flow.weight));
        let bytes_over = |flow: &Flow<T>| flow.bytes.saturating_sub(share(capacity.bytes, flow.weight));
        let slots_short = (self.count + 1).saturating_sub(capacity.slots);
        let bytes_short = self.bytes.saturating_add(size).saturating_sub(capacity.bytes);
        let over = |excess: &dyn Fn(&Flow<T>) -> usize| others.clone().map(|(_, flow)| excess(flow)).sum::<usize>();
        if over(&slots_over) < slots_short || over(&bytes_over) < bytes_short {
            return None;
        }
        let mut displaced = Vec::new();
        while !self.fits(size) {
            let by_slots = self.count >= capacity.slots;
            let over = |flow: &Flow<T>| if by_slots { slots_over(flow) } else { bytes_over(flow) };
            let others = self.flows.iter_mut().filter(|(name, flow)| flow.count > 0 && &***name != model);
            let (_, victim) = others.max_by_key(|(_, flow)| over(flow))?;
            let level = victim.last()?;
            let Waiting { item, size, .. } = victim.levels[level].pop_back()?;
            victim.left(size);
            self.count -= 1;
            self.bytes -= size;
            displaced.push(item);
        }
        Some(displaced)
    }
}

#[cfg(test)]
mod tests;
