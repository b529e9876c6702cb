//! Forms that browsers and curl upload (`multipart/form-data`, RFC 7578): names and values, without a copy.
//!
//! A body is in one piece when it is decoded, so that a parser of slices is all that is needed.

use std::borrow::Cow;

use memchr::memmem;

/// Characters of a boundary, as RFC 2046 bounds them.
const MAX_BOUNDARY: usize = 70;

/// Bytes of the lines before a value.
const MAX_HEAD: usize = 8 << 10;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'b> {
    /// The field's name.
    pub name: Cow<'b, str>,
    /// Its value: a text, or a file's bytes.
    pub value: &'b [u8],
}

/// The boundary that a `Content-Type` of `multipart/form-data` names; `None` for another type, and for one without.
pub fn boundary(content_type: &str) -> Option<Cow<'_, str>> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()))
}

/// The fields of a body, in its order. After an error there is nothing more.
pub fn parts<'b>(body: &'b [u8], boundary: &str) -> impl Iterator<Item = Result<Part<'b>, &'static str>> + use<'b> {
    let delimiter = format!("\r\n--{boundary}");
    // The first one may be the beginning of the body.
    let first = body
        .strip_prefix(&delimiter.as_bytes()[2..])
        .or_else(|| split(body, delimiter.as_bytes()).map(|(_, rest)| rest));
    let mut rest = Some(first.ok_or("expected the boundary that the Content-Type names"));
    std::iter::from_fn(move || {
        let next = match rest.take()? {
            Ok(next) => next,
            Err(problem) => return Some(Err(problem)),
        };
        if next.starts_with(b"--") {
            return None;
        }
        match part(next, delimiter.as_bytes()) {
            Ok((part, next)) => {
                rest = Some(Ok(next));
                Some(Ok(part))
            }
            Err(problem) => Some(Err(problem)),
        }
    })
}

/// The part behind a delimiter, and what is behind the next one.
fn part<'b>(body: &'b [u8], delimiter: &[u8]) -> Result<(Part<'b>, &'b [u8]), &'static str> {
    let start = body.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(body.len());
    let body = &body[start..];
    let head = &body[..body.len().min(MAX_HEAD)];
    let (head, _) = split(head, b"\r\n\r\n").ok_or("expected lines that say the name of a part, then an empty one")?;
    let (value, rest) = split(&body[head.len() + 4..], delimiter).ok_or("the last boundary is missing")?;
    let head = str::from_utf8(head).map_err(|_| "expected names of parts in UTF-8")?;
    let mut name = None;
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (key, line) = line.split_once(':').ok_or("expected lines of a name and a value before a part")?;
        if key.trim().eq_ignore_ascii_case("content-disposition") {
            let (kind, parameters) = line.split_once(';').unwrap_or((line, ""));
            if kind.trim().eq_ignore_ascii_case("form-data") {
                name = parameter(parameters, "name");
            }
        } else if key.trim().eq_ignore_ascii_case("content-transfer-encoding") {
            let plain = ["binary", "8bit", "7bit"];
            if !plain.iter().any(|plain| line.trim().eq_ignore_ascii_case(plain)) {
                return Err("expected parts as they are, got a Content-Transfer-Encoding");
            }
        }
    }
    Ok((Part { name: name.ok_or("expected a name for each part")?, value }, rest))
}

fn split<'b>(body: &'b [u8], at: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let place = memmem::find(body, at)?;
    Some((&body[..place], &body[place + at.len()..]))
}

/// A parameter's value: a token, or in quotes, in which a backslash stands before a quote.
fn parameter<'p>(mut parameters: &'p str, wanted: &str) -> Option<Cow<'p, str>> {
    loop {
        let (name, rest) = parameters.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim_end();
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut is_escaped = false;
                let end = quoted.bytes().position(|byte| {
                    let ends = byte == b'"' && !is_escaped;
                    is_escaped = byte == b'\\' && !is_escaped;
                    ends
                })?;
                (unquoted(&quoted[..end]), &quoted[end + 1..])
            }
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                (Cow::Borrowed(rest[..end].trim_end()), &rest[end..])
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        parameters = rest;
    }
}

/// As curl (`\"`) and browsers (`%22`) write a quote.
fn unquoted(text: &str) -> Cow<'_, str> {
    if text.contains('\\') || text.contains("%22") {
        Cow::Owned(text.replace("%22", "\"").replace("\\\"", "\"").replace("\\\\", "\\"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<(String, String)>, &'static str> {
        let told = |part: Part<'_>| (part.name.into_owned(), String::from_utf8_lossy(part.value).into_owned());
        parts(body.as_bytes(), "XX").map(|part| part.map(told)).collect()
    }

    #[test]
    fn fields_and_files_are_read() {
        let body = "--XX\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a;b.png\"\r\nContent-Type: image/png\r\n\
                    \r\n\r\n--X\u{0}\r\n\r\n--XX\r\ncontent-disposition:form-data;filename=x;name=a\r\n\r\n\r\n--XX--\r\nmore";
        let fields = [("image", "\r\n--X\u{0}\r\n"), ("a", "")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(read(body), Ok(fields.to_vec()));
        let quoted = "before\r\n--XX \r\nContent-Disposition: form-data; name=\"a\\\"b%22\"\r\n\r\n1\r\n--XX--";
        assert_eq!(read(quoted), Ok(vec![("a\"b\"".into(), "1".into())]));
        assert_eq!(read("--XX--\r\n"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let head = "--XX\r\nContent-Disposition: form-data; name=a\r\n";
        for body in [
            String::new(),
            "--XY--".into(),
            "--XX".into(),
            head.into(),
            format!("{head}\r\n1"),
            format!("{head}\r\n1\r\n--XX\r\n"),
            "--XX\r\n\r\n1\r\n--XX--".into(),
            "--XX\r\nno line\r\n\r\n1\r\n--XX--".into(),
            format!("{head}Content-Transfer-Encoding: base64\r\n\r\n1\r\n--XX--"),
            format!("--XX\r\nX: {}\r\n\r\n1\r\n--XX--", "y".repeat(MAX_HEAD)),
        ] {
            let read = read(&body);
            assert!(read.is_err(), "{body}: {read:?}");
        }
    }

    #[test]
    fn the_boundary_is_found() {
        let of = |kind: &'static str| boundary(kind).map(Cow::into_owned);
        assert_eq!(of("multipart/form-data; boundary=----a1"), Some("----a1".into()));
        assert_eq!(of("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), Some("a b".into()));
        for other in
            ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
