//! JPEG, to the pixels of libjpeg-turbo, which Pillow, `OpenCV` and `PyTorch`'s readers decode with.
//!
//! The standard leaves open how an inverse transform is rounded and how chroma is made as large as luma, and models see
//! the difference. This decoder follows libjpeg in both to the level, as the tests of this crate measure; so the whole way is
//! here: markers ([`header`]), entropy-coded bits ([`bits`], [`huffman`], [`scan`]), the transform ([`transform`]), chroma ([`upsample`]) and
//! colours ([`colour`]).
//!
//! Baseline, extended and progressive files of 8 bits with Huffman codes are decoded: gray, RGB, `YCbCr`, CMYK, YCCK.
//! Arithmetic codes, 12 bits and lossless files are refused, and so is a file that ends early: libjpeg would fill it up.

mod bits;
mod colour;
mod frame;
mod header;
mod huffman;
mod scan;
mod transform;
mod upsample;

use crate::{Decoded, Refusal};

/// Decodes a file of at most `max_pixels` pixels.
pub(crate) fn decode(file: &[u8], max_pixels: u64) -> Result<Decoded, Refusal> {
    let mut reader = header::Reader::new(file, max_pixels);
    let frame = reader.read()?;
    let picture = colour::picture(&frame, reader.space(&frame))?;
    Ok(Decoded::new(picture, reader.exif))
}
