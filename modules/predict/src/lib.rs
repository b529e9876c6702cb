//! `builtin:predict`: invokes the preloaded model, names its outputs and picks from them.
//!
//! The README beside this crate describes the configuration.

mod config;
mod detections;
mod output;
mod scores;
#[cfg(test)]
mod tests;

use modelgate_module::{Batch, Column, Error, Module, Packer, Signature, model};

use crate::{config::Config, detections::Detections, output::Output};

struct Predict {
    model: Signature,
    /// In the order of this module's outputs.
    outputs: Vec<Output>,
    /// Whether the outputs are the model's own, in its order and as they are packed: then they are handed on unread.
    as_is: bool,
    /// In place of `outputs`.
    detections: Option<Detections>,
}

impl Module for Predict {
    type Config = Config;

    fn init(config: Config) -> Result<(Self, Signature), Error> {
        let model = model::signature();
        if model.outputs.is_empty() {
            return Err(Error::model("the bundle has no model, or the model has no output"));
        }
        if let Some(detections) = config.detections {
            let wrong = |message: String| Error::internal("configuration: detections: ".to_owned() + &message);
            if config.outputs.is_some() {
                return Err(wrong("it excludes `outputs`".to_owned()));
            }
            let (columns, detections) = Detections::new(detections, &model.outputs).map_err(wrong)?;
            let signature = Signature { inputs: model.inputs.clone(), outputs: columns };
            return Ok((Self { model, outputs: Vec::new(), as_is: false, detections: Some(detections) }, signature));
        }
        let outputs = match config.outputs {
            Some(outputs) => outputs,
            None => model.outputs.iter().map(config::Output::as_is).collect(),
        };
        if outputs.is_empty() {
            return Err(Error::internal("configuration: `outputs` is empty"));
        }
        let mut columns: Vec<Column> = Vec::with_capacity(outputs.len());
        let mut picks = Vec::with_capacity(outputs.len());
        for output in outputs {
            let (column, output) = Output::new(output, &model.outputs)
                .map_err(|message| Error::internal("configuration: ".to_owned() + &message))?;
            columns.push(column);
            picks.push(output);
        }
        let as_is = picks.len() == model.outputs.len()
            && picks.iter().enumerate().all(|(place, output)| output.from == place && output.is_as_packed());
        let signature = Signature { inputs: model.inputs.clone(), outputs: columns };
        Ok((Self { model, outputs: picks, as_is, detections: None }, signature))
    }

    fn process(&mut self, inputs: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let rows = inputs.rows() as u32;
        let words = model::compute(rows, inputs.words())?;
        if self.as_is {
            outputs.replace(words);
            return Ok(());
        }
        let batch = Batch::of_model(&self.model, rows, &words)?;
        if let Some(detections) = &self.detections {
            return detections.write(&batch, outputs);
        }
        self.outputs.iter().try_for_each(|output| output.write(&batch.views()[output.from], outputs))
    }
}

modelgate_module::export!(Predict, silent);
