//! The outputs: the columns that the model takes, or all three where the bundle has no model.

use modelgate_module::{Column, Datatype, Element, Error, Packer, Signature};

use crate::{
    config::Names,
    tokenize::{Pad, Rows},
};

/// The values of a column, one for each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ids,
    /// 1 for a token, 0 for padding.
    Mask,
    /// 0 for the first text of a pair, 1 for the second.
    Types,
}

#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    kind: Kind,
    /// Else it is `i64`.
    is_i32: bool,
    /// Whether the length comes with each batch.
    is_open: bool,
}

/// The columns of the outputs, in the model's order and with its types.
pub(crate) fn outputs(model: &Signature, names: &Names) -> Result<(Vec<Column>, Vec<Output>), Error> {
    let of_kind = |name: &String| {
        let kinds = [(&names.ids, Kind::Ids), (&names.mask, Kind::Mask), (&names.types, Kind::Types)];
        kinds.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    };
    let columns = if model.inputs.is_empty() {
        [&names.ids, &names.mask, &names.types].map(|name| Column::new(name, Datatype::I64, [-1, -1])).into()
    } else {
        model.inputs.clone()
    };
    let outputs = columns.iter().map(|column| {
        let Some(kind) = of_kind(&column.name) else {
            let Names { ids, mask, types } = names;
            return Err(Error::model(format!(
                "the model takes {column}, which is none of {ids}, {mask} and {types}: name them in `outputs`"
            )));
        };
        let is_integer = matches!(column.datatype, Datatype::I64 | Datatype::I32);
        if !is_integer || column.shape.len() != 2 || column.nullable {
            return Err(Error::model(format!("expected the model to take i64 or i32 of shape [-1, -1], got {column}")));
        }
        let (is_i32, is_open) = (column.datatype == Datatype::I32, column.shape[1] < 0);
        Ok(Output { name: column.name.clone(), kind, is_i32, is_open })
    });
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    if outputs.iter().all(|output| output.kind != Kind::Ids) {
        return Err(Error::model(format!("the model takes no '{}'", names.ids)));
    }
    Ok((columns, outputs))
}

/// The length that the model takes; `None` if it takes any.
pub(crate) fn fixed_length(columns: &[Column]) -> Result<Option<usize>, Error> {
    let mut lengths = columns.iter().map(|column| column.shape[1]);
    let first = lengths.next().unwrap_or(-1);
    if lengths.any(|length| length != first) {
        return Err(Error::model("the model takes ids, mask and types of different lengths"));
    }
    Ok(usize::try_from(first).ok())
}

impl Output {
    pub(crate) fn write(&self, pad: &Pad, rows: &Rows, width: usize, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let dims = [width as u64];
        let dims = if self.is_open { &dims[..] } else { &[] };
        if self.is_i32 {
            // No vocabulary has two thousand million tokens.
            self.fill(pad, rows, width, outputs.fill_dims(&self.name, dims)?, u32::cast_signed);
        } else {
            self.fill(pad, rows, width, outputs.fill_dims(&self.name, dims)?, i64::from);
        }
        Ok(())
    }

    fn fill<T: Element>(&self, pad: &Pad, rows: &Rows, width: usize, cells: &mut [T], from: fn(u32) -> T) {
        let padding = match self.kind {
            Kind::Ids => pad.id,
            Kind::Mask => 0,
            Kind::Types => pad.kind,
        };
        cells.fill(from(padding));
        for (row, cells) in cells.chunks_exact_mut(width).enumerate() {
            let tokens = rows.range(row);
            let start = if pad.left { width - tokens.len() } else { 0 };
            let cells = &mut cells[start..start + tokens.len()];
            match self.kind {
                Kind::Ids => cells.iter_mut().zip(&rows.ids[tokens]).for_each(|(cell, id)| *cell = from(*id)),
                Kind::Mask => cells.fill(from(1)),
                Kind::Types => cells.iter_mut().zip(&rows.types[tokens]).for_each(|(cell, id)| *cell = from(*id)),
            }
        }
    }
}
