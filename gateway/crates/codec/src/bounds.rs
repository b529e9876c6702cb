//! Bounds on what a request may stand for once it is decoded: a few bytes may name many rows of many columns.

use std::fmt::Debug;

/// Bytes of columns that one byte of a body may stand for. `0,` of JSON is a value of eight bytes.
const FACTOR: usize = 4;

/// Bytes of columns that any body may stand for, since a nullable column that is left out takes none of the body.
const FLOOR: usize = 8 << 20;

/// Names that a table may have beside those of its model's columns, in JSON and CSV.
pub const OTHER_NAMES: usize = 10_000;

/// Bounds of one request. They stand where a plain number of rows is enough too.
#[derive(Debug)]
pub struct Bounds<'p> {
    /// Rows.
    pub rows: u32,
    /// Bytes of columns.
    bytes: usize,
    /// Bytes that the permit covers for the body.
    body: usize,
    meter: Option<&'p mut (dyn Meter + 'static)>,
}

/// Counts the memory that one request takes, while it is decoded.
pub trait Meter: Debug {
    /// The request takes so many bytes by now, its body included.
    ///
    /// # Errors
    /// Why it may not.
    fn meter(&mut self, bytes: usize) -> Result<(), Shortage>;
}

/// Why a request gets no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// No request may take so much.
    Always,
    /// Other requests take it now.
    Now,
}

/// Why decoding ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// The columns take more than so many bytes.
    Bytes(usize),
    /// The gateway's memory for requests is full.
    Memory,
}

impl<'p> Bounds<'p> {
    /// Bounds for a body of so many bytes: at most so many rows, and columns that fit in the memory of a module, in bytes.
    pub fn new(rows: u32, memory: usize, body: usize) -> Self {
        // No module could take more: its memory has to hold the columns.
        let bytes = memory.min(body.saturating_mul(FACTOR).saturating_add(FLOOR));
        Self { rows, bytes, body, meter: None }
    }

    /// Has what is decoded counted while it grows.
    #[must_use]
    pub fn counted<M: Meter + 'static>(self, meter: &'p mut M) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// The same bounds for another reading of the same body.
    pub fn reborrow(&mut self) -> Bounds<'_> {
        Bounds { rows: self.rows, bytes: self.bytes, body: self.body, meter: self.meter.as_deref_mut() }
    }

    /// The columns have come to so many bytes.
    ///
    /// # Errors
    /// The bound that this exceeds.
    pub fn reach(&mut self, bytes: usize) -> Result<(), Excess> {
        if bytes > self.bytes {
            return Err(Excess::Bytes(self.bytes));
        }
        match &mut self.meter {
            Some(meter) => meter.meter(self.body.saturating_add(bytes)).map_err(|shortage| match shortage {
                Shortage::Always => Excess::Bytes(self.bytes),
                Shortage::Now => Excess::Memory,
            }),
            None => Ok(()),
        }
    }
}

impl From<u32> for Bounds<'_> {
    fn from(rows: u32) -> Self {
        Self { rows, bytes: usize::MAX, body: 0, meter: None }
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Column, Datatype};

    use super::*;
    use crate::{
        csv,
        json::decode::{self, DecodeError, Decoded, Dialect, Inputs, Keys, NameIndex, Policy},
    };

    /// Of a module, in bytes.
    const MEMORY: usize = 64 << 20;

    const POLICY: Policy<'_> = Policy { max_rows: 10_000, ignores_extra: false, dropped: &[] };

    fn rows(body: &str, columns: &[Column], bounds: Bounds<'_>) -> Result<Decoded, DecodeError> {
        let inputs = Inputs { columns, names: &NameIndex::new(columns) };
        decode::rows_within(body.as_bytes(), inputs, Keys::Given("m"), POLICY, bounds)
    }

    /// Columns that a row may leave out.
    fn nullable(count: usize) -> Vec<Column> {
        let column = |number| Column { nullable: true, ..Column::scalar(format!("c{number}"), Datatype::F64) };
        (0..count).map(column).collect()
    }

    #[test]
    fn rows_that_leave_out_many_columns_are_bounded_in_every_form() {
        let columns = nullable(2_000);
        let names = NameIndex::new(&columns);
        let inputs = Inputs { columns: &columns, names: &names };
        let most = |body: &str| Bounds::new(10_000, MEMORY, body.len());
        let excess = DecodeError::Excess(Excess::Bytes(most("").bytes + 4 * 30_001));
        let many = format!("[{}{{}}]", "{},".repeat(9_999));
        assert_eq!(rows(&many, &columns, most(&many)).expect_err("too much"), excess);
        for body in [
            format!(r#"{{"dataframe_records":{many}}}"#),
            format!(r#"{{"instances":{many}}}"#),
            format!(r#"{{"inputs":{{"c0":[{}0]}}}}"#, "0,".repeat(9_999)),
            format!(r#"{{"dataframe_split":{{"columns":["c0"],"data":[{}[0]]}}}}"#, "[0],".repeat(9_999)),
        ] {
            let decoded = decode::scoring_within(body.as_bytes(), inputs, POLICY, Dialect::Mlflow, most(&body));
            assert!(matches!(decoded, Err(DecodeError::Excess(Excess::Bytes(_)))), "{body:.40}");
        }
        let table = format!("c0\n{}", "0\n".repeat(10_000));
        let decoded = csv::rows(&table, inputs, most(&table));
        assert!(matches!(decoded, Err(DecodeError::Excess(Excess::Bytes(_)))));
        // As many rows of fewer columns, and fewer rows of as many.
        let few = nullable(20);
        assert_eq!(rows(&many, &few, most(&many)).expect("rows").batch.rows, 10_000);
        let some = format!("[{}{{}}]", "{},".repeat(199));
        assert_eq!(rows(&some, &columns, most(&some)).expect("rows").batch.rows, 200);
    }

    #[test]
    fn decoding_ends_with_the_hundredth_problem() {
        let columns = [Column::scalar("n", Datatype::I32)];
        // What follows is not looked at.
        for body in [format!("[{} no JSON", "{},".repeat(100)), format!("{{{} no JSON", r#""x":1,"#.repeat(101))] {
            let message = rows(&body, &columns, 10_000.into());
            assert!(matches!(&message, Err(DecodeError::Fields(problems)) if problems.len() == 100), "{message:?}");
        }
    }

    #[test]
    fn columns_are_bounded_by_the_body_and_by_the_modules_memory() {
        let most = |body| {
            let mut bounds = Bounds::new(10_000, MEMORY, body);
            (0..=128).take_while(|mib| bounds.reach(mib << 20).is_ok()).last()
        };
        assert_eq!((most(0), most(4 << 20), most(64 << 20)), (Some(8), Some(24), Some(64)));
    }
}
