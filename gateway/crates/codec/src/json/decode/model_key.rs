//! The key of a body that names the model, read before the body is decoded: which columns the rest is decoded into
//! depends on it.

use std::{borrow::Cow, sync::LazyLock};

use memchr::{memchr2, memmem::Finder};

/// The key beside the features that names the model.
pub const MODEL_KEY: &str = "model";

/// The value of a body's key `model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelKey<'b> {
    /// There is none, or it is null.
    Absent,
    /// A name.
    Name(Cow<'b, str>),
    /// Something else, which can only be the value of a feature.
    Value,
}

impl ModelKey<'_> {
    /// Without a borrow.
    pub fn into_owned(self) -> ModelKey<'static> {
        match self {
            Self::Absent => ModelKey::Absent,
            Self::Name(name) => ModelKey::Name(name.into_owned().into()),
            Self::Value => ModelKey::Value,
        }
    }
}

/// The key of an object, or of the first object of a list. Bodies are not checked here: of one that is no JSON, any
/// answer will do.
pub fn model_key(body: &[u8]) -> ModelKey<'_> {
    let Some((first, rest)) = after_space(body).split_first() else { return ModelKey::Absent };
    match first {
        b'{' => match last_key(rest) {
            Some(name) => ModelKey::Name(name.into()),
            None if may_have(rest) => search(rest),
            None => ModelKey::Absent,
        },
        b'[' => after_space(rest).strip_prefix(b"{").map_or(ModelKey::Absent, search),
        _ => ModelKey::Absent,
    }
}

/// The key as it is, and what stands in it where letters are escaped: all of them have codes from U+0060 to U+006F. Made
/// once, since that takes longer than to search a small body.
static PLAIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"model\""));
static ESCAPED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u006"));

/// Whether the key may be in there.
fn may_have(object: &[u8]) -> bool {
    PLAIN.find(object).is_some() || ESCAPED.find(object).is_some()
}

/// The name, where the key is the object's last and its value a plain string, as most clients write it.
fn last_key(object: &[u8]) -> Option<&str> {
    let rest = object.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end().strip_suffix(b"\"")?;
    let start = memchr::memrchr(b'"', rest)? + 1;
    let (before, name) = rest.split_at_checked(start)?;
    let before = before.strip_suffix(b"\"")?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    let before = before.strip_suffix(b"\"model\"")?.trim_ascii_end();
    // After anything else the quotes are those of another string.
    let is_key = before.last().is_none_or(|&byte| byte == b',');
    str::from_utf8(name).ok().filter(|name| is_key && !name.contains('\\'))
}

/// Key by key from the start, no further than to the key.
fn search(object: &[u8]) -> ModelKey<'_> {
    let is_model = |key| unescaped(key).is_some_and(|key| key == MODEL_KEY);
    let Some((_, value)) = Fields::new(object).find(|&(key, _)| is_model(key)) else { return ModelKey::Absent };
    match string(value) {
        Some((name, _)) => unescaped(name).map_or(ModelKey::Absent, ModelKey::Name),
        None if value.starts_with(b"null") => ModelKey::Absent,
        None => ModelKey::Value,
    }
}

/// The fields of an object: each key as it is written, and the text from its value on. Ends where the text is no object.
pub(super) struct Fields<'b> {
    rest: &'b [u8],
    /// Whether `rest` begins with the value of a field that was given.
    is_at_value: bool,
}

impl<'b> Fields<'b> {
    /// Of an object without its opening brace.
    pub(super) fn new(object: &'b [u8]) -> Self {
        Self { rest: object, is_at_value: false }
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = (&'b [u8], &'b [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let field = if self.is_at_value { after_value(self.rest)? } else { self.rest };
        let (key, after) = string(after_space(field))?;
        self.rest = after_space(after_space(after).strip_prefix(b":")?);
        self.is_at_value = true;
        Some((key, self.rest))
    }
}

/// The text behind the comma after a value; `None` at the object's end.
fn after_value(mut rest: &[u8]) -> Option<&[u8]> {
    let mut depth = 0usize;
    loop {
        let (byte, after) = rest.split_first()?;
        match byte {
            b'"' => {
                rest = string(rest)?.1;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => return Some(after),
            _ => {}
        }
        rest = after;
    }
}

/// A string as it is written, without its quotes, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = bytes.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some((&text[..at], &text[at + 1..]));
        }
        at += 2;
    }
}

/// The text of a string, given as it is written.
pub(super) fn unescaped(raw: &[u8]) -> Option<Cow<'_, str>> {
    if !raw.contains(&b'\\') {
        return str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(&[b"\"", raw, b"\""].concat()).ok().map(Cow::Owned)
}

/// The text without the space before it.
pub(super) fn after_space(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_key_is_found_wherever_it_stands() {
        for (body, expected) in [
            (r#"{"a":1,"model":"m"}"#, Some("m")),
            ("{\"a\" : 1 , \"model\" : \"m\" } \n", Some("m")),
            (r#"{"model":"m","a":1}"#, Some("m")),
            (r#"{"model":"m"}"#, Some("m")),
            (r#" { "x" : {"model":"inner"}, "y":[{"model":"inner"},"]}"], "model":"m", "z":-1e5 }"#, Some("m")),
            (r#"{"x":{"model":"inner"}}"#, None),
            (r#"{"x":[{"model":"inner"}]}"#, None),
            (r#"{"x":"\",\"model\":\"no\"}"}"#, None),
            (r#"{"x":"a\\","model":"m"}"#, Some("m")),
            (r#"{"a":1,"\u006dodel":"m"}"#, Some("m")),
            (r#"{"a":NaN,"mod\u0065l":"m\u00e9","b":2}"#, Some("mé")),
            (r#"{"a":1,"model":"a b"}"#, Some("a b")),
            (r#"{"a":1,"model":"模型一"}"#, Some("模型一")),
            (r#"{"a":1,"model":"q\"r"}"#, Some("q\"r")),
            (r#"{"a":1,"model":null}"#, None),
            (r#"{"a":1,"models":"m"}"#, None),
            (r#"{"a":"model"}"#, None),
            (r#"[{"a":1,"model":"m"},{"a":2,"model":"n"}]"#, Some("m")),
            (r#"[{"a":1},{"a":2,"model":"n"}]"#, None),
            ("[1]", None),
            ("{", None),
            (r#"{"model"#, None),
            ("", None),
        ] {
            let found = match model_key(body.as_bytes()) {
                ModelKey::Name(name) => Some(name.into_owned()),
                ModelKey::Absent => None,
                ModelKey::Value => panic!("{body}"),
            };
            assert_eq!(found.as_deref(), expected, "{body}");
        }
        assert_eq!(model_key(br#"{"model":7}"#), ModelKey::Value);
        assert_eq!(model_key(br#"{"model":["m"],"a":1}"#), ModelKey::Value);
    }

    /// A sequence of numbers that look random.
    struct Sequence(u64);

    impl Sequence {
        fn below(&mut self, most: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % most
        }

        fn text(&mut self) -> String {
            const TEXTS: [&str; 9] =
                ["model", "a", "\"model\"", "\\", "},{", "é", "mod\u{1}el", "\"model\":\"x\"}", ""];
            TEXTS[self.below(9) as usize].to_owned()
        }

        fn value(&mut self, depth: u64) -> Value {
            match self.below(if depth == 0 { 4 } else { 6 }) {
                0 => Value::Null,
                1 => self.below(2_000).into(),
                2 | 3 => self.text().into(),
                4 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
                _ => self.object(depth - 1),
            }
        }

        fn object(&mut self, depth: u64) -> Value {
            Value::Object((0..self.below(5)).map(|_| (self.text(), self.value(depth))).collect())
        }
    }

    #[test]
    fn the_key_is_the_one_that_a_parser_finds() {
        let mut sequence = Sequence(7);
        for _ in 0..20_000 {
            let object = sequence.object(3);
            let list = sequence.below(4) == 0;
            let value = if list { Value::Array(vec![object.clone(), sequence.object(1)]) } else { object.clone() };
            let pretty = sequence.below(2) == 0;
            let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let mut body = body.expect("JSON");
            if sequence.below(4) == 0 {
                body = body.replace("\"model\":", "\"m\\u006fdel\":");
            }
            let expected = match object.get("model") {
                None | Some(Value::Null) => ModelKey::Absent,
                Some(Value::String(name)) => ModelKey::Name(name.as_str().into()),
                Some(_) => ModelKey::Value,
            };
            assert_eq!(model_key(body.as_bytes()), expected, "{body}");
        }
    }

    /// Of two keys of that name, either may be found: the decoder refuses the body.
    #[test]
    fn a_plain_name_is_borrowed() {
        for body in [r#"{"a":1,"model":"m"}"#, r#"{"model":"m","a":1}"#] {
            assert!(matches!(model_key(body.as_bytes()), ModelKey::Name(Cow::Borrowed("m"))), "{body}");
        }
    }
}
