//! Random sequences of events against the invariants in `README.md`. What a sequence breaks is made as small as it can be.
//!
//! The world around a model (sources, the loader, the local cache, restarts) is simulated; the state, the plan and the way
//! the plan is adopted are the gateway's own.

mod event;
mod world;

use std::{collections::BTreeSet, fmt, time::Duration};

use proptest::{collection::vec, prelude::*, test_runner::Config};

use self::{
    event::{Event, SOURCES, event},
    world::World,
};
use super::{
    residency::{Resident, to_unload},
    version::{Health, Need, VersionId},
};
use crate::config::Gate;

/// Events in one sequence, at most.
const LENGTH: usize = 400;

/// Sequences: a million events.
const SEQUENCES: u32 = 5_000;

/// One event a line, where a sequence breaks something.
#[derive(Clone)]
struct Sequence(Vec<Event>);

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|event| write!(f, "\n    {event:?}"))
    }
}

fn gates() -> impl Strategy<Value = Gate> {
    let gate = |canary, shadow| Gate { canary, shadow, requests: 10, longest: Duration::from_mins(1) };
    prop_oneof![Just(gate(0, 0)), Just(gate(100, 0)), Just(gate(0, 100))]
}

fn config(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 50_000, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(SEQUENCES))]

    #[test]
    fn the_invariants_hold_whatever_happens(
        gate in gates(),
        lazy_load in any::<bool>(),
        is_chosen in any::<[bool; SOURCES]>(),
        sequence in vec(event(), 1..LENGTH).prop_map(Sequence),
    ) {
        let mut world = World::new(gate, lazy_load, is_chosen);
        for event in &sequence.0 {
            let answer = world.answer();
            let health = |id: &VersionId| world.model.version(id).map(|version| version.health);
            let good: BTreeSet<_> = world.model.versions().keys().filter(|id| health(id) == Some(Health::KnownGood)).cloned().collect();
            world.happens(event);
            world.check();
            world.check_answer(event, answer.as_ref(), |id| good.contains(id));
        }
        world.check_rest();
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn the_budget_holds_where_something_can_be_unloaded(
        residents in vec((0..100_usize, 0..10_usize, proptest::bool::weighted(0.2)), 0..20),
        over in (0..1000_usize, 0..100_usize),
    ) {
        let residents: Vec<_> = residents.into_iter().enumerate().map(|(index, (bytes, instances, is_kept))| Resident {
            model: "m".into(),
            id: index.to_string(),
            takes: Need { bytes, instances },
            used_ms: 100 - index as u64,
            is_kept,
        }).collect();
        let over = Need { bytes: over.0, instances: over.1 };
        let unload = to_unload(residents.clone(), over);
        let sum = |residents: &[Resident]| residents.iter().fold(Need::default(), |sum, resident| sum.and(resident.takes));
        let is_enough = |residents: &[Resident]| sum(residents).bytes >= over.bytes && sum(residents).instances >= over.instances;
        prop_assert!(unload.iter().all(|resident| !resident.is_kept));
        let mut can_go: Vec<_> = residents.into_iter().filter(|resident| !resident.is_kept).collect();
        can_go.reverse();
        prop_assert_eq!(&can_go[..unload.len()], &unload[..], "the longest unused go first");
        prop_assert!(is_enough(&unload) || unload.len() == can_go.len(), "not enough is unloaded");
        prop_assert!(unload.is_empty() || !is_enough(&unload[..unload.len() - 1]), "more is unloaded than needed");
    }
}
