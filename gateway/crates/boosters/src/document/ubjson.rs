//! UBJSON (draft 12), as XGBoost writes it, as a document. Numbers are big-endian.

use std::collections::BTreeMap;

use super::json::pushed;
use super::{DEPTH, Document};
use crate::error::{Read, Reader};

/// Reads a whole file. Nothing is allocated for more items than the rest of the file can hold.
pub(crate) fn from_ubjson(reader: Reader, bytes: &[u8]) -> Read<Document> {
    let mut input = Input { reader, rest: bytes };
    let marker = input.marker()?;
    let document = input.value(marker, 0)?;
    if input.rest.is_empty() { Ok(document) } else { Err(reader.corrupt("bytes follow the end of the document")) }
}

struct Input<'a> {
    reader: Reader,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| self.reader.corrupt("the file ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| self.reader.corrupt("the file ends too early"))
    }

    fn byte(&mut self) -> Read<u8> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next marker that is no padding.
    fn marker(&mut self) -> Read<u8> {
        loop {
            match self.byte()? {
                b'N' => {}
                marker => return Ok(marker),
            }
        }
    }

    fn integer(&mut self, marker: u8) -> Read<Option<i64>> {
        Ok(Some(match marker {
            b'i' => i64::from(i8::from_be_bytes(self.fixed()?)),
            b'U' => i64::from(self.byte()?),
            b'I' => i64::from(i16::from_be_bytes(self.fixed()?)),
            b'l' => i64::from(i32::from_be_bytes(self.fixed()?)),
            b'L' => i64::from_be_bytes(self.fixed()?),
            _ => return Ok(None),
        }))
    }

    fn length(&mut self) -> Read<usize> {
        let marker = self.byte()?;
        let length = self.integer(marker)?.and_then(|length| usize::try_from(length).ok());
        length.ok_or_else(|| self.reader.corrupt("expected a length"))
    }

    fn text(&mut self) -> Read<String> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.reader.corrupt("a text is not UTF-8"))
    }

    fn value(&mut self, marker: u8, depth: usize) -> Read<Document> {
        if let Some(integer) = self.integer(marker)? {
            return Ok(Document::Integer(integer));
        }
        Ok(match marker {
            b'Z' => Document::Null,
            b'T' => Document::Bool(true),
            b'F' => Document::Bool(false),
            b'd' => Document::Number(f64::from(f32::from_be_bytes(self.fixed()?))),
            b'D' => Document::Number(f64::from_be_bytes(self.fixed()?)),
            b'C' => Document::Text(char::from(self.byte()?).to_string()),
            b'S' | b'H' => Document::Text(self.text()?),
            b'[' | b'{' if depth >= DEPTH => return Err(self.reader.corrupt("the document is nested too deeply")),
            b'[' => self.list(depth + 1)?,
            b'{' => self.map(depth + 1)?,
            other => return Err(self.reader.corrupt(format!("there is no value of the kind {other}"))),
        })
    }

    fn list(&mut self, depth: usize) -> Read<Document> {
        let (kind, count) = self.container()?;
        match (kind, count) {
            (Some(kind), Some(count)) => self.packed(kind, count),
            _ => {
                let mut list = Document::Integers(Vec::new());
                let mut left = count;
                loop {
                    match left {
                        Some(0) => return Ok(list),
                        Some(count) => left = Some(count - 1),
                        None => {}
                    }
                    let marker = self.marker()?;
                    if marker == b']' && count.is_none() {
                        return Ok(list);
                    }
                    let item = self.value(marker, depth)?;
                    list = pushed(list, item);
                }
            }
        }
    }

    /// Numbers of one type.
    fn packed(&mut self, kind: u8, count: usize) -> Read<Document> {
        let size = match kind {
            b'i' | b'U' => 1,
            b'I' => 2,
            b'l' | b'd' => 4,
            b'L' | b'D' => 8,
            other => return Err(self.reader.corrupt(format!("there is no packed list of the kind {other}"))),
        };
        let bytes = self.take(count.checked_mul(size).ok_or_else(|| self.reader.corrupt("a list is too long"))?)?;
        Ok(match kind {
            b'i' => Document::Integers(bytes.iter().map(|&byte| i64::from(byte.cast_signed())).collect()),
            b'U' => Document::Integers(bytes.iter().map(|&byte| i64::from(byte)).collect()),
            b'I' => Document::Integers(
                bytes.as_chunks().0.iter().map(|&bytes| i64::from(i16::from_be_bytes(bytes))).collect(),
            ),
            b'l' => Document::Integers(
                bytes.as_chunks().0.iter().map(|&bytes| i64::from(i32::from_be_bytes(bytes))).collect(),
            ),
            b'L' => Document::Integers(bytes.as_chunks().0.iter().map(|&bytes| i64::from_be_bytes(bytes)).collect()),
            b'd' => Document::Numbers(
                bytes.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_be_bytes(bytes))).collect(),
            ),
            _ => Document::Numbers(bytes.as_chunks().0.iter().map(|&bytes| f64::from_be_bytes(bytes)).collect()),
        })
    }

    fn map(&mut self, depth: usize) -> Read<Document> {
        let (kind, count) = self.container()?;
        if kind.is_some() {
            return Err(self.reader.corrupt("a map has values of one type only"));
        }
        let mut map = BTreeMap::new();
        let mut left = count;
        loop {
            match left {
                Some(0) => return Ok(Document::Map(map)),
                Some(count) => left = Some(count - 1),
                None if self.peek() == Some(b'}') => {
                    self.byte()?;
                    return Ok(Document::Map(map));
                }
                None => {}
            }
            let key = self.text()?;
            let marker = self.marker()?;
            let value = self.value(marker, depth)?;
            if map.contains_key(&key) {
                return Err(self.reader.corrupt(format!("the key '{key}' comes twice")));
            }
            map.insert(key, value);
        }
    }

    /// The type and the count that may stand in front of the items.
    fn container(&mut self) -> Read<(Option<u8>, Option<usize>)> {
        let mut kind = None;
        if self.peek() == Some(b'$') {
            self.byte()?;
            kind = Some(self.byte()?);
        }
        if self.peek() != Some(b'#') {
            return match kind {
                Some(_) => Err(self.reader.corrupt("a list has a type and no length")),
                None => Ok((None, None)),
            };
        }
        self.byte()?;
        Ok((kind, Some(self.length()?)))
    }
}
