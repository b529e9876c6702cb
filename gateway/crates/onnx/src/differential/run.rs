//! One graph through the crate's own door: [`Model`] and its session.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::super::columns::{self, Layout};
use super::super::plan::{into_typed, optimized};
use super::super::{Model, ModelLimits, Session, read};
use super::compare::difference;
use super::file::{Graph, Set};

/// What became of a case.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Equal,
    /// Equal but for values that do not count, for a reason.
    Exempt(String),
    /// The graph is refused.
    Refused(String),
    /// It failed on inputs that ONNX Runtime answers.
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

/// Something that answers.
#[expect(clippy::large_enum_variant, reason = "there is one")]
enum Ready {
    Rows(Session),
    Tensors(Arc<TypedRunnableModel>),
}

fn prepare(graph: &Graph) -> Result<Ready, Outcome> {
    if graph.rows {
        let loaded = Model::load(&graph.model, &ModelLimits::default());
        return match loaded {
            Ok(model) => Ok(Ready::Rows(Arc::new(model).session())),
            Err(error) if error.to_string().contains("panicked") => Err(Outcome::Panicked),
            Err(error) => Err(Outcome::Refused(error.to_string())),
        };
    }
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        let (mut model, _) =
            read(graph.model.clone(), BTreeMap::new(), &ModelLimits::default()).map_err(|error| error.to_string())?;
        let text = |error: TractError| format!("{error:#}");
        for (place, input) in graph.sets[0].inputs.iter().enumerate() {
            let fact = InferenceFact::dt_shape(input.datum_type(), input.shape());
            model.set_input_fact(place, fact).map_err(text)?;
        }
        let model = into_typed(model).and_then(optimized).map_err(text)?;
        model.into_runnable().map_err(text)
    }));
    match loaded {
        Ok(Ok(plan)) => Ok(Ready::Tensors(plan)),
        Ok(Err(error)) => Err(Outcome::Refused(error)),
        Err(_) => Err(Outcome::Panicked),
    }
}

impl Ready {
    fn answer(&mut self, set: &Set) -> Result<Vec<Tensor>, Outcome> {
        match self {
            Self::Rows(session) => {
                let layout = session.layout();
                let rows = if layout == Layout::Rows { set.inputs[0].shape()[0] as u32 } else { 1 };
                let inputs: Vec<TValue> = set.inputs.iter().map(|input| input.clone().into_tvalue()).collect();
                let failed = |error: &dyn ToString| match error.to_string() {
                    text if text.contains("panicked") => Outcome::Panicked,
                    text => Outcome::Failed(text),
                };
                let signature = session.signature().clone();
                let words = columns::pack(&signature.inputs, layout, rows, &inputs).map_err(|error| failed(&error))?;
                let words = session.compute(rows, &words, None).map_err(|error| failed(&error))?;
                let outputs =
                    columns::unpack(&signature.outputs, layout, rows, &words).map_err(|error| failed(&error))?;
                Ok(outputs.into_iter().map(TValue::into_tensor).collect())
            }
            Self::Tensors(plan) => {
                let inputs = set.inputs.iter().map(|input| input.clone().into_tvalue()).collect();
                match catch_unwind(AssertUnwindSafe(|| plan.run(inputs))) {
                    Ok(Ok(outputs)) => Ok(outputs.into_iter().map(TValue::into_tensor).collect()),
                    Ok(Err(error)) => Err(Outcome::Failed(format!("{error:#}"))),
                    Err(_) => Err(Outcome::Panicked),
                }
            }
        }
    }

    fn judge(&mut self, set: &Set) -> Outcome {
        let Some(expected) = &set.answer else { return Outcome::Unanswered };
        let outputs = match self.answer(set) {
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
}

/// The outcome of each set of a graph.
pub(super) fn run(graph: &Graph) -> Vec<Outcome> {
    let answered = graph.sets.iter().map(|set| set.answer.is_some());
    match prepare(graph) {
        Ok(mut ready) => graph.sets.iter().map(|set| ready.judge(set)).collect(),
        Err(outcome) => answered.map(|is| if is { outcome.clone() } else { Outcome::Unanswered }).collect(),
    }
}
