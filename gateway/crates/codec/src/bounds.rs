//! What a request may stand for once it is decoded: a few bytes may name many rows of many columns.

use crate::{
    error::Error,
    memory::{Claim, Permit},
    wasm::host::Limits,
};

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
    permit: Option<&'p mut Permit>,
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
    /// Bounds for a body of so many bytes. With a permit, what is decoded is counted while it grows.
    pub fn new(limits: &Limits, body: usize, permit: Option<&'p mut Permit>) -> Self {
        // No module could take more: its memory has to hold the columns.
        let bytes = limits.memory.min(body.saturating_mul(FACTOR).saturating_add(FLOOR));
        Self { rows: limits.rows, bytes, body, permit }
    }

    /// The same bounds for another reading of the same body.
    pub fn reborrow(&mut self) -> Bounds<'_> {
        Bounds { rows: self.rows, bytes: self.bytes, body: self.body, permit: self.permit.as_deref_mut() }
    }

    /// The columns have come to so many bytes.
    ///
    /// # Errors
    /// The bound that this exceeds.
    pub fn reach(&mut self, bytes: usize) -> Result<(), Excess> {
        if bytes > self.bytes {
            return Err(Excess::Bytes(self.bytes));
        }
        match &mut self.permit {
            Some(permit) => permit.cover(self.body.saturating_add(bytes), Claim::Whole).map_err(|error| match error {
                Error::TooLarge(_) => Excess::Bytes(self.bytes),
                _ => Excess::Memory,
            }),
            None => Ok(()),
        }
    }
}

impl From<u32> for Bounds<'_> {
    fn from(rows: u32) -> Self {
        Self { rows, bytes: usize::MAX, body: 0, permit: None }
    }
}

impl From<Excess> for Error {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Bytes(limit) => {
                Self::TooLarge(format!("the rows and columns of the request take more than {limit} bytes once decoded"))
            }
            Excess::Memory => Self::Overloaded,
        }
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Column, Datatype};

    use super::*;
    use crate::{
        csv,
        json::decode::{self, DecodeError, Decoded, Dialect, Inputs, Keys, NameIndex, Policy},
        memory::Account,
    };

    const POLICY: Policy<'_> = Policy { max_rows: 10_000, ignores_extra: false, dropped: &[] };

    fn rows(body: &str, columns: &[Column], bounds: Bounds<'_>) -> Result<Decoded, DecodeError> {
        let inputs = Inputs { columns, names: &NameIndex::of(columns) };
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
        let names = NameIndex::of(&columns);
        let inputs = Inputs { columns: &columns, names: &names };
        let limits = Limits::default();
        let most = |body: &str| Bounds::new(&limits, body.len(), None);
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
            let told = rows(&body, &columns, 10_000.into());
            assert!(matches!(&told, Err(DecodeError::Fields(problems)) if problems.len() == 100), "{told:?}");
        }
    }

    #[test]
    fn columns_are_bounded_by_the_body_and_by_the_modules_memory() {
        let limits = Limits::default();
        let most = |body| {
            let mut bounds = Bounds::new(&limits, body, None);
            (0..=128).take_while(|mib| bounds.reach(mib << 20).is_ok()).last()
        };
        assert_eq!((most(0), most(4 << 20), most(64 << 20)), (Some(8), Some(24), Some(64)));
    }

    #[test]
    fn what_grows_is_counted() {
        let account = Account::new(16 << 20);
        let mut permit = Permit::new(&account);
        let mut bounds = Bounds::new(&Limits::default(), 1 << 20, Some(&mut permit));
        bounds.reach(4 << 20).expect("room");
        assert_eq!(account.used(), 5 << 20);
        let mut other = Permit::new(&account);
        other.cover(8 << 20, Claim::Whole).expect("room");
        assert_eq!(bounds.reach(6 << 20), Err(Excess::Memory));
        assert_eq!(bounds.reach(20 << 20), Err(Excess::Bytes(12 << 20)));
    }
}
