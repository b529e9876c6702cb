//! A picture's size and place: resized, cropped, padded.

use image_codec::{Picture, Refusal, resize};

use crate::config::{At, Config, Resize};

/// The steps that change the size of a picture.
#[derive(Debug)]
pub(crate) struct Framing {
    resize: Option<Resize>,
    crop: Option<[usize; 2]>,
    pad: Option<([usize; 2], u8, At)>,
}

impl Framing {
    /// As it is configured. Where nothing is, pictures get the size that the model takes, if it takes one.
    pub(crate) fn new(config: &mut Config, model: Option<[usize; 2]>) -> Self {
        let crop = config.crop.as_ref().map(|crop| crop.center);
        let pad = config.pad.as_ref().map(|pad| (pad.to, pad.value, pad.at));
        let resize = config.resize.take();
        let by_itself =
            || model.filter(|_| crop.is_none() && pad.is_none()).map(|[width, height]| Resize::to(width, height));
        Self { resize: resize.or_else(by_itself), crop, pad }
    }

    /// The picture as the model is to see it.
    pub(crate) fn frame(&self, mut picture: Picture) -> Result<Picture, Refusal> {
        if let Some(to) = &self.resize {
            let (width, height) = to.size(picture.width, picture.height);
            picture = resize(picture, width, height, to.filter.into())?;
        }
        if let Some([width, height]) = self.crop {
            // As torchvision crops: an edge that is half a pixel off goes to the even place, and what is missing is black.
            let half = |from: usize, to: usize| {
                let missing = to.saturating_sub(from);
                let offset = ((from + missing - to) as f64 / 2.0).round_ties_even() as isize;
                offset - (missing / 2) as isize
            };
            let corner = (half(picture.width, width), half(picture.height, height));
            picture = placed(&picture, width, height, corner, 0)?;
        }
        if let Some(([width, height], value, at)) = self.pad {
            if picture.width > width || picture.height > height {
                let (wide, high) = (picture.width, picture.height);
                return Err(Refusal::File(format!("expected at most {width} x {height} pixels, got {wide} x {high}")));
            }
            let corner = match at {
                At::TopLeft => (0, 0),
                // An odd pixel goes to the right and the bottom.
                At::Center => {
                    let half = |from: usize, to: usize| -(((to - from) / 2) as isize);
                    (half(picture.width, width), half(picture.height, height))
                }
            };
            picture = placed(&picture, width, height, corner, value)?;
        }
        Ok(picture)
    }
}

/// A window of this size on the picture, whose corner is at a place of it; outside of the picture are samples of this value.
fn placed(
    picture: &Picture,
    width: usize,
    height: usize,
    (left, top): (isize, isize),
    value: u8,
) -> Result<Picture, Refusal> {
    let channels = picture.channels;
    let mut window = Picture::black(width, height, channels)?;
    if value != 0 {
        window.samples.fill(value);
    }
    // Of either side: the first place of the window that is in the picture, that place of the picture, and how many there are.
    let overlap = |start: isize, from: usize, to: usize| {
        let (inside, outside) = if start < 0 { (0, start.unsigned_abs()) } else { (start.unsigned_abs(), 0) };
        (outside, inside, from.saturating_sub(inside).min(to.saturating_sub(outside)))
    };
    let (x_to, x_from, wide) = overlap(left, picture.width, width);
    let (y_to, y_from, high) = overlap(top, picture.height, height);
    for (to, from) in
        window.samples.chunks_exact_mut(width * channels).skip(y_to).zip(picture.rows().skip(y_from)).take(high)
    {
        to[x_to * channels..][..wide * channels].copy_from_slice(&from[x_from * channels..][..wide * channels]);
    }
    Ok(window)
}
