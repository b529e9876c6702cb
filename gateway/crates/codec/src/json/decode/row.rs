//! A body of rows: one object of features, or a list of them.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{
    cell::{Cell, Echo, Key},
    model_key::MODEL_KEY,
    state::{DecodeError, Keys, MAX_ECHO, State},
};

/// Characters of a name that are compared; more than any model's has.
const MAX_NAME: usize = 1_024;

/// The whole body.
pub(super) struct Body<'a, 's>(pub(super) &'a mut State<'s>);

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
pub(super) struct Row<'a, 's>(pub(super) &'a mut State<'s>);

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
            state.go_on()?;
            if let Some(index) = state.find(&key, guess) {
                guess = index + 1;
                if state.builders[index].seen == state.rows + 1 {
                    state.fault(&key, ("duplicate_key", "Field given twice".into()), Value::Null);
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                state.builders[index].seen = state.rows + 1;
                let column = &state.columns[index];
                if let Some((fault, input)) =
                    map.next_value_seed(Cell { column, builder: &mut state.builders[index], depth: 0 })?
                {
                    state.fault(&key, fault, input);
                }
            } else if let Keys::Named(model) | Keys::Given(model) = state.keys
                && *key == *MODEL_KEY
            {
                match map.next_value_seed(Echo { most: MAX_NAME })? {
                    Value::Null => {}
                    Value::String(name) if name == model => {}
                    Value::String(named) => state.names_other(model, &named),
                    other => state.fault(&key, ("string_type", "Input should be a valid string".into()), other),
                }
            } else if state.passes_over(&key) {
                map.next_value::<IgnoredAny>()?;
            } else {
                let input = map.next_value_seed(Echo { most: MAX_ECHO })?;
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
