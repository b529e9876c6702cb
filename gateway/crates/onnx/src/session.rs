//! A worker's own state of a model.

use std::sync::Arc;
use std::time::Instant;

use modelgate_columns::{Column, LayoutError, Signature};
use tract_onnx::tract_hir::internal::{TValue, TVec, Tensor, TractError, TractResult, TypedSimpleState};

use super::booster::Served;
use super::columns::{self, Layout};
use super::error::ComputeError;
use super::failure::brief;
use super::footprint::{Bounds, Late, TooMuch, Watch};
use super::guard::guarded;
use super::ops::InvalidValue;
use super::plan::RunnablePlan;
use super::plans::Plans;
use super::rows::RowDependence;
use super::sized::Wait;

/// Runs a model, and keeps what can be kept from one run to the next.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Graph(Box<GraphSession>),
    Booster(Arc<Served>),
}

impl Session {
    pub(super) fn of_graph(plans: Arc<Plans>) -> Self {
        Self { engine: Engine::Graph(Box::new(GraphSession::new(plans))) }
    }

    pub(super) fn of_booster(served: Arc<Served>) -> Self {
        Self { engine: Engine::Booster(served) }
    }

    /// The model's inputs and outputs.
    pub fn signature(&self) -> &Signature {
        match &self.engine {
            Engine::Graph(session) => &session.plans.signature,
            Engine::Booster(served) => &served.signature,
        }
    }

    /// The layout of tensors in the packed columns.
    #[cfg(test)]
    pub(super) fn layout(&self) -> Layout {
        match &self.engine {
            Engine::Graph(session) => session.plans.layout,
            Engine::Booster(_) => Layout::Rows,
        }
    }

    /// Runs the model on packed inputs in the signature's order; gives packed outputs. The deadline is looked at between
    /// the nodes of the graph, and between blocks of rows of a booster.
    pub fn compute(&mut self, rows: u32, inputs: &[u64], deadline: Option<Instant>) -> Result<Vec<u64>, ComputeError> {
        match &mut self.engine {
            Engine::Graph(session) => session.compute(rows, inputs, deadline),
            Engine::Booster(served) => served.compute(rows, inputs, deadline),
        }
    }
}

/// Runs a graph.
#[derive(Debug)]
struct GraphSession {
    plans: Arc<Plans>,
    many: Running,
    one: Running,
    /// Of the plan for concrete sizes that ran last. It outlives the plan's place among those that the model keeps.
    sized: Option<(RunnablePlan, Running)>,
    /// The most rows that may fit into the memory of one run.
    most: u32,
}

/// One plan's state in one session.
#[derive(Debug, Default)]
struct Running {
    state: Option<TypedSimpleState>,
    watch: Watch,
}

impl GraphSession {
    fn new(plans: Arc<Plans>) -> Self {
        Self { plans, many: Running::default(), one: Running::default(), sized: None, most: u32::MAX }
    }

    fn compute(&mut self, rows: u32, inputs: &[u64], deadline: Option<Instant>) -> Result<Vec<u64>, ComputeError> {
        let plans = Arc::clone(&self.plans);
        let layout = plans.layout;
        if layout == Layout::Whole && rows != 1 {
            let message = format!("the model takes one set of tensors at a time, got {rows}");
            return Err(LayoutError { column: String::new(), message }.into());
        }
        let tensors = columns::unpack(&plans.signature.inputs, layout, rows, inputs)?;
        if rows == 0 {
            return columns::pack_none(&plans.signature.outputs);
        }
        // What a panic leaves behind is thrown away below, with the states.
        let outcome = guarded(|| {
            let outputs = self.run_within(rows, tensors, deadline);
            Ok(outputs.and_then(|outputs| columns::pack(&plans.signature.outputs, layout, rows, &outputs)))
        });
        let outcome = outcome.unwrap_or_else(|panic| Err(failed(&panic)));
        let outcome = match (layout, outcome) {
            // The plans ran on sizes that fit when the model was loaded.
            (Layout::Whole, Err(ComputeError::Model(problem))) => {
                Err(ComputeError::invalid(format!("the model cannot take these tensors together: {problem}")))
            }
            (Layout::Rows, Err(ComputeError::Model(problem))) if plans.leaves_sizes_open() => {
                Err(ComputeError::invalid(format!("the model cannot take tensors of these sizes: {problem}")))
            }
            (_, outcome) => outcome,
        };
        if outcome.is_err() {
            (self.many.state, self.one.state, self.sized) = (None, None, None);
        }
        outcome.map_err(|error| located(error, &self.plans.signature, rows))
    }

    /// At once where that takes no more memory than one run may, else in parts if no row depends on others.
    fn run_within(
        &mut self,
        rows: u32,
        inputs: TVec<TValue>,
        deadline: Option<Instant>,
    ) -> Result<TVec<TValue>, ComputeError> {
        let plans = &self.plans;
        let is_divisible = rows > 1 && plans.layout == Layout::Rows && plans.rows == RowDependence::Independent;
        if !is_divisible || self.many.watch.has_passed(rows as usize) {
            return self.run(rows, inputs, deadline);
        }
        if rows <= self.most {
            match self.run(rows, inputs.clone(), deadline) {
                Err(ComputeError::Memory(_)) => self.most = rows / 2,
                outcome => return outcome,
            }
        }
        self.run_parts(rows, &inputs, deadline)
    }

    fn run(
        &mut self,
        rows: u32,
        inputs: TVec<TValue>,
        deadline: Option<Instant>,
    ) -> Result<TVec<TValue>, ComputeError> {
        if let Some(plan) = self.sized_plan(rows, &inputs, deadline)? {
            return self.run_sized(&plan, inputs, deadline);
        }
        if self.plans.layout == Layout::Rows {
            return self.run_any_size(rows, inputs, deadline);
        }
        let sizes: TVec<usize> = inputs.iter().flat_map(|input| input.shape()).copied().collect();
        let outcome = self.run_any_size(rows, inputs, deadline);
        match (&outcome, &self.plans.sized) {
            // Sizes that each fit by themselves, but not together: the plan for just these tells so.
            (Err(ComputeError::Model(_)), Some(sized)) => match sized.plan(&sizes, Wait::Until(deadline)) {
                Err(error @ ComputeError::Invalid { .. }) => Err(error),
                _ => outcome,
            },
            _ => outcome,
        }
    }

    /// By the plans that take any number of rows, and any sizes.
    fn run_any_size(
        &mut self,
        rows: u32,
        inputs: TVec<TValue>,
        deadline: Option<Instant>,
    ) -> Result<TVec<TValue>, ComputeError> {
        let size = self.size(rows);
        match (&self.plans.many, &self.plans.one) {
            (Some(many), None) => run(&mut self.many, many, size, inputs, deadline),
            (Some(many), Some(_)) if rows > 1 => run(&mut self.many, many, size, inputs, deadline),
            (_, Some(one)) if rows == 1 => run(&mut self.one, one, size, inputs, deadline),
            _ if rows > 1 => self.run_each(rows, &inputs, deadline),
            _ => Err(ComputeError::Model("it has no plan".into())),
        }
    }

    /// The size of a run. Tensors and columns may have sizes of their own.
    fn size(&self, rows: u32) -> Size {
        let is_open = |column: &Column| column.shape.iter().skip(1).any(|&dim| dim < 0);
        if self.plans.layout == Layout::Rows && !self.plans.signature.inputs.iter().any(is_open) {
            Size::Rows(rows as usize)
        } else {
            Size::Open
        }
    }

    /// The plan for the sizes of these inputs, if the model has such plans. Where it has no other, this waits for one.
    fn sized_plan(
        &self,
        rows: u32,
        inputs: &[TValue],
        deadline: Option<Instant>,
    ) -> Result<Option<RunnablePlan>, ComputeError> {
        let Some(sized) = &self.plans.sized else { return Ok(None) };
        if rows > 1 && self.plans.one_row {
            return Ok(None);
        }
        let has_other = self.plans.many.is_some() || (rows == 1 && self.plans.one.is_some());
        let wait = if has_other { Wait::No } else { Wait::Until(deadline) };
        let sizes: TVec<usize> = inputs.iter().flat_map(|input| input.shape()).copied().collect();
        match sized.plan(&sizes, wait) {
            // What has no plan for so many rows may have one for each of them.
            Err(ComputeError::Invalid { .. }) if rows > 1 && self.plans.layout == Layout::Rows => Ok(None),
            found => found,
        }
    }

    fn run_sized(
        &mut self,
        plan: &RunnablePlan,
        inputs: TVec<TValue>,
        deadline: Option<Instant>,
    ) -> Result<TVec<TValue>, ComputeError> {
        if self.sized.as_ref().is_none_or(|(last, _)| !Arc::ptr_eq(last, plan)) {
            self.sized = Some((Arc::clone(plan), Running::default()));
        }
        let mut none = Running::default();
        let running = self.sized.as_mut().map_or(&mut none, |(_, running)| running);
        // All sizes are those of the plan.
        run(running, plan, Size::Rows(1), inputs, deadline)
    }

    /// Row by row, for a graph that takes no batches.
    fn run_each(
        &mut self,
        rows: u32,
        inputs: &[TValue],
        deadline: Option<Instant>,
    ) -> Result<TVec<TValue>, ComputeError> {
        let mut parts = Parts::default();
        for row in 0..rows {
            let outputs = self.run(1, part(inputs, row, 1)?, deadline).map_err(|error| further(error, row))?;
            parts.push(outputs);
        }
        parts.join()
    }

    /// As many rows at once as fit into the memory of one run.
    fn run_parts(
        &mut self,
        rows: u32,
        inputs: &[TValue],
        deadline: Option<Instant>,
    ) -> Result<TVec<TValue>, ComputeError> {
        let (mut parts, mut row) = (Parts::default(), 0);
        while row < rows {
            let count = self.most.max(1).min(rows - row);
            match self.run(count, part(inputs, row, count)?, deadline) {
                Ok(outputs) => {
                    parts.push(outputs);
                    row += count;
                }
                Err(ComputeError::Memory(_)) if count > 1 => self.most = count / 2,
                Err(error) => return Err(further(error, row)),
            }
        }
        parts.join()
    }
}

/// Outputs of consecutive rows, by column.
#[derive(Default)]
struct Parts(Vec<Vec<TValue>>);

impl Parts {
    fn push(&mut self, outputs: TVec<TValue>) {
        self.0.resize(outputs.len(), Vec::new());
        self.0.iter_mut().zip(outputs).for_each(|(column, output)| column.push(output));
    }

    fn join(self) -> Result<TVec<TValue>, ComputeError> {
        let stacked = self.0.iter().map(|column| Ok(Tensor::stack_tensors(0, column)?.into()));
        stacked.collect::<TractResult<_>>().map_err(|error| failed(&error))
    }
}

/// So many rows of the inputs.
fn part(inputs: &[TValue], row: u32, count: u32) -> Result<TVec<TValue>, ComputeError> {
    let (start, end) = (row as usize, row as usize + count as usize);
    let slices = inputs.iter().map(|tensor| Ok(tensor.slice(0, start, end)?.into()));
    slices.collect::<TractResult<_>>().map_err(|error| failed(&error))
}

/// An error of a part that begins at this row, as one of the whole.
fn further(error: ComputeError, start: u32) -> ComputeError {
    match error {
        ComputeError::Invalid { column, row: Some(row), message } => {
            ComputeError::Invalid { column, row: row.checked_add(start), message }
        }
        other => other,
    }
}

/// Why a run ended early: the caller's values, as far as an operator tells, or the model.
fn failed(error: &TractError) -> ComputeError {
    if error.downcast_ref::<Late>().is_some() {
        return ComputeError::Deadline;
    }
    if let Some(much) = error.downcast_ref::<TooMuch>() {
        return ComputeError::Memory(much.to_string());
    }
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

/// The quantity that the sizes of a run follow from.
#[derive(Clone, Copy, Debug)]
enum Size {
    Rows(usize),
    Open,
}

fn run(
    running: &mut Running,
    plan: &RunnablePlan,
    size: Size,
    inputs: TVec<TValue>,
    deadline: Option<Instant>,
) -> Result<TVec<TValue>, ComputeError> {
    let Running { state, watch } = running;
    let (rows, is_open) = match size {
        Size::Rows(rows) => (rows, false),
        Size::Open => (usize::MAX, true),
    };
    let mut bounds = Bounds::new(deadline, watch.meter(plan, rows, is_open));
    let spawned = match state {
        Some(spawned) => spawned,
        None => state.insert(plan.spawn().map_err(|error| failed(&error))?),
    };
    let outputs =
        spawned.run_plan_with_eval(inputs, |context, state, node, inputs| bounds.eval(context, state, node, inputs));
    // What loops over rows (`Scan`, `GRU`, …) goes on from where it was, as for a stream of which each run is a part. Here
    // no request may see anything of the one before. An error leaves values behind.
    if outputs.is_err() || spawned.op_states.iter().any(Option::is_some) {
        *state = None;
    }
    if outputs.is_ok() {
        watch.pass(rows);
    }
    outputs.map_err(|error| failed(&error))
}
