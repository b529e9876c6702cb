//! WebP, by the crate `image-webp`.

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use crate::{
    Decoded, Picture, Refusal,
    decode::bounded,
    memory::{room, zeros},
};

/// Bytes of memory for a pixel: its planes or samples, and its part of an animation's canvas.
const PIXEL: usize = 12;

/// Bytes before the first chunk, and those of a chunk's name and size.
const HEAD: usize = 12;
const CHUNK: usize = 8;

/// Bytes of an animation's frame before the chunks in it.
const FRAME: usize = 16;

/// The picture, or the first one of an animation.
pub(crate) fn decode(file: &[u8], max_pixels: u64) -> Result<Decoded, Refusal> {
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(refused)?;
    let (wide, high) = decoder.dimensions();
    let (width, height) = bounded(wide.into(), high.into(), max_pixels)?;
    // The crate takes memory for a lossy picture before it compares its size with the file's.
    if lossy(&file[HEAD..]).any(|(own_width, own_height)| own_width > wide || own_height > high) {
        return Err(Refusal::file("a picture in the file is larger than the file says"));
    }
    room((width * height).saturating_mul(PIXEL))?;
    let size = decoder.output_buffer_size().ok_or(Refusal::NoMemory { bytes: usize::MAX })?;
    let mut stored = zeros::<u8>(size)?;
    decoder.read_image(&mut stored).map_err(refused)?;
    let picture = if decoder.has_alpha() {
        let mut picture = Picture::black(width, height, 3)?;
        let pixels = picture.samples.as_chunks_mut::<3>().0.iter_mut().zip(stored.as_chunks::<4>().0);
        for (pixel, [red, green, blue, _]) in pixels {
            *pixel = [*red, *green, *blue];
        }
        picture
    } else {
        Picture { width, height, channels: 3, samples: stored }
    };
    let exif = decoder.exif_metadata().ok().flatten();
    Ok(Decoded::new(picture, exif.as_deref()))
}

/// The sizes of the lossy pictures in these chunks, those of frames included.
fn lossy(chunks: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    let mut rest = chunks;
    std::iter::from_fn(move || {
        while let Some((head, body)) = rest.split_at_checked(CHUNK) {
            let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            match &head[..4] {
                // Its chunks are next.
                b"ANMF" => rest = body.get(FRAME..).unwrap_or_default(),
                // Chunks are of an even size.
                _ => rest = body.get(size.saturating_add(size % 2)..).unwrap_or_default(),
            }
            if let (b"VP8 ", [_, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..]) = (&head[..4], body) {
                // The upper two bits are a scale for displays.
                let size = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
                return Some((size(*a, *b), size(*c, *d)));
            }
        }
        None
    })
}

fn refused(error: DecodingError) -> Refusal {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Refusal::Truncated,
        DecodingError::MemoryLimitExceeded => Refusal::NoMemory { bytes: 0 },
        other => Refusal::file(format!("not a WebP that can be read: {other}")),
    }
}
