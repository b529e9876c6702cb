//! `NaN`, `Infinity` and `-Infinity` as numbers: no JSON by the standard, but what Python's `json` writes, and what the
//! servers that Python's clients come from take.
//!
//! The parser takes none of them, so a body with such a token fails to parse. Only then is it searched for tokens, and
//! each is overwritten by a string of the same length that no other value of this body has; so positions in errors stay
//! right, and bodies without tokens cost nothing.

/// Begins the strings that stand for tokens. A body that has this character of its own is not rewritten.
const MARK: u8 = 0x7f;

/// Each token, and what it is overwritten with.
const TOKENS: [(&[u8], &[u8], f64); 3] = [
    (b"NaN", b"\"\x7f\"", f64::NAN),
    (b"Infinity", b"\"\x7f+\"    ", f64::INFINITY),
    (b"-Infinity", b"\"\x7f-\"     ", f64::NEG_INFINITY),
];

/// The body with its tokens overwritten; `None` if it has none, or could not be told from one that has.
pub fn rewritten(body: &[u8]) -> Option<Vec<u8>> {
    let has_mark = |bytes: &[u8]| {
        memchr::memchr(MARK, bytes).is_some()
            || [&b"\\u007f"[..], b"\\u007F"].iter().any(|text| memchr::memmem::find(bytes, text).is_some())
    };
    if has_mark(body) {
        return None;
    }
    let mut text = body.to_vec();
    let (mut at, mut found) = (0, false);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_string(&text, at + 1)?,
            b'N' | b'I' | b'-' => {
                let token = TOKENS.iter().find(|(token, ..)| text[at..].starts_with(token));
                if let Some((token, string, _)) = token {
                    text[at..at + token.len()].copy_from_slice(string);
                    (at, found) = (at + token.len(), true);
                } else {
                    at += 1;
                }
            }
            _ => at += 1,
        }
    }
    found.then_some(text)
}

/// The position after the string's closing quote; `at` is after its opening one.
fn end_of_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The number that a string of a rewritten body stands for.
pub(crate) fn value(text: &str) -> Option<f64> {
    match text.strip_prefix(char::from(MARK))? {
        "" => Some(f64::NAN),
        "+" => Some(f64::INFINITY),
        "-" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A number that JSON has no form for, as Python writes it.
pub(crate) fn name(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_overwritten_outside_of_strings_alone() {
        let body = br#"{"NaN":NaN,"a":["-Infinity\"", -Infinity,Infinity ,-1]}"#;
        let text = rewritten(body).expect("it has tokens");
        assert_eq!(text.len(), body.len());
        let parsed: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let number = |value: &serde_json::Value| super::value(value.as_str().expect("text"));
        assert!(number(&parsed["NaN"]).is_some_and(f64::is_nan));
        assert_eq!(number(&parsed["a"][0]), None);
        assert_eq!((number(&parsed["a"][1]), number(&parsed["a"][2])), (Some(f64::NEG_INFINITY), Some(f64::INFINITY)));
        for none in [&br#"{"a":"NaN"}"#[..], b"{", b"\"NaN", b"nan", b"[1,-2]", b"[NaN,\"\x7f\"]", b"[NaN,\"\\u007f\"]"]
        {
            assert_eq!(rewritten(none), None, "{}", String::from_utf8_lossy(none));
        }
    }

    #[test]
    fn what_only_looks_like_a_token_stays_malformed() {
        for bad in ["[NaNa]", "[aNaN]", "[1NaN]", "[Infinity1]", "[--Infinity]", "[NaN NaN]", "{NaN:1", "NaN"] {
            let parsed = rewritten(bad.as_bytes()).map(|text| serde_json::from_slice::<serde_json::Value>(&text));
            let is_whole = bad == "NaN";
            assert_eq!(parsed.is_some_and(|parsed| parsed.is_ok()), is_whole, "{bad}");
        }
    }
}
