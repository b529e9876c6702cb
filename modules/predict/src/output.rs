//! One output: a column of the model, as it is or with something done to it.

use modelgate_module::{Column, Datatype, Element, Error, Packer, Values, View};

use crate::{
    config::{self, Apply, Classes, Pick},
    scores::{Scores, ranked},
};

/// The most that a configuration may pick of a row.
const MOST: usize = 1_000;

#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    /// The place of the model's output.
    pub(crate) from: usize,
    apply: Option<Apply>,
    kept: Kept,
    threshold: Option<f64>,
    /// Whether the model tells with each batch that the dimension to squeeze is 1.
    squeeze_told: bool,
    classes: Option<Classes>,
}

/// The part of a row's values that is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    All,
    At(usize),
    /// The places of so many largest values.
    Places(usize),
    /// So many largest values.
    Largest(usize),
}

impl Output {
    /// Fails with what is wrong with the configuration.
    pub(crate) fn new(config: config::Output, model: &[Column]) -> Result<(Column, Self), String> {
        let Some(place) = model.iter().position(|column| column.name == config.from) else {
            let known = model.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "output '{}': expected `from` to be an output of the model ({known}), got {:?}",
                config.name, config.from
            ));
        };
        let name = config.name.clone();
        Self::of(config, place, &model[place]).map_err(|message| format!("output '{name}': {message}"))
    }

    fn of(config: config::Output, place: usize, model: &Column) -> Result<(Column, Self), String> {
        let config::Output { name, from: _, apply, at, pick, top, threshold, classes, names, squeeze } = config;
        let mut column = Column { name: name.clone(), ..model.clone() };
        let is_float = matches!(column.datatype, Datatype::F32 | Datatype::F64) && !column.nullable;
        if apply.is_some() && (column.shape.len() != 2 || !is_float) {
            return Err(format!("`apply` needs 32-bit or 64-bit floats of shape [-1, n], the model gives {column}"));
        }
        let kept = kept(at, pick, top, &column)?;
        match kept {
            Kept::All => {}
            Kept::At(_) => column = Column::scalar(name.as_str(), column.datatype),
            Kept::Places(count) | Kept::Largest(count) => {
                let datatype = if matches!(kept, Kept::Places(_)) { Datatype::I64 } else { column.datatype };
                let shape = if top.is_some() { vec![-1, count as i64] } else { vec![-1] };
                column = Column::new(name.as_str(), datatype, shape);
            }
        }
        if let Some(threshold) = threshold {
            if !is_number(column.datatype) || column.nullable || matches!(kept, Kept::Places(_)) {
                return Err(format!("`threshold` needs scores, got {column}"));
            }
            if threshold.is_nan() {
                return Err("`threshold`: expected a number, got NaN".to_owned());
            }
            column = Column::new(name.as_str(), Datatype::I64, column.shape);
        }
        let mut squeeze_told = false;
        if squeeze {
            squeeze_told = match column.shape[..] {
                [_, 1] => false,
                [_, -1] => true,
                _ => return Err(format!("`squeeze` needs the shape [-1, 1], got {:?}", column.shape)),
            };
            column.shape = vec![-1];
        }
        if let Some(classes) = &classes {
            if !is_integer(column.datatype) || column.nullable {
                return Err(format!("`classes` needs integers, `pick` or `threshold`; the model gives {column}"));
            }
            if squeeze_told {
                return Err("`classes` with `squeeze` needs the shape [-1, 1], got [-1, -1]".to_owned());
            }
            (column.datatype, column.categories) = match classes {
                Classes::Numbers(classes) => (Datatype::I64, classes.iter().map(ToString::to_string).collect()),
                Classes::Names(classes) => (Datatype::Bytes, classes.clone()),
                Classes::Bools(_) => (Datatype::Bool, Vec::new()),
            };
        }
        if let Some(names) = names {
            if pick.is_some() {
                return Err("`names` and `pick` exclude each other: `classes` names what is picked".to_owned());
            }
            let width = column.shape.get(1).copied().filter(|_| column.shape.len() == 2);
            if width.is_none_or(|width| usize::try_from(width) != Ok(names.len())) {
                let count = names.len();
                return Err(format!(
                    "`names` has {count}, so it needs the shape [-1, {count}], got {:?}",
                    column.shape
                ));
            }
            column.categories = names;
        }
        Ok((column, Self { name, from: place, apply, kept, threshold, squeeze_told, classes }))
    }

    /// Whether the packed words are the model's own. A squeezed dimension of 1 does not show in them.
    pub(crate) fn is_as_packed(&self) -> bool {
        !self.is_of_numbers() && !self.squeeze_told && self.classes.is_none()
    }

    /// Whether something is done to the values themselves, which are numbers then.
    fn is_of_numbers(&self) -> bool {
        self.apply.is_some() || self.kept != Kept::All || self.threshold.is_some()
    }

    pub(crate) fn write(&self, view: &View<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        if self.is_of_numbers() {
            let scores = self.apply.map(|apply| Scores::applied(apply, view)).transpose()?;
            let values = scores.as_ref().map_or(view.values, Scores::values);
            return self.write_numbers(&View { values, ..*view }, outputs);
        }
        if let Some(classes) = &self.classes {
            return self.name_classes(classes, &integers(view), view.dims, outputs);
        }
        outputs.copy(&self.name, &View { dims: self.dims(view)?, ..*view })
    }

    /// The dimensions of a batch that its output keeps open.
    fn dims<'v>(&self, view: &View<'v>) -> Result<&'v [u64], Error> {
        match self.kept {
            Kept::All if !self.squeeze_told => Ok(view.dims),
            Kept::All if view.row_size != 1 => {
                Err(Error::model(format!("'{}': expected 1 value a row, got {}", self.name, view.row_size)))
            }
            _ => Ok(&[]),
        }
    }

    fn write_numbers(&self, view: &View<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let (size, dims) = (view.row_size, self.dims(view)?);
        let least = match self.kept {
            Kept::All => 0,
            Kept::At(place) => place + 1,
            Kept::Places(top) | Kept::Largest(top) => top,
        };
        if size < least {
            return Err(match size {
                0 => Error::model("there are no scores to pick from"),
                _ => Error::model(format!("'{}': expected {least} scores, got {size}", self.name)),
            });
        }
        // The places of what is kept among all values.
        let places: Vec<usize> = match self.kept {
            Kept::All if self.threshold.is_none() => return outputs.copy(&self.name, &View { dims, ..*view }),
            Kept::All => (0..view.rows * size).collect(),
            Kept::At(place) => (0..view.rows).map(|row| row * size + place).collect(),
            Kept::Places(top) => {
                let places: Vec<i64> =
                    ranked(&ranks(view.values), size, top)?.iter().map(|place| *place as i64).collect();
                return self.write_integers(&places, &[], outputs);
            }
            Kept::Largest(top) => {
                let places = ranked(&ranks(view.values), size, top)?;
                places.iter().enumerate().map(|(at, place)| at / top * size + place).collect()
            }
        };
        let Some(threshold) = self.threshold else {
            return write_places(&self.name, view.values, &places, outputs);
        };
        let doubles = doubles(view.values);
        let counts = |place: &usize| {
            let value = doubles[*place];
            if value.is_nan() {
                return Err(Error::model(format!("'{}': a score is NaN", self.name)));
            }
            Ok(i64::from(value >= threshold))
        };
        let counted: Result<Vec<i64>, Error> = places.iter().map(counts).collect();
        self.write_integers(&counted?, dims, outputs)
    }

    /// As they are, or the classes that they stand for.
    fn write_integers(&self, values: &[i64], dims: &[u64], outputs: &mut Packer<'_>) -> Result<(), Error> {
        if let Some(classes) = &self.classes {
            return self.name_classes(classes, values, dims, outputs);
        }
        outputs.fill_dims::<i64>(&self.name, dims)?.copy_from_slice(values);
        Ok(())
    }

    fn name_classes(
        &self,
        classes: &Classes,
        places: &[i64],
        dims: &[u64],
        outputs: &mut Packer<'_>,
    ) -> Result<(), Error> {
        let known = |place: &i64| usize::try_from(*place).ok().filter(|place| *place < classes.len());
        let unknown =
            |place: i64| Error::model(format!("'{}': there is no class {place} of {}", self.name, classes.len()));
        let places: Result<Vec<usize>, Error> =
            places.iter().map(|place| known(place).ok_or_else(|| unknown(*place))).collect();
        let places = places?;
        match classes {
            Classes::Numbers(classes) => {
                for (class, place) in outputs.fill_dims::<i64>(&self.name, dims)?.iter_mut().zip(&places) {
                    *class = classes[*place];
                }
                Ok(())
            }
            Classes::Bools(classes) => {
                for (class, place) in outputs.bools_dims(&self.name, dims)?.iter_mut().zip(&places) {
                    *class = u8::from(classes[*place]);
                }
                Ok(())
            }
            Classes::Names(classes) => {
                let names = places.iter().map(|place| classes[*place].as_bytes());
                outputs.bytes_dims(&self.name, dims, names)
            }
        }
    }
}

/// The part of the rows of such a column that is kept.
fn kept(at: Option<usize>, pick: Option<Pick>, top: Option<usize>, column: &Column) -> Result<Kept, String> {
    let kept = match (at, pick, top) {
        (Some(_), Some(_), _) => return Err("`at` and `pick` exclude each other".to_owned()),
        (_, None, Some(_)) => return Err("`top` needs `pick`".to_owned()),
        (_, _, Some(top)) if !(1..=MOST).contains(&top) => {
            return Err(format!("`top`: expected 1 to {MOST}, got {top}"));
        }
        (Some(place), None, None) => Kept::At(place),
        (None, Some(Pick::Argmax), top) => Kept::Places(top.unwrap_or(1)),
        (None, Some(Pick::Max), top) => Kept::Largest(top.unwrap_or(1)),
        (None, None, None) => return Ok(Kept::All),
    };
    let (field, count) = match kept {
        Kept::At(place) => ("at", place.saturating_add(1)),
        Kept::Places(top) | Kept::Largest(top) => ("pick", top),
        Kept::All => return Ok(kept),
    };
    if column.shape.len() != 2 || !is_number(column.datatype) || column.nullable {
        return Err(format!("`{field}` needs numbers of shape [-1, n], the model gives {column}"));
    }
    // An open width is -1, and known with each batch.
    if usize::try_from(column.shape[1]).is_ok_and(|width| width < count) {
        return Err(format!("`{field}` needs {count} numbers in a row, the model gives {column}"));
    }
    Ok(kept)
}

/// Runs `$of` on the values of a column of numbers; `$empty` for any other, which `Output::of` does not take.
macro_rules! of_numbers {
    ($values:expr, $of:expr, $empty:expr) => {
        match $values {
            Values::F32(values) => $of(values),
            Values::F64(values) => $of(values),
            Values::I64(values) => $of(values),
            Values::I32(values) => $of(values),
            Values::U64(values) => $of(values),
            Values::U32(values) => $of(values),
            Values::I16(values) => $of(values),
            Values::U16(values) => $of(values),
            Values::I8(values) => $of(values),
            Values::U8(values) => $of(values),
            Values::F16(_) | Values::Bool(_) | Values::Bytes(_) => $empty,
        }
    };
}

/// A number of any type.
trait Number: Element {
    fn double(self) -> f64;

    /// Larger for a larger number; `None` for NaN.
    fn rank(self) -> Option<u64>;
}

macro_rules! numbers {
    ($($number:ty: $double:expr, $rank:expr;)*) => {$(
        impl Number for $number {
            fn double(self) -> f64 {
                $double(self)
            }
            fn rank(self) -> Option<u64> {
                $rank(self)
            }
        }
    )*};
}

numbers! {
    f32: f64::from, |value| rank(f64::from(value));
    f64: std::convert::identity, rank;
    u8: f64::from, |value| Some(u64::from(value));
    u16: f64::from, |value| Some(u64::from(value));
    u32: f64::from, |value| Some(u64::from(value));
    i8: f64::from, |value| signed(i64::from(value));
    i16: f64::from, |value| signed(i64::from(value));
    i32: f64::from, |value| signed(i64::from(value));
    // The nearest one.
    u64: |value| value as f64, Some;
    i64: |value| value as f64, signed;
}

#[expect(clippy::unnecessary_wraps, reason = "as for floats")]
fn signed(value: i64) -> Option<u64> {
    Some(value.cast_unsigned() ^ 1 << 63)
}

/// The bits of a float in the order of its values. Both zeros are one.
fn rank(value: f64) -> Option<u64> {
    let bits = (value + 0.0).to_bits();
    let is_negative = bits >> 63 == 1;
    (!value.is_nan()).then_some(if is_negative { !bits } else { bits | 1 << 63 })
}

fn ranks(values: Values<'_>) -> Vec<Option<u64>> {
    fn of<T: Number>(values: &[T]) -> Vec<Option<u64>> {
        values.iter().map(|value| value.rank()).collect()
    }
    of_numbers!(values, of, Vec::new())
}

fn doubles(values: Values<'_>) -> Vec<f64> {
    fn of<T: Number>(values: &[T]) -> Vec<f64> {
        values.iter().map(|value| value.double()).collect()
    }
    of_numbers!(values, of, Vec::new())
}

/// Writes those values of a column that stand at some places, as they are.
fn write_places(name: &str, values: Values<'_>, places: &[usize], outputs: &mut Packer<'_>) -> Result<(), Error> {
    of_numbers!(values, |values| gather(name, values, places, outputs), Err(Error::internal("scores must be numbers")))
}

fn gather<T: Number>(name: &str, values: &[T], places: &[usize], outputs: &mut Packer<'_>) -> Result<(), Error> {
    for (to, place) in outputs.fill::<T>(name)?.iter_mut().zip(places) {
        *to = values[*place];
    }
    Ok(())
}

/// The values of a column of integers. One beyond `i64` is no class: -1.
fn integers(view: &View<'_>) -> Vec<i64> {
    fn from<T: Copy + TryInto<i64>>(values: &[T]) -> Vec<i64> {
        values.iter().map(|value| (*value).try_into().unwrap_or(-1)).collect()
    }
    match view.values {
        Values::I64(values) => values.to_vec(),
        Values::I32(values) => from(values),
        Values::I16(values) => from(values),
        Values::I8(values) => from(values),
        Values::U64(values) => from(values),
        Values::U32(values) => from(values),
        Values::U16(values) => from(values),
        Values::U8(values) => from(values),
        _ => Vec::new(),
    }
}

fn is_number(datatype: Datatype) -> bool {
    is_integer(datatype) || matches!(datatype, Datatype::F32 | Datatype::F64)
}

fn is_integer(datatype: Datatype) -> bool {
    !matches!(datatype, Datatype::Bool | Datatype::Bytes | Datatype::F16 | Datatype::F32 | Datatype::F64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_in_the_order_of_the_numbers() {
        let ordered = [f64::NEG_INFINITY, -1.5, -5e-324, 0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY];
        assert!(ordered.is_sorted_by(|one, other| rank(*one) < rank(*other)));
        assert_eq!((rank(-0.0), rank(f64::NAN), f32::NAN.rank()), (rank(0.0), None, None));
        assert!([i64::MIN, -1, 0, 1, i64::MAX].is_sorted_by(|one, other| one.rank() < other.rank()));
        assert!(u64::MAX.rank() > 0u64.rank() && (-1f32).rank() < 0f32.rank());
    }
}
