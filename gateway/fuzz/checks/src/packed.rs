//! Packed columns as a module gives them: words of a stranger, read and written as answers.

use modelgate_codec::{
    embeddings::{self, Encoding, Shape},
    json::encode::{self, Outputs, Style},
    oip::output::{self, Chosen},
};
use modelgate_columns::{Batch, Column, Datatype, parts};

use crate::{
    memory::{self, Allowance},
    schema::{self, ROWS, Schema},
};

/// Memory of an answer for each byte of the columns; and for any, since a column without values may have a million lists.
const ANSWER: Allowance = Allowance { factor: 64, floor: 16 << 20 };

/// Lists and values of a column that is written in every form.
const QUICK: usize = 1 << 14;

/// Words in place of the outputs of models of every kind, after a byte with the number of rows. Those that are taken make
/// answers that can be read, and come apart and together again.
pub fn packed(input: &[u8]) {
    let Some((&rows, words)) = input.split_first() else { return };
    let rows = u32::from(rows) % (ROWS + 1);
    let words: Vec<u64> = words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let batch = Batch { rows, words: words.into() };
    for schema in schema::all() {
        let Ok(views) = batch.views(&schema.columns) else { continue };
        // A million lists without values, in every form, take seconds of a busy machine.
        let lists = |shape: Vec<usize>| shape.into_iter().take_while(|&size| size > 0).fold(1, usize::saturating_mul);
        let is_quick = schema.columns.iter().zip(&views).all(|(column, view)| lists(view.shape(column)) <= QUICK);
        let answer = if is_quick { answers } else { an_answer };
        memory::within(ANSWER, batch.size(), || answer(&batch, schema));
        comes_apart(&batch, &schema.columns);
    }
    let texts = [Column::scalar("text", Datatype::Bytes)];
    let outputs = [Column::new("e", Datatype::F32, [-1, 2]), Column::scalar("tokens", Datatype::I64)];
    let shape = Shape::find(&texts, &outputs).expect("embeddings");
    for encoding in [Encoding::Float, Encoding::Base64] {
        if let Ok(body) = embeddings::write(&batch, &outputs, shape, "m", encoding) {
            is_json(&body);
        }
    }
}

/// Writes the batch in one form.
fn an_answer(batch: &Batch, schema: &Schema) {
    is_json(&encode::predictions(batch, &schema.columns, true, true).expect("packed"));
}

/// Writes the batch in every form.
fn answers(batch: &Batch, schema: &Schema) {
    let columns = &schema.columns;
    for list in [batch.rows != 1, true] {
        is_json(&encode::predictions(batch, columns, list, true).expect("packed"));
    }
    for outputs in [Outputs::First, Outputs::Rows, Outputs::Columns] {
        let style = Style { tokens: false, base64: true };
        is_json(&encode::keyed_predictions(batch, columns, "k", outputs, style).expect("packed"));
    }
    for (tensors, binary) in [(false, false), (false, true), (true, true)] {
        let chosen: Vec<_> = (0..columns.len()).map(|index| Chosen { index, binary }).collect();
        let body = output::write(&schema.interface(tensors), batch, &chosen, None).expect("packed");
        is_json(&body.bytes[..body.json.unwrap_or(body.bytes.len())]);
    }
}

fn is_json(text: &[u8]) {
    let read = serde_json::from_slice::<serde::de::IgnoredAny>(text);
    assert!(read.is_ok(), "{read:?}: {}", String::from_utf8_lossy(text));
}

/// Takes the batch apart, row by row, and puts it together again.
fn comes_apart(batch: &Batch, columns: &[Column]) {
    let each = vec![1; batch.rows as usize];
    let rows = parts::split(batch, columns, &each).expect("rows that add up");
    if rows.is_empty() {
        return;
    }
    // The padding may have held anything.
    let whole = parts::join(&rows.iter().collect::<Vec<_>>(), columns).expect("rows of the same columns");
    assert_eq!(whole.rows, batch.rows);
    assert_eq!(parts::split(&whole, columns, &each).expect("rows that add up"), rows);
    assert_eq!(parts::dims(&whole, columns), parts::dims(batch, columns));
}
