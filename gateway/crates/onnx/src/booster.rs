//! A model of XGBoost, LightGBM or CatBoost in its own format, behind the same packed columns as a graph.
//!
//! Inputs are the model's features: a column for each where the file names them or where one is a category, else the one
//! matrix `input`. Outputs are `label`, `probabilities` and `raw` of classes, `prediction` of numbers, and `score` of an
//! order, with `raw` beside what is transformed. A [`BoosterForm`] says otherwise.

mod features;
mod form;
mod outputs;

use std::time::Instant;

use modelgate_boosters::{Booster, BoosterError, Kind, Library, Numbers, Rows, Scores};
use modelgate_columns::{Column, Datatype, Signature};

use self::features::{Features, Unpacked};
pub use self::form::{Answers, BoosterForm, Feature};
use self::outputs::Outputs;
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
    outputs: Outputs,
    pub(super) signature: Signature,
    /// Rows between two looks at the deadline.
    block: usize,
}

impl Served {
    /// Whether a file is a booster's, by its first bytes.
    pub(super) fn is_one(bytes: &[u8]) -> bool {
        Booster::is_one(bytes)
    }

    pub(super) fn load(bytes: &[u8], form: &BoosterForm) -> Result<Self, ModelError> {
        let booster = Booster::read(bytes)?;
        let has_categories = booster.width() < booster.features().len();
        if booster.features().len() > MOST_COLUMNS && (has_categories || !form.features.is_empty()) {
            let limit = MOST_COLUMNS;
            return Err(ModelError::TooLarge { what: "features", found: booster.features().len(), limit });
        }
        let inputs = if form.features.is_empty() { inputs(&booster) } else { form.columns(&booster)? };
        let outputs = Outputs::new(&booster, form.answers);
        let signature = Signature { inputs, outputs: outputs.columns.clone() };
        let block = if booster.bytes() >= LARGE { LARGE_BLOCK } else { BLOCK };
        Ok(Self { booster, outputs, signature, block })
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
        let (kinds, library) = (self.booster.features(), self.booster.library());
        let unpacked = Unpacked::read(&self.signature.inputs, kinds, library, rows, words)?;
        let categories = unpacked.texts();
        let width = self.booster.width();
        let texts = kinds.len() - width;
        let mut raw = match library {
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
            let rows = Rows { count: end - start, numbers, texts: &categories[start * texts..end * texts] };
            let scores = self.booster.raw(&rows).map_err(|error| self.refused(error, start))?;
            match (&mut raw, scores) {
                (Scores::Single(raw), Scores::Single(scores)) => raw.extend(scores),
                (Scores::Double(raw), Scores::Double(scores)) => raw.extend(scores),
                _ => return Err(ComputeError::Model("its scores are of two types".into())),
            }
        }
        Ok(self.outputs.pack(&self.booster, &raw)?)
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
    let column = |(index, &kind): (usize, &Kind)| {
        let name = names.get(index).filter(|name| !name.is_empty()).cloned();
        let name = name.unwrap_or_else(|| format!("f{index}"));
        match kind {
            Kind::Number => Column { nullable: true, ..Column::scalar(name, number) },
            // CatBoost takes no missing category.
            Kind::Category if booster.library() == Library::CatBoost => Column::scalar(name, Datatype::Bytes),
            Kind::Category => Column { nullable: true, ..Column::scalar(name, Datatype::Bytes) },
        }
    };
    kinds.iter().enumerate().map(column).collect()
}

impl From<BoosterError> for ModelError {
    fn from(error: BoosterError) -> Self {
        Self::Booster(error.to_string())
    }
}
