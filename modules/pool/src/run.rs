//! The inputs of one run of the model: those of a row, without its padding.

use std::ops::Range;

use modelgate_module::{Batch, Column, Datatype, Element, Error, Packer, Values, View};

use crate::config::{Config, Runs};

/// The model's inputs, as sequences of equal lengths.
#[derive(Debug)]
pub(crate) struct Sequences {
    /// The place of the input that tells tokens from padding.
    mask: Option<usize>,
    /// Whether a row can do without its padding.
    is_open: bool,
}

/// The tokens of a batch.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Whether each place is a token: `width` places a row.
    mask: Vec<bool>,
    width: usize,
}

impl Rows {
    /// The mask of each row.
    pub(crate) fn masks(&self) -> impl Iterator<Item = &[bool]> {
        // `read` takes no width of 0.
        self.mask.chunks_exact(self.width)
    }

    /// From the first token to the last. A row without a token keeps its first place.
    fn span(&self, row: usize) -> Range<usize> {
        let mask = &self.mask[row * self.width..][..self.width];
        let first = mask.iter().position(|is_token| *is_token).unwrap_or(0);
        let last = mask.iter().rposition(|is_token| *is_token).unwrap_or(0);
        first..last + 1
    }
}

impl Sequences {
    /// Fails if the model takes anything but sequences of integers.
    pub(crate) fn new(config: &Config, inputs: &[Column]) -> Result<Self, Error> {
        let is_sequence = |column: &&Column| {
            column.shape.len() == 2 && matches!(column.datatype, Datatype::I64 | Datatype::I32) && !column.nullable
        };
        if let Some(other) = inputs.iter().find(|column| !is_sequence(column)) {
            return Err(Error::model(format!("expected the model to take i64 or i32 of shape [-1, -1], got {other}")));
        }
        if inputs.is_empty() {
            return Err(Error::model("the bundle has no model, or the model has no input"));
        }
        let mask = inputs.iter().position(|column| column.name == config.mask);
        // Without a mask nothing tells padding from tokens.
        let is_open = mask.is_some() && config.rows == Runs::Alone && inputs.iter().all(|column| column.shape[1] < 0);
        Ok(Self { mask, is_open })
    }

    /// The tokens of this batch.
    pub(crate) fn read(&self, inputs: &Batch<'_>) -> Result<Rows, Error> {
        let mut widths = inputs.views().iter().map(|view| view.row_size);
        let width = widths.next().unwrap_or(0);
        if widths.any(|other| other != width) || width == 0 {
            return Err(Error::invalid_batch("expected sequences of equal lengths, of one token at least"));
        }
        let mask = match self.mask.and_then(|place| inputs.views().get(place)) {
            Some(view) => match view.values {
                Values::I64(values) => values.iter().map(|value| *value != 0).collect(),
                Values::I32(values) => values.iter().map(|value| *value != 0).collect(),
                _ => return Err(Error::internal("the mask is not of integers")),
            },
            None => vec![true; width * inputs.rows()],
        };
        Ok(Rows { mask, width })
    }

    /// The packed inputs of one row, without its padding where the model takes any length; and its mask.
    pub(crate) fn row<'a>(
        &self,
        inputs: &Batch<'_>,
        rows: &'a Rows,
        row: usize,
        columns: &[Column],
    ) -> Result<(Vec<u64>, &'a [bool]), Error> {
        let span = if self.is_open { rows.span(row) } else { 0..rows.width };
        let places = row * rows.width + span.start..row * rows.width + span.end;
        let mut packer = Packer::new(columns, 1);
        for (column, view) in columns.iter().zip(inputs.views()) {
            let dims = [span.len() as u64];
            let dims = if column.shape[1] < 0 { &dims[..] } else { &[] };
            match column.datatype {
                Datatype::I32 => copy::<i32>(&mut packer, column, view, dims, &places)?,
                _ => copy::<i64>(&mut packer, column, view, dims, &places)?,
            }
        }
        Ok((packer.finish()?, &rows.mask[places]))
    }
}

fn copy<T: Element>(
    packer: &mut Packer<'_>,
    column: &Column,
    view: &View<'_>,
    dims: &[u64],
    places: &Range<usize>,
) -> Result<(), Error> {
    let values = T::slice(view.values).and_then(|values| values.get(places.clone()));
    let values = values.ok_or_else(|| Error::internal(format!("'{}' is not as its signature says", column.name)))?;
    packer.fill_dims::<T>(&column.name, dims)?.copy_from_slice(values);
    Ok(())
}
