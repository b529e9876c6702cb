//! A model of XGBoost, LightGBM or CatBoost in its own format, behind the same packed columns as a graph.
//!
//! Inputs are the model's features: a column for each where the file names them or where one is a category, else the one
//! matrix `input`. Outputs are `label`, `probabilities` and `raw` of classes, `prediction` of numbers, and `score` of an
//! order, with `raw` beside what is transformed.

use std::time::Instant;

use modelgate_boosters::{Booster, BoosterError, Kind, Library, Numbers, Rows, Scores, Task};
use modelgate_columns::{Column, Datatype, LayoutError, Reader, Signature, Values, View, Writer};

use super::error::{ComputeError, ModelError};

/// The most features that are columns of their own; more are one matrix, whether they have names or not.
const MOST_COLUMNS: usize = 4096;

/// Rows that are scored between two looks at the deadline, and how many of a model of at least so many bytes.
const BLOCK: usize = 1024;
const LARGE_BLOCK: usize = 64;
const LARGE: usize = 64 << 20;

/// The most scores of a batch: a file names any number of classes in a few bytes.
const MOST_SCORES: usize = 1 << 26;

/// A booster and its columns.
#[derive(Debug)]
pub(super) struct Served {
    booster: Booster,
    pub(super) signature: Signature,
    /// Rows between two looks at the deadline.
    block: usize,
    /// The classes, where all are whole numbers or have none but their places.
    numbers: Option<Vec<i64>>,
}

/// Rows as the booster takes them.
struct Unpacked<'a> {
    numbers: Features,
    /// Of features that are categories, row by row.
    texts: Vec<Option<&'a [u8]>>,
}

/// Features that are numbers, row by row, in the type that the library computes with.
enum Features {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl Served {
    /// Whether a file is a booster's, by its first bytes.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        Booster::is_one(bytes)
    }

    pub(super) fn load(bytes: &[u8]) -> Result<Self, ModelError> {
        let booster = Booster::read(bytes)?;
        if booster.features().len() > MOST_COLUMNS && booster.width() < booster.features().len() {
            let limit = MOST_COLUMNS;
            return Err(ModelError::TooLarge { what: "features", found: booster.features().len(), limit });
        }
        let numbers = booster.classes().iter().map(|name| name.parse().ok()).collect::<Option<Vec<i64>>>();
        let outputs = outputs(&booster, numbers.is_some());
        let signature = Signature { inputs: inputs(&booster), outputs };
        let block = if booster.bytes() >= LARGE { LARGE_BLOCK } else { BLOCK };
        Ok(Self { booster, signature, block, numbers })
    }

    pub(super) fn bytes(&self) -> usize {
        self.booster.bytes()
    }

    pub(super) fn compute(
        &self,
        rows: u32,
        words: &[u64],
        deadline: Option<Instant>,
    ) -> Result<Vec<u64>, ComputeError> {
        let count = rows as usize;
        let scores = self.booster.scores();
        if count.checked_mul(scores).is_none_or(|scores| scores > MOST_SCORES) {
            return Err(ComputeError::invalid(format!("{rows} rows of {scores} scores are too many at once")));
        }
        let unpacked = self.unpack(rows, words)?;
        let width = self.booster.width();
        let texts = self.booster.features().len() - width;
        let mut raw = match self.booster.library() {
            Library::XgBoost => Scores::Single(Vec::with_capacity(count * scores)),
            Library::LightGbm | Library::CatBoost => Scores::Double(Vec::with_capacity(count * scores)),
        };
        for start in (0..count).step_by(self.block) {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(ComputeError::Deadline);
            }
            let end = count.min(start + self.block);
            let numbers = match &unpacked.numbers {
                Features::Single(values) => Numbers::Single(&values[start * width..end * width]),
                Features::Double(values) => Numbers::Double(&values[start * width..end * width]),
            };
            let rows = Rows { count: end - start, numbers, texts: &unpacked.texts[start * texts..end * texts] };
            let scores = self.booster.raw(&rows).map_err(|error| self.refused(error, start))?;
            match (&mut raw, scores) {
                (Scores::Single(raw), Scores::Single(scores)) => raw.extend(scores),
                (Scores::Double(raw), Scores::Double(scores)) => raw.extend(scores),
                _ => return Err(ComputeError::Model("its scores are of two types".into())),
            }
        }
        self.pack(&raw)
    }

    fn unpack<'a>(&self, rows: u32, words: &'a [u64]) -> Result<Unpacked<'a>, ComputeError> {
        let count = rows as usize;
        let is_double = self.booster.library() == Library::LightGbm;
        let mut reader = Reader::new(rows, words);
        let width = self.booster.width();
        let texts = self.booster.features().len() - width;
        // Checked before there is room for the rows: each value takes its bytes, and a text an offset at least.
        let size = if is_double { size_of::<f64>() } else { size_of::<f32>() };
        let least = count.saturating_mul(width * size + texts * size_of::<u32>());
        if least > size_of_val(words) {
            let message = format!("{rows} rows take {least} bytes at least, got {}", size_of_val(words));
            return Err(LayoutError { column: String::new(), message }.into());
        }
        let mut numbers = if is_double {
            Features::Double(vec![0.0; count * width])
        } else {
            Features::Single(vec![0.0; count * width])
        };
        let mut words: Vec<Option<&[u8]>> = vec![None; count * texts];
        let (mut number, mut text) = (0, 0);
        for column in &self.signature.inputs {
            let view = reader.next(column)?;
            match view.values {
                Values::Bytes(strings) => {
                    for (row, value) in strings.iter().enumerate() {
                        words[row * texts + text] = view.is_valid(row).then_some(value);
                    }
                    text += 1;
                }
                _ => {
                    numbers.place(&view, number, width);
                    number += view.row_size;
                }
            }
        }
        reader.finish()?;
        Ok(Unpacked { numbers, texts: words })
    }

    /// Why a block of rows, the first of which is this one, is not scored.
    fn refused(&self, error: BoosterError, first: usize) -> ComputeError {
        match error {
            BoosterError::Value { row, column, message } => ComputeError::Invalid {
                column: self.signature.inputs.get(column).map(|column| column.name.clone()),
                row: u32::try_from(first + row).ok(),
                message,
            },
            other => ComputeError::Model(other.to_string()),
        }
    }

    fn pack(&self, raw: &Scores) -> Result<Vec<u64>, ComputeError> {
        let mut writer = Writer::default();
        let put = |writer: &mut Writer, scores: &Scores| match scores {
            Scores::Single(scores) => writer.fixed(scores),
            Scores::Double(scores) => writer.fixed(scores),
        };
        if let Some((probabilities, labels)) = self.booster.classify(raw) {
            if let Some(numbers) = &self.numbers {
                let number = |&label: &usize| numbers.get(label).copied().unwrap_or(label as i64);
                writer.fixed(&labels.iter().map(number).collect::<Vec<_>>());
            } else {
                let name = |&label: &usize| self.booster.classes().get(label).map_or(&[][..], |name| name.as_bytes());
                writer.strings(labels.iter().map(name))?;
            }
            put(&mut writer, &probabilities);
            put(&mut writer, raw);
            return Ok(writer.finish());
        }
        if !self.booster.objective().is_transforming() {
            put(&mut writer, raw);
            return Ok(writer.finish());
        }
        put(&mut writer, &self.booster.outputs(raw.clone()));
        put(&mut writer, raw);
        Ok(writer.finish())
    }
}

impl Features {
    /// Puts a column's values into each row, from place `first` of `width` on. A value that is missing is a NaN.
    fn place(&mut self, view: &View<'_>, first: usize, width: usize) {
        match (self, view.values) {
            (Self::Single(features), Values::F32(values)) => place(features, view, first, width, values, f32::NAN),
            (Self::Double(features), Values::F64(values)) => place(features, view, first, width, values, f64::NAN),
            // The columns are of the features' type.
            _ => {}
        }
    }
}

fn place<T: Copy>(features: &mut [T], view: &View<'_>, first: usize, width: usize, values: &[T], missing: T) {
    let size = view.row_size;
    if size == 0 {
        return;
    }
    for (row, (target, source)) in features.chunks_exact_mut(width).zip(values.chunks_exact(size)).enumerate() {
        let target = &mut target[first..first + size];
        target.copy_from_slice(source);
        if view.validity.is_some() {
            for (place, value) in target.iter_mut().enumerate() {
                if !view.is_valid(row * size + place) {
                    *value = missing;
                }
            }
        }
    }
}

fn inputs(booster: &Booster) -> Vec<Column> {
    let kinds = booster.features();
    let number = if booster.library() == Library::LightGbm { Datatype::F64 } else { Datatype::F32 };
    let names = booster.names();
    if (names.is_empty() || names.len() > MOST_COLUMNS) && kinds.iter().all(|&kind| kind == Kind::Number) {
        let size = i64::try_from(kinds.len()).unwrap_or(i64::MAX);
        let column = Column::new("input", number, [-1, size]);
        return vec![Column { nullable: true, ..column }];
    }
    let column = |(place, &kind): (usize, &Kind)| {
        let name = names.get(place).filter(|name| !name.is_empty()).cloned();
        let name = name.unwrap_or_else(|| format!("f{place}"));
        match kind {
            Kind::Number => Column { nullable: true, ..Column::scalar(name, number) },
            // CatBoost takes no missing category.
            Kind::Category if booster.library() == Library::CatBoost => Column::scalar(name, Datatype::Bytes),
            Kind::Category => Column { nullable: true, ..Column::scalar(name, Datatype::Bytes) },
        }
    };
    kinds.iter().enumerate().map(column).collect()
}

fn outputs(booster: &Booster, has_numbers: bool) -> Vec<Column> {
    let number = if booster.library() == Library::XgBoost { Datatype::F32 } else { Datatype::F64 };
    let scores = booster.scores();
    let column = |name: &str, width: usize| {
        let width = i64::try_from(width).unwrap_or(i64::MAX);
        let shape = if width == 1 { vec![-1] } else { vec![-1, width] };
        Column::new(name, number, shape)
    };
    let label = Column::scalar("label", if has_numbers { Datatype::I64 } else { Datatype::Bytes });
    let is_transforming = booster.objective().is_transforming();
    let name = match booster.objective().task() {
        Task::Binary => return vec![label, column("probabilities", 2), column("raw", 1)],
        Task::Classes => return vec![label, column("probabilities", scores), column("raw", scores)],
        Task::Labels => "probabilities",
        Task::Ranking => "score",
        Task::Regression => "prediction",
    };
    let mut outputs = vec![column(name, scores)];
    if is_transforming {
        outputs.push(column("raw", scores));
    }
    outputs
}

impl From<BoosterError> for ModelError {
    fn from(error: BoosterError) -> Self {
        Self::Booster(error.to_string())
    }
}
