//! One output: a column of the model, as it is or with something done to it.

use modelgate_module::{Column, Datatype, Error, Packer, Values, View};

use crate::config::{self, Classes, Pick};

#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    /// The place of the model's output.
    pub(crate) from: usize,
    argmax: bool,
    /// Whether the model tells with each batch that the dimension to squeeze is 1.
    squeeze_told: bool,
    classes: Option<Classes>,
}

impl Output {
    /// Fails with what is wrong with the configuration.
    pub(crate) fn new(config: config::Output, model: &[Column]) -> Result<(Column, Self), String> {
        let config::Output { name, from, pick, classes, names, squeeze } = config;
        let Some(place) = model.iter().position(|column| column.name == from) else {
            let known = model.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "output '{name}': expected `from` to be an output of the model ({known}), got {from:?}"
            ));
        };
        let wrong = |message: String| format!("output '{name}': {message}");
        let mut column = Column { name: name.clone(), ..model[place].clone() };
        let argmax = matches!(pick, Some(Pick::Argmax));
        if argmax {
            if column.shape.len() != 2 || !is_number(column.datatype) || column.nullable {
                return Err(wrong(format!("`pick` needs numbers of shape [-1, n], the model gives {column}")));
            }
            column = Column::scalar(name.as_str(), Datatype::I64);
        }
        let mut squeeze_told = false;
        if squeeze {
            squeeze_told = match column.shape[..] {
                [_, 1] => false,
                [_, -1] => true,
                _ => {
                    return Err(wrong(format!("`squeeze` needs the shape [-1, 1], got {:?}", column.shape)));
                }
            };
            column.shape = vec![-1];
        }
        if let Some(classes) = &classes {
            if !is_integer(column.datatype) || column.nullable {
                return Err(wrong(format!("`classes` needs integers, or `pick`; the model gives {column}")));
            }
            if squeeze_told {
                return Err(wrong("`classes` with `squeeze` needs the shape [-1, 1], got [-1, -1]".to_owned()));
            }
            (column.datatype, column.categories) = match classes {
                Classes::Numbers(classes) => (Datatype::I64, classes.iter().map(ToString::to_string).collect()),
                Classes::Names(classes) => (Datatype::Bytes, classes.clone()),
                Classes::Bools(_) => (Datatype::Bool, Vec::new()),
            };
        }
        if let Some(names) = names {
            let width = column.shape.get(1).copied().filter(|_| column.shape.len() == 2);
            if width.is_none_or(|width| usize::try_from(width) != Ok(names.len())) {
                let count = names.len();
                return Err(wrong(format!(
                    "`names` has {count}, so it needs the shape [-1, {count}], got {:?}",
                    column.shape
                )));
            }
            column.categories = names;
        }
        Ok((column, Self { name, from: place, argmax, squeeze_told, classes }))
    }

    /// Whether the packed words are the model's own. A squeezed dimension of 1 does not show in them.
    pub(crate) fn is_as_packed(&self) -> bool {
        !self.argmax && !self.squeeze_told && self.classes.is_none()
    }

    pub(crate) fn write(&self, view: &View<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        match &self.classes {
            None if self.argmax => argmax(view, outputs.fill::<i64>(&self.name)?),
            None if self.squeeze_told => {
                if view.row_size != 1 {
                    return Err(Error::model(format!(
                        "'{}': expected 1 value a row, got {}",
                        self.name, view.row_size
                    )));
                }
                outputs.copy(&self.name, &View { dims: &[], ..*view })
            }
            None => outputs.copy(&self.name, view),
            Some(classes) => {
                let dims = if self.argmax { &[] } else { view.dims };
                let places = if self.argmax {
                    let mut places = vec![0; view.rows];
                    argmax(view, &mut places)?;
                    places
                } else {
                    integers(view)
                };
                self.name_classes(classes, &places, dims, outputs)
            }
        }
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

/// The place of the largest value in each row: the first of equals, and never that of NaN.
fn argmax(view: &View<'_>, places: &mut [i64]) -> Result<(), Error> {
    fn by<T: Copy + PartialOrd>(values: &[T], row_size: usize, places: &mut [i64]) -> Result<(), Error> {
        for (row, (place, values)) in places.iter_mut().zip(values.chunks_exact(row_size.max(1))).enumerate() {
            let mut best: Option<(i64, T)> = None;
            for (place, value) in (0..).zip(values) {
                // Only NaN is not equal to itself.
                #[expect(clippy::eq_op, reason = "true for NaN alone, of any type of number")]
                let is_nan = value != value;
                if !is_nan && best.is_none_or(|(_, most)| *value > most) {
                    best = Some((place, *value));
                }
            }
            let (best, _) = best.ok_or_else(|| Error::model(format!("row {row}: no score is a number")))?;
            *place = best;
        }
        Ok(())
    }
    let size = view.row_size;
    if size == 0 {
        return Err(Error::model("there are no scores to pick from"));
    }
    match view.values {
        Values::F32(values) => by(values, size, places),
        Values::F64(values) => by(values, size, places),
        Values::I64(values) => by(values, size, places),
        Values::I32(values) => by(values, size, places),
        Values::U64(values) => by(values, size, places),
        Values::U32(values) => by(values, size, places),
        Values::I16(values) => by(values, size, places),
        Values::U16(values) => by(values, size, places),
        Values::I8(values) => by(values, size, places),
        Values::U8(values) => by(values, size, places),
        // `new` takes no such column.
        Values::F16(_) | Values::Bool(_) | Values::Bytes(_) => Err(Error::internal("scores must be numbers")),
    }
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
