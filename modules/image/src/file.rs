//! The bytes of a file, as they came or in base64.

use std::borrow::Cow;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The beginnings of PNG and JPEG in base64, and that of data URLs: no picture begins so itself. WebP begins with `RIFF`, which
/// is base64 too, so that its own beginning in base64 is looked for.
const ENCODED: [&[u8]; 3] = [b"iVBORw0KGgo", b"/9j/", b"UklGR"];

/// The file: of base64 (by itself or in a data URL, as JSON has to carry it) decoded, else as it is.
pub(crate) fn file(value: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let encoded = match value.strip_prefix(b"data:") {
        Some(url) => {
            let comma = url.iter().position(|byte| *byte == b',').filter(|comma| url[..*comma].ends_with(b";base64"));
            comma.map(|comma| &url[comma + 1..]).ok_or("expected a data URL in base64")?
        }
        None if ENCODED.iter().any(|start| value.starts_with(start)) => value,
        None => return Ok(Cow::Borrowed(value)),
    };
    BASE64.decode(encoded.trim_ascii()).map(Cow::Owned).map_err(|error| format!("expected base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_base64_and_leaves_files_alone() {
        for (value, expected) in [
            (&b"\x89PNG\r\n\x1a\n"[..], &b"\x89PNG\r\n\x1a\n"[..]),
            (b"iVBORw0KGgo=", b"\x89PNG\r\n\x1a\n"),
            (b"iVBORw0KGgo\n", b"\x89PNG\r\n\x1a\n"),
            (b"/9j/4A==", b"\xff\xd8\xff\xe0"),
            (b"data:image/jpeg;base64,/9j/4A==", b"\xff\xd8\xff\xe0"),
            (b"data:;base64,AAAA", b"\0\0\0"),
            (b"RIFF\x10\0\0\0WEBP", b"RIFF\x10\0\0\0WEBP"),
            (b"", b""),
        ] {
            assert_eq!(file(value).as_deref(), Ok(expected));
        }
        assert!(file(b"iVBORw0KGgo*").is_err() && file(b"data:image/png,x").is_err() && file(b"data:").is_err());
    }
}
