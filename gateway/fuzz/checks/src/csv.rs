//! Tables in CSV.

use modelgate_codec::{
    csv,
    json::{
        decode::DecodeError,
        encode::{self, Style},
    },
};
use modelgate_columns::{Batch, Column, Datatype, Values, View};

use crate::{
    memory,
    predict::problems,
    schema::{self, DECODING, Schema, TABLES},
};

/// A table, decoded for models of every kind; rows are the same once they are written and read again.
pub fn csv(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    for table in TABLES.iter() {
        let Ok(rows) = decoded(table, text) else { continue };
        let written = written(&rows, &table.columns);
        assert_eq!(decoded(table, &written), Ok(rows), "{written}");
    }
}

fn decoded(table: &Schema, text: &str) -> Result<Batch, DecodeError> {
    let decode = || csv::rows(text, table.inputs(), schema::bounds(text.len()));
    let decoded = memory::within(DECODING, text.len(), decode);
    match &decoded {
        Ok(rows) => drop(schema::views(rows, &table.columns)),
        Err(error) => problems(error),
    }
    decoded
}

/// The table as a client writes it: a column for each value of a row.
fn written(rows: &Batch, columns: &[Column]) -> String {
    let views = schema::views(rows, columns);
    let width = |view: &View<'_>| view.row_size;
    let names = columns.iter().zip(&views).flat_map(|(column, view)| match column.inner_shape() {
        [] => vec![column.name.clone()],
        _ => (0..width(view)).map(|index| format!("{} {index}", column.name)).collect(),
    });
    let mut text = names.map(|name| quoted(&name)).collect::<Vec<_>>().join(",");
    for row in 0..views.first().map_or(0, |view| view.rows) {
        let fields =
            views.iter().flat_map(|view| (row * width(view)..(row + 1) * width(view)).map(move |at| field(view, at)));
        text.push('\n');
        text.push_str(&fields.collect::<Vec<_>>().join(","));
    }
    text
}

fn field(view: &View<'_>, at: usize) -> String {
    if !view.is_valid(at) {
        return String::new();
    }
    if let Values::Bytes(strings) = view.values {
        return quoted(&String::from_utf8_lossy(strings.get(at).unwrap_or_default()));
    }
    // The values say themselves of what type they are.
    let one = View { rows: view.values.len(), row_size: 1, dims: &[], validity: view.validity, values: view.values };
    let mut out = Vec::new();
    encode::row_value(&mut out, &Column::scalar("", Datatype::F64), &one, at, Style { tokens: true, base64: false });
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
