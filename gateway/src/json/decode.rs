//! JSON rows straight into packed columns: one pass, no tree in between.
//!
//! A body is one object (a row) or a list of objects (a batch). Every bad field is told, with the place, the kind and the
//! words that FastAPI's users parse.

use std::{borrow::Cow, fmt};

use modelgate_columns::{Column, Datatype, Writer};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::tensor::Batch;

/// Field errors told for one request; more of them would not help anybody.
const MAX_FIELD_ERRORS: usize = 100;

/// Characters of a caller's value that an error repeats.
const MAX_ECHO: usize = 100;

/// The key beside the features that names the model.
const MODEL_KEY: &str = "model";

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

/// Decodes `body` for a bundle that takes `columns`. A key `model` beside the features must be `model`, else
/// [`DecodeError::OtherModel`] says which one is meant.
pub fn rows(body: &[u8], columns: &[Column], model: &str, max_rows: u32) -> Result<Decoded, DecodeError> {
    let mut state = State {
        columns,
        model,
        max_rows,
        builders: columns.iter().map(Builder::new).collect(),
        rows: 0,
        list: false,
        errors: Vec::new(),
        stop: None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = Body(&mut state).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if let Some(stop) = state.stop {
        return Err(stop);
    }
    parsed.map_err(|error| DecodeError::Malformed {
        line: error.line(),
        column: error.column(),
        message: words_of(&error),
    })?;
    if !state.errors.is_empty() {
        return Err(DecodeError::Fields(state.errors));
    }
    let words = pack(columns, state.builders);
    Ok(Decoded { batch: Batch { rows: state.rows, words: words.into() }, list: state.list })
}

/// The parser's words without the position that it appends.
fn words_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn pack(columns: &[Column], builders: Vec<Builder>) -> Vec<u64> {
    let words = builders.iter().map(|builder| builder.data.len() / 8 + builder.ends.len() / 2 + 4).sum();
    let mut writer = Writer::with_capacity(words);
    for (column, builder) in columns.iter().zip(builders) {
        let mut told = builder.dims.iter().map(|dim| dim.unwrap_or(0));
        let dims: Vec<u64> =
            column.inner_shape().iter().zip(&mut told).filter(|&(&size, _)| size < 0).map(|(_, dim)| dim).collect();
        writer.dims(&dims);
        if column.nullable {
            writer.validity(&builder.validity);
        }
        if column.datatype == Datatype::Bytes {
            writer.fixed(&builder.ends);
        }
        writer.fixed(&builder.data);
    }
    writer.finish()
}

/// A column as it grows.
struct Builder {
    /// Values back to back; for byte strings, their bytes.
    data: Vec<u8>,
    /// For byte strings: where each ends; the first entry is 0.
    ends: Vec<u32>,
    /// 1 present, 0 missing; only kept for nullable columns.
    validity: Vec<u8>,
    /// The inner dimensions, once the first row has told those that vary.
    dims: Vec<Option<u64>>,
    /// The row that set it last, counted from 1.
    seen: u32,
}

impl Builder {
    fn new(column: &Column) -> Self {
        Self {
            data: Vec::new(),
            ends: if column.datatype == Datatype::Bytes { vec![0] } else { Vec::new() },
            validity: Vec::new(),
            dims: column.inner_shape().iter().map(|&dim| u64::try_from(dim).ok()).collect(),
            seen: 0,
        }
    }

    fn push(&mut self, column: &Column, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        if column.nullable {
            self.validity.push(1);
        }
    }

    fn push_missing(&mut self, column: &Column) {
        match column.datatype {
            Datatype::F32 => self.data.extend_from_slice(&f32::NAN.to_le_bytes()),
            Datatype::F64 => self.data.extend_from_slice(&f64::NAN.to_le_bytes()),
            Datatype::Bytes => self.ends.push(self.ends.last().copied().unwrap_or(0)),
            other => self.data.resize(self.data.len() + other.size().unwrap_or(0), 0),
        }
        self.validity.push(0);
    }
}

struct State<'s> {
    columns: &'s [Column],
    model: &'s str,
    max_rows: u32,
    builders: Vec<Builder>,
    rows: u32,
    list: bool,
    errors: Vec<FieldError>,
    /// Set where decoding ends early for a reason of ours; the parser's own error is then of no interest.
    stop: Option<DecodeError>,
}

impl State<'_> {
    fn fault(&mut self, field: &str, (kind, message): (&'static str, Cow<'static, str>), input: Value) {
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

    fn stop<E: de::Error>(&mut self, reason: DecodeError) -> E {
        self.stop = Some(reason);
        E::custom("stopped")
    }

    fn begin_row<E: de::Error>(&mut self) -> Result<(), E> {
        if self.rows >= self.max_rows {
            return Err(self.stop(DecodeError::TooManyRows { limit: self.max_rows }));
        }
        Ok(())
    }

    fn end_row(&mut self) {
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
    fn find(&self, name: &str, guess: usize) -> Option<usize> {
        match self.columns.get(guess) {
            Some(column) if column.name == name => Some(guess),
            _ => self.columns.iter().position(|column| column.name == name),
        }
    }
}

fn shorten(text: &str) -> String {
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

/// The whole body.
struct Body<'a, 's>(&'a mut State<'s>);

impl<'de> DeserializeSeed<'de> for Body<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Body<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of features, or a list of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.begin_row()?;
        Row(self.0).visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.list = true;
        while seq.next_element_seed(Row(self.0))?.is_some() {}
        if self.0.rows == 0 {
            return Err(self.0.stop(DecodeError::Empty));
        }
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a boolean")))
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a number")))
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a number")))
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a number")))
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a string")))
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("null")))
    }
}

/// One object of features.
struct Row<'a, 's>(&'a mut State<'s>);

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.begin_row()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of features")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let state = self.0;
        let mut guess = 0;
        while let Some(key) = map.next_key_seed(Key)? {
            if let Some(place) = state.find(&key, guess) {
                guess = place + 1;
                if state.builders[place].seen == state.rows + 1 {
                    state.fault(&key, ("duplicate_key", "Field given twice".into()), Value::Null);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                state.builders[place].seen = state.rows + 1;
                let column = &state.columns[place];
                if let Some((fault, input)) =
                    map.next_value_seed(Cell { column, builder: &mut state.builders[place], depth: 0 })?
                {
                    state.fault(&key, fault, input);
                }
            } else if *key == *MODEL_KEY {
                match map.next_value::<Value>()? {
                    Value::String(name) if name == state.model => {}
                    Value::String(name) => return Err(state.stop(DecodeError::OtherModel(name))),
                    other => state.fault(&key, ("string_type", "Input should be a valid string".into()), other),
                }
            } else {
                let input = map.next_value_seed(Echo)?;
                state.fault(&key, ("extra_forbidden", "Extra inputs are not permitted".into()), input);
            }
        }
        state.end_row();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Err(self.0.stop(DecodeError::NotRows("a list within the list")))
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a list of booleans")))
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a list of numbers")))
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a list of numbers")))
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a list of numbers")))
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a list of strings")))
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Err(self.0.stop(DecodeError::NotRows("a list of nulls")))
    }
}

/// A key, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A value that is only repeated in an error: scalars as they are, structures by their kind.
struct Echo;

impl<'de> DeserializeSeed<'de> for Echo {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Echo {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(shorten(value).into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok("[…]".into())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok("{…}".into())
    }
}

type Fault = ((&'static str, Cow<'static, str>), Value);

/// One value of one column; nested lists where the column has inner dimensions.
struct Cell<'a> {
    column: &'a Column,
    builder: &'a mut Builder,
    depth: usize,
}

impl Cell<'_> {
    fn expected_type(&self) -> (&'static str, Cow<'static, str>) {
        let inner = &self.column.inner_shape()[self.depth.min(self.column.inner_shape().len())..];
        if !inner.is_empty() {
            return ("list_type", format!("Input should be a list of shape {inner:?}").into());
        }
        match self.column.datatype {
            Datatype::Bool => ("bool_type", "Input should be a valid boolean".into()),
            Datatype::F16 | Datatype::F32 | Datatype::F64 => ("float_type", "Input should be a valid number".into()),
            Datatype::Bytes => ("string_type", "Input should be a valid string".into()),
            _ => ("int_type", "Input should be a valid integer".into()),
        }
    }

    fn at_leaf(&self) -> bool {
        self.depth == self.column.inner_shape().len()
    }

    fn integer(self, value: i128) -> Option<Fault> {
        if !self.at_leaf() {
            return Some((self.expected_type(), echo_integer(value)));
        }
        let column = self.column;
        macro_rules! narrow {
            ($type:ty) => {
                match <$type>::try_from(value) {
                    Ok(value) => self.builder.push(column, &value.to_le_bytes()),
                    Err(_) => {
                        let message = format!("Input should be an integer from {} to {}", <$type>::MIN, <$type>::MAX);
                        return Some((("int_out_of_range", message.into()), echo_integer(value)));
                    }
                }
            };
        }
        match column.datatype {
            Datatype::U8 => narrow!(u8),
            Datatype::U16 => narrow!(u16),
            Datatype::U32 => narrow!(u32),
            Datatype::U64 => narrow!(u64),
            Datatype::I8 => narrow!(i8),
            Datatype::I16 => narrow!(i16),
            Datatype::I32 => narrow!(i32),
            Datatype::I64 => narrow!(i64),
            Datatype::F32 | Datatype::F64 => return self.float(value as f64),
            Datatype::Bool | Datatype::Bytes | Datatype::F16 => {
                return Some((self.expected_type(), echo_integer(value)));
            }
        }
        None
    }

    fn float(self, value: f64) -> Option<Fault> {
        if !self.at_leaf() {
            return Some((self.expected_type(), value.into()));
        }
        match self.column.datatype {
            Datatype::F64 => self.builder.push(self.column, &value.to_le_bytes()),
            Datatype::F32 => {
                let narrow = value as f32;
                if !narrow.is_finite() {
                    let message = "Input should be a finite number within single precision";
                    return Some((("finite_number", message.into()), value.into()));
                }
                self.builder.push(self.column, &narrow.to_le_bytes());
            }
            Datatype::Bool | Datatype::Bytes | Datatype::F16 => return Some((self.expected_type(), value.into())),
            // A whole number written as 3.0 is an integer, as it is for pydantic.
            _ if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 => return self.integer(value as i128),
            _ => {
                let message = "Input should be a valid integer, got a number with a fractional part";
                return Some((("int_from_float", message.into()), value.into()));
            }
        }
        None
    }
}

fn echo_integer(value: i128) -> Value {
    i64::try_from(value).map(Value::from).or_else(|_| u64::try_from(value).map(Value::from)).unwrap_or_default()
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = Option<Fault>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Fault>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = Option<Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<Fault>, E> {
        Ok(self.integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<Fault>, E> {
        Ok(self.integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<Fault>, E> {
        Ok(self.float(value))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<Fault>, E> {
        if self.column.datatype == Datatype::Bool && self.at_leaf() {
            self.builder.push(self.column, &[u8::from(value)]);
            Ok(None)
        } else {
            Ok(Some((self.expected_type(), value.into())))
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Option<Fault>, E> {
        if self.column.datatype != Datatype::Bytes || !self.at_leaf() {
            return Ok(Some((self.expected_type(), shorten(value).into())));
        }
        self.builder.push(self.column, value.as_bytes());
        // A body is bounded far below 4 GiB, so the offsets cannot overflow; saturating keeps it an error, not a wrap.
        self.builder.ends.push(u32::try_from(self.builder.data.len()).unwrap_or(u32::MAX));
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<Fault>, E> {
        if self.column.nullable && self.at_leaf() {
            self.builder.push_missing(self.column);
            Ok(None)
        } else {
            Ok(Some((self.expected_type(), Value::Null)))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Fault>, A::Error> {
        let mut fault = None;
        let mut count = 0u64;
        if self.at_leaf() {
            fault = Some((self.expected_type(), "[…]".into()));
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(fault);
        }
        let expected = self.builder.dims[self.depth];
        while fault.is_none() && expected.is_none_or(|expected| count < expected) {
            let cell = Cell { column: self.column, builder: self.builder, depth: self.depth + 1 };
            match seq.next_element_seed(cell)? {
                Some(inner) => fault = inner,
                None => break,
            }
            count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        match expected {
            Some(expected) if fault.is_none() && expected != count => {
                let message = format!("List should have {expected} items, got {count}");
                fault = Some((("list_length", message.into()), "[…]".into()));
            }
            None => self.builder.dims[self.depth] = Some(count),
            Some(_) => {}
        }
        Ok(fault)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Fault>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some((self.expected_type(), "{…}".into())))
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::Values;

    use super::*;

    fn columns() -> Vec<Column> {
        let mut age = Column::scalar("age", Datatype::F64);
        age.nullable = true;
        let mut kind = Column::scalar("kind", Datatype::Bytes);
        kind.nullable = true;
        vec![
            Column::scalar("n", Datatype::I32),
            age,
            kind,
            Column::scalar("ok", Datatype::Bool),
            Column::new("x", Datatype::F32, [-1, 2]),
        ]
    }

    fn decode(body: &str) -> Result<Decoded, DecodeError> {
        rows(body.as_bytes(), &columns(), "m", 3)
    }

    fn kinds(body: &str) -> Vec<(&'static str, Option<u32>, String)> {
        match decode(body) {
            Err(DecodeError::Fields(errors)) => errors.into_iter().map(|e| (e.kind, e.row, e.field)).collect(),
            other => panic!("expected field errors, got {other:?}"),
        }
    }

    #[test]
    fn a_row_becomes_columns() {
        let decoded = decode(r#"{"model":"m","x":[1,2.5],"n":3.0,"kind":"a\u00e9","ok":true}"#).expect("a row");
        assert!(!decoded.list);
        let columns = columns();
        let views = decoded.batch.views(&columns).expect("well packed");
        assert!(matches!(views[0].values, Values::I32([3])));
        assert!(!views[1].is_valid(0), "age is missing");
        let Values::Bytes(kind) = views[2].values else { panic!("not bytes") };
        assert_eq!(kind.get(0), Some("aé".as_bytes()));
        assert!(matches!(views[4].values, Values::F32([1.0, 2.5])));
    }

    #[test]
    fn a_list_becomes_a_batch() {
        let decoded = decode(
            r#"[{"n":1,"age":2,"kind":null,"ok":false,"x":[0,0]},{"ok":true,"n":-1,"x":[3,4],"kind":"z","age":null}]"#,
        )
        .expect("a batch");
        assert!(decoded.list);
        assert_eq!(decoded.batch.rows, 2);
        let columns = columns();
        let views = decoded.batch.views(&columns).expect("well packed");
        assert!(matches!(views[4].values, Values::F32([0.0, 0.0, 3.0, 4.0])));
        assert!(!views[2].is_valid(0) && views[2].is_valid(1));
    }

    #[test]
    fn every_bad_field_is_told() {
        let body = r#"[{"n":1.5,"ok":"yes","x":[1,2]},{"n":1,"ok":true,"x":[1],"y":{"a":[1]},"age":[1]}]"#;
        let expected = [
            ("int_from_float", Some(0), "n".to_owned()),
            ("bool_type", Some(0), "ok".to_owned()),
            ("list_length", Some(1), "x".to_owned()),
            ("extra_forbidden", Some(1), "y".to_owned()),
            ("float_type", Some(1), "age".to_owned()),
        ];
        assert_eq!(kinds(body), expected);
        assert_eq!(kinds("{}").len(), 3, "n, ok and x are required");
        assert_eq!(kinds(r#"{"n":99999999999,"ok":true,"x":[1e39,1]}"#).len(), 2);
        assert_eq!(kinds(r#"{"n":1,"n":2,"ok":true,"x":[1,1]}"#)[0].0, "duplicate_key");
    }

    #[test]
    fn what_is_not_rows_is_refused() {
        assert_eq!(decode("[]"), Err(DecodeError::Empty));
        assert_eq!(decode("3"), Err(DecodeError::NotRows("a number")));
        assert_eq!(decode("[3]"), Err(DecodeError::NotRows("a list of numbers")));
        let row = r#"{"n":1,"ok":true,"x":[1,1]}"#;
        assert_eq!(decode(&format!("[{}]", [row; 4].join(","))), Err(DecodeError::TooManyRows { limit: 3 }));
        assert_eq!(decode(r#"{"model":"other"}"#), Err(DecodeError::OtherModel("other".into())));
        for (body, column) in [("{\"n\":NaN}", 6), ("{\"n\":1", 6), ("", 0), (r#"{"n":1} x"#, 9)] {
            assert!(
                matches!(decode(body), Err(DecodeError::Malformed { line: 1, column: c, .. }) if c == column),
                "{body} {:?}",
                decode(body)
            );
        }
        assert!(matches!(decode(r#"{"n":1e999}"#), Err(DecodeError::Malformed { .. })));
        assert!(decode(&"[".repeat(10_000)).is_err(), "deep nesting");
        assert!(decode(&format!(r#"{{"y":{}}}"#, "[".repeat(100_000))).is_err(), "deep nesting in a field");
    }
}
