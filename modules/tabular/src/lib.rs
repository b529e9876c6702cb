//! `builtin:tabular`: named columns to one matrix, in the output order of a fitted scikit-learn `ColumnTransformer`.
//!
//! The README beside this crate describes the configuration. [`config`] parses it, [`plan`] checks it and lays it out
//! as a flat list of lanes, [`lane`] computes one lane, [`refuse`] says which values the caller got wrong.

mod config;
mod lane;
mod op;
mod plan;
mod refuse;
mod step;
mod table;
#[cfg(test)]
mod tests;

use modelgate_module::{Batch, Datatype, Error, Module, Packer, Signature};

use crate::{config::Config, lane::Real, plan::Plan};

struct Tabular {
    plan: Plan,
}

impl Module for Tabular {
    type Config = Config;

    fn init(config: Config) -> Result<(Self, Signature), Error> {
        let (plan, signature) = plan::plan(config).map_err(|message| Error::internal("configuration: ".to_owned() + &message))?;
        Ok((Self { plan }, signature))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        match self.plan.datatype {
            Datatype::F64 => self.run::<f64>(inputs, outputs),
            _ => self.run::<f32>(inputs, outputs),
        }
    }
}

/// Rows computed at a time. A tile of the matrix then stays in the first-level cache while lane after lane fills it.
const TILE: usize = 64;

impl Tabular {
    fn run<T: Real>(&self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let Plan { lanes, width, output, .. } = &self.plan;
        let matrix = outputs.fill::<T>(output)?;
        let views = inputs.views();
        let mut scratch = [0.0; TILE];
        for (tile, rows) in matrix.chunks_mut(TILE * width).enumerate() {
            let scratch = &mut scratch[..rows.len() / width];
            for lane in lanes {
                if lane.run(&views[lane.input], tile * TILE, scratch, rows, *width).is_err() {
                    return Err(refuse::problems::<T>(&self.plan, inputs));
                }
            }
        }
        Ok(())
    }
}

modelgate_module::export!(Tabular, silent);
