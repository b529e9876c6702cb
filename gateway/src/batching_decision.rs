//! Whether rows of different requests are run together as one batch, decided when a bundle is loaded.
//!
//! A row's answer must not depend on what other callers send at the same time. So rows are joined only if the analysis of
//! the graph finds nothing that lets rows meet, and a trial of the whole chain, modules included, gives every row the same
//! bits in batches of several sizes as alone. Nor are they joined where that is no faster than one row after another.

mod compare;
mod decision;
mod sample;
mod trial;

use std::{fmt, time::Duration};

use modelgate_columns::{Column, Signature};
use serde::{Deserialize, Serialize};

pub use self::{
    decision::{BatchingDecision, Cause},
    trial::decide,
};
use crate::{batching::Batching, generation::Generation, wasm::module::Isolation};

/// The decision of an earlier load of the same bundle.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct EarlierDecision {
    /// The cause of the decision.
    pub cause: Cause,
    /// The same for people.
    pub detail: String,
    /// Rows that are joined at most; 1 if none are.
    pub max_rows: u32,
    /// The kinds of plans that the model had: see [`Model::plan`](modelgate_onnx::Model::plan).
    pub plan: String,
}

/// For people.
impl fmt::Display for EarlierDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&BatchingDecision::new(self.cause, self.detail.as_str()), f)
    }
}

/// The decision about a generation, kept for the next load of its bundle.
impl From<&Generation> for EarlierDecision {
    fn from(generation: &Generation) -> Self {
        Self {
            cause: generation.batching_decision.cause,
            detail: generation.batching_decision.detail.clone(),
            max_rows: generation.batching.max_rows,
            plan: plan(generation),
        }
    }
}

impl EarlierDecision {
    /// Whether each request needs instances of its own.
    pub fn is_stateful(&self) -> bool {
        self.cause == Cause::Stateful
    }

    /// The same decision for another load, without a trial; `None` where the model has other plans than it had, since
    /// those may add up in another order. Nothing is joined that the analysis of this load forbids.
    pub fn again(&self, generation: &Generation, wanted: Batching) -> Option<(BatchingDecision, Batching)> {
        if self.plan != plan(generation) {
            return None;
        }
        let decision = BatchingDecision::new(self.cause, self.detail.clone());
        if !decision.is_on() {
            return Some((decision, Batching::OFF));
        }
        Some(match BatchingDecision::before_trial(generation, wanted) {
            Some(before) => (before, Batching::OFF),
            None => (decision, Batching { max_rows: self.max_rows.min(wanted.max_rows), ..wanted }),
        })
    }
}

fn plan(generation: &Generation) -> String {
    generation.model.as_ref().map(|model| model.plan()).unwrap_or_default()
}

impl BatchingDecision {
    /// The decision that needs no run; `None` if rows may be joined as far as that goes.
    fn before_trial(generation: &Generation, wanted: Batching) -> Option<Self> {
        if let Some(reason) = generation.model.as_ref().and_then(|model| model.rows().reason()) {
            return Some(Self::new(Cause::Dependent, reason));
        }
        if let Some(stage) = stretching(&generation.stages()) {
            let reason = format!("stage '{stage}' makes all rows as long as the longest of them");
            return Some(Self::new(Cause::Dependent, reason));
        }
        if generation.model.as_ref().is_some_and(|model| model.may_wait()) {
            return Some(Self::new(Cause::Untried, "the model needs a plan of its own for each number of rows"));
        }
        if generation.isolation == Isolation::Request {
            return Some(Self::new(Cause::Isolation, "each request has instances of its own"));
        }
        (!wanted.is_on()).then(|| Self::new(Cause::Manifest, "the manifest says so"))
    }
}

/// The stage before others that gives sizes which its inputs do not have, as padded texts do: a row of another request
/// would change what the next stage computes with, and by how much depends on lengths that a trial does not try. What the
/// last stage gives is seen by the trial itself.
fn stretching<'s>(stages: &[(&'s str, &Signature)]) -> Option<&'s str> {
    let is_open = |columns: &[Column]| columns.iter().any(|column| column.inner_shape().iter().any(|dim| *dim < 0));
    let (_, before) = stages.split_last()?;
    before.iter().find(|(_, stage)| is_open(&stage.outputs) && !is_open(&stage.inputs)).map(|(name, _)| *name)
}

/// Milliseconds for people.
fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use modelgate_columns::Datatype;

    use super::*;

    #[test]
    fn rows_are_not_stretched_by_strangers() {
        let side = |shape: &[i64]| vec![Column::new("c", Datatype::I64, shape.to_vec())];
        let stage = |takes: &[i64], gives: &[i64]| Signature { inputs: side(takes), outputs: side(gives) };
        let (pads, keeps, fixed) = (stage(&[-1], &[-1, -1]), stage(&[-1, -1], &[-1, -1]), stage(&[-1], &[-1, 8]));
        let found = |stages: &[&Signature]| {
            let names = ["a", "b", "c"];
            stretching(&names.into_iter().zip(stages.iter().copied()).collect::<Vec<_>>())
        };
        assert_eq!(found(&[&pads, &keeps]), Some("a"));
        assert_eq!(found(&[&fixed, &pads, &keeps]), Some("b"));
        assert_eq!(found(&[&keeps, &keeps]), None, "requests of other sizes do not run together");
        assert_eq!(found(&[&fixed, &keeps]), None);
        assert_eq!(found(&[&pads]), None, "the trial sees the answer's own shape");
        assert_eq!(found(&[]), None);
    }
}
