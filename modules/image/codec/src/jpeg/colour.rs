//! Components to gray, or to red, green and blue.

use crate::{
    Picture, Refusal,
    jpeg::{frame::Frame, header::Space, upsample::Upsample},
    memory::zeros,
};

/// Fractional bits of the factors.
const FACTOR: u32 = 16;

const fn factor(value: f64) -> i32 {
    (value * (1 << FACTOR) as f64 + 0.5) as i32
}

/// The pixels of a frame.
pub(super) fn picture(frame: &Frame, space: Space) -> Result<Picture, Refusal> {
    let (width, height) = (frame.width, frame.height);
    let channels = if space == Space::Gray { 1 } else { 3 };
    let mut picture = Picture::black(width, height, channels)?;
    let mut upsamples: Vec<_> =
        frame.components.iter().map(|component| Upsample::new(component, frame.largest)).collect();
    // Room for the widest: a row of the component times its factor is wider than the picture by less than 4.
    let stride = width + 8;
    let mut rows = zeros::<u8>(stride * frame.components.len())?;
    for (y, pixels) in picture.samples.chunks_exact_mut(width * channels).enumerate() {
        for ((component, upsample), row) in
            frame.components.iter().zip(&mut upsamples).zip(rows.chunks_exact_mut(stride))
        {
            upsample.row(component, y, row);
        }
        let rows: Vec<&[u8]> = rows.chunks_exact(stride).map(|row| &row[..width]).collect();
        match (space, &rows[..]) {
            (Space::Rgb, [red, green, blue]) => each(pixels, [red, green, blue], |rgb| rgb),
            (Space::Ycc, [luma, blue, red]) => each(pixels, [luma, blue, red], rgb),
            (Space::Cmyk, [a, b, c, black]) => {
                each(pixels, [a, b, c], |ink| ink);
                darken(pixels, black);
            }
            (Space::Ycck, [a, b, c, black]) => {
                // The conversion gives colours; inks are stored as their inverse.
                each(pixels, [a, b, c], |ycc| rgb(ycc).map(|colour| 255 - colour));
                darken(pixels, black);
            }
            (_, [gray, ..]) => pixels.copy_from_slice(gray),
            (_, []) => {}
        }
    }
    Ok(picture)
}

#[inline]
fn each(pixels: &mut [u8], [a, b, c]: [&[u8]; 3], colour: impl Fn([u8; 3]) -> [u8; 3]) {
    let samples = a.iter().zip(b).zip(c);
    for (pixel, ((a, b), c)) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
        *pixel = colour([*a, *b, *c]);
    }
}

/// Red, green and blue of luma and two differences of it (as JFIF has it), with libjpeg's rounding: that of each product to red
/// and to blue, and that of their sum to green.
#[inline]
#[expect(clippy::cast_sign_loss, reason = "clamped to samples")]
fn rgb([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << (FACTOR - 1);
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let green = HALF - factor(0.344_14) * blue - factor(0.714_14) * red;
    let from = [factor(1.402) * red + HALF, green, factor(1.772) * blue + HALF];
    from.map(|difference| (luma + (difference >> FACTOR)).clamp(0, 255) as u8)
}

/// Inks and black, stored inverted as Adobe's programs store them, to colours as Pillow makes them: black takes its part of
/// what each ink leaves.
fn darken(pixels: &mut [u8], black: &[u8]) {
    for (pixel, light) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(black) {
        for sample in pixel {
            // `light * ink / 255`, rounded to the nearest.
            let product = u32::from(255 - *sample) * u32::from(*light) + 128;
            *sample = light.saturating_sub((((product >> 8) + product) >> 8) as u8);
        }
    }
}
