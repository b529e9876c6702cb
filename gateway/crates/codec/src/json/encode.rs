//! Columns to JSON.

use base64::{Engine, prelude::BASE64_STANDARD};
use modelgate_columns::{Batch, Column, LayoutError, Values, View};
use serde_json::Value;

use crate::json::decode::tokens;

/// The form of values that JSON has no form for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// NaN and the infinities as Python's `json` writes them; else they are null.
    pub tokens: bool,
    /// Bytes that are no text as `{"b64": "…"}`; else what is no UTF-8 in them is replaced.
    pub base64: bool,
}

/// Appends the value of one row of a column: a scalar, or nested lists where the column has inner dimensions. Missing values
/// are null.
pub fn row_value(out: &mut Vec<u8>, column: &Column, view: &View<'_>, row: usize, style: Style) {
    let shape = view.shape(column);
    nested(out, view, &shape[1..], row.saturating_mul(view.row_size), style);
}

fn nested(out: &mut Vec<u8>, view: &View<'_>, shape: &[usize], start: usize, style: Style) {
    let Some((&count, inner)) = shape.split_first() else {
        return scalar(out, view, start, style);
    };
    let step: usize = inner.iter().product();
    out.push(b'[');
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        nested(out, view, inner, start + index * step, style);
    }
    out.push(b']');
}

fn scalar(out: &mut Vec<u8>, view: &View<'_>, index: usize, style: Style) {
    fn number<T: Copy + serde::Serialize>(out: &mut Vec<u8>, values: &[T], index: usize) {
        match values.get(index) {
            // Writing a number into memory cannot fail.
            Some(value) => _ = serde_json::to_writer(out, value),
            None => out.extend_from_slice(b"null"),
        }
    }
    fn float<T: Copy + serde::Serialize + Into<f64>>(out: &mut Vec<u8>, values: &[T], index: usize, style: Style) {
        match values.get(index).map(|&value| value.into()) {
            Some(value) if style.tokens && !value.is_finite() => {
                out.extend_from_slice(tokens::name(value).as_bytes());
            }
            _ => number(out, values, index),
        }
    }
    if !view.is_valid(index) {
        out.extend_from_slice(b"null");
        return;
    }
    match view.values {
        Values::Bool(values) => out.extend_from_slice(match values.get(index) {
            Some(0) => b"false",
            Some(_) => b"true",
            None => b"null",
        }),
        Values::U8(values) => number(out, values, index),
        Values::U16(values) => number(out, values, index),
        Values::U32(values) => number(out, values, index),
        Values::U64(values) => number(out, values, index),
        Values::I8(values) => number(out, values, index),
        Values::I16(values) => number(out, values, index),
        Values::I32(values) => number(out, values, index),
        Values::I64(values) => number(out, values, index),
        Values::F32(values) => float(out, values, index, style),
        Values::F64(values) => float(out, values, index, style),
        Values::F16(values) => {
            let wide: Vec<f32> =
                values.get(index).map(|&bits| half::f16::from_bits(bits).to_f32()).into_iter().collect();
            float(out, &wide, 0, style);
        }
        Values::Bytes(values) => string(out, values.get(index).unwrap_or_default(), style),
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8], style: Style) {
    match str::from_utf8(bytes) {
        Err(_) if style.base64 => {
            out.extend_from_slice(br#"{"b64":""#);
            out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            out.extend_from_slice(br#""}"#);
        }
        _ => _ = serde_json::to_writer(out, &String::from_utf8_lossy(bytes)),
    }
}

/// Appends all values as one flat list, row-major.
pub fn flat_values(out: &mut Vec<u8>, view: &View<'_>) {
    out.push(b'[');
    for index in 0..view.values.len() {
        if index > 0 {
            out.push(b',');
        }
        scalar(out, view, index, Style::default());
    }
    out.push(b']');
}

/// Appends a list with the value of every row.
fn column_values(out: &mut Vec<u8>, column: &Column, view: &View<'_>, style: Style) {
    out.push(b'[');
    for row in 0..view.rows {
        if row > 0 {
            out.push(b',');
        }
        row_value(out, column, view, row, style);
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
            column_values(out, column, view, Style::default());
        } else {
            row_value(out, column, view, 0, Style::default());
        }
    };
    out.extend_from_slice(if list { br#"{"predictions":"# } else { br#"{"prediction":"# });
    match (columns.first(), views.first()) {
        (Some(column), Some(view)) => value(&mut out, column, view),
        _ => out.extend_from_slice(b"null"),
    }
    if all {
        out.extend_from_slice(br#","outputs":"#);
        object(&mut out, columns, &views, value);
    }
    out.push(b'}');
    Ok(out)
}

/// The outputs of an answer, and their arrangement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// A list with the first output of every row.
    First,
    /// A list of rows; where there are several outputs, each an object with their names.
    Rows,
    /// A list of values; where there are several outputs, an object with a list for each.
    Columns,
}

/// `{"<key>": …}` with the outputs of every row.
pub fn keyed_predictions(
    batch: &Batch,
    columns: &[Column],
    key: &str,
    outputs: Outputs,
    style: Style,
) -> Result<Vec<u8>, LayoutError> {
    let views = batch.views(columns)?;
    let mut out = Vec::with_capacity(32 + batch.size());
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    match (outputs, columns.first(), views.first()) {
        (Outputs::Rows, ..) if columns.len() > 1 => {
            out.push(b'[');
            for row in 0..views[0].rows {
                if row > 0 {
                    out.push(b',');
                }
                object(&mut out, columns, &views, |out, column, view| row_value(out, column, view, row, style));
            }
            out.push(b']');
        }
        (Outputs::Columns, ..) if columns.len() > 1 => {
            object(&mut out, columns, &views, |out, column, view| column_values(out, column, view, style));
        }
        (_, Some(column), Some(view)) => column_values(&mut out, column, view, style),
        _ => out.extend_from_slice(b"[]"),
    }
    out.push(b'}');
    Ok(out)
}

/// An object with each output by its name.
fn object(out: &mut Vec<u8>, columns: &[Column], views: &[View<'_>], value: impl Fn(&mut Vec<u8>, &Column, &View<'_>)) {
    out.push(b'{');
    for (index, (column, view)) in columns.iter().zip(views).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        _ = serde_json::to_writer(&mut *out, &column.name);
        out.push(b':');
        value(out, column, view);
    }
    out.push(b'}');
}

/// The value of one row as a JSON value.
pub fn to_value(column: &Column, view: &View<'_>, row: usize) -> Value {
    let mut text = Vec::new();
    row_value(&mut text, column, view, row, Style::default());
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

    #[test]
    fn several_outputs_are_objects_for_those_who_expect_them() {
        let columns = [Column::scalar("label", Datatype::Bytes), Column::new("p", Datatype::F32, [-1, 2])];
        let mut writer = Writer::default();
        writer.fixed(&[0u32, 1, 2]);
        writer.fixed(b"a\xff");
        writer.fixed(&[f32::NEG_INFINITY, 0.75, f32::NAN, 1.0]);
        let batch = Batch { rows: 2, words: writer.finish().into() };
        let style = Style { tokens: true, base64: true };
        let text = |columns: &[Column], outputs| {
            let bytes = keyed_predictions(&batch, columns, "k", outputs, style).expect("packed");
            String::from_utf8(bytes).expect("text")
        };
        let label = r#""label":"a","p":[-Infinity,0.75]},{"label":{"b64":"/w=="},"p":[NaN,1.0]"#;
        assert_eq!(text(&columns, Outputs::Rows), format!(r#"{{"k":[{{{label}}}]}}"#));
        let columned = r#"{"k":{"label":["a",{"b64":"/w=="}],"p":[[-Infinity,0.75],[NaN,1.0]]}}"#;
        assert_eq!(text(&columns, Outputs::Columns), columned);
        assert_eq!(text(&columns, Outputs::First), r#"{"k":["a",{"b64":"/w=="}]}"#);
    }
}
