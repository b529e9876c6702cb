//! Pixels.

use crate::{Refusal, memory::zeros};

/// A picture of 8-bit samples, row by row: one sample a pixel (gray) or three (red, green, blue).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row, 1 at least.
    pub width: usize,
    /// Rows, 1 at least.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// `width * height * channels` of them.
    pub samples: Vec<u8>,
}

impl Picture {
    /// One of zeros.
    ///
    /// # Errors
    /// [`Refusal::NoMemory`].
    pub fn black(width: usize, height: usize, channels: usize) -> Result<Self, Refusal> {
        let samples = zeros(width.saturating_mul(height).saturating_mul(channels))?;
        Ok(Self { width, height, channels, samples })
    }

    /// Its rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.samples.chunks_exact((self.width * self.channels).max(1))
    }

    /// With three channels: gray three times.
    ///
    /// # Errors
    /// [`Refusal::NoMemory`].
    pub fn into_rgb(self) -> Result<Self, Refusal> {
        if self.channels == 3 {
            return Ok(self);
        }
        let mut rgb = Self::black(self.width, self.height, 3)?;
        for (pixel, gray) in rgb.samples.as_chunks_mut::<3>().0.iter_mut().zip(&self.samples) {
            *pixel = [*gray; 3];
        }
        Ok(rgb)
    }

    /// With one channel: the luma of ITU-R 601, as Pillow's mode `L` has it.
    ///
    /// # Errors
    /// [`Refusal::NoMemory`].
    pub fn into_gray(self) -> Result<Self, Refusal> {
        if self.channels == 1 {
            return Ok(self);
        }
        let mut gray = Self::black(self.width, self.height, 1)?;
        for (gray, [red, green, blue]) in gray.samples.iter_mut().zip(self.samples.as_chunks::<3>().0) {
            // 0.299, 0.587 and 0.114 in units of 1/65536.
            let luma = 19_595 * u32::from(*red) + 38_470 * u32::from(*green) + 7_471 * u32::from(*blue);
            *gray = ((luma + 0x8000) >> 16) as u8;
        }
        Ok(gray)
    }

    /// Upright, where the picture was taken with this orientation (1 to 8, as EXIF has it; others change nothing).
    ///
    /// # Errors
    /// [`Refusal::NoMemory`].
    pub fn upright(self, orientation: u8) -> Result<Self, Refusal> {
        if !(2..=8).contains(&orientation) {
            return Ok(self);
        }
        let (width, height, channels) = (self.width, self.height, self.channels);
        let is_turned = orientation >= 5;
        let (wide, high) = if is_turned { (height, width) } else { (width, height) };
        let mut upright = Self::black(wide, high, channels)?;
        for (place, pixel) in upright.samples.chunks_exact_mut(channels).enumerate() {
            let (x, y) = (place % wide, place / wide);
            let (x, y) = match orientation {
                2 => (width - 1 - x, y),
                3 => (width - 1 - x, height - 1 - y),
                4 => (x, height - 1 - y),
                5 => (y, x),
                6 => (y, height - 1 - x),
                7 => (width - 1 - y, height - 1 - x),
                _ => (width - 1 - y, x),
            };
            pixel.copy_from_slice(&self.samples[(y * width + x) * channels..][..channels]);
        }
        Ok(upright)
    }
}
