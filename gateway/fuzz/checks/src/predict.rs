//! Bodies of `/predict`.

use modelgate_codec::json::{
    decode::{self, DecodeError, Decoded, Keys, ModelKey, Policy, model_key},
    encode::{self, Style},
};
use modelgate_columns::{Batch, Column};

use crate::{
    memory,
    schema::{self, DECODING, ROWS, Schema, TABLES, is_short},
};

/// Problems that are told of one request.
const PROBLEMS: usize = 100;

/// A body, decoded for models of every kind: rows are packed and bounded, and are the same once they are written and read
/// again.
pub fn predict(body: &[u8]) {
    let key = model_key(body);
    for table in TABLES.iter() {
        if let ModelKey::Name(name) = &key {
            _ = decoded(table, body, Keys::Named(name), false);
        }
        let strict = decoded(table, body, Keys::Given("m"), false);
        let lax = decoded(table, body, Keys::Given("m"), true);
        let Ok(rows) = strict else { continue };
        assert_eq!(lax.as_ref(), Ok(&rows), "fields that are no columns change nothing");
        let again = decoded(table, &written(&rows, &table.columns), Keys::Given("m"), false);
        assert_eq!(again, Ok(rows), "rows that were written are read as they were");
    }
}

fn decoded(table: &Schema, body: &[u8], keys: Keys<'_>, ignores_extra: bool) -> Result<Decoded, DecodeError> {
    let policy = Policy { max_rows: ROWS, ignores_extra, dropped: &[] };
    let decode = || decode::rows_within(body, table.inputs(), keys, policy, schema::bounds(body.len()));
    let decoded = memory::within(DECODING, body.len(), decode);
    match &decoded {
        Ok(rows) => {
            schema::views(&rows.batch, &table.columns);
            assert!(rows.list || rows.batch.rows == 1, "an object is one row");
        }
        Err(error) => problems(error),
    }
    decoded
}

/// Panics where an error tells too much.
pub(crate) fn problems(error: &DecodeError) {
    match error {
        DecodeError::Fields(fields) => {
            assert!((1..=PROBLEMS).contains(&fields.len()), "{} problems", fields.len());
            for field in fields {
                is_short(&format!("{field:?}"));
            }
        }
        other => is_short(&format!("{other:?}")),
    }
}

/// The rows as a client sends them.
fn written(rows: &Decoded, columns: &[Column]) -> Vec<u8> {
    let object = |row: usize| object(&rows.batch, columns, row);
    let objects: Vec<_> = (0..rows.batch.rows as usize).map(object).collect();
    if rows.list { [&b"["[..], &objects.join(&b','), b"]"].concat() } else { objects.concat() }
}

fn object(batch: &Batch, columns: &[Column], row: usize) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (column, view) in columns.iter().zip(schema::views(batch, columns)) {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(format!("{:?}:", column.name).as_bytes());
        encode::row_value(&mut out, column, &view, row, Style { tokens: true, base64: true });
    }
    out.push(b'}');
    out
}
