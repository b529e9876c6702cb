//! A caller's input repeated in an error, cut at the same place everywhere.

use std::borrow::Cow;

/// Characters of a caller's text that an answer or a log line repeats.
pub const MOST: usize = 100;

/// Characters of a parser's message, which may quote the caller's text.
const MOST_OF_MESSAGE: usize = 300;

/// A caller's text, shortened; what is left out is shown by `…`.
pub fn echo(text: &str) -> String {
    cut(text, MOST).into_owned()
}

/// A caller's bytes as text, shortened.
pub fn echo_bytes(bytes: &[u8]) -> String {
    // A character takes four bytes at most, so the rest cannot matter.
    echo(&String::from_utf8_lossy(&bytes[..bytes.len().min(4 * (MOST + 1))]))
}

/// A parser's message, shortened.
pub fn message(text: &str) -> Cow<'_, str> {
    cut(text, MOST_OF_MESSAGE)
}

/// The first so many characters of a text.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(echo("abc"), "abc");
        assert_eq!(echo(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(echo(&"é".repeat(101)), format!("{}…", "é".repeat(100)));
        assert_eq!(echo_bytes(&[0xff; 1000]).chars().count(), 101);
        assert_eq!(message(&"x".repeat(1000)).chars().count(), 301);
    }
}
