//! What is done to the scores of a row before anything is picked of them.

use modelgate_module::{Element, Error, Values, View};

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

/// The places of the `top` largest values of each row, largest first: of equals the first, and never that of NaN.
pub(crate) fn ranked<T: Element + PartialOrd>(values: &[T], size: usize, top: usize) -> Result<Vec<usize>, Error> {
    let mut ranked = Vec::with_capacity(values.len() / size.max(1) * top);
    let mut places: Vec<usize> = Vec::new();
    for (row, values) in values.chunks_exact(size.max(1)).enumerate() {
        // Only NaN is not equal to itself.
        #[expect(clippy::eq_op, reason = "false for NaN alone, of any type of number")]
        let numbers = (0..size).filter(|place| values[*place] == values[*place]);
        if top == 1 {
            let best = numbers.reduce(|best, place| if values[place] > values[best] { place } else { best });
            ranked.push(best.ok_or_else(|| Error::model(format!("row {row}: no score is a number")))?);
            continue;
        }
        places.clear();
        places.extend(numbers);
        if places.len() < top {
            let count = places.len();
            return Err(Error::model(format!("row {row}: {top} are to be picked, and {count} scores are numbers")));
        }
        let order = |one: &usize, other: &usize| {
            let by_value = values[*other].partial_cmp(&values[*one]);
            by_value.unwrap_or(std::cmp::Ordering::Equal).then(one.cmp(other))
        };
        if places.len() > top {
            places.select_nth_unstable_by(top - 1, order);
        }
        places[..top].sort_unstable_by(order);
        ranked.extend_from_slice(&places[..top]);
    }
    Ok(ranked)
}
