//! A file of any known format.

use crate::{Picture, Refusal, exif, jpeg, png, webp};

/// The contents of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels as they are stored: gray, or red, green and blue. Alpha is dropped, as Pillow's `convert("RGB")` drops it.
    pub picture: Picture,
    /// The way in which the camera was held, as EXIF tells it: 1 to 8, where 1 is upright.
    pub orientation: u8,
}

/// Decodes a file of at most `max_pixels` pixels. The first picture of an animation.
///
/// # Errors
/// A file that is of another format, damaged, too large, or with something in it that is not decoded.
pub fn decode(file: &[u8], max_pixels: u64) -> Result<Decoded, Refusal> {
    match file {
        [0xff, 0xd8, 0xff, ..] => jpeg::decode(file, max_pixels),
        [0x89, b'P', b'N', b'G', ..] => png::decode(file, max_pixels),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp::decode(file, max_pixels),
        _ => Err(Refusal::Unknown),
    }
}

impl Decoded {
    pub(crate) fn new(picture: Picture, exif: Option<&[u8]>) -> Self {
        Self { picture, orientation: exif.and_then(exif::orientation).unwrap_or(1) }
    }
}

/// The dimensions as numbers that can be counted with, if they are allowed.
pub(crate) fn bounded(width: u64, height: u64, limit: u64) -> Result<(usize, usize), Refusal> {
    if width == 0 || height == 0 {
        return Err(Refusal::file(format!("the picture has no pixels: {width} x {height}")));
    }
    let too_many = Refusal::TooManyPixels { width, height, limit };
    if width.checked_mul(height).is_none_or(|pixels| pixels > limit) {
        return Err(too_many);
    }
    match (usize::try_from(width), usize::try_from(height)) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err(too_many),
    }
}
