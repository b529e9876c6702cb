//! Bodies of OpenAI's embeddings: texts into the one column of texts that a model takes, and embeddings back.

mod request;

use base64::{Engine, prelude::BASE64_STANDARD};
use modelgate_columns::{Batch, Column, Datatype, LayoutError, Values, View};

pub use request::{Encoding, Problem, Request, read};

/// The output with the number of tokens of each row, where a model has it.
const TOKENS: &str = "tokens";

/// The places of what embeddings need among the columns of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The output that is the embedding.
    embedding: usize,
    /// Numbers in one.
    pub width: usize,
    /// The output that counts tokens, if any.
    tokens: Option<usize>,
}

impl Shape {
    /// Of a model that takes one column of texts and gives a row of floats for each; `None` for any other.
    pub fn find(inputs: &[Column], outputs: &[Column]) -> Option<Self> {
        let [input] = inputs else { return None };
        if input.datatype != Datatype::Bytes || input.shape.len() != 1 || input.nullable {
            return None;
        }
        let (embedding, width) = outputs.iter().enumerate().find_map(|(index, column)| {
            let is_float = matches!(column.datatype, Datatype::F32 | Datatype::F64) && !column.nullable;
            match column.inner_shape() {
                [width] if is_float => usize::try_from(*width).ok().filter(|width| *width > 0).map(|n| (index, n)),
                _ => None,
            }
        })?;
        let counts = |column: &Column| {
            column.name == TOKENS && column.datatype == Datatype::I64 && column.shape.len() == 1 && !column.nullable
        };
        Some(Self { embedding, width, tokens: outputs.iter().position(counts) })
    }
}

/// The answer: the embeddings in the order of the texts, and the number of tokens (0 where the model does not count them).
///
/// # Errors
/// A batch that was not packed for `outputs`.
pub fn write(
    batch: &Batch,
    outputs: &[Column],
    shape: Shape,
    model: &str,
    encoding: Encoding,
) -> Result<Vec<u8>, LayoutError> {
    let views = batch.views(outputs)?;
    let view = |index: usize| {
        views.get(index).ok_or_else(|| LayoutError { column: String::new(), message: "an output is missing".into() })
    };
    let embeddings = view(shape.embedding)?;
    let mut out = Vec::with_capacity(batch.size().saturating_mul(2));
    out.extend_from_slice(br#"{"object":"list","data":["#);
    for row in 0..embeddings.rows {
        if row > 0 {
            out.push(b',');
        }
        // Writing into memory cannot fail.
        out.extend_from_slice(br#"{"object":"embedding","index":"#);
        _ = serde_json::to_writer(&mut out, &row);
        out.extend_from_slice(br#","embedding":"#);
        match encoding {
            Encoding::Float => floats(&mut out, embeddings, row),
            Encoding::Base64 => base64(&mut out, embeddings, row),
        }
        out.push(b'}');
    }
    let tokens = match shape.tokens.map(view).transpose()?.map(|view| view.values) {
        Some(Values::I64(counts)) => counts.iter().fold(0i64, |sum, count| sum.saturating_add(*count)),
        _ => 0,
    };
    out.extend_from_slice(br#"],"model":"#);
    _ = serde_json::to_writer(&mut out, model);
    out.extend_from_slice(br#","usage":{"prompt_tokens":"#);
    _ = serde_json::to_writer(&mut out, &tokens);
    out.extend_from_slice(br#","total_tokens":"#);
    _ = serde_json::to_writer(&mut out, &tokens);
    out.extend_from_slice(b"}}");
    Ok(out)
}

fn floats(out: &mut Vec<u8>, view: &View<'_>, row: usize) {
    fn list<T: serde::Serialize>(out: &mut Vec<u8>, values: Option<&[T]>) {
        _ = serde_json::to_writer(out, values.unwrap_or_default());
    }
    let indices = row * view.row_size..(row + 1) * view.row_size;
    match view.values {
        Values::F32(values) => list(out, values.get(indices)),
        Values::F64(values) => list(out, values.get(indices)),
        _ => out.extend_from_slice(b"[]"),
    }
}

/// As single floats, little-endian.
fn base64(out: &mut Vec<u8>, view: &View<'_>, row: usize) {
    let indices = row * view.row_size..(row + 1) * view.row_size;
    let bytes: Vec<u8> = match view.values {
        Values::F32(values) => values.get(indices).unwrap_or_default().iter().flat_map(|v| v.to_le_bytes()).collect(),
        Values::F64(values) => {
            values.get(indices).unwrap_or_default().iter().flat_map(|v| (*v as f32).to_le_bytes()).collect()
        }
        _ => Vec::new(),
    };
    out.push(b'"');
    out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use modelgate_columns::Writer;

    use super::*;

    fn text() -> Vec<Column> {
        vec![Column::scalar("text", Datatype::Bytes)]
    }

    #[test]
    fn embeddings_are_the_first_row_of_floats() {
        let outputs = [
            Column::scalar("label", Datatype::I64),
            Column::new("ids", Datatype::I64, [-1, 4]),
            Column::new("open", Datatype::F32, [-1, -1]),
            Column::new("embedding", Datatype::F32, [-1, 3]),
            Column::scalar("tokens", Datatype::I64),
        ];
        assert_eq!(Shape::find(&text(), &outputs), Some(Shape { embedding: 3, width: 3, tokens: Some(4) }));
        assert_eq!(Shape::find(&text(), &outputs[..3]), None);
        assert_eq!(Shape::find(&[Column::scalar("x", Datatype::F64)], &outputs), None);
        assert_eq!(Shape::find(&[text(), text()].concat(), &outputs), None);
    }

    #[test]
    fn both_encodings_hold_the_same_numbers() {
        let outputs = [Column::new("e", Datatype::F32, [-1, 2]), Column::scalar("tokens", Datatype::I64)];
        let shape = Shape::find(&text(), &outputs).expect("embeddings");
        let mut writer = Writer::default();
        writer.fixed(&[0.1f32, -2.0, 3.5, 1e-9]);
        writer.fixed(&[4i64, 5]);
        let batch = Batch { rows: 2, words: writer.finish().into() };
        let written = |encoding| {
            let body = write(&batch, &outputs, shape, "a \"b\"", encoding).expect("written");
            serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")
        };
        let floats = written(Encoding::Float);
        assert_eq!(floats["data"][1]["embedding"], serde_json::json!([3.5, 1e-9]));
        assert_eq!((&floats["data"][1]["index"], &floats["model"]), (&1.into(), &"a \"b\"".into()));
        assert_eq!(floats["usage"], serde_json::json!({ "prompt_tokens": 9, "total_tokens": 9 }));
        let base64 = written(Encoding::Base64);
        let bytes = BASE64_STANDARD.decode(base64["data"][0]["embedding"].as_str().expect("text")).expect("base64");
        assert_eq!(bytes, [0.1f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
    }
}
