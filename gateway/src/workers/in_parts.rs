//! A large request's rows some at a time, where no row's answer depends on others: stages and the model then hold what some
//! rows take, not what all do.

use modelgate_columns::{Column, LayoutError};

use crate::{
    batching_decision::Cause,
    generation::Generation,
    tensor::{Batch, parts},
    wasm::instance::ChainError,
};

/// Bytes of columns that go through the stages at once. Stages hold some copies of them, and the time that a copy of a part
/// takes is some thousandth of the time that its rows take.
const PART: usize = 2 << 20;

/// Runs a batch through the stages of a generation by `run`: in parts if it is large and its rows do not meet.
///
/// # Errors
/// The error of the first part that fails. Its problems name rows of the whole batch.
pub(super) fn run(
    generation: &Generation,
    batch: Batch,
    run: impl FnMut(Batch) -> Result<Batch, ChainError>,
) -> Result<Batch, ChainError> {
    let is_divisible = matches!(generation.batching_decision.cause, Cause::Tried | Cause::Analysed | Cause::Slower);
    let rows = if is_divisible { rows_of_a_part(&batch, PART) } else { batch.rows };
    in_parts(batch, rows, &generation.signature.inputs, &generation.signature.outputs, run)
}

/// Rows of a part; all of them where the batch is not large.
fn rows_of_a_part(batch: &Batch, part: usize) -> u32 {
    let count = u32::try_from(batch.size() / part).unwrap_or(u32::MAX);
    if count < 2 { batch.rows } else { batch.rows.div_ceil(count).max(1) }
}

fn in_parts(
    batch: Batch,
    rows: u32,
    inputs: &[Column],
    outputs: &[Column],
    mut run: impl FnMut(Batch) -> Result<Batch, ChainError>,
) -> Result<Batch, ChainError> {
    if rows >= batch.rows {
        return run(batch);
    }
    let failed = |error: LayoutError| ChainError::Failed(format!("a batch in parts: {error}"));
    let mut answers = Vec::new();
    for from in (0..batch.rows).step_by(rows as usize) {
        let to = batch.rows.min(from.saturating_add(rows));
        let part = parts::slice(&batch, inputs, from..to).map_err(failed)?;
        answers.push(run(part).map_err(|error| of_the_whole(error, from))?);
    }
    let dims =
        answers.iter().map(|answer| parts::dims(answer, outputs)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if dims.windows(2).any(|pair| pair[0] != pair[1]) {
        // As wide as the widest of their rows: only all of them together have one width.
        drop(answers);
        return run(batch);
    }
    parts::join(&answers.iter().collect::<Vec<_>>(), outputs).map_err(failed)
}

/// A failure of a part that begins at a row.
fn of_the_whole(error: ChainError, from: u32) -> ChainError {
    match error {
        ChainError::Invalid(mut problems) => {
            for problem in &mut problems {
                problem.row = problem.row.map(|row| row.saturating_add(from));
            }
            ChainError::Invalid(problems)
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Datatype, Values, Writer};
    use proptest::prelude::*;

    use super::*;
    use crate::wasm::contract::Problem;

    fn columns() -> Vec<Column> {
        vec![
            Column { nullable: true, ..Column::scalar("text", Datatype::Bytes) },
            Column::new("x", Datatype::F32, [-1, 3]),
            Column::new("open", Datatype::I64, [-1, -1]),
        ]
    }

    fn batch(rows: u32, width: u64) -> Batch {
        let count = rows as usize;
        let texts: Vec<_> = (0..count).map(|row| vec![row as u8; row % 7]).collect();
        let mut writer = Writer::default();
        writer.validity(&(0..count).map(|row| u8::from(row % 3 != 1)).collect::<Vec<_>>());
        writer.strings(texts.iter().map(Vec::as_slice)).expect("short");
        writer.fixed(&(0..3 * count).map(|value| value as f32).collect::<Vec<_>>());
        writer.dims(&[width]);
        writer.fixed(&(0..count as i64 * width as i64).collect::<Vec<_>>());
        Batch { rows, words: writer.finish().into() }
    }

    proptest! {
        #[test]
        fn parts_together_are_the_whole(rows in 0u32..200, part in 1u32..250, width in 0u64..4) {
            let (whole, columns) = (batch(rows, width), columns());
            let mut seen = 0;
            let answer = in_parts(whole.clone(), part, &columns, &columns, |one| {
                assert!(one.rows <= part, "{} rows of {part}", one.rows);
                seen += one.rows;
                Ok(one)
            });
            prop_assert_eq!(answer.expect("no failure"), whole);
            prop_assert_eq!(seen, rows);
        }
    }

    #[test]
    fn a_part_is_of_some_size_whatever_a_row_takes() {
        assert_eq!(rows_of_a_part(&batch(100, 0), PART), 100);
        let wide = batch(10, 1000);
        assert_eq!(rows_of_a_part(&wide, wide.size() / 5), 2);
        assert_eq!(rows_of_a_part(&wide, 8), 1);
    }

    #[test]
    fn problems_tell_the_row_of_the_whole() {
        let columns = columns();
        let refuse = |one: Batch| {
            let views = one.views(&columns).expect("columns");
            let Values::I64(values) = views[2].values else { panic!("integers") };
            match values.iter().position(|value| *value == 7) {
                Some(row) => {
                    let problem = Problem { column: None, row: Some(row as u32), message: "seven".into() };
                    Err(ChainError::Invalid(vec![problem]))
                }
                None => Ok(one),
            }
        };
        let Err(ChainError::Invalid(problems)) = in_parts(batch(20, 1), 4, &columns, &columns, refuse) else {
            panic!("a problem")
        };
        assert_eq!(problems[0].row, Some(7));
    }

    #[test]
    fn answers_that_are_as_wide_as_their_rows_are_made_at_once() {
        let columns = columns();
        let answer = in_parts(batch(9, 2), 4, &columns, &columns, |one| Ok(batch(one.rows, u64::from(one.rows))));
        assert_eq!(answer.expect("no failure"), batch(9, 9));
    }
}
