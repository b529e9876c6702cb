//! The output: a column of pictures as the model takes them.

use image_codec::{Picture, room};
use modelgate_module::{Column, Datatype, Element, Error, Packer, Signature};

use crate::config::{Color, Config, Layout};

/// The column, and how it is filled.
#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    is_f32: bool,
    layout: Layout,
    is_reversed: bool,
    channels: usize,
    /// Width and height, where all batches have the same.
    width: Option<usize>,
    height: Option<usize>,
    /// For each channel, the number for each sample.
    numbers: Vec<[f32; 256]>,
}

impl Output {
    /// The model's only input, or a column of this configuration's own where the bundle has no model.
    pub(crate) fn new(config: &Config, model: &Signature) -> Result<(Column, Self), Error> {
        let channels = config.color.channels();
        let sizes = |layout| match layout {
            Layout::Nchw => vec![-1, channels as i64, -1, -1],
            Layout::Nhwc => vec![-1, -1, -1, channels as i64],
        };
        let column = match &model.inputs[..] {
            [] => {
                let layout = config.layout.unwrap_or(Layout::Nchw);
                Column::new(config.output.as_str(), config.dtype.datatype(), sizes(layout))
            }
            [column] => column.clone(),
            _ => return Err(Error::model(format!("expected a model of one input, got {}", model.inputs.len()))),
        };
        let wrong = || {
            Error::model(format!(
                "expected the model to take f32 or u8 of shape [-1, {channels}, height, width] or [-1, height, width, \
                 {channels}], got {column}"
            ))
        };
        let [_, a, b, c] = column.shape[..] else { return Err(wrong()) };
        let fits = |size: i64| size < 0 || size == channels as i64;
        // A model whose channels are open says nothing of their place.
        let layout =
            config.layout.unwrap_or(if a == channels as i64 || !fits(c) { Layout::Nchw } else { Layout::Nhwc });
        let (own, height, width) = match layout {
            Layout::Nchw => (a, b, c),
            Layout::Nhwc => (c, a, b),
        };
        if !fits(own) || !matches!(column.datatype, Datatype::F32 | Datatype::U8) || column.nullable {
            return Err(wrong());
        }
        let of_channel = |values: &[f32], channel: usize| values.get(channel).or(values.first()).copied();
        let scale = config.scale.unwrap_or(1.0 / 255.0);
        let numbers = (0..channels).map(|channel| {
            let mean = of_channel(&config.mean, channel).unwrap_or(0.0);
            let std = of_channel(&config.std, channel).unwrap_or(1.0);
            // As PyTorch and NumPy round: the sample scaled, then each step in single precision.
            std::array::from_fn(|sample| ((sample as f64 * scale) as f32 - mean) / std)
        });
        let output = Self {
            name: column.name.clone(),
            is_f32: column.datatype == Datatype::F32,
            layout,
            is_reversed: config.color == Color::Bgr,
            channels,
            width: usize::try_from(width).ok(),
            height: usize::try_from(height).ok(),
            numbers: numbers.collect(),
        };
        if !output.is_f32 && (config.scale.is_some() || !config.mean.is_empty() || !config.std.is_empty()) {
            return Err(Error::internal("configuration: `scale`, `mean` and `std` make f32, and the output is u8"));
        }
        Ok((column, output))
    }

    /// Width and height that the model takes, if they are fixed.
    pub(crate) fn size(&self) -> Option<[usize; 2]> {
        Some([self.width?, self.height?])
    }

    /// Writes the column: `next` gives the picture of each row. All have the same size, which is the first one's where the model
    /// takes any.
    pub(crate) fn write(
        &self,
        column: &Column,
        outputs: &mut Packer<'_>,
        mut next: impl FnMut(usize) -> Result<Picture, Error>,
        fault: impl Fn(usize, String) -> Error,
    ) -> Result<(), Error> {
        let rows = outputs.rows();
        let first = if rows > 0 { Some(next(0)?) } else { None };
        let (width, height) = first.as_ref().map_or((0, 0), |picture| (picture.width, picture.height));
        let (width, height) = (self.width.unwrap_or(width), self.height.unwrap_or(height));
        let sizes = match self.layout {
            Layout::Nchw => [self.channels, height, width],
            Layout::Nhwc => [height, width, self.channels],
        };
        let open = column.inner_shape().iter().zip(sizes).filter(|(size, _)| **size < 0);
        let dims: Vec<u64> = open.map(|(_, size)| size as u64).collect();
        if !dims.is_empty() {
            let bytes = [rows, width, height, self.channels, column.datatype.size().unwrap_or(1)];
            let bytes = bytes.into_iter().fold(1, usize::saturating_mul);
            room(bytes).map_err(|refusal| Error::invalid_batch(format!("{refusal}: send fewer or smaller ones")))?;
        }
        let mut first = first;
        let picture = |row: usize| {
            let picture = first.take().map_or_else(|| next(row), Ok)?;
            if (picture.width, picture.height) == (width, height) {
                return Ok(picture);
            }
            let (wide, high) = (picture.width, picture.height);
            Err(fault(row, format!("expected {width} x {height} pixels, got {wide} x {high}")))
        };
        let size = width * height * self.channels;
        if self.is_f32 {
            let cells = outputs.fill_dims::<f32>(&self.name, &dims)?;
            self.rows(cells, size, picture, |channel, sample| self.numbers[channel][usize::from(sample)])
        } else {
            let cells = outputs.fill_dims::<u8>(&self.name, &dims)?;
            self.rows(cells, size, picture, |_, sample| sample)
        }
    }

    fn rows<T: Element>(
        &self,
        cells: &mut [T],
        size: usize,
        mut picture: impl FnMut(usize) -> Result<Picture, Error>,
        number: impl Fn(usize, u8) -> T + Copy,
    ) -> Result<(), Error> {
        for (row, cells) in cells.chunks_exact_mut(size.max(1)).enumerate() {
            let picture = picture(row)?;
            if self.channels == 3 {
                self.fill::<T, 3>(cells, &picture, number);
            } else {
                self.fill::<T, 1>(cells, &picture, number);
            }
        }
        Ok(())
    }

    fn fill<T: Element, const CHANNELS: usize>(
        &self,
        cells: &mut [T],
        picture: &Picture,
        number: impl Fn(usize, u8) -> T,
    ) {
        let pixels = picture.samples.as_chunks::<CHANNELS>().0;
        let from = |channel: usize| if self.is_reversed { CHANNELS - 1 - channel } else { channel };
        match self.layout {
            Layout::Nchw => {
                for (channel, plane) in cells.chunks_exact_mut(pixels.len().max(1)).enumerate() {
                    let from = from(channel);
                    plane.iter_mut().zip(pixels).for_each(|(cell, pixel)| *cell = number(channel, pixel[from]));
                }
            }
            Layout::Nhwc => {
                for (cells, pixel) in cells.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(pixels) {
                    for (channel, cell) in cells.iter_mut().enumerate() {
                        *cell = number(channel, pixel[from(channel)]);
                    }
                }
            }
        }
    }
}
