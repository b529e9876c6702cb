//! `builtin:text`: turns a column of texts, or two for pairs, into token ids, a mask and types.
//!
//! The README beside this crate describes the configuration.

mod config;
mod output;
#[cfg(target_arch = "wasm32")]
mod randomness;
#[cfg(test)]
mod tests;
mod tokenize;

use modelgate_module::{Batch, Column, Datatype, Error, Module, Packer, Signature, model};

use crate::{
    config::{Config, Options},
    output::Output,
    tokenize::{Rows, Tokenize},
};

struct Text {
    /// One column, or two for pairs.
    inputs: Vec<String>,
    /// In the order of this module's outputs.
    outputs: Vec<Output>,
    tokenize: Tokenize,
}

impl Module for Text {
    type Config = Config;

    fn init(config: Config) -> Result<(Self, Signature), Error> {
        let options = Options::parse(&config)?;
        let (columns, outputs) = output::outputs(&model::signature(), &options.outputs)?;
        let tokenize = Tokenize::new(&options, output::fixed_length(&columns)?)?;
        let inputs = options.inputs.iter().map(|name| Column::scalar(name.as_str(), Datatype::Bytes)).collect();
        Ok((Self { inputs: options.inputs, outputs, tokenize }, Signature { inputs, outputs: columns }))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let texts = self.inputs.iter().map(|name| Ok((name.as_str(), inputs.text(name)?)));
        let texts = texts.collect::<Result<Vec<_>, Error>>()?;
        let mut rows = Rows::default();
        for row in 0..inputs.rows() {
            self.tokenize.row(&texts, row, &mut rows)?;
        }
        let width = self.tokenize.width(&rows)?;
        self.outputs.iter().try_for_each(|output| output.write(&self.tokenize.pad, &rows, width, outputs))
    }
}

modelgate_module::export!(Text);
