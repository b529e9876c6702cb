//! The caller's errors. Only looked for once a batch is refused.

use modelgate_module::{Batch, Error, Problem, Values, View};
use tabular_kernel::{Fault, number};

use crate::{
    config::Scalar,
    plan::{Plan, some_of},
};

/// The first value at fault in each column at fault.
#[cold]
pub(crate) fn problems(plan: &Plan, inputs: &Batch<'_>) -> Error {
    let mut problems: Vec<Problem> = Vec::new();
    for (lane, categories) in plan.kernel.lanes.iter().zip(&plan.categories) {
        let (column, view) = (&inputs.columns()[lane.input], &inputs.views()[lane.input]);
        if problems.iter().any(|problem| problem.column.as_ref() == Some(&column.name)) {
            continue;
        }
        if let Some((row, fault)) = plan.kernel.fault(lane, view, plan.single) {
            problems.push(Problem::at(&*column.name, row, message(fault, categories, &shown(view, row))));
        }
    }
    Error::InvalidInput(problems)
}

fn message(fault: Fault, categories: &[Scalar], got: &str) -> String {
    match fault {
        Fault::Nan | Fault::Infinite => format!("expected a finite number, got {got}"),
        Fault::TooLarge => {
            format!("expected a number that the model's precision can hold, got {got}")
        }
        Fault::Unknown => format!("expected one of {}, got {got}", some_of(categories)),
    }
}

/// The caller's value, cut short if it is long.
fn shown(view: &View<'_>, row: usize) -> String {
    const LONGEST: usize = 64;
    if !view.is_valid(row) {
        return "a missing value".to_owned();
    }
    match view.values {
        Values::Bytes(strings) => {
            let bytes = strings.get(row).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]);
            if bytes.len() > LONGEST { format!("{text:?}…") } else { format!("{text:?}") }
        }
        Values::F32(values) => values[row].to_string(),
        Values::Bool(values) => (values[row] != 0).to_string(),
        _ => number(view, row).to_string(),
    }
}
