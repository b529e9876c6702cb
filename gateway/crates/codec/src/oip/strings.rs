//! BYTES tensors on the wire: for each value its length, 4 bytes little-endian, and then its bytes.

use modelgate_columns::Strings;

/// Values back to back, and where each ends; the first end is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The bytes of all values.
    pub data: Vec<u8>,
    /// Where each begins and, one place further, ends.
    pub ends: Vec<u32>,
}

/// Reads `count` values, which must be all there is.
///
/// # Errors
/// What is wrong with them, to follow the input's name.
pub fn read(mut bytes: &[u8], count: usize) -> Result<Packed, String> {
    // Each value takes at least the four bytes of its length, so `count` is bounded by what came.
    let lengths = count.checked_mul(4).filter(|&least| least <= bytes.len());
    let Some(lengths) = lengths else {
        return Err(format!("expected {count} strings, got {} bytes, which cannot hold their lengths", bytes.len()));
    };
    let mut packed = Packed { data: Vec::with_capacity(bytes.len() - lengths), ends: Vec::with_capacity(count + 1) };
    packed.ends.push(0);
    for index in 0..count {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(format!("expected {count} strings, got {index}"));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return Err(format!("string {index} is said to have {length} bytes, but {} are left", rest.len()));
        };
        packed.data.extend_from_slice(value);
        let end = u32::try_from(packed.data.len()).map_err(|_| "the strings exceed 4 GiB".to_owned())?;
        packed.ends.push(end);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(packed) } else { Err(format!("{} bytes follow the last of {count} strings", bytes.len())) }
}

/// Bytes that [`write()`] appends.
pub fn size(values: &Strings<'_>) -> usize {
    values.data().len().saturating_add(values.len().saturating_mul(4))
}

/// Appends the values.
pub fn write(out: &mut Vec<u8>, values: &Strings<'_>) {
    for value in values.iter() {
        out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_believed_only_as_far_as_there_are_bytes() {
        let good = [&2u32.to_le_bytes()[..], b"ab", &0u32.to_le_bytes(), &1u32.to_le_bytes(), b"c"].concat();
        assert_eq!(read(&good, 3), Ok(Packed { data: b"abc".to_vec(), ends: vec![0, 2, 2, 3] }));
        for (bytes, count) in [
            (&good[..], 2),
            (&good[..], 4),
            (&good[..good.len() - 1], 3),
            (&good[..7], 3),
            (&u32::MAX.to_le_bytes()[..], 1),
            (&[][..], 1),
            (&good[..], usize::MAX),
            (&good[..], usize::MAX / 4),
        ] {
            assert!(read(bytes, count).is_err(), "{count} of {bytes:?}");
        }
    }
}
