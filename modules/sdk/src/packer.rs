//! The columns of an answer, written in place.

use modelgate_columns::{Column, Datatype, Values, View, Writer};

use crate::{Element, Error};

/// Writes the columns of an answer, or of the model's input, one after the other into one list of words.
///
/// Each column of the signature must be written once, in the signature's order, by its name, with its type and with the
/// right number of values. Anything else is the module's own mistake and an [`Error::Internal`].
#[derive(Debug)]
pub struct Packer<'a> {
    rows: usize,
    columns: &'a [Column],
    /// The number of columns written.
    written: usize,
    writer: Writer,
    replaced: Option<Vec<u64>>,
}

impl<'a> Packer<'a> {
    /// Begins a batch of these columns.
    pub fn new(columns: &'a [Column], rows: u32) -> Self {
        let rows = rows as usize;
        let writer = Writer::with_capacity(columns.iter().map(|column| words_of(column, rows)).sum());
        Self { rows, columns, written: 0, writer, replaced: None }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Room for all numbers of the next column, zeros at first. The column is not nullable and its row has a fixed size.
    pub fn fill<T: Element>(&mut self, name: &str) -> Result<&mut [T], Error> {
        self.fill_dims(name, &[])
    }

    /// Room for all numbers of the next column, whose inner dimensions that vary have these sizes in this batch.
    pub fn fill_dims<T: Element>(&mut self, name: &str, dims: &[u64]) -> Result<&mut [T], Error> {
        let count = self.begin(name, T::DATATYPE, false, dims)?;
        Ok(self.writer.fixed_with(count))
    }

    /// The next column's numbers. The column is not nullable and its row has a fixed size.
    pub fn write<T: Element>(&mut self, name: &str, values: &[T]) -> Result<(), Error> {
        let count = self.begin(name, T::DATATYPE, false, &[])?;
        expect_count(name, count, values.len())?;
        self.writer.fixed(values);
        Ok(())
    }

    /// The next column's numbers, of which some are missing. The column is nullable and its row has a fixed size.
    pub fn optional<T: Element>(
        &mut self,
        name: &str,
        values: impl ExactSizeIterator<Item = Option<T>> + Clone,
    ) -> Result<(), Error> {
        let count = self.begin(name, T::DATATYPE, true, &[])?;
        expect_count(name, count, values.len())?;
        for (byte, value) in self.writer.fixed_with::<u8>(count).iter_mut().zip(values.clone()) {
            *byte = u8::from(value.is_some());
        }
        for (place, value) in self.writer.fixed_with::<T>(count).iter_mut().zip(values) {
            *place = value.unwrap_or_else(T::zeroed);
        }
        Ok(())
    }

    /// Room for all truth values of the next column, 0 at first; 1 is true. The column is not nullable.
    pub fn bools(&mut self, name: &str) -> Result<&mut [u8], Error> {
        self.bools_dims(name, &[])
    }

    /// The same, where inner dimensions vary and have these sizes in this batch.
    pub fn bools_dims(&mut self, name: &str, dims: &[u64]) -> Result<&mut [u8], Error> {
        let count = self.begin(name, Datatype::Bool, false, dims)?;
        Ok(self.writer.fixed_with(count))
    }

    /// The next column's strings. The column is not nullable.
    pub fn text<'s>(
        &mut self,
        name: &str,
        values: impl ExactSizeIterator<Item = &'s str> + Clone,
    ) -> Result<(), Error> {
        self.bytes(name, values.map(str::as_bytes))
    }

    /// The next column's strings, of which some are missing. The column is nullable.
    pub fn optional_text<'s>(
        &mut self,
        name: &str,
        values: impl ExactSizeIterator<Item = Option<&'s str>> + Clone,
    ) -> Result<(), Error> {
        let count = self.begin(name, Datatype::Bytes, true, &[])?;
        expect_count(name, count, values.len())?;
        for (byte, value) in self.writer.fixed_with::<u8>(count).iter_mut().zip(values.clone()) {
            *byte = u8::from(value.is_some());
        }
        Ok(self.writer.strings(values.map(|value| value.unwrap_or_default().as_bytes()))?)
    }

    /// The next column's byte strings. The column is not nullable.
    pub fn bytes<'s>(
        &mut self,
        name: &str,
        values: impl ExactSizeIterator<Item = &'s [u8]> + Clone,
    ) -> Result<(), Error> {
        self.bytes_dims(name, &[], values)
    }

    /// The same, where inner dimensions vary and have these sizes in this batch.
    pub fn bytes_dims<'s>(
        &mut self,
        name: &str,
        dims: &[u64],
        values: impl ExactSizeIterator<Item = &'s [u8]> + Clone,
    ) -> Result<(), Error> {
        let count = self.begin(name, Datatype::Bytes, false, dims)?;
        expect_count(name, count, values.len())?;
        Ok(self.writer.strings(values)?)
    }

    /// The next column as it stands in a batch of the same rows, where it has the same layout.
    pub fn copy(&mut self, name: &str, view: &View<'_>) -> Result<(), Error> {
        let datatype = datatype_of(&view.values);
        let count = self.begin(name, datatype, view.validity.is_some(), view.dims)?;
        expect_count(name, count, view.values.len())?;
        if let Some(validity) = view.validity {
            self.writer.validity(validity);
        }
        match (view.values, view.values.as_bytes()) {
            (Values::Bytes(strings), _) => self.writer.strings(strings.iter())?,
            (_, Some(bytes)) => self.writer.fixed(bytes),
            (_, None) => {}
        }
        Ok(())
    }

    /// The whole answer as packed words, in place of writing its columns. The gateway checks them; this crate does not.
    pub fn replace(&mut self, words: Vec<u64>) {
        self.replaced = Some(words);
    }

    /// The packed words, if every column was written.
    pub fn finish(self) -> Result<Vec<u64>, Error> {
        if let Some(words) = self.replaced {
            return Ok(words);
        }
        match self.columns.get(self.written) {
            None => Ok(self.writer.finish()),
            Some(column) => Err(Error::Internal(format!("output '{}' was not written", column.name))),
        }
    }

    /// Checks that this is the next column, writes its dimensions and tells how many values it has.
    fn begin(&mut self, name: &str, datatype: Datatype, nullable: bool, dims: &[u64]) -> Result<usize, Error> {
        let column = match self.columns.get(self.written) {
            Some(column) if column.name == name && column.datatype == datatype && column.nullable == nullable => column,
            next => return Err(unexpected(name, datatype, nullable, next)),
        };
        let mut told = dims.iter();
        let mut count = Some(self.rows);
        for &dim in column.inner_shape() {
            let size = if dim < 0 { told.next().copied() } else { u64::try_from(dim).ok() };
            let size = size.and_then(|size| usize::try_from(size).ok());
            count = count.zip(size).and_then(|(count, size)| count.checked_mul(size));
        }
        match count {
            Some(count) if told.next().is_none() => {
                self.writer.dims(dims);
                self.written += 1;
                Ok(count)
            }
            _ => Err(Error::Internal(format!("output '{name}': dimensions {dims:?} do not fit {:?}", column.shape))),
        }
    }
}

/// The words that a column of fixed-size values takes; a guess for strings and for shapes that vary.
fn words_of(column: &Column, rows: usize) -> usize {
    let count = rows.saturating_mul(column.row_size().unwrap_or(1));
    let bytes = count.saturating_mul(column.datatype.size().unwrap_or(16));
    let validity = if column.nullable { count.div_ceil(8) } else { 0 };
    bytes.div_ceil(8).saturating_add(validity)
}

fn expect_count(name: &str, expected: usize, got: usize) -> Result<(), Error> {
    if expected == got {
        return Ok(());
    }
    Err(Error::Internal(format!("output '{name}': expected {expected} values, got {got}")))
}

#[cold]
fn unexpected(name: &str, datatype: Datatype, nullable: bool, next: Option<&Column>) -> Error {
    let mark = if nullable { "?" } else { "" };
    Error::Internal(match next {
        Some(next) => {
            format!("output '{name}: {datatype}{mark}' was written where '{next}' was next")
        }
        None => format!("output '{name}: {datatype}{mark}' was written after the last one"),
    })
}

fn datatype_of(values: &Values<'_>) -> Datatype {
    match values {
        Values::Bool(_) => Datatype::Bool,
        Values::U8(_) => Datatype::U8,
        Values::U16(_) => Datatype::U16,
        Values::U32(_) => Datatype::U32,
        Values::U64(_) => Datatype::U64,
        Values::I8(_) => Datatype::I8,
        Values::I16(_) => Datatype::I16,
        Values::I32(_) => Datatype::I32,
        Values::I64(_) => Datatype::I64,
        Values::F16(_) => Datatype::F16,
        Values::F32(_) => Datatype::F32,
        Values::F64(_) => Datatype::F64,
        Values::Bytes(_) => Datatype::Bytes,
    }
}
