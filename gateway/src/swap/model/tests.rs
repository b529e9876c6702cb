//! What is wanted of a model, and what answers, by what its sources offer and what has become of that.

use super::*;
use crate::release::Content;

fn slot(version: &str) -> Slot {
    Slot::new(Release {
        model: "m".into(),
        version: version.into(),
        id: version.into(),
        source: 0,
        content: Content::Demo,
    })
}

fn offer(ids: &[&str], is_chosen: bool) -> Offered {
    Offered { ids: ids.iter().map(|&id| id.to_owned()).collect(), is_chosen }
}

fn model(offered: &[&str]) -> Model {
    let mut model = Model::default();
    model.offers.insert(1, offer(offered, false));
    model.slots = offered.iter().map(|&id| (id.to_owned(), slot(id))).collect();
    model
}

#[test]
fn a_hopeless_release_is_passed_over() {
    let mut model = model(&["3", "2"]);
    assert_eq!(model.candidate(None).as_deref(), Some("3"));
    let failed = SlotState::Failed { reason: "bad".into(), retry_at: None };
    model.slots.get_mut("3").expect("there").state = failed;
    assert_eq!(model.candidate(None).as_deref(), Some("2"));
    assert_eq!(model.candidate(Some("3")).as_deref(), Some("3"), "its own reason is told");
    assert_eq!(model.candidate(Some("9")), None);
}

#[test]
fn others_serve_only_where_all_that_is_wanted_fails() {
    let mut model = model(&["3"]);
    model.slots.insert("2".into(), slot("2"));
    model.spare.push("2".into());
    assert!(!model.is_let_down());
    assert_eq!(model.candidate(None).as_deref(), Some("3"));
    let wanted = model.slots.get_mut("3").expect("there");
    wanted.state = SlotState::Failed { reason: "bad".into(), retry_at: None };
    assert!(model.is_let_down());
    assert_eq!(model.candidate(None).as_deref(), Some("2"));
    assert_eq!(model.candidate(Some("2")), None, "the policy does not want it");
    assert_eq!(model.fallback("3").as_deref(), Some("2"));
    assert!(model.forgettable().is_empty());
    // Tried again, it is not good yet.
    let wanted = model.slots.get_mut("3").expect("there");
    (wanted.state, wanted.failures) = (SlotState::Idle, 1);
    assert!(model.is_let_down());
}

#[test]
fn of_several_sources_the_newest_is_preferred() {
    let mut model = model(&["9"]);
    model.slots.extend(["10", "2", "4", "12"].map(|id| (id.to_owned(), slot(id))));
    model.offers.insert(2, offer(&["12"], true));
    model.offers.insert(3, offer(&["10", "2"], false));
    assert_eq!(model.wanted(), ["10", "9", "2", "12"], "an alias after the others");
    model.offers.insert(0, offer(&["4"], true));
    assert_eq!(model.wanted(), ["4", "10", "9", "2", "12"], "one named before them");
    assert_eq!(model.offered_first().map(String::as_str), Some("4"));
}

#[test]
fn going_back_holds_until_something_else_is_offered() {
    let mut model = model(&["3"]);
    model.slots.insert("2".into(), slot("2"));
    model.rolled_back = Some(("3".into(), "2".into()));
    assert_eq!(model.wanted(), ["2"]);
    model.rolled_back = None;
    assert_eq!(model.wanted(), ["3"]);
}

#[test]
fn what_nobody_offers_is_forgotten_but_for_the_last_good_one() {
    let mut model = model(&["3"]);
    for id in ["1", "2"] {
        model.slots.insert(id.into(), slot(id));
    }
    model.good = Some("2".into());
    assert_eq!(model.forgettable(), ["1"]);
    assert!(!model.is_gone());
    model.offers.clear();
    assert!(model.is_gone());
}
