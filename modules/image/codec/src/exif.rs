//! The orientation in a picture's EXIF data, which is a TIFF file of tags.

/// The tag, and the type of its value: a number of 16 bits.
const ORIENTATION: u16 = 0x0112;
const SHORT: u16 = 3;

/// The orientation; `None` where there is none that makes sense.
pub(crate) fn orientation(exif: &[u8]) -> Option<u8> {
    // As JPEG has it; PNG and WebP may leave it out.
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let is_little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |place: usize| {
        let bytes = tiff.get(place..place.checked_add(2)?)?.try_into().ok()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |place: usize| {
        let bytes = tiff.get(place..place.checked_add(4)?)?.try_into().ok()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize)
    };
    let first = long(4)?;
    let entries = usize::from(short(first)?);
    let entry = (0..entries).map(|entry| first.saturating_add(2 + 12 * entry));
    let entry = entry.take_while(|entry| *entry < tiff.len()).find(|entry| short(*entry) == Some(ORIENTATION))?;
    let value = (short(entry.checked_add(2)?)? == SHORT).then(|| short(entry + 8))??;
    u8::try_from(value).ok().filter(|value| (1..=8).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_tag_in_either_order_of_bytes() {
        let little = b"II*\0\x08\0\0\0\x02\0\x0f\x01\x02\0\x01\0\0\0\0\0\0\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!((orientation(little), orientation(big)), (Some(6), Some(8)));
        for cut in 0..little.len() {
            assert!(matches!(orientation(&little[..cut]), None | Some(6)));
        }
        assert_eq!(
            orientation(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0"),
            None,
            "there is no such turn"
        );
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), None);
    }
}
