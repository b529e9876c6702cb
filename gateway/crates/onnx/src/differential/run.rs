//! One graph through the crate's own door: [`Model`] and its session.

use std::collections::BTreeMap;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::super::columns::{self, Layout};
use super::super::{Mode, Model, ModelLimits, Session};
use super::compare::difference;
use super::file::{Graph, Set};

/// The result of a case.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Equal,
    /// Equal but for values that do not count, for a reason.
    Exempt(String),
    /// The graph is refused.
    Refused(String),
    /// The model failed on inputs that ONNX Runtime answers.
    Failed(String),
    Different(String),
    Panicked,
    /// Nothing to compare with: ONNX Runtime refuses the inputs.
    Unanswered,
}

impl Outcome {
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Self::Failed(text) => Some(format!("fails: {text}")),
            Self::Different(text) => Some(text.clone()),
            Self::Panicked => Some("a panic".to_owned()),
            _ => None,
        }
    }
}

/// The graph as users load it: as a table, or as tensors where all sizes are given.
fn prepare(graph: &Graph) -> Result<Session, Outcome> {
    let mode = if graph.rows { Mode::Auto } else { Mode::Tensors };
    match Model::load_as(mode, graph.model.clone(), BTreeMap::new(), &ModelLimits::default()) {
        Ok(model) => Ok(Arc::new(model).session()),
        Err(error) if error.to_string().contains("panicked") => Err(Outcome::Panicked),
        Err(error) => Err(Outcome::Refused(error.to_string())),
    }
}

fn failed(error: &dyn ToString) -> Outcome {
    match error.to_string() {
        text if text.contains("panicked") => Outcome::Panicked,
        text => Outcome::Failed(text),
    }
}

fn answer(session: &mut Session, set: &Set) -> Result<Vec<Tensor>, Outcome> {
    let layout = session.layout();
    let rows = if layout == Layout::Rows { set.inputs[0].shape()[0] as u32 } else { 1 };
    let inputs: Vec<TValue> = set.inputs.iter().map(|input| input.clone().into_tvalue()).collect();
    let signature = session.signature().clone();
    let words = columns::pack(&signature.inputs, layout, rows, &inputs).map_err(|error| failed(&error))?;
    let words = session.compute(rows, &words, None).map_err(|error| failed(&error))?;
    let outputs = columns::unpack(&signature.outputs, layout, rows, &words).map_err(|error| failed(&error))?;
    Ok(outputs.into_iter().map(TValue::into_tensor).collect())
}

fn judge(session: &mut Session, set: &Set) -> Outcome {
    let outcome = answer(session, set);
    let Some(expected) = &set.answer else {
        return if let Err(Outcome::Panicked) = outcome { Outcome::Panicked } else { Outcome::Unanswered };
    };
    let outputs = match outcome {
        Ok(outputs) => outputs,
        Err(outcome) => return outcome,
    };
    if outputs.len() != expected.len() {
        return Outcome::Different(format!("{} outputs for {}", outputs.len(), expected.len()));
    }
    let found = outputs.iter().zip(expected).find_map(|(ours, theirs)| difference(ours, theirs));
    match found {
        Some(text) => Outcome::Different(text),
        None if set.exempt.is_empty() => Outcome::Equal,
        None => Outcome::Exempt(set.exempt.clone()),
    }
}

/// The outcome of each set of a graph.
pub(super) fn run(graph: &Graph) -> Vec<Outcome> {
    let answered = graph.sets.iter().map(|set| set.answer.is_some());
    match prepare(graph) {
        Ok(mut session) => graph.sets.iter().map(|set| judge(&mut session, set)).collect(),
        Err(outcome) => answered.map(|is| if is { outcome.clone() } else { Outcome::Unanswered }).collect(),
    }
}
