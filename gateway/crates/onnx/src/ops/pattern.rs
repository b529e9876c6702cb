//! Regular expressions as ONNX Runtime reads them (RE2): classes like `\w` and `\d` are of ASCII.

use regex::{Regex, RegexBuilder};
use tract_onnx::tract_hir::internal::*;

/// Bytes of a compiled pattern, which comes from an untrusted file. Matching takes time linear in the text.
const SIZE: usize = 1 << 20;

/// Compiles a pattern.
pub(super) fn compile(pattern: &str) -> TractResult<Regex> {
    RegexBuilder::new(&ascii_classes(pattern))
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .build()
        .with_context(|| format!("the pattern '{pattern}' is not supported"))
}

/// Compiles a pattern that has to match all of a text.
pub(super) fn compile_whole(pattern: &str) -> TractResult<Regex> {
    // By itself first, so that a stray bracket does not close the group.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}

/// Writes out `\w`, `\d`, `\s` and their opposites, which the engine would take for those of Unicode.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(next) = chars.next() {
        match next {
            '\\' => {
                let Some(escaped) = chars.next() else {
                    out.push('\\');
                    break;
                };
                match (escaped, in_class) {
                    ('w', false) => out.push_str("[0-9A-Za-z_]"),
                    ('w', true) => out.push_str("0-9A-Za-z_"),
                    ('W', _) => out.push_str("[^0-9A-Za-z_]"),
                    ('d', false) => out.push_str("[0-9]"),
                    ('d', true) => out.push_str("0-9"),
                    ('D', _) => out.push_str("[^0-9]"),
                    ('s', false) => out.push_str(r"[\t\n\x0C\r ]"),
                    ('s', true) => out.push_str(r"\t\n\x0C\r "),
                    ('S', _) => out.push_str(r"[^\t\n\x0C\r ]"),
                    ('b', false) => out.push_str(r"(?-u:\b)"),
                    (other, _) => {
                        out.push('\\');
                        out.push(other);
                    }
                }
            }
            '[' if !in_class => {
                in_class = true;
                out.push('[');
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            // Inside a class these mean something to the engine that they do not to RE2.
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(next);
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{compile, compile_whole};

    #[test]
    fn classes_are_of_ascii() {
        let word = compile_whole(r"\w+").unwrap();
        assert!(word.is_match("Abc_9") && !word.is_match("é"));
        let class = compile_whole(r"[\d\s&&[]+").unwrap();
        assert!(class.is_match("1 &[2") && !class.is_match("a"));
        assert_eq!(
            compile(r"\b\w\w+\b").unwrap().find_iter("a bc — déf").map(|found| found.as_str()).last(),
            Some("bc")
        );
    }

    #[test]
    fn whole_means_whole() {
        assert!(!compile_whole("a|b").unwrap().is_match("ab"));
        assert!(compile_whole("a)|(b").is_err());
        assert!(compile("(").is_err());
    }
}
