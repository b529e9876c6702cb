//! What the caller got wrong. Only looked for once a batch is refused.

use modelgate_module::{Batch, Error, Problem, Values, View};

use crate::{
    lane::{Fault, Lane, Real, number},
    plan::{Plan, some_of},
};

/// The first value at fault in each column at fault.
#[cold]
pub(crate) fn problems<T: Real>(plan: &Plan, inputs: &Batch<'_>) -> Error {
    let mut problems: Vec<Problem> = Vec::new();
    let mut row_of_zeros = vec![T::round(0.0); plan.width];
    for lane in &plan.lanes {
        let (column, view) = (&inputs.columns()[lane.input], &inputs.views()[lane.input]);
        if problems.iter().any(|problem| problem.column.as_ref() == Some(&column.name)) {
            continue;
        }
        let fault = (0..inputs.rows()).find_map(|row| {
            let fault = lane.run(view, row, &mut [0.0], &mut row_of_zeros, plan.width).err()?;
            Some((row, fault))
        });
        if let Some((row, fault)) = fault {
            problems.push(Problem::at(&*column.name, row, message::<T>(lane, fault, view, row)));
        }
    }
    Error::InvalidInput(problems)
}

fn message<T: Real>(lane: &Lane, fault: Fault, view: &View<'_>, row: usize) -> String {
    let got = shown(view, row);
    match fault {
        Fault::Nan | Fault::Infinite => format!("expected a finite number, got {got}"),
        Fault::TooLarge => format!("{got} is too large: the result does not fit {}", T::DATATYPE),
        Fault::Unknown => format!("expected one of {}, got {got}", some_of(&lane.categories)),
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
