//! The inputs of a request, put into the columns that a model takes.

use std::borrow::Cow;

use modelgate_columns::{Batch, Column, Datatype, Writer, is_hollow};

use crate::{
    bounds::Bounds,
    chunked_bytes::ChunkedBytes,
    json::decode::builder::Builder,
    oip::{self, Error, Interface, shown, strings},
};

/// One named tensor of a request.
#[derive(Debug)]
pub struct Input<'a> {
    /// The index of the model's input.
    pub name: Cow<'a, str>,
    /// The datatype that the caller gives.
    pub datatype: Datatype,
    /// As it came: not yet known to be sensible.
    pub shape: Vec<i64>,
    /// Its values.
    pub data: Data,
}

/// A tensor's values.
#[derive(Debug)]
pub enum Data {
    /// Parsed one by one.
    Cells(Cells),
    /// As they are in memory: little-endian, row-major; strings with their lengths before them.
    Raw(ChunkedBytes),
}

/// Values that were parsed one by one.
#[derive(Debug, Default)]
pub struct Cells {
    /// The number of values.
    pub count: usize,
    /// Little-endian and back to back; strings without their lengths.
    pub bytes: Vec<u8>,
    /// For strings, where each ends; the first entry is 0.
    pub ends: Vec<u32>,
    /// 1 present, 0 missing; empty if none is missing.
    pub validity: Vec<u8>,
    /// Whether floats may be `NaN`, which is a missing value: of JSON, where strings stand for it (see
    /// [`tokens`](crate::json::decode::tokens)); of gRPC, always.
    pub tokens: bool,
}

/// A batch, and what it took to make it.
#[derive(Debug)]
pub struct Packed {
    /// The columns.
    pub batch: Batch,
    /// Bytes copied from the body into them.
    pub copied: usize,
}

/// Puts the inputs into the model's columns. Nullable columns of one value a row may be left out: all their values
/// are missing then.
///
/// # Errors
/// Inputs that are unknown, given twice, missing, or not what the model takes.
pub fn pack<'p>(inputs: &[Input<'_>], model: &Interface<'_>, bounds: impl Into<Bounds<'p>>) -> Result<Packed, Error> {
    let mut bounds = bounds.into();
    let (columns, name) = (model.inputs.columns, model.name);
    let indices = indices(inputs, model)?;
    let Some((first, column)) =
        indices.iter().zip(columns).find_map(|(&index, column)| Some((&inputs[index?], column)))
    else {
        return Err(Error::Invalid(format!("expected at least one input for model '{name}', got none")));
    };
    let rows = Shape::new(first, column, model)?.rows;
    if rows > bounds.rows {
        return Err(Error::TooManyRows(bounds.rows));
    }
    let bytes: usize = inputs.iter().map(|input| input.data.size()).sum();
    let absent = columns.iter().zip(&indices).filter(|(_, index)| index.is_none()).map(|(column, _)| column);
    let a_row: usize = absent.map(Builder::missing_bytes).sum();
    bounds.reach(bytes.saturating_add(a_row.saturating_mul(rows as usize)))?;
    let mut packer = Packer { writer: Writer::with_capacity(bytes / 8 + 4 * columns.len()), copied: 0 };
    for (column, &index) in columns.iter().zip(&indices) {
        let Some(input) = index.map(|index| &inputs[index]) else {
            packer.missing(column, rows as usize);
            continue;
        };
        let shape = Shape::new(input, column, model)?;
        if shape.rows != rows {
            return Err(Error::Invalid(format!(
                "all inputs must have the same number of rows: '{}' has {rows}, '{}' has {}",
                first.name, input.name, shape.rows
            )));
        }
        packer
            .put(column, input, &shape)
            .map_err(|problem| Error::Invalid(format!("input '{}' for model '{name}': {problem}", column.name)))?;
    }
    Ok(Packed { batch: Batch { rows, words: packer.writer.finish().into() }, copied: packer.copied })
}

/// Where each column's input is.
fn indices(inputs: &[Input<'_>], model: &Interface<'_>) -> Result<Vec<Option<usize>>, Error> {
    let columns = model.inputs.columns;
    let mut indices = vec![None; columns.len()];
    for (index, input) in inputs.iter().enumerate() {
        // Clients keep the model's order, as a rule.
        let name = || shown(&input.name);
        match model.inputs.find(&input.name, index) {
            None if model.drops(&input.name) => {}
            None => {
                let known: Vec<_> = columns.iter().take(100).map(|column| column.name.as_str()).collect();
                return Err(Error::Invalid(format!(
                    "unexpected input '{}' for model '{}', which takes {}",
                    name(),
                    model.name,
                    known.join(", ")
                )));
            }
            Some(column) if indices[column].is_some() => {
                return Err(Error::Invalid(format!("input '{}' is given twice", name())));
            }
            Some(column) => indices[column] = Some(index),
        }
    }
    for (column, index) in columns.iter().zip(&indices) {
        if index.is_none() && !is_optional(column) {
            return Err(Error::Invalid(format!("missing input '{}' for model '{}'", column.name, model.name)));
        }
    }
    Ok(indices)
}

/// Whether a request may leave it out.
pub fn is_optional(column: &Column) -> bool {
    column.nullable && column.inner_shape().is_empty()
}

/// A shape that fits its column.
struct Shape {
    rows: u32,
    count: usize,
    /// The sizes that the column leaves open.
    dims: Vec<u64>,
}

impl Shape {
    fn new(input: &Input<'_>, column: &Column, model: &Interface<'_>) -> Result<Self, Error> {
        let (name, tensors) = (model.name, model.tensors);
        if input.datatype != column.datatype {
            return Err(Error::Invalid(format!(
                "input '{}' for model '{name}' is of datatype '{}', but the model takes '{}'",
                column.name,
                input.datatype.protocol_name(),
                column.datatype.protocol_name()
            )));
        }
        let unexpected = || {
            let shape = |dims: &[i64]| dims.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            let declared = &input.shape[..input.shape.len().min(16)];
            Error::Invalid(format!(
                "unexpected shape for input '{}' for model '{name}'. Expected [{}], got [{}]",
                column.name,
                shape(oip::shape(column, tensors)),
                shape(declared)
            ))
        };
        let inner = column.inner_shape();
        let sizes = match (&input.shape[..], inner) {
            // One value may also come as a list of one, and one value a row as a matrix of one column: many clients make no
            // other kind.
            ([1], []) if tensors => &[][..],
            (sizes, _) if tensors && sizes.len() == inner.len() => sizes,
            ([_, 1], []) if !tensors => &[][..],
            ([_, sizes @ ..], _) if !tensors && sizes.len() == inner.len() => sizes,
            _ => return Err(unexpected()),
        };
        let rows = if tensors { Some(1) } else { input.shape.first().and_then(|&rows| u32::try_from(rows).ok()) };
        let rows = rows.ok_or_else(unexpected)?;
        if rows == 0 {
            return Err(Error::Invalid(format!("input '{}': expected at least one row, got none", column.name)));
        }
        let declared = sizes.iter().map(|&size| usize::try_from(size).unwrap_or(usize::MAX));
        if is_hollow(rows as usize, declared) {
            return Err(unexpected());
        }
        let mut count = rows as usize;
        let mut dims = Vec::new();
        for (&size, &expected) in sizes.iter().zip(inner) {
            let declared = u64::try_from(size).map_err(|_| unexpected())?;
            if expected < 0 {
                dims.push(declared);
            } else if size != expected {
                return Err(unexpected());
            }
            count = usize::try_from(declared).ok().and_then(|size| count.checked_mul(size)).ok_or_else(unexpected)?;
        }
        Ok(Self { rows, count, dims })
    }
}

struct Packer {
    writer: Writer,
    copied: usize,
}

impl Packer {
    fn put(&mut self, column: &Column, input: &Input<'_>, shape: &Shape) -> Result<(), String> {
        self.writer.dims(&shape.dims);
        match &input.data {
            Data::Cells(cells) => self.cells(column, cells, shape.count),
            Data::Raw(raw) => match column.datatype.size() {
                Some(size) => self.raw(column, raw, shape.count, size),
                None => self.raw_strings(column, raw, shape.count),
            },
        }
    }

    fn cells(&mut self, column: &Column, cells: &Cells, count: usize) -> Result<(), String> {
        if cells.count != count {
            return Err(format!("its shape says {count} values, got {}", cells.count));
        }
        if column.nullable {
            let validity = self.writer.fixed_with::<u8>(count);
            if cells.validity.is_empty() {
                validity.fill(1);
            } else {
                validity.copy_from_slice(&cells.validity);
            }
            if cells.tokens {
                mark_missing(validity, column.datatype, &cells.bytes);
            }
        } else if let Some(index) = cells.validity.iter().position(|&valid| valid == 0) {
            return Err(format!("value {index} is null, which this input does not take"));
        }
        if column.datatype == Datatype::Bytes {
            check_texts(column, &cells.bytes, &cells.ends)?;
            self.writer.fixed(&cells.ends);
        }
        self.writer.fixed(&cells.bytes);
        Ok(())
    }

    /// Values of a fixed size, copied as they are.
    fn raw(&mut self, column: &Column, raw: &ChunkedBytes, count: usize, size: usize) -> Result<(), String> {
        let bytes = count.checked_mul(size).ok_or("its shape is too large")?;
        if raw.len() != bytes {
            return Err(format!("its shape and datatype say {bytes} bytes, got {}", raw.len()));
        }
        if column.nullable {
            let validity = self.writer.fixed_with::<u8>(count);
            validity.fill(1);
            mark_missing(validity, column.datatype, &raw.joined());
        }
        let target = self.writer.fixed_with::<u8>(bytes);
        let mut at = 0;
        for piece in raw.pieces() {
            target[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        self.copied += bytes;
        Ok(())
    }

    fn raw_strings(&mut self, column: &Column, raw: &ChunkedBytes, count: usize) -> Result<(), String> {
        let bytes = raw.joined();
        let strings::Packed { data, ends } = strings::read(&bytes, count)?;
        check_texts(column, &data, &ends)?;
        if column.nullable {
            self.writer.fixed_with::<u8>(count).fill(1);
        }
        self.writer.fixed(&ends);
        self.writer.fixed(&data);
        self.copied += data.len();
        Ok(())
    }

    /// A nullable column of one value a row, none of which is there.
    fn missing(&mut self, column: &Column, rows: usize) {
        self.writer.validity(&vec![0; rows]);
        match column.datatype {
            Datatype::F32 => self.writer.fixed_with(rows).fill(f32::NAN),
            Datatype::F64 => self.writer.fixed_with(rows).fill(f64::NAN),
            Datatype::Bytes => self.writer.fixed_with::<u32>(rows + 1).fill(0),
            other => _ = self.writer.fixed_with::<u8>(rows * other.size().unwrap_or(0)),
        }
    }
}

/// Columns whose values are known by name hold text; any other may hold whatever its module makes of it.
fn check_texts(column: &Column, data: &[u8], ends: &[u32]) -> Result<(), String> {
    if column.categories.is_empty() {
        return Ok(());
    }
    let values = ends.windows(2).map(|ends| data.get(ends[0] as usize..ends[1] as usize).unwrap_or_default());
    match values.enumerate().find(|(_, value)| str::from_utf8(value).is_err()) {
        Some((index, _)) => Err(format!("string {index} is not valid UTF-8")),
        None => Ok(()),
    }
}

impl Data {
    /// Bytes of its values.
    pub fn size(&self) -> usize {
        match self {
            Self::Cells(cells) => cells.bytes.len() + 4 * cells.ends.len() + cells.validity.len(),
            Self::Raw(raw) => raw.len(),
        }
    }
}

/// A float that is not a number says that the value is missing, as it does for those who made the frame.
fn mark_missing(validity: &mut [u8], datatype: Datatype, bytes: &[u8]) {
    match datatype {
        Datatype::F32 => {
            for (valid, value) in validity.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *valid = u8::from(!f32::from_le_bytes(*value).is_nan());
            }
        }
        Datatype::F64 => {
            for (valid, value) in validity.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *valid = u8::from(!f64::from_le_bytes(*value).is_nan());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::decode::{Inputs, NameIndex};

    #[test]
    fn no_value_in_very_many_lists_is_no_shape() {
        let columns = [Column::new("c", Datatype::I16, [-1, -1, -1])];
        let inputs = Inputs { columns: &columns, names: &NameIndex::new(&columns) };
        let model = Interface { name: "m", version: "1", inputs, outputs: &columns, dropped: &[], tensors: false };
        for (shape, is_taken) in
            [([1, i64::MAX, 0], false), ([1, 1 << 40, 0], false), ([2, 7, 0], true), ([1, 0, i64::MAX], true)]
        {
            let data = Data::Cells(Cells::default());
            let input = Input { name: "c".into(), datatype: Datatype::I16, shape: shape.to_vec(), data };
            let packed = pack(&[input], &model, 10);
            assert_eq!(packed.is_ok(), is_taken, "{shape:?}: {packed:?}");
            if let Ok(packed) = packed {
                packed.batch.views(&columns).expect("a batch is packed as its columns say");
            }
        }
    }
}
