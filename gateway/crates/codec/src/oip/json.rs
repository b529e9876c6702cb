//! A tensor's values from JSON, nested or flat, parsed once and straight into their bytes.

use std::fmt;

use modelgate_columns::Datatype;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{json::decode::tokens, oip::input::Cells};

/// Levels of lists; more than any tensor has.
const MAX_DEPTH: usize = 16;

/// Bytes made room for before the first value has come.
const MAX_ROOM: usize = 1 << 20;

/// Reads values of a datatype. The shape, where it is known already, tells how deep lists may be nested.
#[derive(Debug)]
pub struct Values<'a> {
    /// Of each value.
    pub datatype: Datatype,
    /// As far as known: lists that are nested must agree with it.
    pub shape: Option<&'a [i64]>,
    /// Whether strings may stand for `NaN` and the infinities.
    pub tokens: bool,
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Cells;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cells, D::Error> {
        if self.datatype == Datatype::F16 {
            return Err(de::Error::custom("FP16 values cannot be sent as JSON; send them in binary"));
        }
        let mut cells = Cells { tokens: self.tokens, ..Cells::default() };
        let known = self.shape.map(|shape| shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)));
        let count = known.map_or(0, |mut dims| dims.try_fold(1usize, usize::checked_mul).unwrap_or(0));
        cells.bytes.reserve(count.saturating_mul(self.datatype.size().unwrap_or(8)).min(MAX_ROOM));
        if self.datatype == Datatype::Bytes {
            cells.ends.push(0);
        }
        let mut nesting = Nesting { lengths: [None; MAX_DEPTH], leaves: None };
        let level = Level { datatype: self.datatype, cells: &mut cells, nesting: &mut nesting, depth: 0 };
        deserializer.deserialize_seq(level)?;
        match self.shape {
            Some(shape) if !nesting.agrees(shape) => {
                let declared: Vec<_> = nesting.dims().map(|dim| dim.to_string()).collect();
                let declared = declared.join(",");
                Err(de::Error::custom(format_args!(
                    "the values are nested as [{declared}], but the shape is {shape:?}"
                )))
            }
            _ => Ok(cells),
        }
    }
}

/// The nesting of the lists.
struct Nesting {
    /// The length of the lists at each depth, once one was read.
    lengths: [Option<usize>; MAX_DEPTH],
    /// The depth at which the values are.
    leaves: Option<usize>,
}

impl Nesting {
    fn dims(&self) -> impl Iterator<Item = usize> {
        self.lengths.iter().map_while(|&length| length)
    }

    /// Flat lists agree with every shape (their length is checked later), nested ones only with their own; dimensions of
    /// one are neither here nor there.
    fn agrees(&self, shape: &[i64]) -> bool {
        let declared = shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(usize::MAX));
        self.dims().count() < 2 || self.dims().filter(|&dim| dim != 1).eq(declared.filter(|&dim| dim != 1))
    }

    fn leaf<E: de::Error>(&mut self, depth: usize) -> Result<(), E> {
        match self.leaves {
            Some(leaves) if leaves != depth => Err(E::custom(MIXED)),
            _ => {
                self.leaves = Some(depth);
                Ok(())
            }
        }
    }
}

const MIXED: &str = "lists and values stand beside each other";

/// One list, and the lists in it.
struct Level<'a> {
    datatype: Datatype,
    cells: &'a mut Cells,
    nesting: &'a mut Nesting,
    depth: usize,
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { datatype, cells, nesting, depth } = self;
        let mut length = 0;
        while seq.next_element_seed(Element { datatype, cells, nesting, depth })?.is_some() {
            length += 1;
        }
        match nesting.lengths[depth] {
            Some(other) if other != length => {
                Err(de::Error::custom(format_args!("lists beside each other have {other} and {length} values")))
            }
            _ => {
                nesting.lengths[depth] = Some(length);
                Ok(())
            }
        }
    }
}

/// A value, or a list of them.
struct Element<'a> {
    datatype: Datatype,
    cells: &'a mut Cells,
    nesting: &'a mut Nesting,
    depth: usize,
}

impl Element<'_> {
    #[inline]
    fn push<E: de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        self.nesting.leaf(self.depth)?;
        self.cells.bytes.extend_from_slice(bytes);
        self.cells.count += 1;
        if !self.cells.validity.is_empty() {
            self.cells.validity.push(1);
        }
        Ok(())
    }

    fn wrong<E: de::Error>(&self, got: impl fmt::Display) -> E {
        let kind = match self.datatype {
            Datatype::Bool => "true or false",
            Datatype::Bytes => "a string",
            Datatype::F16 | Datatype::F32 | Datatype::F64 => "a number",
            _ => "an integer",
        };
        E::custom(format_args!("value {}: expected {kind}, got {got}", self.cells.count))
    }

    fn integer<E: de::Error>(self, value: i128) -> Result<(), E> {
        macro_rules! narrow {
            ($type:ty) => {
                match <$type>::try_from(value) {
                    Ok(value) => self.push(&value.to_le_bytes()),
                    Err(_) => Err(E::custom(format_args!(
                        "value {}: expected an integer from {} to {}, got {value}",
                        self.cells.count,
                        <$type>::MIN,
                        <$type>::MAX
                    ))),
                }
            };
        }
        match self.datatype {
            Datatype::U8 => narrow!(u8),
            Datatype::U16 => narrow!(u16),
            Datatype::U32 => narrow!(u32),
            Datatype::U64 => narrow!(u64),
            Datatype::I8 => narrow!(i8),
            Datatype::I16 => narrow!(i16),
            Datatype::I32 => narrow!(i32),
            Datatype::I64 => narrow!(i64),
            Datatype::F32 => self.push(&(value as f32).to_le_bytes()),
            Datatype::F64 => self.push(&(value as f64).to_le_bytes()),
            Datatype::Bool | Datatype::Bytes | Datatype::F16 => Err(self.wrong(value)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        match self.datatype {
            Datatype::F64 => self.push(&value.to_le_bytes()),
            Datatype::F32 => {
                let narrow = value as f32;
                if narrow.is_finite() || !value.is_finite() {
                    self.push(&narrow.to_le_bytes())
                } else {
                    let index = self.cells.count;
                    Err(E::custom(format_args!("value {index}: {value} is too large for single precision")))
                }
            }
            Datatype::Bool | Datatype::Bytes | Datatype::F16 => Err(self.wrong(value)),
            // A whole number written as 3.0 is an integer.
            _ if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 => self.integer(value as i128),
            _ => Err(self.wrong(value)),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.integer(value.into())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        match self.datatype {
            Datatype::Bool => self.push(&[u8::from(value)]),
            _ => Err(self.wrong(value)),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        if self.cells.tokens
            && let Some(value) = tokens::value(value)
        {
            return self.visit_f64(value);
        }
        if self.datatype != Datatype::Bytes {
            return Err(self.wrong("a string"));
        }
        let end = self.cells.bytes.len().saturating_add(value.len());
        let end = u32::try_from(end).map_err(|_| E::custom("the strings exceed 4 GiB"))?;
        self.cells.ends.push(end);
        self.push(value.as_bytes())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.nesting.leaf(self.depth)?;
        let cells = self.cells;
        if cells.validity.is_empty() {
            cells.validity = vec![1; cells.count];
        }
        cells.validity.push(0);
        cells.count += 1;
        match self.datatype {
            Datatype::F32 => cells.bytes.extend_from_slice(&f32::NAN.to_le_bytes()),
            Datatype::F64 => cells.bytes.extend_from_slice(&f64::NAN.to_le_bytes()),
            Datatype::Bytes => cells.ends.push(cells.ends.last().copied().unwrap_or(0)),
            other => cells.bytes.resize(cells.bytes.len() + other.size().unwrap_or(0), 0),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        let depth = self.depth + 1;
        if depth == MAX_DEPTH {
            return Err(de::Error::custom(format_args!("lists are nested deeper than {MAX_DEPTH}")));
        }
        if self.nesting.leaves == Some(self.depth) {
            return Err(de::Error::custom(MIXED));
        }
        Level { datatype: self.datatype, cells: self.cells, nesting: self.nesting, depth }.visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Err(self.wrong("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(datatype: Datatype, shape: &[i64], text: &str) -> Result<Cells, String> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Values { datatype, shape: Some(shape), tokens: true }
            .deserialize(&mut deserializer)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nested_and_flat_lists_are_the_same_values() {
        for text in ["[1,2.0,3,4]", "[[1,2],[3,4]]", "[[[1],[2]],[[3],[4]]]"] {
            let cells = read(Datatype::U16, &[2, 2], text).expect(text);
            assert_eq!((cells.count, cells.bytes), (4, vec![1, 0, 2, 0, 3, 0, 4, 0]), "{text}");
        }
        let cells = read(Datatype::Bytes, &[3], r#"["a",null,"\u00e9"]"#).expect("strings");
        assert_eq!((cells.bytes, cells.ends, cells.validity), ("aé".into(), vec![0, 1, 1, 3], vec![1, 0, 1]));
        let cells = read(Datatype::F64, &[2], "[\"\u{7f}\",\"\u{7f}-\"]").expect("tokens, overwritten");
        assert_eq!(cells.bytes, [f64::NAN.to_le_bytes(), f64::NEG_INFINITY.to_le_bytes()].concat());
        let cells = read(Datatype::F32, &[2], "[-0.5,3]").expect("floats");
        assert_eq!(cells.bytes, [(-0.5f32).to_le_bytes(), 3f32.to_le_bytes()].concat());
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (datatype, shape, text, words) in [
            (Datatype::F32, &[2, 2][..], "[[1,2],[3]]", "have 2 and 1"),
            (Datatype::F32, &[3, 2], "[[1,2,3],[4,5,6]]", "nested as [2,3]"),
            (Datatype::F32, &[2, 2], "[[1,2],3]", "beside"),
            (Datatype::F32, &[2, 2], "[1,[2,3]]", "beside"),
            (Datatype::F32, &[1], "[1e39]", "single precision"),
            (Datatype::U8, &[1], "[300]", "from 0 to 255"),
            (Datatype::I64, &[1], "[1.5]", "an integer"),
            (Datatype::I64, &[1], "[true]", "an integer"),
            (Datatype::I64, &[1], "[\"\u{7f}\"]", "an integer, got NaN"),
            (Datatype::Bool, &[1], "[1]", "true or false"),
            (Datatype::Bytes, &[1], "[1]", "a string"),
            (Datatype::F64, &[1], "[{}]", "an object"),
            (Datatype::F64, &[1], "3", "a list"),
            (Datatype::F16, &[1], "[1]", "binary"),
            (Datatype::F64, &[1], "[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "deeper"),
        ] {
            let error = read(datatype, shape, text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
