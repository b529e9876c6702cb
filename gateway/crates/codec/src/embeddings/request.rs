//! The body of a request for embeddings, read in one pass straight into packed words.

use std::fmt;

use modelgate_columns::{Batch, Writer};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{
    bounds::{Bounds, Excess},
    echo::{echo, message},
};

/// Texts in one request, as OpenAI has it.
const MAX_TEXTS: u32 = 2048;

/// Bytes that a text takes beside its own: where it ends.
const END: usize = 4;

/// The form of the embeddings in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Lists of numbers.
    #[default]
    Float,
    /// Texts: single floats, little-endian, in base64.
    Base64,
}

/// A request that was read.
#[derive(Debug)]
pub struct Request {
    /// One column of texts.
    pub batch: Batch,
    /// The form of the answer.
    pub encoding: Encoding,
    /// The width that embeddings are to have, where the request asks for one.
    pub dimensions: Option<u64>,
}

/// Why a body is no request for embeddings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Not JSON, or cut off.
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's words.
        message: String,
    },
    /// JSON, but a field is not what it should be. Tells the field.
    Field(&'static str, String),
    /// More texts than so many.
    TooMany(u32),
    /// More than the request may take in memory.
    Excess(Excess),
}

/// Reads a body.
///
/// # Errors
/// What is wrong with it.
pub fn read(body: &[u8], bounds: Bounds<'_>) -> Result<Request, Problem> {
    let mut reading = Reading { texts: Texts { bounds, data: Vec::new(), ends: vec![0] }, ..Reading::default() };
    let mut parser = serde_json::Deserializer::from_slice(body);
    let read = Fields(&mut reading).deserialize(&mut parser).and_then(|()| parser.end());
    // The parser only carries errors of its own, so what was noted goes first.
    if let Some(problem) = reading.problem {
        return Err(problem);
    }
    read.map_err(|error| Problem::Malformed {
        line: error.line(),
        column: error.column(),
        message: message(&error.to_string()).into_owned(),
    })?;
    let texts = reading.texts;
    let rows = u32::try_from(texts.ends.len() - 1).unwrap_or(u32::MAX);
    if !reading.has_input || rows == 0 {
        return Err(Problem::Field("input", "expected a text, or a list of at least one".into()));
    }
    let strings = texts.ends.windows(2).map(|ends| &texts.data[ends[0] as usize..ends[1] as usize]);
    let mut writer = Writer::with_capacity(texts.data.len() / 8 + texts.ends.len() / 2 + 2);
    writer.strings(strings).map_err(|error| Problem::Field("input", error.message))?;
    let batch = Batch { rows, words: writer.finish().into() };
    Ok(Request { batch, encoding: reading.encoding, dimensions: reading.dimensions })
}

/// The texts so far, one behind the other.
#[derive(Debug)]
struct Texts<'p> {
    bounds: Bounds<'p>,
    data: Vec<u8>,
    ends: Vec<u32>,
}

impl Default for Texts<'_> {
    fn default() -> Self {
        Self { bounds: Bounds::from(0), data: Vec::new(), ends: Vec::new() }
    }
}

impl Texts<'_> {
    fn push(&mut self, text: &str) -> Result<(), Problem> {
        let most = self.bounds.rows.min(MAX_TEXTS);
        if self.ends.len() > most as usize {
            return Err(Problem::TooMany(most));
        }
        if text.is_empty() {
            return Err(Problem::Field("input", "expected texts, got an empty one".into()));
        }
        // Twice: the texts as they are read, and as they are packed.
        let bytes = self.data.len().saturating_add(text.len()).saturating_add(self.ends.len() * END);
        self.bounds.reach(bytes.saturating_mul(2)).map_err(Problem::Excess)?;
        self.data.extend_from_slice(text.as_bytes());
        let end = u32::try_from(self.data.len());
        self.ends.push(end.map_err(|_| Problem::Field("input", "the texts exceed 4 GiB".into()))?);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Reading<'p> {
    texts: Texts<'p>,
    has_input: bool,
    encoding: Encoding,
    dimensions: Option<u64>,
    problem: Option<Problem>,
}

impl Reading<'_> {
    /// Ends the parser; the problem is what is told.
    fn refuse<E: serde::de::Error>(&mut self, problem: Problem) -> E {
        self.problem = Some(problem);
        E::custom("refused")
    }
}

/// The object that a body is.
struct Fields<'r, 'p>(&'r mut Reading<'p>);

impl<'de> DeserializeSeed<'de> for Fields<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the key `input`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Input if self.0.has_input => {
                    return Err(self.0.refuse(Problem::Field("input", "is there twice".into())));
                }
                Key::Input => {
                    self.0.has_input = true;
                    map.next_value_seed(Input { reading: self.0, depth: 0 })?;
                }
                Key::Encoding => match map.next_value::<Option<Word>>()? {
                    None => {}
                    Some(Word(word)) => match word.as_str() {
                        "float" => self.0.encoding = Encoding::Float,
                        "base64" => self.0.encoding = Encoding::Base64,
                        other => {
                            let problem = format!("expected float or base64, got '{other}'");
                            return Err(self.0.refuse(Problem::Field("encoding_format", problem)));
                        }
                    },
                },
                Key::Dimensions => self.0.dimensions = map.next_value()?,
                Key::Other => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier)]
enum Key {
    #[serde(rename = "input")]
    Input,
    #[serde(rename = "encoding_format")]
    Encoding,
    #[serde(rename = "dimensions")]
    Dimensions,
    #[serde(other)]
    Other,
}

/// A short word; of a longer one its beginning.
struct Word(String);

impl<'de> serde::Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shortened;
        impl Visitor<'_> for Shortened {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, word: &str) -> Result<Word, E> {
                Ok(Word(echo(word)))
            }
        }
        deserializer.deserialize_str(Shortened)
    }
}

/// A text, or a list of texts.
struct Input<'r, 'p> {
    reading: &'r mut Reading<'p>,
    /// 1 in the list.
    depth: u8,
}

impl Input<'_, '_> {
    fn refuse<E: serde::de::Error>(self, got: &str) -> E {
        let tokens = "lists of token ids are not taken: send texts";
        let expected = if self.depth == 0 { "expected a text or a list of texts" } else { "expected a text" };
        let problem = if got == "a number" || self.depth > 0 && got == "a list" {
            format!("{expected}, got {got}; {tokens}")
        } else {
            format!("{expected}, got {got}")
        };
        self.reading.refuse(Problem::Field("input", problem))
    }
}

impl<'de> DeserializeSeed<'de> for Input<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Input<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match self.reading.texts.push(text) {
            Ok(()) => Ok(()),
            Err(problem) => Err(self.reading.refuse(problem)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.depth > 0 {
            return Err(self.refuse("a list"));
        }
        while seq.next_element_seed(Input { reading: &mut *self.reading, depth: 1 })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.refuse("an object"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(self.refuse("null"))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Err(self.refuse("true or false"))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Err(self.refuse("a number"))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Err(self.refuse("a number"))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.refuse("a number"))
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Column, Datatype};

    use super::*;

    fn texts(body: &str) -> Result<Vec<String>, Problem> {
        let request = read(body.as_bytes(), Bounds::new(4, 64 << 20, body.len()))?;
        let columns = [Column::scalar("text", Datatype::Bytes)];
        let views = request.batch.views(&columns).expect("packed");
        let modelgate_columns::Values::Bytes(strings) = views[0].values else { panic!("no texts") };
        Ok(strings.iter().map(|text| String::from_utf8(text.to_vec()).expect("UTF-8")).collect())
    }

    #[test]
    fn a_text_and_a_list_of_texts_are_taken() {
        assert_eq!(texts(r#"{"input": "a \u00e9", "model": "m"}"#), Ok(vec!["a é".into()]));
        assert_eq!(texts(r#"{"user": {"a": [1]}, "input": ["a", "🦀 b"]}"#), Ok(vec!["a".into(), "🦀 b".into()]));
        let request = |body: &str| read(body.as_bytes(), Bounds::new(4, 1 << 20, 0)).expect("a request");
        let plain = request(r#"{"input": "a", "encoding_format": null, "dimensions": null}"#);
        assert_eq!((plain.encoding, plain.dimensions), (Encoding::Float, None));
        let asked = request(r#"{"input": "a", "encoding_format": "base64", "dimensions": 8}"#);
        assert_eq!((asked.encoding, asked.dimensions), (Encoding::Base64, Some(8)));
    }

    #[test]
    fn anything_else_is_refused() {
        for (body, expected) in [
            ("{}", "at least one"),
            (r#"{"input": []}"#, "at least one"),
            (r#"{"input": ""}"#, "an empty one"),
            (r#"{"input": ["a", ""]}"#, "an empty one"),
            (r#"{"input": null}"#, "got null"),
            (r#"{"input": {"a": 1}}"#, "got an object"),
            (r#"{"input": [1, 2]}"#, "token ids are not taken"),
            (r#"{"input": [[1, 2]]}"#, "token ids are not taken"),
            (r#"{"input": 1.5}"#, "token ids are not taken"),
            (r#"{"input": ["a", true]}"#, "got true or false"),
            (r#"{"input": "a", "input": "b"}"#, "twice"),
            (r#"{"input": "a", "encoding_format": "hex"}"#, "expected float or base64, got 'hex'"),
        ] {
            match texts(body) {
                Err(Problem::Field(_, message)) => assert!(message.contains(expected), "{body}: {message}"),
                other => panic!("{body}: {other:?}"),
            }
        }
        for body in ["", "[]", "7", r#"{"input": "a""#, r#"{"input": "a"} x"#, r#"{"input":"a","dimensions":-1}"#] {
            assert!(matches!(texts(body), Err(Problem::Malformed { .. })), "{body}");
        }
        assert_eq!(texts(r#"{"input": ["a","a","a","a","a"]}"#), Err(Problem::TooMany(4)));
        let many = format!(r#"{{"input": [{}"a"]}}"#, r#""a","#.repeat(2_048));
        let read = read(many.as_bytes(), Bounds::new(10_000, 64 << 20, many.len()));
        assert_eq!(read.err(), Some(Problem::TooMany(MAX_TEXTS)));
    }

    #[test]
    fn memory_is_counted_before_it_is_taken() {
        let body = format!(r#"{{"input": ["{}"]}}"#, "a".repeat(1 << 20));
        let read = read(body.as_bytes(), Bounds::new(4, 1 << 20, body.len()));
        assert_eq!(read.err(), Some(Problem::Excess(Excess::Bytes(1 << 20))));
    }
}
