//! The columns of one call, read in place.

use modelgate_columns::{Column, Datatype, Reader, Signature, Values, View};

use crate::{Bools, Element, Error, Optional, Text};

/// The columns of one call. Everything it gives borrows from the packed words: nothing is copied.
///
/// A column is asked for by its name and its type, which must be those of the signature: that they are not is the
/// module's own mistake and an [`Error::Internal`]. Values are row-major: a column of shape `[-1, 3]` gives three values
/// for each row.
#[derive(Debug)]
pub struct Batch<'a> {
    rows: u32,
    words: &'a [u64],
    columns: &'a [Column],
    views: Vec<View<'a>>,
}

impl<'a> Batch<'a> {
    /// Reads packed words that hold these columns: the inputs of a call, or the outputs of the model.
    pub fn new(columns: &'a [Column], rows: u32, words: &'a [u64]) -> Result<Self, Error> {
        let mut reader = Reader::new(rows, words);
        let mut views = Vec::with_capacity(columns.len());
        for column in columns {
            views.push(reader.next(column)?);
        }
        reader.finish()?;
        Ok(Self { rows, words, columns, views })
    }

    /// The outputs of the model, as [`model::compute`](crate::model::compute) gave them.
    pub fn of_model(signature: &'a Signature, rows: u32, words: &'a [u64]) -> Result<Self, Error> {
        Self::new(&signature.outputs, rows, words).map_err(|error| Error::Model(error.to_string()))
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows as usize
    }

    /// The packed words as they came, to be handed on.
    pub fn words(&self) -> &'a [u64] {
        self.words
    }

    /// The signature's columns, in packed order.
    pub fn columns(&self) -> &'a [Column] {
        self.columns
    }

    /// The untyped views of the columns, in packed order.
    pub fn views(&self) -> &[View<'a>] {
        &self.views
    }

    /// The untyped view of the column: its validity, the sizes of its varying dimensions and its values by type.
    pub fn view(&self, name: &str) -> Result<View<'a>, Error> {
        let place = self.columns.iter().position(|column| column.name == name);
        let view = place.and_then(|place| self.views.get(place));
        view.copied().ok_or_else(|| Error::Internal(format!("no column '{name}' in the signature")))
    }

    /// The values of a column that is not nullable.
    pub fn values<T: Element>(&self, name: &str) -> Result<&'a [T], Error> {
        self.present(name).and_then(|view| T::slice(view.values).ok_or_else(|| self.mistyped(name, T::DATATYPE)))
    }

    /// The values of a column, each of which may be missing.
    pub fn optional<T: Element>(&self, name: &str) -> Result<Optional<'a, T>, Error> {
        let view = self.view(name)?;
        let values = T::slice(view.values).ok_or_else(|| self.mistyped(name, T::DATATYPE))?;
        Ok(Optional::new(values, view.validity))
    }

    /// The truth values of a column. Ask [`Bools::get`] or [`Bools::optional`], as the column is nullable or not.
    pub fn bools(&self, name: &str) -> Result<Bools<'a>, Error> {
        let view = self.view(name)?;
        match view.values {
            Values::Bool(values) => Ok(Bools::new(values, view.validity)),
            _ => Err(self.mistyped(name, Datatype::Bool)),
        }
    }

    /// The strings of a column. One that is not UTF-8 is the caller's fault: an [`Error::InvalidInput`] with its row.
    pub fn text(&self, name: &str) -> Result<Text<'a>, Error> {
        let view = self.view(name)?;
        let Values::Bytes(strings) = view.values else {
            return Err(self.mistyped(name, Datatype::Bytes));
        };
        Text::new(strings, view.validity).map_err(|place| {
            Error::invalid(name, place / view.row_size.max(1), "expected text in UTF-8, got other bytes")
        })
    }

    /// The byte strings of a column that is not nullable.
    pub fn bytes(&self, name: &str) -> Result<modelgate_columns::Strings<'a>, Error> {
        match self.present(name)?.values {
            Values::Bytes(strings) => Ok(strings),
            _ => Err(self.mistyped(name, Datatype::Bytes)),
        }
    }

    fn present(&self, name: &str) -> Result<View<'a>, Error> {
        let view = self.view(name)?;
        if view.validity.is_some() {
            return Err(Error::Internal(format!("column '{name}' is nullable: read it with `optional`")));
        }
        Ok(view)
    }

    #[cold]
    fn mistyped(&self, name: &str, asked: Datatype) -> Error {
        let column = self.columns.iter().find(|column| column.name == name);
        let is = column.map_or("missing", |column| column.datatype.name());
        Error::Internal(format!("column '{name}' is {is} and was read as {asked}"))
    }
}
