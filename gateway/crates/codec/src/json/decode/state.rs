//! The state of a decoding, and its errors.

use std::borrow::Cow;

use modelgate_columns::{Batch, Column};
use serde::de;
use serde_json::Value;

use super::{
    builder::{Builder, Forms, pack},
    model_key::MODEL_KEY,
    names::Inputs,
};
use crate::{
    bounds::{Bounds, Excess},
    echo,
};

/// Field errors told for one request; decoding ends with the last of them.
const MAX_FIELD_ERRORS: usize = 100;

/// Values that rows may add between two looks at their bounds.
const VALUES_UNSEEN: usize = 64 << 10;

/// The error for a column that the key naming the model hides.
const HIDDEN: &str = "Field required: the key 'model' of this body names the model. Name the model in the path (POST \
                      /predict/NAME), in ?model=NAME or in the header X-Model, then the key is this feature";

/// Characters of a caller's value that an error repeats.
pub(super) const MAX_ECHO: usize = echo::MOST;

/// Why a body is not a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum DecodeError {
    /// Not JSON.
    Malformed {
        /// From 1.
        line: usize,
        /// From 1; 0 before the first character of a line.
        column: usize,
        /// The form that the parser expected.
        message: String,
    },
    /// Neither an object nor a list of objects.
    NotRows(&'static str),
    /// An empty list.
    Empty,
    /// More rows than the bundle allows.
    TooManyRows {
        /// The number that it allows.
        limit: u32,
    },
    /// The rows stand for more than a request may.
    Excess(Excess),
    /// Fields that are missing, unknown or of a wrong type.
    Fields(Vec<FieldError>),
    /// A table whose parts do not fit together; the whole text.
    Table(String),
    /// A row names another model than the one that the request is for. Wins over whatever else is wrong.
    SeveralModels {
        /// The one that the request is for.
        asked: String,
        /// The one that the row names.
        named: String,
    },
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
    /// The form that was expected.
    pub message: String,
    /// The value that came, shortened.
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

/// The fate of keys that are not columns.
#[derive(Clone, Copy, Debug)]
pub enum Keys<'s> {
    /// `model` names the model, which must be this one, and is no column even where there is one of that name. Others are
    /// errors.
    Named(&'s str),
    /// This model is named elsewhere: `model` is a column like any other, and where there is none, may repeat the name.
    /// Others are errors.
    Given(&'s str),
    /// They are errors.
    Refused,
    /// They are passed over.
    Ignored,
}

/// The fields taken beside the columns, and the bounds on all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy<'s> {
    /// Rows of one body.
    pub max_rows: u32,
    /// Whether fields that are no columns are passed over; else they are errors.
    pub ignores_extra: bool,
    /// Columns that the bundle passes over by its own choice, sorted.
    pub dropped: &'s [String],
}

impl Policy<'_> {
    /// Whether a field that is no column is passed over.
    pub fn passes_over(&self, field: &str) -> bool {
        self.ignores_extra || self.drops(field)
    }

    /// Whether the bundle itself passes over this field.
    pub fn drops(&self, field: &str) -> bool {
        self.dropped.binary_search_by(|name| name.as_str().cmp(field)).is_ok()
    }
}

/// A batch in the making.
pub(super) struct State<'s> {
    pub(super) columns: &'s [Column],
    pub(super) inputs: Inputs<'s>,
    pub(super) keys: Keys<'s>,
    /// The column `model`, where the key of that name is not its value.
    pub(super) hidden: Option<usize>,
    pub(super) policy: Policy<'s>,
    pub(super) bounds: Bounds<'s>,
    /// Rows between two looks at the bounds.
    look: u32,
    pub(super) builders: Vec<Builder>,
    pub(super) rows: u32,
    pub(super) list: bool,
    pub(super) errors: Vec<FieldError>,
    /// The first model that a row names beside the one that the request is for.
    other_model: Option<DecodeError>,
    /// Set where decoding ends early for a reason of ours; the parser's own error is then of no interest.
    pub(super) stop: Option<DecodeError>,
}

impl<'s> State<'s> {
    pub(super) fn new(
        inputs: Inputs<'s>,
        keys: Keys<'s>,
        policy: Policy<'s>,
        bounds: Bounds<'s>,
        forms: Forms,
    ) -> Self {
        let columns = inputs.columns;
        let builder = |column| Builder { forms, ..Builder::new(column) };
        Self {
            columns,
            inputs,
            keys,
            hidden: if let Keys::Named(_) = keys { inputs.names.model_column() } else { None },
            policy,
            bounds,
            look: u32::try_from(VALUES_UNSEEN / columns.len().max(1)).unwrap_or(u32::MAX).max(1),
            builders: columns.iter().map(builder).collect(),
            rows: 0,
            list: false,
            errors: Vec::new(),
            other_model: None,
            stop: None,
        }
    }

    /// The rows, once everything was read.
    pub(super) fn finish(mut self, parsed: serde_json::Result<()>) -> Result<Decoded, DecodeError> {
        if let Some(error) = self.other_model.take().or_else(|| self.stop.take()) {
            return Err(error);
        }
        parsed.map_err(|error| {
            let (line, column, message) = (error.line(), error.column(), words_of(&error));
            if error.is_data() {
                DecodeError::Table(format!("{message} (at line {line} column {column})"))
            } else {
                DecodeError::Malformed { line, column, message }
            }
        })?;
        if !self.errors.is_empty() {
            return Err(DecodeError::Fields(self.errors));
        }
        self.bounds.reach(self.bytes()).map_err(DecodeError::Excess)?;
        let words = pack(self.columns, self.builders);
        Ok(Decoded { batch: Batch { rows: self.rows, words: words.into() }, list: self.list })
    }

    pub(super) fn fault(&mut self, field: &str, (kind, message): (&'static str, Cow<'static, str>), input: Value) {
        if self.errors.len() < MAX_FIELD_ERRORS {
            let row = self.list.then_some(self.rows);
            self.errors.push(FieldError {
                kind,
                row,
                field: shorten(field),
                message: message.into_owned(),
                input: shortened(input),
            });
        }
    }

    /// Notes that a row names another model than `asked`.
    pub(super) fn names_other(&mut self, asked: &str, named: &str) {
        self.other_model
            .get_or_insert_with(|| DecodeError::SeveralModels { asked: shorten(asked), named: shorten(named) });
    }

    pub(super) fn stop<E: de::Error>(&mut self, reason: DecodeError) -> E {
        self.stop = Some(reason);
        E::custom("stopped")
    }

    /// Whether so many fields are at fault that no more would be told.
    pub(super) fn go_on<E: de::Error>(&mut self) -> Result<(), E> {
        if self.errors.len() >= MAX_FIELD_ERRORS {
            let errors = std::mem::take(&mut self.errors);
            return Err(self.stop(DecodeError::Fields(errors)));
        }
        Ok(())
    }

    /// Before another row.
    pub(super) fn begin_row<E: de::Error>(&mut self) -> Result<(), E> {
        self.begin_value()?;
        if self.rows > 0 && self.rows.is_multiple_of(self.look) {
            let bytes = self.bytes();
            self.reach(bytes)?;
        }
        Ok(())
    }

    /// Before another value of a column whose values come one after the other: none of them stands for more than it takes
    /// of the body.
    pub(super) fn begin_value<E: de::Error>(&mut self) -> Result<(), E> {
        let limit = self.policy.max_rows;
        if self.rows >= limit {
            return Err(self.stop(DecodeError::TooManyRows { limit }));
        }
        self.go_on()
    }

    pub(super) fn reach<E: de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.bounds.reach(bytes).map_err(|excess| self.stop(DecodeError::Excess(excess)))
    }

    /// Bytes of the columns so far.
    pub(super) fn bytes(&self) -> usize {
        self.builders.iter().map(Builder::bytes).sum()
    }

    pub(super) fn end_row(&mut self) {
        for index in 0..self.columns.len() {
            let (column, builder) = (&self.columns[index], &mut self.builders[index]);
            if builder.seen == self.rows + 1 {
                continue;
            }
            if column.nullable && column.inner_shape().is_empty() {
                builder.push_missing(column);
            } else {
                let name = column.name.clone();
                let message = if self.hidden == Some(index) { HIDDEN } else { "Field required" };
                self.fault(&name, ("missing", message.into()), Value::Null);
            }
        }
        self.rows += 1;
    }

    /// Whether strings may come as `{"b64": …}`.
    pub(super) fn takes_base64(&self) -> bool {
        self.builders.first().is_some_and(|builder| builder.forms.base64)
    }

    /// Whether a key that is no column is passed over.
    pub(super) fn passes_over(&self, key: &str) -> bool {
        matches!(self.keys, Keys::Ignored) || self.policy.passes_over(key)
    }

    /// The column whose value a key is; the one after the last is tried first, since clients keep their order.
    #[inline]
    pub(super) fn find(&self, key: &str, guess: usize) -> Option<usize> {
        self.inputs.find(key, guess).filter(|_| self.hidden.is_none() || key != MODEL_KEY)
    }
}

pub(super) fn shorten(text: &str) -> String {
    shorten_to(text, MAX_ECHO)
}

pub(super) fn shorten_to(text: &str, most: usize) -> String {
    echo::cut(text, most).into_owned()
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
    let words = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    echo::message(words).into_owned()
}
