//! From the embeddings of a row's tokens to one.

use modelgate_module::{Batch, Column, Datatype, Error};

use crate::config::{Config, Pooling};

/// Lengths below this do not divide, as in `PyTorch`'s `normalize`.
const SHORTEST: f32 = 1e-12;

#[derive(Debug)]
pub(crate) struct Pool {
    /// The name of the model's output.
    from: String,
    /// Numbers in an embedding.
    pub(crate) width: usize,
    pooling: Pooling,
    normalize: bool,
}

impl Pool {
    /// Fails if the model gives no embeddings of tokens.
    pub(crate) fn new(config: &Config, outputs: &[Column]) -> Result<Self, Error> {
        let fits = |column: &&Column| {
            column.shape.len() == 3 && column.shape[2] > 0 && column.datatype == Datatype::F32 && !column.nullable
        };
        let wanted = |column: &&Column| config.from.as_ref().is_none_or(|from| *from == column.name);
        let Some(column) = outputs.iter().filter(fits).find(wanted) else {
            let known = outputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let wanted = config.from.as_deref().unwrap_or("one output");
            return Err(Error::model(format!("expected {wanted} to be f32 of shape [-1, n, width], got {known}")));
        };
        let width = usize::try_from(column.shape[2]).unwrap_or(0);
        Ok(Self { from: column.name.clone(), width, pooling: config.pooling, normalize: config.normalize })
    }

    /// Pools each row of what the model gave. A place that is no token counts nowhere, whatever the model makes of it.
    pub(crate) fn rows<'m>(
        &self,
        batch: &Batch<'_>,
        masks: impl Iterator<Item = &'m [bool]>,
        embeddings: &mut [f32],
    ) -> Result<(), Error> {
        let tokens = batch.values::<f32>(&self.from)?;
        let row_size = batch.view(&self.from)?.row_size;
        for (row, (mask, embedding)) in masks.zip(embeddings.chunks_exact_mut(self.width)).enumerate() {
            if row_size != mask.len() * self.width {
                return Err(Error::model(format!(
                    "'{}': expected {} embeddings a row, got {}",
                    self.from,
                    mask.len(),
                    row_size / self.width
                )));
            }
            let tokens = tokens[row * row_size..][..row_size].chunks_exact(self.width);
            self.row(tokens.zip(mask).filter(|(_, is_token)| **is_token).map(|(token, _)| token), embedding);
        }
        Ok(())
    }

    /// A row without tokens gets zeros.
    fn row<'t>(&self, mut tokens: impl Iterator<Item = &'t [f32]>, embedding: &mut [f32]) {
        embedding.fill(0.0);
        let Some(first) = tokens.next() else { return };
        embedding.copy_from_slice(first);
        match self.pooling {
            Pooling::Cls => {}
            Pooling::Mean => {
                let mut count = 1.0;
                for token in tokens {
                    count += 1.0;
                    embedding.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
                }
                for sum in embedding.iter_mut() {
                    *sum /= count;
                }
            }
            Pooling::Max => {
                for token in tokens {
                    // NaN stays, as in NumPy: a comparison with it is false.
                    let larger = |most: f32, value: f32| if most > value || most.is_nan() { most } else { value };
                    embedding.iter_mut().zip(token).for_each(|(most, value)| *most = larger(*most, *value));
                }
            }
        }
        if self.normalize {
            let length = embedding.iter().map(|value| value * value).sum::<f32>().sqrt().max(SHORTEST);
            for value in embedding.iter_mut() {
                *value /= length;
            }
        }
    }
}
