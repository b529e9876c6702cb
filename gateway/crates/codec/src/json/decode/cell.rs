//! One value of one column.

use std::{borrow::Cow, fmt};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use modelgate_columns::{Column, Datatype};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{
    builder::Builder,
    lax,
    state::{shorten, shorten_to},
    tokens,
};

/// A kind and a message, and what came.
pub(super) type Fault = ((&'static str, Cow<'static, str>), Value);

/// One value of one column; nested lists where the column has inner dimensions.
pub(super) struct Cell<'a> {
    pub(super) column: &'a Column,
    pub(super) builder: &'a mut Builder,
    pub(super) depth: usize,
}

impl Cell<'_> {
    fn expected_type(&self) -> (&'static str, Cow<'static, str>) {
        if !self.at_leaf() {
            let inner = &self.column.inner_shape()[self.depth..];
            return ("list_type", format!("Input should be a list of shape {inner:?}").into());
        }
        match self.column.datatype {
            Datatype::Bool => ("bool_type", "Input should be a valid boolean".into()),
            Datatype::F16 | Datatype::F32 | Datatype::F64 => ("float_type", "Input should be a valid number".into()),
            Datatype::Bytes => ("string_type", "Input should be a valid string".into()),
            _ => ("int_type", "Input should be a valid integer".into()),
        }
    }

    /// A value by itself stands for a list of one, as columns of a whole pipeline in one graph are.
    pub(super) fn at_leaf(&self) -> bool {
        self.column.inner_shape().iter().skip(self.depth).all(|&size| size == 1)
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
            Datatype::Bool if self.builder.forms.lax => match value {
                0 | 1 => self.builder.push(column, &[u8::from(value == 1)]),
                _ if i64::try_from(value).is_ok() => return Some((NO_BOOLEAN, echo_integer(value))),
                _ => return Some((self.expected_type(), echo_integer(value))),
            },
            Datatype::Bool | Datatype::Bytes | Datatype::F16 => {
                return Some((self.expected_type(), echo_integer(value)));
            }
        }
        None
    }

    fn float(self, value: f64) -> Option<Fault> {
        if !self.at_leaf() {
            return Some((self.expected_type(), echo_float(value)));
        }
        let is_float = matches!(self.column.datatype, Datatype::F32 | Datatype::F64);
        if value.is_nan() && is_float && self.column.nullable {
            // As in a binary tensor.
            self.builder.push_missing(self.column);
            return None;
        }
        match self.column.datatype {
            Datatype::F64 => self.builder.push(self.column, &value.to_le_bytes()),
            Datatype::F32 => {
                let narrow = value as f32;
                if value.is_finite() && !narrow.is_finite() {
                    let message = "Input should be a finite number within single precision";
                    return Some((("finite_number", message.into()), value.into()));
                }
                self.builder.push(self.column, &narrow.to_le_bytes());
            }
            Datatype::Bool if self.builder.forms.lax && is_whole(value) => return self.integer(value as i128),
            Datatype::Bool | Datatype::Bytes | Datatype::F16 => return Some((self.expected_type(), echo_float(value))),
            _ if !value.is_finite() => {
                return Some((("finite_number", "Input should be a finite number".into()), echo_float(value)));
            }
            // A whole number written as 3.0 is an integer, as it is for pydantic.
            _ if is_whole(value) => return self.integer(value as i128),
            _ => {
                let message = "Input should be a valid integer, got a number with a fractional part";
                return Some((("int_from_float", message.into()), value.into()));
            }
        }
        None
    }

    /// Text for a column that holds none.
    fn text(self, text: &str) -> Option<Fault> {
        if !self.builder.forms.lax || !self.at_leaf() {
            return Some((self.expected_type(), shorten(text).into()));
        }
        let fault = match self.column.datatype {
            Datatype::Bool => match lax::boolean(text) {
                Some(value) => return self.boolean(value),
                None => NO_BOOLEAN,
            },
            Datatype::F32 | Datatype::F64 => match lax::float(text) {
                Some(value) => return self.float(value),
                None => NO_NUMBER,
            },
            Datatype::Bytes | Datatype::F16 => self.expected_type(),
            _ => match lax::integer(text) {
                Some(value) => return self.integer(value),
                None => NO_INTEGER,
            },
        };
        Some((fault, shorten(text).into()))
    }

    fn boolean(self, value: bool) -> Option<Fault> {
        match self.column.datatype {
            Datatype::Bool if self.at_leaf() => self.builder.push(self.column, &[u8::from(value)]),
            Datatype::Bytes | Datatype::F16 | Datatype::Bool => return Some((self.expected_type(), value.into())),
            _ if self.builder.forms.lax && self.at_leaf() => return self.integer(value.into()),
            _ => return Some((self.expected_type(), value.into())),
        }
        None
    }

    pub(super) fn string(self, value: &[u8]) {
        self.builder.push(self.column, value);
        // A body is bounded far below 4 GiB, so the offsets cannot overflow; saturating keeps it an error, not a wrap.
        self.builder.ends.push(u32::try_from(self.builder.data.len()).unwrap_or(u32::MAX));
    }
}

/// pydantic's kinds and words for text that cannot be read as what it should be.
const NO_BOOLEAN: (&str, Cow<'static, str>) =
    ("bool_parsing", Cow::Borrowed("Input should be a valid boolean, unable to interpret input"));
const NO_INTEGER: (&str, Cow<'static, str>) =
    ("int_parsing", Cow::Borrowed("Input should be a valid integer, unable to parse string as an integer"));
const NO_NUMBER: (&str, Cow<'static, str>) =
    ("float_parsing", Cow::Borrowed("Input should be a valid number, unable to parse string as a number"));

/// Whether a float is an integer, and one that no other integer is rounded to.
fn is_whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0
}

fn echo_float(value: f64) -> Value {
    if value.is_finite() { value.into() } else { tokens::name(value).into() }
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
        Ok(self.boolean(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Option<Fault>, E> {
        if self.builder.forms.tokens
            && let Some(value) = tokens::value(value)
        {
            return Ok(self.float(value));
        }
        if self.column.datatype != Datatype::Bytes || !self.at_leaf() {
            return Ok(self.text(value));
        }
        self.string(value.as_bytes());
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<Fault>, E> {
        if self.column.nullable && self.at_leaf() {
            self.builder.push_missing(self.column);
            Ok(None)
        } else if self.at_leaf() && self.builder.push_null(self.column) {
            Ok(None)
        } else {
            Ok(Some((self.expected_type(), Value::Null)))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Fault>, A::Error> {
        let mut fault = None;
        let mut count = 0u64;
        if self.depth == self.column.inner_shape().len() {
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
        let takes_base64 = self.builder.forms.base64 && self.column.datatype == Datatype::Bytes && self.at_leaf();
        let mut only = None;
        if takes_base64 && let Some(key) = map.next_key_seed(Key)? {
            if key == BASE64_KEY {
                only = Some(map.next_value_seed(Key)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            only = None;
        }
        match only.map(|text| BASE64.decode(text.as_bytes())) {
            Some(Ok(bytes)) => {
                self.string(&bytes);
                Ok(None)
            }
            Some(Err(error)) => {
                let message = format!("\"{BASE64_KEY}\" should be base64: {error}");
                Ok(Some((("base64_decode", message.into()), "{…}".into())))
            }
            None => Ok(Some((self.expected_type(), "{…}".into()))),
        }
    }
}

/// The key of an object that stands for bytes.
pub(super) const BASE64_KEY: &str = "b64";

/// The usual alphabet, with or without padding, as TensorFlow Serving takes it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key, borrowed where it has no escapes.
pub(super) struct Key;

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
pub(super) struct Echo {
    /// Characters of a string that are kept.
    pub(super) most: usize,
}

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
        Ok(shorten_to(value, self.most).into())
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
