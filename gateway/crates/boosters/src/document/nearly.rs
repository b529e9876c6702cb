//! JSON text as CatBoost's own reader takes it: a number with a fraction or an exponent becomes a double in a few roundings,
//! not in one, and so is off by a unit of the last place now and then. Scores are the library's own only with those.

use std::collections::BTreeMap;

use super::Document;
use super::json::pushed;
use crate::error::{Read, Reader};

/// The deepest nesting taken: trees of any shape nest as deep as they are.
const DEPTH: usize = 512;

/// The largest whole number that grows by one more digit without a rounding.
const EXACT: u64 = (1 << 53) - 1;

/// Digits that count.
const DIGITS: u32 = 17;

/// Reads a whole text.
pub(crate) fn from_catboost_json(reader: Reader, bytes: &[u8]) -> Read<Document> {
    let mut input = Input { reader, bytes, at: 0 };
    let document = input.value(0)?;
    input.space();
    if input.at == bytes.len() { Ok(document) } else { Err(input.wrong("the end of the text")) }
}

struct Input<'a> {
    reader: Reader,
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn wrong(&self, expected: &str) -> crate::error::BoosterError {
        self.reader.corrupt(format!("expected {expected} at byte {} of the JSON text", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Passes over a byte, if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Read<Document> {
        self.space();
        if depth > DEPTH {
            return Err(self.reader.corrupt(format!("the JSON text nests more than {DEPTH} deep")));
        }
        match self.peek() {
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Document::Text(self.text()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in
                    [("true", Document::Bool(true)), ("false", Document::Bool(false)), ("null", Document::Null)]
                {
                    if self.bytes[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.wrong("a value"))
            }
        }
    }

    fn map(&mut self, depth: usize) -> Read<Document> {
        self.at += 1;
        let mut map = BTreeMap::new();
        if self.take(b'}') {
            return Ok(Document::Map(map));
        }
        loop {
            self.space();
            let key = self.text()?;
            if !self.take(b':') {
                return Err(self.wrong("a colon"));
            }
            let value = self.value(depth + 1)?;
            if map.contains_key(&key) {
                return Err(self.reader.corrupt(format!("the key '{key}' comes twice")));
            }
            map.insert(key, value);
            if self.take(b'}') {
                return Ok(Document::Map(map));
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Read<Document> {
        self.at += 1;
        let mut list = Document::Integers(Vec::new());
        if self.take(b']') {
            return Ok(list);
        }
        loop {
            let item = self.value(depth + 1)?;
            list = pushed(list, item);
            if self.take(b']') {
                return Ok(list);
            }
            if !self.take(b',') {
                return Err(self.wrong("a comma"));
            }
        }
    }

    /// A text in quotes.
    fn text(&mut self) -> Read<String> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a text"));
        }
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err(self.wrong("the end of a text")),
            }
        }
        self.at += 1;
        let quoted = self.bytes.get(start..self.at).ok_or_else(|| self.wrong("the end of a text"))?;
        serde_json::from_slice(quoted).map_err(|error| self.reader.corrupt(error.to_string()))
    }

    fn digit(&mut self) -> Option<u64> {
        let digit = self.peek().filter(u8::is_ascii_digit)?;
        self.at += 1;
        Some(u64::from(digit - b'0'))
    }

    fn number(&mut self) -> Read<Document> {
        let is_negative = self.take(b'-');
        let mut whole = self.digit().ok_or_else(|| self.wrong("a digit"))?;
        // The first one is not counted, as there.
        let mut digits = 0;
        let mut number = None;
        while let Some(digit) = self.digit() {
            match (number, whole.checked_mul(10).and_then(|ten| ten.checked_add(digit))) {
                (None, Some(longer)) => {
                    whole = longer;
                    digits += 1;
                }
                (so_far, _) => number = Some(so_far.unwrap_or(whole as f64) * 10.0 + digit as f64),
            }
        }
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) && number.is_none() {
            let integer = i64::try_from(whole).ok().map(|integer| if is_negative { -integer } else { integer });
            let number = if is_negative { -(whole as f64) } else { whole as f64 };
            return Ok(integer.map_or(Document::Number(number), Document::Integer));
        }
        let mut shift = 0i32;
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(self.wrong("a digit"));
            }
            if number.is_none() {
                while whole <= EXACT {
                    let Some(digit) = self.digit() else { break };
                    whole = whole * 10 + digit;
                    shift = shift.saturating_sub(1);
                    digits += u32::from(whole != 0);
                }
            }
            let mut longer = number.unwrap_or(whole as f64);
            while let Some(digit) = self.digit() {
                if digits < DIGITS {
                    longer = longer * 10.0 + digit as f64;
                    shift = shift.saturating_sub(1);
                    digits += u32::from(longer > 0.0);
                }
            }
            number = Some(longer);
        }
        let number = number.unwrap_or(whole as f64);
        let exponent = self.exponent()?;
        let number = scaled(number, exponent.saturating_add(shift));
        if !number.is_finite() {
            return Err(self.wrong("a number that a double can hold"));
        }
        Ok(Document::Number(if is_negative { -number } else { number }))
    }

    fn exponent(&mut self) -> Read<i32> {
        if !matches!(self.peek(), Some(b'e' | b'E')) {
            return Ok(0);
        }
        self.at += 1;
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(matches!(self.peek(), Some(b'-' | b'+')));
        let mut exponent = self.digit().ok_or_else(|| self.wrong("a digit"))?;
        while let Some(digit) = self.digit() {
            exponent = exponent.saturating_mul(10).saturating_add(digit);
        }
        let exponent = i32::try_from(exponent).unwrap_or(i32::MAX);
        Ok(if is_negative { -exponent } else { exponent })
    }
}

/// A number times a power of ten: one product or quotient, or two where the power alone would be 0.
fn scaled(number: f64, exponent: i32) -> f64 {
    match exponent {
        ..-616 => 0.0,
        -616..-308 => power(power(number, -308), exponent + 308),
        _ => power(number, exponent),
    }
}

fn power(number: f64, exponent: i32) -> f64 {
    // The powers are the nearest doubles, as a text of them is read.
    let ten = |exponent: i32| format!("1e{exponent}").parse::<f64>().unwrap_or(f64::INFINITY);
    match exponent {
        ..-308 => 0.0,
        -308..0 => number / ten(-exponent),
        0..=308 => number * ten(exponent),
        _ if number == 0.0 => 0.0,
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: Reader = Reader("test");

    fn number(text: &str) -> f64 {
        from_catboost_json(READER, text.as_bytes()).expect("JSON").number().expect("a number")
    }

    #[test]
    fn numbers_are_near_what_they_say() {
        for text in
            ["0", "-7", "1.5", "0.26817975913081216", "-3.4028234663852886e+38", "1e-320", "123456789012345678901.5"]
        {
            let (found, exact) = (number(text), text.parse::<f64>().expect("a number"));
            assert!((found - exact).abs() <= exact.abs() * 4.0 * f64::EPSILON, "{text}: {found} for {exact}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in
            ["", "{", "[1,", "{\"a\":1,\"a\":2}", "1.", "-", "1e", "1e999", "\"a", "\"\\", "[1] 2", "nul", "{1:2}"]
        {
            assert!(from_catboost_json(READER, bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(from_catboost_json(READER, "[".repeat(100_000).as_bytes()).is_err());
    }
}
