//! JSON text as a document.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Document;
use crate::error::{Read, Reader};

/// Reads a whole text. What it takes in memory is a small multiple of the text's length.
pub(crate) fn from_json(reader: Reader, bytes: &[u8]) -> Read<Document> {
    serde_json::from_slice(bytes).map_err(|error| reader.corrupt(error.to_string()))
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde_json bounds the depth itself.
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Document, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Document, E> {
        Ok(i64::try_from(value).map_or(Document::Number(value as f64), Document::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Document, E> {
        Ok(Document::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Document, E> {
        Ok(Document::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Document, E> {
        Ok(Document::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Document, A::Error> {
        let mut list = Document::Integers(Vec::new());
        while let Some(item) = items.next_element()? {
            list = pushed(list, item);
        }
        Ok(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Document, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Document>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key '{key}' comes twice")));
            }
            map.insert(key, value);
        }
        Ok(Document::Map(map))
    }
}

/// A list with one more item, packed as long as all are numbers.
pub(super) fn pushed(list: Document, item: Document) -> Document {
    match (list, item) {
        (Document::Integers(mut list), Document::Integer(item)) => {
            list.push(item);
            Document::Integers(list)
        }
        (Document::Numbers(mut list), Document::Number(item)) => {
            list.push(item);
            Document::Numbers(list)
        }
        (Document::Numbers(mut list), Document::Integer(item)) => {
            list.push(item as f64);
            Document::Numbers(list)
        }
        (Document::Integers(list), Document::Number(item)) => {
            let mut list: Vec<f64> = list.into_iter().map(|integer| integer as f64).collect();
            list.push(item);
            Document::Numbers(list)
        }
        (Document::List(mut list), item) => {
            list.push(item);
            Document::List(list)
        }
        (Document::Integers(list), item) => {
            let mut list: Vec<_> = list.into_iter().map(Document::Integer).collect();
            list.push(item);
            Document::List(list)
        }
        (Document::Numbers(list), item) => {
            let mut list: Vec<_> = list.into_iter().map(Document::Number).collect();
            list.push(item);
            Document::List(list)
        }
        (other, _) => other,
    }
}
