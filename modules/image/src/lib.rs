//! `builtin:image`: turns a column of files (PNG, JPEG, WebP) into the tensor of pixels that a model takes.
//!
//! The README beside this crate describes the configuration.

mod config;
mod file;
mod frame;
mod tensor;
#[cfg(test)]
mod tests;

use image_codec::{Picture, decode};
use modelgate_module::{Batch, Column, Datatype, Error, Module, Packer, Signature, model};

use crate::{
    config::{Color, Config},
    frame::Framing,
    tensor::Output,
};

struct Image {
    config: Config,
    framing: Framing,
    column: Column,
    output: Output,
}

impl Module for Image {
    type Config = Config;

    fn init(mut config: Config) -> Result<(Self, Signature), Error> {
        config.check()?;
        let (column, output) = Output::new(&config, &model::signature())?;
        let framing = Framing::new(&mut config, output.size());
        let inputs = vec![Column::scalar(config.input.as_str(), Datatype::Bytes)];
        let signature = Signature { inputs, outputs: vec![column.clone()] };
        Ok((Self { config, framing, column, output }, signature))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let files = inputs.bytes(&self.config.input)?;
        let fault = |row: usize, message: String| Error::invalid(self.config.input.as_str(), row, message);
        let picture = |row: usize| {
            let value = files.get(row).unwrap_or_default();
            self.picture(value).map_err(|message| fault(row, message))
        };
        self.output.write(&self.column, outputs, picture, fault)
    }
}

impl Image {
    /// The picture of one row, as the model is to see it.
    fn picture(&self, value: &[u8]) -> Result<Picture, String> {
        let file = file::file(value)?;
        let picture = || {
            let decoded = decode(&file, self.config.max_pixels)?;
            let mut picture = decoded.picture;
            if self.config.orient {
                picture = picture.upright(decoded.orientation)?;
            }
            picture = if self.config.color == Color::Gray { picture.into_gray()? } else { picture.into_rgb()? };
            self.framing.frame(picture)
        };
        picture().map_err(|refusal| refusal.to_string())
    }
}

modelgate_module::export!(Image);
