//! `builtin:tabular`: named columns to one matrix, in the output order of a fitted scikit-learn `ColumnTransformer`.
//!
//! The README beside this crate describes the configuration. [`config`] parses it, [`plan`] checks it and lays it out as
//! a flat list of lanes, [`tabular_kernel`] computes them, [`refuse`] says which values the caller got wrong.

mod config;
#[cfg(test)]
mod exporter_cases;
mod one_hot;
mod plan;
mod refuse;
mod step;
#[cfg(test)]
mod tests;

use modelgate_module::{Batch, Error, Module, Packer, Signature, Values};

use crate::{
    config::Config,
    plan::{Passed, Plan},
};

struct Tabular {
    plan: Plan,
}

impl Module for Tabular {
    type Config = Config;

    fn init(config: Config) -> Result<(Self, Signature), Error> {
        let (plan, signature) =
            plan::plan(config).map_err(|message| Error::internal("configuration: ".to_owned() + &message))?;
        Ok((Self { plan }, signature))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let Plan { kernel, output, single, texts, .. } = &self.plan;
        let filled = if *single {
            kernel.fill_f32(inputs.views(), outputs.fill(output)?)
        } else {
            kernel.fill_f64(inputs.views(), outputs.fill(output)?)
        };
        filled.map_err(|_| refuse::problems(&self.plan, inputs))?;
        texts.iter().try_for_each(|text| hand_on(text, inputs, outputs))
    }
}

/// Writes a column of text behind the matrix.
fn hand_on(text: &Passed, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
    let view = &inputs.views()[text.input];
    let Values::Bytes(strings) = view.values else {
        return Err(Error::internal(format!("column '{}' is no text", text.name)));
    };
    let missing = text.missing.as_bytes();
    let each = (0..view.rows).map(|row| match strings.get(row) {
        Some(string) if view.is_valid(row) => string,
        _ => missing,
    });
    outputs.bytes(&text.name, each)
}

modelgate_module::export!(Tabular, silent);
