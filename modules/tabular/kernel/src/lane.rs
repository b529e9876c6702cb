//! One lane: the way from one input column to one number of each row, or to one group of one-hot columns.

use modelgate_columns::{Values, View};

use crate::{op::Op, table::Texts};

/// The way from one input column to one number of each row, or to one group of one-hot columns.
#[derive(Debug)]
pub struct Lane {
    /// The input column's place.
    pub input: usize,
    /// Where the numbers come from,
    pub source: Source,
    /// what is done to them, in turn,
    pub ops: Vec<Op>,
    /// and where they go.
    pub sink: Sink,
}

/// The way from a value of the input column to a number.
#[derive(Clone, Debug)]
pub enum Source {
    /// The value is a number. Missing values are NaN.
    Number,
    /// The value is a string, and the table has its number.
    Text(Texts),
    /// The value is a string: 1 where it is missing, else 0.
    TextMissing,
}

/// Where the result goes: which place of the matrix's row.
#[derive(Debug)]
pub enum Sink {
    /// The number itself.
    Number(usize),
    /// A 1 that many places further; below 0: nowhere.
    OneHot(usize),
    /// Nowhere: the column is in no block and only checked.
    Nothing,
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// NaN in a column that is not nullable.
    Nan,
    /// An infinity.
    Infinite,
    /// No category.
    Unknown,
    /// A result that the output's datatype cannot hold.
    TooLarge,
}

/// The source of a part of the matrix.
pub(crate) trait Real: Copy {
    fn round(value: f64) -> Self;
    fn is_infinite(self) -> bool;
}

impl Real for f32 {
    fn round(value: f64) -> Self {
        value as Self
    }
    fn is_infinite(self) -> bool {
        self.is_infinite()
    }
}

impl Real for f64 {
    fn round(value: f64) -> Self {
        value
    }
    fn is_infinite(self) -> bool {
        self.is_infinite()
    }
}

impl Lane {
    /// Computes the rows from `start` on, as many as `scratch` is long, into `rows` of a zeroed matrix.
    pub(crate) fn run<T: Real>(
        &self,
        view: &View<'_>,
        start: usize,
        scratch: &mut [f64],
        rows: &mut [T],
        width: usize,
    ) -> Result<(), Fault> {
        match &self.source {
            Source::Number => load(view, start, scratch)?,
            Source::Text(table) => find(table, view, start, scratch)?,
            Source::TextMissing => {
                for (offset, value) in scratch.iter_mut().enumerate() {
                    *value = if view.is_valid(start + offset) { 0.0 } else { 1.0 };
                }
            }
        }
        for op in &self.ops {
            op.apply(scratch).map_err(|_| Fault::Unknown)?;
        }
        match self.sink {
            Sink::Number(at) => {
                let mut overflowed = false;
                for (row, value) in rows.chunks_exact_mut(width).zip(scratch) {
                    row[at] = T::round(*value);
                    overflowed |= row[at].is_infinite();
                }
                if overflowed {
                    return Err(Fault::TooLarge);
                }
            }
            Sink::OneHot(at) => {
                let one = T::round(1.0);
                #[expect(clippy::cast_sign_loss, reason = "only a place, which is not below 0")]
                for (row, value) in rows.chunks_exact_mut(width).zip(scratch) {
                    if *value >= 0.0 {
                        row[at + *value as usize] = one;
                    }
                }
            }
            Sink::Nothing => {}
        }
        Ok(())
    }
}

/// The numbers from `start` on. Refuses infinities, and NaN where nothing may be missing.
fn load(view: &View<'_>, start: usize, scratch: &mut [f64]) -> Result<(), Fault> {
    fn convert<T: Copy>(values: &[T], scratch: &mut [f64], one: impl Fn(T) -> f64) {
        for (place, value) in scratch.iter_mut().zip(values) {
            *place = one(*value);
        }
    }
    let here = start..start + scratch.len();
    match view.values {
        Values::F64(values) => scratch.copy_from_slice(&values[here.clone()]),
        Values::F32(values) => convert(&values[here.clone()], scratch, f64::from),
        Values::I64(values) => convert(&values[here.clone()], scratch, |value| value as f64),
        Values::I32(values) => convert(&values[here.clone()], scratch, f64::from),
        Values::I16(values) => convert(&values[here.clone()], scratch, f64::from),
        Values::I8(values) => convert(&values[here.clone()], scratch, f64::from),
        Values::U64(values) => convert(&values[here.clone()], scratch, |value| value as f64),
        Values::U32(values) => convert(&values[here.clone()], scratch, f64::from),
        Values::U16(values) => convert(&values[here.clone()], scratch, f64::from),
        Values::U8(values) => convert(&values[here.clone()], scratch, f64::from),
        Values::Bool(values) => convert(&values[here.clone()], scratch, |value| f64::from(u8::from(value != 0))),
        // The plan takes no such column for one of numbers.
        Values::F16(_) | Values::Bytes(_) => return Err(Fault::Unknown),
    }
    if let Some(validity) = view.validity {
        let mut infinite = false;
        for (value, valid) in scratch.iter_mut().zip(&validity[here]) {
            *value = if *valid == 0 { f64::NAN } else { *value };
            infinite |= value.is_infinite();
        }
        return if infinite { Err(Fault::Infinite) } else { Ok(()) };
    }
    let finite = scratch.iter().fold(true, |finite, value| finite & value.is_finite());
    match finite {
        true => Ok(()),
        false if scratch.iter().any(|value| value.is_nan()) => Err(Fault::Nan),
        false => Err(Fault::Infinite),
    }
}

/// The number in that row, whatever it is.
pub fn number(view: &View<'_>, row: usize) -> f64 {
    let mut scratch = [f64::NAN];
    // Refusing it comes after loading it.
    _ = load(view, row, &mut scratch);
    scratch[0]
}

fn find(table: &Texts, view: &View<'_>, start: usize, scratch: &mut [f64]) -> Result<(), Fault> {
    let Values::Bytes(strings) = view.values else {
        return Err(Fault::Unknown);
    };
    for (offset, place) in scratch.iter_mut().enumerate() {
        let row = start + offset;
        let found = match strings.get(row) {
            Some(text) if view.is_valid(row) => table.find(text),
            _ => table.missing(),
        };
        *place = found.map_err(|_| Fault::Unknown)?;
    }
    Ok(())
}
