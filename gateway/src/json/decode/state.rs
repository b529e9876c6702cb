//! What a decoding has come to so far, and what is wrong with it.

use std::borrow::Cow;

use modelgate_columns::Column;
use serde::de;
use serde_json::Value;

use super::builder::{Builder, pack};
use crate::tensor::Batch;

/// Field errors told for one request; more of them would not help anybody.
const MAX_FIELD_ERRORS: usize = 100;

/// Characters of a caller's value that an error repeats.
const MAX_ECHO: usize = 100;

/// Why a body is not a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum DecodeError {
    /// Not JSON.
    Malformed {
        /// From 1.
        line: usize,
        /// From 1; 0 before the first character of a line.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// Neither an object nor a list of objects.
    NotRows(&'static str),
    /// An empty list.
    Empty,
    /// More rows than the bundle allows.
    TooManyRows {
        /// How many it allows.
        limit: u32,
    },
    /// Fields that are missing, unknown or of a wrong type.
    Fields(Vec<FieldError>),
    /// A table whose parts do not fit together; the whole text.
    Table(String),
    /// The body names another model than the one it was decoded for.
    OtherModel(String),
}

/// One bad field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// The kind, in pydantic's terms: `missing`, `float_type`, `extra_forbidden`, …
    pub kind: &'static str,
    /// The row, where the body is a list.
    pub row: Option<u32>,
    /// The field.
    pub field: String,
    /// What was expected.
    pub message: String,
    /// What came, shortened.
    pub input: Value,
}

/// A finished decoding.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The rows.
    pub batch: Batch,
    /// Whether the body was a list.
    pub list: bool,
}

/// What becomes of keys that are not columns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keys<'s> {
    /// `model` must be this name; any other is an error.
    Named(&'s str),
    /// They are errors.
    Refused,
    /// They are passed over.
    Ignored,
}

/// A batch in the making.
pub(super) struct State<'s> {
    pub(super) columns: &'s [Column],
    pub(super) keys: Keys<'s>,
    pub(super) max_rows: u32,
    pub(super) builders: Vec<Builder>,
    pub(super) rows: u32,
    pub(super) list: bool,
    pub(super) errors: Vec<FieldError>,
    /// Set where decoding ends early for a reason of ours; the parser's own error is then of no interest.
    pub(super) stop: Option<DecodeError>,
}

impl<'s> State<'s> {
    pub(super) fn new(columns: &'s [Column], keys: Keys<'s>, max_rows: u32) -> Self {
        Self {
            columns,
            keys,
            max_rows,
            builders: columns.iter().map(Builder::new).collect(),
            rows: 0,
            list: false,
            errors: Vec::new(),
            stop: None,
        }
    }

    /// The rows, once everything was read.
    pub(super) fn finish(self, parsed: serde_json::Result<()>) -> Result<Decoded, DecodeError> {
        if let Some(stop) = self.stop {
            return Err(stop);
        }
        parsed.map_err(|error| DecodeError::Malformed {
            line: error.line(),
            column: error.column(),
            message: words_of(&error),
        })?;
        if !self.errors.is_empty() {
            return Err(DecodeError::Fields(self.errors));
        }
        let words = pack(self.columns, self.builders);
        Ok(Decoded { batch: Batch { rows: self.rows, words: words.into() }, list: self.list })
    }

    pub(super) fn fault(&mut self, field: &str, (kind, message): (&'static str, Cow<'static, str>), input: Value) {
        if self.errors.len() < MAX_FIELD_ERRORS {
            let row = self.list.then(|| self.rows);
            self.errors.push(FieldError {
                kind,
                row,
                field: shorten(field),
                message: message.into_owned(),
                input: shortened(input),
            });
        }
    }

    pub(super) fn stop<E: de::Error>(&mut self, reason: DecodeError) -> E {
        self.stop = Some(reason);
        E::custom("stopped")
    }

    pub(super) fn begin_row<E: de::Error>(&mut self) -> Result<(), E> {
        if self.rows >= self.max_rows {
            return Err(self.stop(DecodeError::TooManyRows { limit: self.max_rows }));
        }
        Ok(())
    }

    pub(super) fn end_row(&mut self) {
        for place in 0..self.columns.len() {
            let (column, builder) = (&self.columns[place], &mut self.builders[place]);
            if builder.seen == self.rows + 1 {
                continue;
            }
            if column.nullable && column.inner_shape().is_empty() {
                builder.push_missing(column);
            } else {
                let name = column.name.clone();
                self.fault(&name, ("missing", "Field required".into()), Value::Null);
            }
        }
        self.rows += 1;
    }

    /// The column of that name; the one after the last is tried first, since clients keep their order.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        match self.columns.get(guess) {
            Some(column) if column.name == name => Some(guess),
            _ => self.columns.iter().position(|column| column.name == name),
        }
    }
}

pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_ECHO) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(shorten(&text)),
        other => other,
    }
}

/// The parser's words without the position that it appends.
pub(super) fn words_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}
