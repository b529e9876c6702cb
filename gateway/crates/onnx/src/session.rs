//! A worker's own state of a model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use modelgate_columns::Signature;
use tract_onnx::tract_hir::internal::{
    TValue, TVec, Tensor, TractError, TractResult, TypedSimpleState, ensure, tract_core,
};

use super::columns;
use super::error::ComputeError;
use super::ops::InvalidValue;
use super::plan::{Plans, RunnablePlan, brief};

/// Runs a model, and keeps what can be kept from one run to the next.
#[derive(Debug)]
pub struct Session {
    plans: Arc<Plans>,
    many: Option<TypedSimpleState>,
    one: Option<TypedSimpleState>,
}

impl Session {
    pub(super) fn new(plans: Arc<Plans>) -> Self {
        Self { plans, many: None, one: None }
    }

    /// The model's inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.plans.signature
    }

    /// Runs the model on packed inputs in the signature's order; gives packed outputs. The deadline is looked at between
    /// the nodes of the graph.
    pub fn compute(&mut self, rows: u32, inputs: &[u64], deadline: Option<Instant>) -> Result<Vec<u64>, ComputeError> {
        let tensors = columns::unpack(&self.plans.signature.inputs, rows, inputs)?;
        if rows == 0 {
            return columns::pack_none(&self.plans.signature.outputs);
        }
        // What a panic leaves behind is thrown away below, with the states.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let outputs = self.run(rows, tensors, deadline)?;
            columns::pack(&self.plans.signature.outputs, rows, &outputs)
        }));
        let outcome = outcome.unwrap_or_else(|_| Err(ComputeError::Model("it panicked".into())));
        if outcome.is_err() {
            (self.many, self.one) = (None, None);
        }
        outcome.map_err(|error| located(error, &self.plans.signature, rows))
    }

    fn run(
        &mut self,
        rows: u32,
        inputs: TVec<TValue>,
        deadline: Option<Instant>,
    ) -> Result<TVec<TValue>, ComputeError> {
        match (&self.plans.many, &self.plans.one) {
            (Some(many), None) => run(&mut self.many, many, inputs, deadline),
            (Some(many), Some(_)) if rows > 1 => run(&mut self.many, many, inputs, deadline),
            (_, Some(one)) if rows == 1 => run(&mut self.one, one, inputs, deadline),
            (_, Some(one)) => run_each(&mut self.one, one, rows, &inputs, deadline),
            (None, None) => Err(ComputeError::Model("it has no plan".into())),
        }
    }
}

/// Why a run ended early: the caller's values, as far as an operator tells, or the model.
fn failed(error: &TractError) -> ComputeError {
    match error.downcast_ref::<InvalidValue>() {
        Some(invalid) => ComputeError::Invalid {
            column: invalid.column.clone(),
            row: invalid.row.and_then(|(row, _)| u32::try_from(row).ok()),
            message: invalid.to_string(),
        },
        None => ComputeError::Model(brief(error)),
    }
}

/// Names only columns of the signature, and only rows of the batch.
fn located(error: ComputeError, signature: &Signature, rows: u32) -> ComputeError {
    let ComputeError::Invalid { column, row, message } = error else { return error };
    let column = column.filter(|name| signature.inputs.iter().any(|column| column.name == *name));
    let row = row.filter(|&row| row < rows && column.is_some());
    ComputeError::Invalid { column, row, message }
}

fn run(
    state: &mut Option<TypedSimpleState>,
    plan: &RunnablePlan,
    inputs: TVec<TValue>,
    deadline: Option<Instant>,
) -> Result<TVec<TValue>, ComputeError> {
    let fail = |error: TractError| ComputeError::Model(brief(&error));
    let running = match state {
        Some(running) => running,
        None => state.insert(plan.spawn().map_err(fail)?),
    };
    let mut late = false;
    let outputs = match deadline {
        None => running.run(inputs),
        Some(deadline) => running.run_plan_with_eval(inputs, |context, state, node, inputs| {
            late = Instant::now() >= deadline;
            ensure!(!late, "the deadline passed");
            tract_core::plan::eval(context, state, node, inputs)
        }),
    };
    // What loops over rows (`Scan`, `GRU`, …) goes on from where it was, as for a stream of which each run is a part. Here
    // no request may see anything of the one before.
    if running.op_states.iter().any(Option::is_some) {
        *state = None;
    }
    outputs.map_err(|error| if late { ComputeError::Deadline } else { failed(&error) })
}

/// Row by row, for a graph that takes no batches.
fn run_each(
    state: &mut Option<TypedSimpleState>,
    plan: &RunnablePlan,
    rows: u32,
    inputs: &[TValue],
    deadline: Option<Instant>,
) -> Result<TVec<TValue>, ComputeError> {
    let fail = |error: TractError| ComputeError::Model(brief(&error));
    let mut gathered: Vec<Vec<TValue>> = Vec::new();
    for row in 0..rows as usize {
        let slices = inputs.iter().map(|tensor| Ok(tensor.slice(0, row, row + 1)?.into()));
        let outputs = run(state, plan, slices.collect::<TractResult<_>>().map_err(fail)?, deadline);
        let outputs = outputs.map_err(|error| match error {
            ComputeError::Invalid { column, row: Some(0), message } => {
                ComputeError::Invalid { column, row: u32::try_from(row).ok(), message }
            }
            other => other,
        })?;
        gathered.resize(outputs.len(), Vec::new());
        gathered.iter_mut().zip(outputs).for_each(|(column, output)| column.push(output));
    }
    gathered.iter().map(|column| Ok(Tensor::stack_tensors(0, column).map_err(fail)?.into())).collect()
}
