//! Batches put together and taken apart again, row by row and column by column.

use std::ops::Range;

use crate::{Batch, Column, LayoutError, Values, View, Writer};

/// The rows of all of them, in order. They must agree in the dimensions that their columns leave open: see [`dims`].
///
/// # Errors
/// Batches that are not of these columns.
pub fn join(batches: &[&Batch], columns: &[Column]) -> Result<Batch, LayoutError> {
    let views = batches.iter().map(|batch| batch.views(columns)).collect::<Result<Vec<_>, _>>()?;
    let words = batches.iter().map(|batch| batch.words.len()).sum();
    let mut writer = Writer::with_capacity(words);
    for (place, column) in columns.iter().enumerate() {
        let of = || views.iter().filter_map(|views| views.get(place));
        writer.dims(of().next().map_or(&[], |view| view.dims));
        if column.nullable {
            append(&mut writer, of().map(|view| view.validity.unwrap_or_default()));
        }
        if column.datatype.size().is_some() {
            append(&mut writer, of().map(|view| view.values.as_bytes().unwrap_or_default()));
            continue;
        }
        let strings =
            || of().filter_map(|view| if let Values::Bytes(strings) = view.values { Some(strings) } else { None });
        let count: usize = strings().map(|strings| strings.len()).sum();
        let mut ends = writer.fixed_with::<u32>(count + 1)[1..].iter_mut();
        let mut base = 0u32;
        for strings in strings() {
            for (end, to) in strings.offsets().iter().skip(1).zip(&mut ends) {
                *to = base.checked_add(*end).ok_or_else(|| too_long(column))?;
            }
            let length = u32::try_from(strings.data().len()).map_err(|_| too_long(column))?;
            base = base.checked_add(length).ok_or_else(|| too_long(column))?;
        }
        append(&mut writer, strings().map(|strings| strings.data()));
    }
    let rows = batches.iter().fold(0u32, |rows, batch| rows.saturating_add(batch.rows));
    Ok(Batch { rows, words: writer.finish().into() })
}

fn too_long(column: &Column) -> LayoutError {
    LayoutError { column: column.name.clone(), message: "the strings of a column exceed 4 GiB".into() }
}

fn append<'b>(writer: &mut Writer, parts: impl Iterator<Item = &'b [u8]> + Clone) {
    let bytes = parts.clone().map(<[u8]>::len).sum();
    let target = writer.fixed_with::<u8>(bytes);
    let mut at = 0;
    for part in parts {
        target[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
}

/// Batches of so many rows each, in order.
///
/// # Errors
/// A batch that is not of these columns, or has another number of rows.
pub fn split(batch: &Batch, columns: &[Column], rows: &[u32]) -> Result<Vec<Batch>, LayoutError> {
    let views = batch.views(columns)?;
    let mut from = 0usize;
    let mut parts = Vec::with_capacity(rows.len());
    for &rows in rows {
        let to = from + rows as usize;
        if to > batch.rows as usize {
            let message = format!("expected {to} rows or more, got {}", batch.rows);
            return Err(LayoutError { column: String::new(), message });
        }
        let mut writer = Writer::with_capacity(batch.words.len() / parts.capacity().max(1) + 2 * columns.len());
        for (column, view) in columns.iter().zip(&views) {
            writer.dims(view.dims);
            part(&mut writer, column, view, from, to)?;
        }
        parts.push(Batch { rows, words: writer.finish().into() });
        from = to;
    }
    if from == batch.rows as usize {
        Ok(parts)
    } else {
        Err(LayoutError { column: String::new(), message: format!("expected {from} rows, got {}", batch.rows) })
    }
}

/// The rows of a range.
///
/// # Errors
/// A batch that is not of these columns, or has fewer rows.
pub fn slice(batch: &Batch, columns: &[Column], rows: Range<u32>) -> Result<Batch, LayoutError> {
    let views = batch.views(columns)?;
    if rows.end > batch.rows || rows.start > rows.end {
        let message = format!("expected {} rows or more, got {}", rows.end, batch.rows);
        return Err(LayoutError { column: String::new(), message });
    }
    let count = rows.end - rows.start;
    let share = batch.words.len() as u64 * u64::from(count) / u64::from(batch.rows.max(1));
    let mut writer = Writer::with_capacity(share as usize + 2 * columns.len());
    for (column, view) in columns.iter().zip(&views) {
        writer.dims(view.dims);
        part(&mut writer, column, view, rows.start as usize, rows.end as usize)?;
    }
    Ok(Batch { rows: count, words: writer.finish().into() })
}

/// The rows from one to another.
fn part(writer: &mut Writer, column: &Column, view: &View<'_>, from: usize, to: usize) -> Result<(), LayoutError> {
    // Within what the view holds, since its rows were counted.
    let (from, to) = (from * view.row_size, to * view.row_size);
    if let Some(validity) = view.validity {
        writer.validity(validity.get(from..to).unwrap_or_default());
    }
    match (view.values, column.datatype.size()) {
        (Values::Bytes(strings), _) => {
            let values: Vec<_> = (from..to).filter_map(|place| strings.get(place)).collect();
            writer.strings(values.iter().copied())?;
        }
        (values, size) => {
            let size = size.unwrap_or(1);
            writer.fixed(values.as_bytes().and_then(|bytes| bytes.get(from * size..to * size)).unwrap_or_default());
        }
    }
    Ok(())
}

/// The dimensions that the columns leave open, one after the other. Batches can be joined if these are the same.
///
/// # Errors
/// A batch that is not of these columns.
pub fn dims(batch: &Batch, columns: &[Column]) -> Result<Vec<u64>, LayoutError> {
    if columns.iter().all(|column| column.row_size().is_some()) {
        return Ok(Vec::new());
    }
    Ok(batch.views(columns)?.iter().flat_map(|view| view.dims.iter().copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Datatype;

    fn columns() -> Vec<Column> {
        vec![
            Column { nullable: true, ..Column::scalar("text", Datatype::Bytes) },
            Column::new("x", Datatype::F32, [-1, 3]),
            Column::new("y", Datatype::I16, [-1, -1]),
            Column { nullable: true, ..Column::scalar("flag", Datatype::Bool) },
        ]
    }

    fn batch(rows: u32, width: u64, seed: u8) -> Batch {
        let count = rows as usize;
        let texts: Vec<_> = (0..count).map(|row| vec![seed + row as u8; row % 5]).collect();
        let mut writer = Writer::default();
        writer.validity(&(0..count).map(|row| u8::from(row % 3 != 1)).collect::<Vec<_>>());
        writer.strings(texts.iter().map(Vec::as_slice)).expect("short");
        writer.fixed(&(0..3 * count).map(|value| value as f32 + f32::from(seed)).collect::<Vec<_>>());
        writer.dims(&[width]);
        writer.fixed(&(0..count as u64 * width).map(|value| value as i16 + i16::from(seed)).collect::<Vec<_>>());
        writer.validity(&vec![1; count]);
        writer.fixed(&(0..count).map(|row| row as u8 % 2).collect::<Vec<_>>());
        Batch { rows, words: writer.finish().into() }
    }

    #[test]
    fn what_is_joined_comes_apart_the_same() {
        let columns = columns();
        for sizes in [&[1u32][..], &[1, 1], &[3, 1, 7], &[2, 8, 5, 1, 1, 1]] {
            let parts: Vec<_> = (0..).zip(sizes).map(|(place, &rows)| batch(rows, 2, 10 * place)).collect();
            let whole = join(&parts.iter().collect::<Vec<_>>(), &columns).expect("they fit");
            assert_eq!(whole.rows, sizes.iter().sum::<u32>());
            whole.views(&columns).expect("well packed");
            assert_eq!(split(&whole, &columns, sizes).expect("as many rows"), parts);
        }
    }

    #[test]
    fn rows_must_add_up() {
        let (columns, whole) = (columns(), batch(4, 2, 0));
        for sizes in [&[3u32][..], &[4, 1], &[]] {
            assert!(split(&whole, &columns, sizes).is_err(), "{sizes:?}");
        }
    }

    #[test]
    fn open_dimensions_are_told() {
        assert_eq!(dims(&batch(2, 7, 0), &columns()), Ok(vec![7]));
        assert_eq!(dims(&batch(2, 7, 0), &[]), Ok(vec![]));
    }
}
