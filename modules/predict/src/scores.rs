//! Functions of the scores of a row, and their order.

use modelgate_module::{Error, Values, View};

use crate::config::Apply;

/// Scores of this module's own making, in the model's precision.
#[derive(Debug)]
pub(crate) enum Scores {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Scores {
    /// Applies a function to the scores of each row, in double precision.
    pub(crate) fn applied(apply: Apply, view: &View<'_>) -> Result<Self, Error> {
        let size = view.row_size.max(1);
        match view.values {
            Values::F32(values) => {
                let mut row: Vec<f64> = Vec::with_capacity(size);
                let mut applied = Vec::with_capacity(values.len());
                for values in values.chunks(size) {
                    row.clear();
                    row.extend(values.iter().map(|value| f64::from(*value)));
                    apply.to(&mut row);
                    applied.extend(row.iter().map(|value| *value as f32));
                }
                Ok(Self::F32(applied))
            }
            Values::F64(values) => {
                let mut applied = values.to_vec();
                applied.chunks_mut(size).for_each(|row| apply.to(row));
                Ok(Self::F64(applied))
            }
            // `Output::new` takes no such column.
            _ => Err(Error::internal("`apply` needs scores in floating point")),
        }
    }

    pub(crate) fn values(&self) -> Values<'_> {
        match self {
            Self::F32(values) => Values::F32(values),
            Self::F64(values) => Values::F64(values),
        }
    }
}

impl Apply {
    fn to(self, row: &mut [f64]) {
        match self {
            Self::Sigmoid => {
                for value in row {
                    *value = 1.0 / (1.0 + (-*value).exp());
                }
            }
            Self::Softmax => {
                // Beyond the largest one nothing overflows. NaN makes all of the row NaN, as in ONNX.
                let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mut sum = 0.0;
                for value in &mut *row {
                    *value = (*value - most).exp();
                    sum += *value;
                }
                for value in row {
                    *value /= sum;
                }
            }
        }
    }
}

/// The places of the `top` largest values of each row, largest first: of equals the first, and never that of NaN, which has
/// no rank.
pub(crate) fn ranked(ranks: &[Option<u64>], size: usize, top: usize) -> Result<Vec<usize>, Error> {
    let mut ranked = Vec::with_capacity(ranks.len() / size.max(1) * top);
    for (row, ranks) in ranks.chunks_exact(size.max(1)).enumerate() {
        let before = ranked.len();
        for _ in 0..top {
            let taken = &ranked[before..];
            let mut best: Option<(u64, usize)> = None;
            for (place, rank) in ranks.iter().enumerate() {
                let Some(rank) = *rank else { continue };
                if best.is_none_or(|(most, _)| rank > most) && !taken.contains(&place) {
                    best = Some((rank, place));
                }
            }
            match best {
                Some((_, place)) => ranked.push(place),
                None if top == 1 => return Err(Error::model(format!("row {row}: no score is a number"))),
                None => {
                    let count = taken.len();
                    let message = format!("row {row}: {top} are to be picked, and {count} scores are numbers");
                    return Err(Error::model(message));
                }
            }
        }
    }
    Ok(ranked)
}
