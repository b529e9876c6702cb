//! Columns to JSON.

use modelgate_columns::{Column, LayoutError, Values, View};
use serde_json::Value;

use crate::tensor::Batch;

/// Appends the value of one row of a column: a scalar, or nested lists where the column has inner dimensions. What JSON
/// cannot say (NaN, infinities, missing values) is null.
pub fn row_value(out: &mut Vec<u8>, column: &Column, view: &View<'_>, row: usize) {
    let shape = view.shape(column);
    nested(out, view, &shape[1..], row.saturating_mul(view.row_size));
}

fn nested(out: &mut Vec<u8>, view: &View<'_>, shape: &[usize], start: usize) {
    let Some((&count, inner)) = shape.split_first() else {
        return scalar(out, view, start);
    };
    let step: usize = inner.iter().product();
    out.push(b'[');
    for place in 0..count {
        if place > 0 {
            out.push(b',');
        }
        nested(out, view, inner, start + place * step);
    }
    out.push(b']');
}

fn scalar(out: &mut Vec<u8>, view: &View<'_>, place: usize) {
    fn number<T: Copy + serde::Serialize>(out: &mut Vec<u8>, values: &[T], place: usize) {
        match values.get(place) {
            // Writing a number into memory cannot fail.
            Some(value) => _ = serde_json::to_writer(out, value),
            None => out.extend_from_slice(b"null"),
        }
    }
    if !view.is_valid(place) {
        out.extend_from_slice(b"null");
        return;
    }
    match view.values {
        Values::Bool(values) => out.extend_from_slice(match values.get(place) {
            Some(0) => b"false",
            Some(_) => b"true",
            None => b"null",
        }),
        Values::U8(values) => number(out, values, place),
        Values::U16(values) => number(out, values, place),
        Values::U32(values) => number(out, values, place),
        Values::U64(values) => number(out, values, place),
        Values::I8(values) => number(out, values, place),
        Values::I16(values) => number(out, values, place),
        Values::I32(values) => number(out, values, place),
        Values::I64(values) => number(out, values, place),
        Values::F32(values) => number(out, values, place),
        Values::F64(values) => number(out, values, place),
        Values::F16(values) => {
            let wide: Vec<f32> =
                values.get(place).map(|&bits| half::f16::from_bits(bits).to_f32()).into_iter().collect();
            number(out, &wide, 0);
        }
        Values::Bytes(values) => {
            let text = String::from_utf8_lossy(values.get(place).unwrap_or_default());
            _ = serde_json::to_writer(out, &text);
        }
    }
}

/// Appends all values as one flat list, row-major.
pub fn flat_values(out: &mut Vec<u8>, view: &View<'_>) {
    out.push(b'[');
    for place in 0..view.values.len() {
        if place > 0 {
            out.push(b',');
        }
        scalar(out, view, place);
    }
    out.push(b']');
}

/// Appends a list with the value of every row.
pub fn column_values(out: &mut Vec<u8>, column: &Column, view: &View<'_>) {
    out.push(b'[');
    for row in 0..view.rows {
        if row > 0 {
            out.push(b',');
        }
        row_value(out, column, view, row);
    }
    out.push(b']');
}

/// The answer of `/predict`: `{"prediction": …}` for one row, `{"predictions": […]}` for a list, of the first output.
/// With `all`, every output follows by name under `"outputs"`.
pub fn predictions(batch: &Batch, columns: &[Column], list: bool, all: bool) -> Result<Vec<u8>, LayoutError> {
    let views = batch.views(columns)?;
    let mut out = Vec::with_capacity(32 + batch.size());
    let value = |out: &mut Vec<u8>, column: &Column, view: &View<'_>| {
        if list {
            column_values(out, column, view);
        } else {
            row_value(out, column, view, 0);
        }
    };
    out.extend_from_slice(if list { br#"{"predictions":"# } else { br#"{"prediction":"# });
    match (columns.first(), views.first()) {
        (Some(column), Some(view)) => value(&mut out, column, view),
        _ => out.extend_from_slice(b"null"),
    }
    if all {
        out.extend_from_slice(br#","outputs":{"#);
        for (place, (column, view)) in columns.iter().zip(&views).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            _ = serde_json::to_writer(&mut out, &column.name);
            out.push(b':');
            value(&mut out, column, view);
        }
        out.push(b'}');
    }
    out.push(b'}');
    Ok(out)
}

/// `{"<key>": […]}` with the first output of every row.
pub fn keyed_predictions(batch: &Batch, columns: &[Column], key: &str) -> Result<Vec<u8>, LayoutError> {
    let views = batch.views(columns)?;
    let mut out = Vec::with_capacity(32 + batch.size());
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    match (columns.first(), views.first()) {
        (Some(column), Some(view)) => column_values(&mut out, column, view),
        _ => out.extend_from_slice(b"[]"),
    }
    out.push(b'}');
    Ok(out)
}

/// The value of one row as a JSON value.
pub fn to_value(column: &Column, view: &View<'_>, row: usize) -> Value {
    let mut text = Vec::new();
    row_value(&mut text, column, view, row);
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Datatype, Writer};

    use super::*;

    #[test]
    fn answers_have_the_documented_shape() {
        let columns = [Column::scalar("label", Datatype::I64), Column::new("p", Datatype::F32, [-1, 2])];
        let mut writer = Writer::default();
        writer.fixed(&[2i64, 7]);
        writer.fixed(&[0.25f32, 0.75, f32::NAN, 1.0]);
        let batch = Batch { rows: 2, words: writer.finish().into() };
        let text =
            |list, all| String::from_utf8(predictions(&batch, &columns, list, all).expect("packed")).expect("text");
        assert_eq!(text(false, false), r#"{"prediction":2}"#);
        assert_eq!(text(true, false), r#"{"predictions":[2,7]}"#);
        assert_eq!(text(true, true), r#"{"predictions":[2,7],"outputs":{"label":[2,7],"p":[[0.25,0.75],[null,1.0]]}}"#);
    }
}
