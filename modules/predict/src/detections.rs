//! Detections: the boxes of a network that looks for things in pictures, without those that are of one thing.

use std::cmp::Ordering;

use modelgate_module::{Batch, Column, Datatype, Error, Packer, Values};

use crate::config::{self, BoxForm, Layout};

/// The most detections of a row that a configuration may ask for.
const MOST: usize = 1_000;

/// The columns that come out, in this order.
const COUNT: &str = "count";
const BOXES: &str = "boxes";
const SCORES: &str = "scores";
const LABELS: &str = "labels";

#[derive(Debug)]
pub(crate) struct Detections {
    from: usize,
    config: config::Detections,
    /// Values of a box before those of its classes.
    head: usize,
}

/// A box that is sure enough of its class.
#[derive(Clone, Copy, Debug)]
struct Found {
    score: f32,
    class: usize,
    /// Left, top, right, bottom.
    corners: [f32; 4],
}

impl Detections {
    /// Fails with what is wrong with the configuration.
    pub(crate) fn new(config: config::Detections, model: &[Column]) -> Result<(Vec<Column>, Self), String> {
        let Some(from) = model.iter().position(|column| column.name == config.from) else {
            let known = model.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(format!("expected `from` to be an output of the model ({known}), got {:?}", config.from));
        };
        let column = &model[from];
        if column.datatype != Datatype::F32 || column.nullable || column.shape.len() != 3 {
            return Err(format!("expected 32-bit floats of shape [-1, n, m], the model gives {column}"));
        }
        let head = 4 + usize::from(config.objectness);
        let values = column.shape[if config.layout == Layout::FeaturesFirst { 1 } else { 2 }];
        let least = head + config.classes.as_ref().map_or(1, Vec::len);
        let fits = usize::try_from(values).map_or(true, |values| match &config.classes {
            Some(_) => values == least,
            None => values >= least,
        });
        if !fits {
            return Err(format!("a box has {least} values by this configuration, the model gives {column}"));
        }
        if !(1..=MOST).contains(&config.most) {
            return Err(format!("`most`: expected 1 to {MOST}, got {}", config.most));
        }
        for (field, value) in [("score", config.score), ("overlap", config.overlap)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("`{field}`: expected 0 to 1, got {value}"));
            }
        }
        if config.relative_to.is_some_and(|sizes| !sizes.iter().all(|size| *size > 0.0 && size.is_finite())) {
            return Err("`relative_to`: expected a width and a height above 0".to_owned());
        }
        let most = config.most as i64;
        let mut labels = Column::new(LABELS, Datatype::I64, [-1, most]);
        if let Some(classes) = &config.classes {
            labels = Column::new(LABELS, Datatype::Bytes, [-1, most]);
            labels.categories.clone_from(classes);
        }
        let columns = vec![
            Column::new(BOXES, Datatype::F32, [-1, most, 4]),
            labels,
            Column::new(SCORES, Datatype::F32, [-1, most]),
            Column::scalar(COUNT, Datatype::I64),
        ];
        Ok((columns, Self { from, config, head }))
    }

    pub(crate) fn write(&self, batch: &Batch<'_>, outputs: &mut Packer<'_>) -> Result<(), Error> {
        let view = &batch.views()[self.from];
        let Values::F32(values) = view.values else {
            return Err(Error::internal("boxes must be 32-bit floats"));
        };
        let [_, rows, columns] = view.shape(&batch.columns()[self.from])[..] else {
            return Err(Error::internal("boxes must have three dimensions"));
        };
        let (boxes, size) = match self.config.layout {
            Layout::FeaturesFirst => (columns, rows),
            Layout::BoxesFirst => (rows, columns),
        };
        let least = self.head + self.config.classes.as_ref().map_or(1, Vec::len);
        // Of a dimension that the model leaves open.
        if size < least || (self.config.classes.is_some() && size > least) {
            return Err(Error::model(format!("a box has {least} values by the configuration, the model gave {size}")));
        }
        let found: Vec<Vec<Found>> = if values.is_empty() {
            vec![Vec::new(); view.rows]
        } else {
            values.chunks_exact(boxes * size).map(|values| self.kept(values, boxes, size)).collect()
        };
        self.pack(&found, outputs)
    }

    /// The detections of one picture, the surest first.
    fn kept(&self, values: &[f32], boxes: usize, size: usize) -> Vec<Found> {
        let config = &self.config;
        let (along, across) = match config.layout {
            Layout::FeaturesFirst => (boxes, 1),
            Layout::BoxesFirst => (1, size),
        };
        let mut found: Vec<Found> = (0..boxes)
            .filter_map(|place| self.read(|feature| values[feature * along + place * across], size))
            .collect();
        // The order of equals is that of the model.
        found.sort_by(|one, other| other.score.partial_cmp(&one.score).unwrap_or(Ordering::Equal));
        let mut kept: Vec<Found> = Vec::new();
        for one in found {
            if kept.len() == config.most {
                break;
            }
            let is_of = |other: &Found| {
                (config.any_class || other.class == one.class) && overlap(&one.corners, &other.corners) > config.overlap
            };
            if !kept.iter().any(is_of) {
                kept.push(one);
            }
        }
        kept
    }

    /// A box, if it is sure enough of a class. NaN is sure of nothing.
    fn read(&self, value: impl Fn(usize) -> f32, size: usize) -> Option<Found> {
        let (mut class, mut score) = (0, f32::NEG_INFINITY);
        for feature in self.head..size {
            if value(feature) > score {
                (class, score) = (feature - self.head, value(feature));
            }
        }
        let sure = |value: f32| if self.config.sigmoid { 1.0 / (1.0 + (-value).exp()) } else { value };
        let mut score = sure(score);
        if self.config.objectness {
            score *= sure(value(4));
        }
        let [first, second, third, fourth] = [value(0), value(1), value(2), value(3)];
        let corners = match self.config.form {
            BoxForm::Corners => [first, second, third, fourth],
            BoxForm::Center => {
                let (width, height) = (third / 2.0, fourth / 2.0);
                [first - width, second - height, first + width, second + height]
            }
        };
        let is_box = corners.iter().all(|corner| corner.is_finite());
        (is_box && score > self.config.score).then_some(Found { score, class, corners })
    }

    fn pack(&self, found: &[Vec<Found>], outputs: &mut Packer<'_>) -> Result<(), Error> {
        let most = self.config.most;
        let [width, height] = self.config.relative_to.unwrap_or([1.0, 1.0]);
        let places = || found.iter().enumerate().flat_map(|(row, found)| (row * most..).zip(found));
        let boxes = outputs.fill::<f32>(BOXES)?;
        for (place, one) in places() {
            let [left, top, right, bottom] = one.corners;
            boxes[4 * place..4 * place + 4].copy_from_slice(&[
                left / width,
                top / height,
                right / width,
                bottom / height,
            ]);
        }
        if let Some(classes) = &self.config.classes {
            let name = |one: Option<&Found>| one.map_or(&b""[..], |one| classes[one.class].as_bytes());
            let names: Vec<&[u8]> =
                found.iter().flat_map(|found| (0..most).map(|place| name(found.get(place)))).collect();
            outputs.bytes(LABELS, names.into_iter())?;
        } else {
            let labels = outputs.fill::<i64>(LABELS)?;
            // Beyond the last one no class stands.
            labels.fill(-1);
            places().for_each(|(place, one)| labels[place] = one.class as i64);
        }
        let scores = outputs.fill::<f32>(SCORES)?;
        places().for_each(|(place, one)| scores[place] = one.score);
        for (count, found) in outputs.fill::<i64>(COUNT)?.iter_mut().zip(found) {
            *count = found.len() as i64;
        }
        Ok(())
    }
}

/// The area that two boxes share ÷ the area of both together.
fn overlap(one: &[f32; 4], other: &[f32; 4]) -> f32 {
    let area = |corners: &[f32; 4]| (corners[2] - corners[0]).max(0.0) * (corners[3] - corners[1]).max(0.0);
    let shared = area(&[one[0].max(other[0]), one[1].max(other[1]), one[2].min(other[2]), one[3].min(other[3])]);
    let both = area(one) + area(other) - shared;
    if both > 0.0 { shared / both } else { 0.0 }
}
