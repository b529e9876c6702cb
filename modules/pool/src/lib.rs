//! `builtin:pool`: invokes the preloaded model, which embeds tokens, and pools them to one embedding a row.
//!
//! The README beside this crate describes the configuration.

mod config;
mod pooling;
mod run;
#[cfg(test)]
mod tests;

use modelgate_module::{Batch, Column, Datatype, Error, Module, Packer, Signature, model};

use crate::{
    config::{Config, Runs},
    pooling::Pool,
    run::Sequences,
};

struct Pooled {
    model: Signature,
    config: Config,
    pool: Pool,
    sequences: Sequences,
}

impl Module for Pooled {
    type Config = Config;

    fn init(config: Config) -> Result<(Self, Signature), Error> {
        let model = model::signature();
        let pool = Pool::new(&config, &model.outputs)?;
        let sequences = Sequences::new(&config, &model.inputs)?;
        let mut outputs = vec![Column::new(config.name.as_str(), Datatype::F32, [-1, pool.width as i64])];
        outputs.extend(config.tokens.as_deref().map(|name| Column::scalar(name, Datatype::I64)));
        let signature = Signature { inputs: model.inputs.clone(), outputs };
        Ok((Self { model, config, pool, sequences }, signature))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let rows = self.sequences.read(inputs)?;
        let embeddings = outputs.fill::<f32>(&self.config.name)?;
        match self.config.rows {
            Runs::Together => {
                let words = model::compute(inputs.rows() as u32, inputs.words())?;
                let batch = Batch::of_model(&self.model, inputs.rows() as u32, &words)?;
                self.pool.rows(&batch, rows.masks(), embeddings)?;
            }
            Runs::Alone | Runs::Padded => {
                for (row, embedding) in embeddings.chunks_exact_mut(self.pool.width).enumerate() {
                    let (words, mask) = self.sequences.row(inputs, &rows, row, &self.model.inputs)?;
                    let words = model::compute(1, &words)?;
                    let batch = Batch::of_model(&self.model, 1, &words)?;
                    self.pool.rows(&batch, std::iter::once(mask), embedding)?;
                }
            }
        }
        if let Some(name) = &self.config.tokens {
            for (tokens, mask) in outputs.fill::<i64>(name)?.iter_mut().zip(rows.masks()) {
                *tokens = mask.iter().filter(|is_token| **is_token).count() as i64;
            }
        }
        Ok(())
    }
}

modelgate_module::export!(Pooled);
