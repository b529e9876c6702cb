//! A table from values to values.

use std::collections::HashMap;
use std::hash::Hash;

use tract_onnx::tract_hir::internal::*;

use super::kernel::Spec;
use super::values::{is_numeric, strings, tensor, values};

/// A table from texts or numbers to values of one type, with a default.
#[derive(Debug)]
pub(super) struct Lookup {
    keys: Keys,
    values: Values,
}

#[derive(Debug)]
enum Keys {
    Strings(HashMap<String, usize>),
    Ints(HashMap<i64, usize>),
    /// By their bits as doubles; one NaN stands for all, and 0 for -0.
    Floats(HashMap<u64, usize>),
}

/// The values by place, the default last.
#[derive(Debug)]
enum Values {
    Strings(Vec<String>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    I16(Vec<i16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Lookup {
    /// From lists of equal length; of equal keys the first counts. The default is a single value of the values' type.
    /// `missing` says whether the key NaN stands for missing numbers; else nothing equals it.
    pub(super) fn new(keys: &Tensor, values: &Tensor, default: &Tensor, missing: bool) -> TractResult<Self> {
        ensure!(keys.len() == values.len(), "{} keys for {} values", keys.len(), values.len());
        ensure!(default.len() == 1, "expected a single default");
        let keys = match keys.datum_type() {
            DatumType::String => Keys::Strings(indices(strings(keys)?.iter().cloned())),
            datum if datum.is_float() => {
                let mut indices = indices(self::values::<f64>(keys)?.iter().map(|&key| float_key(key)));
                if !missing {
                    indices.remove(&float_key(f64::NAN));
                }
                Keys::Floats(indices)
            }
            _ => Keys::Ints(indices(self::values::<i64>(keys)?.iter().copied())),
        };
        let both_are = |datum| values.datum_type() == datum && default.datum_type() == datum;
        let values = if both_are(String::datum_type()) {
            Values::Strings(strings(values)?.iter().chain(strings(default)?).cloned().collect())
        } else if both_are(i64::datum_type()) {
            Values::I64(with_default(values, default)?)
        } else if both_are(i32::datum_type()) {
            Values::I32(with_default(values, default)?)
        } else if both_are(i16::datum_type()) {
            Values::I16(with_default(values, default)?)
        } else if both_are(f32::datum_type()) {
            Values::F32(with_default(values, default)?)
        } else if both_are(f64::datum_type()) {
            Values::F64(with_default(values, default)?)
        } else {
            bail!("values of {:?} and a default of {:?} are not supported", values.datum_type(), default.datum_type());
        };
        Ok(Self { keys, values })
    }

    /// The result for such an input.
    pub(super) fn output(&self, input: &Spec) -> TractResult<Spec> {
        let fits = match self.keys {
            Keys::Strings(_) => input.datum == String::datum_type(),
            Keys::Ints(_) | Keys::Floats(_) => is_numeric(input.datum),
        };
        ensure!(fits, "its keys are of another type than the input, {:?}", input.datum);
        let datum = match self.values {
            Values::Strings(_) => String::datum_type(),
            Values::I64(_) => i64::datum_type(),
            Values::I32(_) => i32::datum_type(),
            Values::I16(_) => i16::datum_type(),
            Values::F32(_) => f32::datum_type(),
            Values::F64(_) => f64::datum_type(),
        };
        Ok(Spec { datum, shape: input.shape.clone() })
    }

    /// Looks up each value.
    pub(super) fn apply(&self, input: &Tensor) -> TractResult<TValue> {
        let shape = input.shape();
        match &self.keys {
            Keys::Strings(keys) => self.take(shape, strings(input)?.iter().map(|value| keys.get(value).copied())),
            Keys::Ints(keys) => self.take(shape, values::<i64>(input)?.iter().map(|value| keys.get(value).copied())),
            Keys::Floats(keys) => {
                let values = values::<f64>(input)?;
                self.take(shape, values.iter().map(|&value| keys.get(&float_key(value)).copied()))
            }
        }
    }

    fn take(&self, shape: &[usize], indices: impl Iterator<Item = Option<usize>>) -> TractResult<TValue> {
        match &self.values {
            Values::Strings(values) => take(shape, values, indices),
            Values::I64(values) => take(shape, values, indices),
            Values::I32(values) => take(shape, values, indices),
            Values::I16(values) => take(shape, values, indices),
            Values::F32(values) => take(shape, values, indices),
            Values::F64(values) => take(shape, values, indices),
        }
    }
}

fn take<T: Datum>(shape: &[usize], values: &[T], indices: impl Iterator<Item = Option<usize>>) -> TractResult<TValue> {
    let default = values.len().saturating_sub(1);
    let taken = indices.map(|index| values.get(index.unwrap_or(default)).cloned());
    tensor(shape, taken.collect::<Option<Vec<T>>>().context("a lookup without a default")?)
}

fn with_default<T: Datum + Copy>(values: &Tensor, default: &Tensor) -> TractResult<Vec<T>> {
    Ok(self::values::<T>(values)?.iter().chain(&*self::values::<T>(default)?).copied().collect())
}

fn indices<K: Eq + Hash>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut indices = HashMap::new();
    for (index, key) in keys.enumerate() {
        indices.entry(key).or_insert(index);
    }
    indices
}

fn float_key(key: f64) -> u64 {
    if key.is_nan() { f64::NAN.to_bits() } else { (key + 0.0).to_bits() }
}
