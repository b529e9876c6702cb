//! A document of JSON or UBJSON in memory, with lists of numbers packed.

mod json;
mod nearly;
mod ubjson;

use std::collections::BTreeMap;

pub(crate) use self::json::from_json;
pub(crate) use self::nearly::from_catboost_json;
pub(crate) use self::ubjson::from_ubjson;
use crate::error::{Read, Reader};

/// The deepest nesting taken. Models nest about ten deep.
const DEPTH: usize = 64;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Null,
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Map(BTreeMap<String, Self>),
}

impl Document {
    /// The value of a key; `None` if there is none, or if this is no map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key),
            _ => None,
        }
    }

    /// The value of a key that has to be there.
    pub(crate) fn need(&self, reader: Reader, key: &str) -> Read<&Self> {
        self.get(key).ok_or_else(|| reader.corrupt(format!("'{key}' is missing")))
    }

    /// A list of no and yes that is not empty.
    pub(crate) fn flags(&self) -> Option<Vec<bool>> {
        let flags = self.list()?.iter().map(|flag| match flag {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        });
        flags.collect::<Option<Vec<_>>>().filter(|flags| !flags.is_empty())
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number, which XGBoost writes as text.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(*integer as f64),
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The items of a list that is not packed; none of an empty one.
    pub(crate) fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            Self::Integers(list) if list.is_empty() => Some(&[]),
            Self::Numbers(list) if list.is_empty() => Some(&[]),
            _ => None,
        }
    }

    /// A list of whole numbers.
    pub(crate) fn integers(&self) -> Option<Vec<i64>> {
        match self {
            Self::Integers(list) => Some(list.clone()),
            Self::List(list) => list.iter().map(Self::integer_or_flag).collect(),
            _ => None,
        }
    }

    fn integer_or_flag(&self) -> Option<i64> {
        match self {
            Self::Bool(flag) => Some(i64::from(*flag)),
            Self::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// A list of numbers.
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Self::Integers(list) => Some(list.iter().map(|&integer| integer as f64).collect()),
            Self::Numbers(list) => Some(list.clone()),
            Self::List(list) if list.is_empty() => Some(Vec::new()),
            _ => None,
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self) -> Option<Vec<String>> {
        self.list()?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    /// The list of whole numbers under a key.
    pub(crate) fn integers_of(&self, reader: Reader, key: &str) -> Read<Vec<i64>> {
        let list = self.need(reader, key)?.integers();
        list.ok_or_else(|| reader.corrupt(format!("'{key}' is no list of whole numbers")))
    }

    /// The list of numbers under a key.
    pub(crate) fn numbers_of(&self, reader: Reader, key: &str) -> Read<Vec<f64>> {
        let list = self.need(reader, key)?.numbers();
        list.ok_or_else(|| reader.corrupt(format!("'{key}' is no list of numbers")))
    }

    /// The list under a key.
    pub(crate) fn list_of(&self, reader: Reader, key: &str) -> Read<&[Self]> {
        let list = self.need(reader, key)?.list();
        list.ok_or_else(|| reader.corrupt(format!("'{key}' is no list")))
    }

    /// The text under a key.
    pub(crate) fn text_of(&self, reader: Reader, key: &str) -> Read<&str> {
        let text = self.need(reader, key)?.text();
        text.ok_or_else(|| reader.corrupt(format!("'{key}' is no text")))
    }

    /// The whole number under a key, from 0 to `most`.
    pub(crate) fn count_of(&self, reader: Reader, key: &str, most: usize) -> Read<usize> {
        let count = self.need(reader, key)?.integer().and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|&count| count <= most);
        count.ok_or_else(|| reader.corrupt(format!("'{key}' is no whole number from 0 to {most}")))
    }
}
