//! The requests that one I/O thread is about to run itself, by model: served in turn by weight and measured time, as
//! [`FairQueue`](super::fair_queue::FairQueue) does for the workers, so that a flood of one model delays no other that is read by
//! the same thread.
//!
//! Where work of one model alone waits, as it nearly always does, nothing is accounted. Pure decisions: no clock.

use std::{collections::VecDeque, time::Duration};

use super::fair_queue::Virtual;

/// Models without work that are kept.
const MAX_IDLE: usize = 32;

/// Groups that are looked at for one that takes another piece of work.
const LOOK_BACK: usize = 16;

struct Lane<T> {
    model: String,
    weight: u32,
    clock: Virtual,
    groups: VecDeque<T>,
}

/// Groups of work, in order for each model.
pub(super) struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    /// Lanes with work.
    busy: usize,
    now: Virtual,
    top: Virtual,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { lanes: Vec::new(), busy: 0, now: Virtual::default(), top: Virtual::default() }
    }
}

impl<T> Lanes<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.busy == 0
    }

    /// Groups that wait of a model.
    pub(super) fn waiting(&self, model: &str) -> usize {
        self.lanes.iter().find(|lane| lane.model == model).map_or(0, |lane| lane.groups.len())
    }

    /// Adds an item to the newest group of its model that it `fits`, else begins one. `weight` is asked for a model that
    /// has had no work for a while.
    pub(super) fn put<I>(
        &mut self,
        item: I,
        model: impl Fn(&I) -> &str,
        weight: impl FnOnce(&str) -> u32,
        fits: impl Fn(&T, &I) -> bool,
        add: impl FnOnce(&mut T, I),
        begin: impl FnOnce(I) -> T,
    ) {
        let (name, now) = (model(&item), self.now);
        let index = match self.lanes.iter().position(|lane| lane.model == name) {
            Some(index) => index,
            None => self.admit(name, weight(name)),
        };
        let lane = &mut self.lanes[index];
        if lane.groups.is_empty() {
            lane.clock = lane.clock.max(now);
            self.busy += 1;
        }
        match lane.groups.iter_mut().rev().take(LOOK_BACK).find(|group| fits(group, &item)) {
            Some(group) => add(group, item),
            None => lane.groups.push_back(begin(item)),
        }
    }

    /// The next group, and whose it is: for [`charge`](Self::charge).
    pub(super) fn next(&mut self) -> Option<(usize, T)> {
        let busy = self.lanes.iter().enumerate().filter(|(_, lane)| !lane.groups.is_empty());
        let (index, _) = busy.min_by_key(|(_, lane)| lane.clock)?;
        let lane = &mut self.lanes[index];
        let group = lane.groups.pop_front()?;
        self.now = self.now.max(lane.clock);
        if lane.groups.is_empty() {
            self.busy -= 1;
        }
        Some((index, group))
    }

    /// Charges the model whose group was the last [`next`](Self::next) one, unless no other model waits.
    pub(super) fn charge(&mut self, index: usize, spent: Duration) {
        if self.busy == 0 {
            // Nobody waited for what anybody had too much.
            self.now = self.top;
        } else if let Some(lane) = self.lanes.get_mut(index)
            && (self.busy > 1 || lane.groups.is_empty())
        {
            lane.clock = lane.clock.after(spent, lane.weight);
            self.top = self.top.max(lane.clock);
        }
    }

    fn admit(&mut self, model: &str, weight: u32) -> usize {
        if self.lanes.len() >= self.busy + MAX_IDLE {
            self.lanes.retain(|lane| !lane.groups.is_empty());
        }
        self.lanes.push(Lane { model: model.to_owned(), weight, clock: self.now, groups: VecDeque::new() });
        self.lanes.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(lanes: &mut Lanes<(usize, u64)>, model: usize, weight: u32, cost: u64) {
        let item = (format!("model-{model}"), (model, cost));
        lanes.put(item, |item| &item.0, |_| weight, |_, _| false, |_, _| {}, |item| item.1);
    }

    fn run(lanes: &mut Lanes<(usize, u64)>, served: &mut [u64]) -> Option<usize> {
        let (index, (model, cost)) = lanes.next()?;
        lanes.charge(index, Duration::from_micros(cost));
        served[model] += cost;
        Some(model)
    }

    #[test]
    fn a_flood_of_one_model_delays_no_other() {
        let (mut lanes, mut served) = (Lanes::default(), [0; 2]);
        for _ in 0..1_000 {
            put(&mut lanes, 0, 1, 90);
        }
        for _ in 0..500 {
            run(&mut lanes, &mut served).expect("work");
        }
        put(&mut lanes, 1, 1, 10);
        assert!((0..2).any(|_| run(&mut lanes, &mut served) == Some(1)), "{served:?}");
    }

    #[test]
    fn models_share_a_thread_by_their_weights() {
        for (weights, costs) in [([1, 1], [90, 10]), ([3, 1], [10, 10]), ([1, 5], [70, 30])] {
            let (mut lanes, mut served) = (Lanes::default(), [0; 2]);
            for _ in 0..2_000 {
                for model in 0..2 {
                    put(&mut lanes, model, weights[model], costs[model]);
                }
                run(&mut lanes, &mut served).expect("work");
            }
            let per_weight = [0, 1].map(|model| served[model] / u64::from(weights[model]));
            assert!(per_weight[0].abs_diff(per_weight[1]) <= 200, "{served:?} of weights {weights:?}");
        }
    }

    #[test]
    fn it_is_never_idle_while_work_waits_and_keeps_little() {
        let (mut lanes, mut served) = (Lanes::default(), vec![0; 1_000]);
        for model in 0..1_000 {
            put(&mut lanes, model, 1, 10);
            put(&mut lanes, model, 1, 10);
            assert!(!lanes.is_empty());
            run(&mut lanes, &mut served).expect("work");
        }
        while run(&mut lanes, &mut served).is_some() {}
        assert!(lanes.is_empty() && served.iter().all(|&time| time == 20));
        put(&mut lanes, 0, 1, 10);
        put(&mut lanes, 1_001, 1, 10);
        assert!(lanes.lanes.len() <= MAX_IDLE + 2, "{}", lanes.lanes.len());
    }

    #[test]
    fn what_fits_goes_together() {
        let mut lanes: Lanes<Vec<u32>> = Lanes::default();
        for item in [1, 2, 3, 11, 4, 12] {
            let fits = |group: &Vec<u32>, item: &u32| group[0] / 10 == item / 10 && group.len() < 3;
            lanes.put(item, |_| "m", |_| 1, fits, Vec::push, |item| vec![item]);
        }
        assert_eq!(lanes.waiting("m"), 3);
        let mut groups = Vec::new();
        while let Some((index, group)) = lanes.next() {
            lanes.charge(index, Duration::from_micros(1));
            groups.push(group);
        }
        assert_eq!(groups, [vec![1, 2, 3], vec![11, 12], vec![4]]);
    }
}
