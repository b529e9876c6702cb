//! The events that may happen to a model, and random ones.

use proptest::{collection::vec, prelude::*};

/// Sources of the model.
pub(super) const SOURCES: usize = 2;

/// The events. Indices are taken modulo the number of choices.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A source offers these versions: numbers, and which build of each.
    Offer {
        source: usize,
        versions: Vec<(u8, bool)>,
        changed: bool,
    },
    /// A source has nothing of the model any more.
    Withdraw {
        source: usize,
    },
    /// A job gets its memory.
    Reserve(usize),
    /// A job ends.
    End(usize, End),
    /// A resident version is unloaded to make room.
    Evict(usize),
    /// A request names a version, or none.
    Request(Option<u8>),
    Load,
    Unload,
    RollBack,
    Promote,
    Reject,
    /// Seconds pass.
    Wait(u8),
    /// The gateway ends and starts again.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Good,
    /// The source or the machine failed it.
    Later,
    /// Its golden examples, say.
    Never,
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let versions = vec((1..6_u8, any::<bool>()), 0..4);
    let end = prop_oneof![5 => Just(End::Good), 1 => Just(End::Later), 1 => Just(End::Never)];
    prop_oneof![
        5 => (0..SOURCES, versions, any::<bool>()).prop_map(|(source, versions, changed)| {
            Event::Offer { source, versions, changed }
        }),
        1 => (0..SOURCES).prop_map(|source| Event::Withdraw { source }),
        4 => (0..8_usize).prop_map(Event::Reserve),
        12 => (0..8_usize, end).prop_map(|(index, end)| Event::End(index, end)),
        3 => (0..8_usize).prop_map(Event::Evict),
        4 => proptest::option::of(1..6_u8).prop_map(Event::Request),
        1 => Just(Event::Load),
        1 => Just(Event::Unload),
        2 => Just(Event::RollBack),
        2 => Just(Event::Promote),
        1 => Just(Event::Reject),
        3 => (0..90_u8).prop_map(Event::Wait),
        1 => Just(Event::Restart),
    ]
}
