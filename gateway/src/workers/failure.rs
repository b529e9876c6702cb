//! The failures of runs, as their callers hear of them; what the caller need not know is counted and logged.

use crate::{
    error::Error,
    generation::Generation,
    tensor::Batch,
    wasm::{
        contract::Problem,
        instance::{ChainError, TrapCause},
    },
};

/// A request that takes this share of a limit with its own columns leaves a module too little for what it makes of them.
const LARGE_SHARE: usize = 8;

/// Rows of a request that may be too large whatever its columns take: modules widen them.
const MANY_ROWS: u32 = 16;

/// The limit that a large request exceeded by its size: that is not the module's fault.
fn outgrown(cause: TrapCause, generation: &Generation, batch: &Batch) -> Option<(&'static str, usize)> {
    let limit = match cause {
        TrapCause::Memory => ("memory", generation.limits.memory),
        TrapCause::HostCallBytes => ("host_call_bytes", generation.limits.host_call_bytes),
        _ => return None,
    };
    let is_large = batch.rows >= MANY_ROWS || batch.size() >= limit.1 / LARGE_SHARE;
    is_large.then_some(limit)
}

/// A problem's column is one that the caller sent: a column that a stage made of others stands in the message instead.
fn name_own_column(problem: &mut Problem, generation: &Generation) {
    let is_own = |name: &String| generation.signature.inputs.iter().any(|column| column.name == *name);
    if let Some(inner) = problem.column.take_if(|name| !is_own(name)) {
        problem.message = format!("the model's input '{inner}': {}", problem.message);
    }
}

/// Counts and logs what the caller need not know.
pub(super) fn explain(error: ChainError, generation: &Generation, batch: &Batch) -> Error {
    let model = generation.name.as_str();
    if let ChainError::Trap { cause, detail } = &error
        && let Some((limit, most)) = outgrown(*cause, generation, batch)
    {
        let (rows, bytes) = (batch.rows, batch.size());
        tracing::info!(model, rows, bytes, limit, detail, "a request is too large for its model's limits");
        return Error::TooLarge(format!(
            "{rows} rows at once are too many: the model needs more for them than its limits.{limit} of {most} bytes; send \
             fewer, or raise the limit in the bundle"
        ));
    }
    match error {
        ChainError::Invalid(mut problems) => {
            for problem in &mut problems {
                name_own_column(problem, generation);
            }
            Error::Problems(problems)
        }
        ChainError::Trap { cause: TrapCause::Deadline, .. } => {
            generation.metrics.trapped(TrapCause::Deadline);
            generation.deadline_passed()
        }
        ChainError::Trap { cause: TrapCause::Cancelled, .. } => {
            generation.metrics.trapped(TrapCause::Cancelled);
            // Nobody gets it.
            generation.deadline_passed()
        }
        ChainError::Trap { cause, detail } => {
            generation.metrics.trapped(cause);
            tracing::warn!(model, %cause, detail, "a module ended early");
            Error::Trapped(cause)
        }
        ChainError::Failed(message) => {
            tracing::warn!(model, message, "a module or the model failed");
            Error::Internal
        }
        ChainError::Start(message) => {
            tracing::error!(model, message, "no instance could be started");
            Error::Internal
        }
    }
}
