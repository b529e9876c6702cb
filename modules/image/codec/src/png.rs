//! PNG, by the crate `png`.

use std::io::Cursor;

use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Limits, Transformations};

use crate::{
    Decoded, Picture, Refusal,
    decode::bounded,
    memory::{room, zeros},
};

/// Bytes that the crate may take beside the pixels: rows, and chunks such as EXIF.
const BESIDE: usize = 16 << 20;

/// A picture of 8 bits, or of 16 of which Pillow takes the upper 8.
pub(crate) fn decode(file: &[u8], max_pixels: u64) -> Result<Decoded, Refusal> {
    let mut options = DecodeOptions::default();
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(file), options);
    decoder.set_limits(Limits { bytes: BESIDE });
    // Palettes become colours, and fewer bits 8.
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(refused)?;
    let (width, height) = bounded(header.width.into(), header.height.into(), max_pixels)?;
    if (header.color_type, header.bit_depth) == (ColorType::Grayscale, BitDepth::Sixteen) {
        return Err(Refusal::file("expected gray of 8 bits, got 16, which Pillow cuts at 255: scale it first"));
    }
    let line = header.raw_row_length_from_width(header.width).saturating_mul(4);
    room(line.saturating_add(BESIDE / 4))?;
    let mut reader = decoder.read_info().map_err(refused)?;
    let size = reader.output_buffer_size().ok_or(Refusal::NoMemory { bytes: usize::MAX })?;
    let mut stored = zeros::<u8>(size)?;
    let info = reader.next_frame(&mut stored).map_err(refused)?;
    // Bytes of a sample; the upper one is the first.
    let depth = if info.bit_depth == BitDepth::Sixteen { 2 } else { 1 };
    let (samples, channels) = match info.color_type {
        ColorType::Grayscale => (1, 1),
        ColorType::GrayscaleAlpha => (2, 1),
        ColorType::Rgb => (3, 3),
        ColorType::Rgba => (4, 3),
        ColorType::Indexed => return Err(Refusal::file("the palette is missing")),
    };
    let picture = if (samples, depth) == (channels, 1) {
        Picture { width, height, channels, samples: stored }
    } else {
        let mut picture = Picture::black(width, height, channels)?;
        let pixels = picture.samples.chunks_exact_mut(channels).zip(stored.chunks_exact(samples * depth));
        for (pixel, stored) in pixels {
            pixel.iter_mut().zip(stored.iter().step_by(depth)).for_each(|(sample, stored)| *sample = *stored);
        }
        picture
    };
    Ok(Decoded::new(picture, reader.info().exif_metadata.as_deref()))
}

fn refused(error: DecodingError) -> Refusal {
    match error {
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Refusal::Truncated,
        DecodingError::LimitsExceeded => Refusal::NoMemory { bytes: BESIDE },
        other => Refusal::file(format!("not a PNG that can be read: {other}")),
    }
}
