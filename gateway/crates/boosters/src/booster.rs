//! A model of any of the libraries.

use std::borrow::Cow;

use crate::catboost;
use crate::classes::ClassKind;
use crate::encoding::Encoding;
use crate::error::{BoosterError, Read};
use crate::forest::Forest;
use crate::objective::{Objective, Scores, Task};
use crate::{lightgbm, xgboost};

/// The library that a model is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// XGBoost: sums and features are singles.
    XgBoost,
    /// LightGBM: sums and features are doubles.
    LightGbm,
    /// CatBoost: sums are doubles, features are singles and texts.
    CatBoost,
}

impl Library {
    /// As its makers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::XgBoost => "XGBoost",
            Self::LightGbm => "LightGBM",
            Self::CatBoost => "CatBoost",
        }
    }
}

/// The kind of a feature's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers; NaN is a missing one.
    Number,
    /// Categories, as texts.
    Category,
}

/// Numbers of rows, row by row.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// Singles.
    Single(&'a [f32]),
    /// Doubles, which XGBoost and CatBoost round to singles.
    Double(&'a [f64]),
}

/// Rows to be scored.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The number of rows.
    pub count: usize,
    /// The values of the features that are numbers, in their order, row by row.
    pub numbers: Numbers<'a>,
    /// The values of the features that are categories, in their order, row by row; `None` where one is missing, which XGBoost
    /// takes and CatBoost does not.
    pub texts: &'a [Option<&'a [u8]>],
}

/// A model, read and checked. Immutable: share it in an `Arc`.
#[derive(Debug)]
pub struct Booster {
    engine: Engine,
    kinds: Vec<Kind>,
    /// Features that are numbers.
    width: usize,
    objective: Objective,
    /// The names of features, in their order; empty where the model has none.
    names: Vec<String>,
    /// The names of classes, in their order; empty where the model has none.
    classes: Vec<String>,
    class_kind: ClassKind,
    version: String,
}

#[derive(Debug)]
enum Engine {
    XgBoost(Forest<f32, f32>, Vec<Encoding>),
    LightGbm(Forest<f64, f64>, Vec<Encoding>),
    CatBoost(catboost::Model),
}

impl Booster {
    /// Reads a model. The content decides which library's it is. Files are not trusted: a bad one is an error.
    pub fn read(bytes: &[u8]) -> Result<Self, BoosterError> {
        let (booster, reader) = match Format::detect(bytes).ok_or(BoosterError::Unknown)? {
            Format::LightGbm => {
                let lightgbm::Model { forest, objective, encodings, names, version } = lightgbm::read(bytes)?;
                (Self::new(Engine::LightGbm(forest, encodings), objective, names, version), lightgbm::READER)
            }
            Format::Json if bytes_have(bytes, b"\"learner\"") => (Self::xgboost(bytes, true)?, xgboost::READER),
            Format::Json => (Self::catboost(catboost::from_json(bytes)?), catboost::READER),
            Format::Ubjson => (Self::xgboost(bytes, false)?, xgboost::READER),
            Format::Cbm => (Self::catboost(catboost::from_cbm(bytes)?), catboost::READER),
        };
        let (task, scores) = (booster.objective.task(), booster.scores());
        if task == Task::Binary && scores != 1 {
            let problem = format!(
                "the objective '{}' has one score a row, and the trees have {scores}",
                booster.objective.name()
            );
            return Err(reader.corrupt(problem));
        }
        Ok(booster)
    }

    /// Whether a file looks like a model of one of the libraries, by its first bytes.
    pub fn is_one(bytes: &[u8]) -> bool {
        Format::detect(bytes).is_some()
    }

    fn xgboost(bytes: &[u8], is_text: bool) -> Read<Self> {
        let xgboost::Model { forest, objective, encodings, names, version } = xgboost::read(bytes, is_text)?;
        Ok(Self::new(Engine::XgBoost(forest, encodings), objective, names, version))
    }

    fn catboost((model, about): (catboost::Model, catboost::About)) -> Self {
        let catboost::About { objective, names, classes, class_kind, version } = about;
        let engine = Engine::CatBoost(model);
        Self { classes, class_kind, ..Self::new(engine, objective, names, version) }
    }

    fn new(engine: Engine, objective: Objective, names: Vec<String>, version: String) -> Self {
        let kinds = match &engine {
            Engine::XgBoost(forest, encodings) if encodings.is_empty() => vec![Kind::Number; forest.features()],
            Engine::LightGbm(forest, encodings) if encodings.is_empty() => vec![Kind::Number; forest.features()],
            Engine::XgBoost(_, encodings) | Engine::LightGbm(_, encodings) => encodings.iter().map(kind).collect(),
            Engine::CatBoost(model) => model.features(),
        };
        let width = kinds.iter().filter(|&&kind| kind == Kind::Number).count();
        let (classes, class_kind) = (Vec::new(), ClassKind::Integer);
        Self { engine, kinds, width, objective, names, classes, class_kind, version }
    }

    /// The library.
    pub fn library(&self) -> Library {
        match self.engine {
            Engine::XgBoost(..) => Library::XgBoost,
            Engine::LightGbm(..) => Library::LightGbm,
            Engine::CatBoost(_) => Library::CatBoost,
        }
    }

    /// The version of the library, or of its format, that the file names; empty where there is none.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The kinds of the features, in their order.
    pub fn features(&self) -> &[Kind] {
        &self.kinds
    }

    /// Features that are numbers.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The names of features, in their order; none where the file has none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The names of classes, in their order; none where the file has none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The type of the classes; whole numbers where the file names none, for then they are places.
    pub fn class_kind(&self) -> ClassKind {
        if self.classes.is_empty() { ClassKind::Integer } else { self.class_kind }
    }

    /// The objective, which says what scores are for and how they are transformed.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Raw scores of each row.
    pub fn scores(&self) -> usize {
        match &self.engine {
            Engine::XgBoost(forest, _) => forest.scores(),
            Engine::LightGbm(forest, _) => forest.scores(),
            Engine::CatBoost(model) => model.scores(),
        }
    }

    /// Bytes held, an estimate.
    pub fn bytes(&self) -> usize {
        match &self.engine {
            Engine::XgBoost(forest, encodings) => forest.bytes() + encodings.iter().map(Encoding::bytes).sum::<usize>(),
            Engine::LightGbm(forest, encodings) => {
                forest.bytes() + encodings.iter().map(Encoding::bytes).sum::<usize>()
            }
            Engine::CatBoost(model) => model.bytes(),
        }
    }

    /// The raw scores of rows: [`scores`](Self::scores) for each, behind one another. They are, bit by bit, what the library
    /// itself gives.
    ///
    /// # Errors
    /// Rows that are not as wide as the model's features say.
    pub fn raw(&self, rows: &Rows<'_>) -> Result<Scores, BoosterError> {
        let width = self.width;
        let texts = self.kinds.len() - width;
        let found = match rows.numbers {
            Numbers::Single(values) => values.len(),
            Numbers::Double(values) => values.len(),
        };
        let fits = |found: usize, width: usize| width.checked_mul(rows.count) == Some(found);
        if !fits(found, width) || !fits(rows.texts.len(), texts) {
            return Err(BoosterError::Rows(format!(
                "the model takes {width} numbers and {texts} texts a row, got {found} and {} for {} rows",
                rows.texts.len(),
                rows.count
            )));
        }
        // Values in the type that the library takes, or both where categories have to be found.
        let (singles, doubles) = match (rows.numbers, self.library()) {
            (Numbers::Single(values), Library::LightGbm) => (Cow::default(), wide(values)),
            (Numbers::Double(values), Library::LightGbm) => (Cow::default(), Cow::Borrowed(values)),
            (Numbers::Single(values), _) => (Cow::Borrowed(values), Cow::default()),
            (Numbers::Double(values), _) => (narrow(values), Cow::default()),
        };
        Ok(match &self.engine {
            Engine::XgBoost(forest, encodings) if encodings.is_empty() => {
                Scores::Single(sums(forest, rows.count, &singles, width))
            }
            Engine::XgBoost(forest, encodings) => {
                let encoded = self.encoded(encodings, rows, &wide(&singles))?;
                Scores::Single(sums(forest, rows.count, &narrow(&encoded), encodings.len()))
            }
            Engine::LightGbm(forest, encodings) if encodings.is_empty() => {
                Scores::Double(sums(forest, rows.count, &doubles, width))
            }
            Engine::LightGbm(forest, encodings) => {
                let encoded = self.encoded(encodings, rows, &doubles)?;
                Scores::Double(sums(forest, rows.count, &encoded, encodings.len()))
            }
            Engine::CatBoost(model) => {
                let present = rows.texts.iter().enumerate().map(|(index, text)| {
                    let (row, column) = (index / texts, self.category(index % texts));
                    let message = "a category may not be missing".to_owned();
                    text.ok_or(BoosterError::Value { row, column, message })
                });
                Scores::Double(model.sum(rows.count, &singles, &present.collect::<Result<Vec<_>, _>>()?))
            }
        })
    }

    /// The place among all features of a category's.
    fn category(&self, number: usize) -> usize {
        let indices = self.kinds.iter().enumerate().filter(|(_, kind)| **kind == Kind::Category);
        indices.map(|(index, _)| index).nth(number).unwrap_or(0)
    }

    /// Rows of all features, with the codes of categories in their places. A category that XGBoost never saw is an error, as
    /// it is there; to LightGBM it is a missing one.
    fn encoded(&self, encodings: &[Encoding], rows: &Rows<'_>, numbers: &[f64]) -> Result<Vec<f64>, BoosterError> {
        let (mut numbers, mut texts) = (numbers.iter(), rows.texts.iter());
        let mut encoded = Vec::with_capacity(rows.count * encodings.len());
        for row in 0..rows.count {
            for (column, (encoding, kind)) in encodings.iter().zip(&self.kinds).enumerate() {
                let code = match kind {
                    Kind::Number => numbers.next().and_then(|&number| encoding.number(number)),
                    Kind::Category => match texts.next() {
                        Some(Some(text)) => encoding.text(text),
                        _ => Some(f64::NAN),
                    },
                };
                encoded.push(match code {
                    Some(code) => code,
                    None if self.library() == Library::LightGbm => f64::NAN,
                    None => {
                        let message = "the model was not trained with this category".to_owned();
                        return Err(BoosterError::Value { row, column, message });
                    }
                });
            }
        }
        Ok(encoded)
    }

    /// The outputs that the library's own `predict` makes of raw scores.
    pub fn outputs(&self, raw: Scores) -> Scores {
        self.objective.outputs(raw, self.scores())
    }

    /// For a model of classes: their probabilities, a row's behind one another, and the place of each row's class.
    pub fn classify(&self, raw: &Scores) -> Option<(Scores, Vec<usize>)> {
        let task = self.objective.task();
        if !matches!(task, Task::Binary | Task::Classes) {
            return None;
        }
        let width = self.scores();
        let outputs = self.objective.with_probabilities().outputs(raw.clone(), width);
        let by_raw = self.is_decided_by_raw();
        Some(match (task, outputs) {
            (Task::Binary, Scores::Single(outputs)) => {
                let labels = outputs.iter().map(|&output| usize::from(output > 0.5)).collect();
                (Scores::Single(outputs.iter().flat_map(|&output| [1.0 - output, output]).collect()), labels)
            }
            (Task::Binary, Scores::Double(outputs)) => {
                let labels = match raw {
                    Scores::Double(raw) if by_raw => raw.iter().map(|&raw| usize::from(raw > 0.0)).collect(),
                    _ => outputs.iter().map(|&output| usize::from(output > 1.0 - output)).collect(),
                };
                (Scores::Double(outputs.iter().flat_map(|&output| [1.0 - output, output]).collect()), labels)
            }
            (_, Scores::Single(outputs)) => {
                let labels = match raw {
                    Scores::Single(raw) if by_raw => raw.chunks(width).map(crate::objective::greatest).collect(),
                    _ => outputs.chunks(width).map(crate::objective::greatest).collect(),
                };
                (Scores::Single(outputs), labels)
            }
            (_, Scores::Double(outputs)) => {
                let labels = match raw {
                    Scores::Double(raw) if by_raw => raw.chunks(width).map(crate::objective::greatest).collect(),
                    _ => outputs.chunks(width).map(crate::objective::greatest).collect(),
                };
                (Scores::Double(outputs), labels)
            }
        })
    }

    /// Whether a class follows from raw scores. A library's follows from its probabilities, but CatBoost's and those of
    /// XGBoost's `multi:softmax` from the raw scores.
    fn is_decided_by_raw(&self) -> bool {
        self.library() == Library::CatBoost || self.objective.is_greatest()
    }

    /// For a model asked by its library's classifier, whatever its objective: a yes or no for each output. An output is a
    /// yes above one half, or above 0 where CatBoost decides by raw scores.
    pub fn decide(&self, raw: &Scores) -> Vec<bool> {
        match (raw, self.outputs(raw.clone())) {
            (Scores::Double(raw), _) if self.is_decided_by_raw() => raw.iter().map(|&raw| raw > 0.0).collect(),
            (_, Scores::Single(outputs)) => outputs.iter().map(|&output| output > 0.5).collect(),
            (_, Scores::Double(outputs)) => outputs.iter().map(|&output| output > 0.5).collect(),
        }
    }
}

fn wide(values: &[f32]) -> Cow<'static, [f64]> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn narrow(values: &[f64]) -> Cow<'static, [f32]> {
    values.iter().map(|&value| value as f32).collect()
}

/// The kind of the values that an encoding takes.
fn kind(encoding: &Encoding) -> Kind {
    match encoding {
        Encoding::Texts(_) => Kind::Category,
        Encoding::None | Encoding::Numbers(_) => Kind::Number,
    }
}

fn sums<T: crate::layout::Value, V: crate::leaves::Sum>(
    forest: &Forest<T, V>,
    count: usize,
    values: &[T],
    width: usize,
) -> Vec<V> {
    if width == 0 {
        // Trees, single leaves all, need a value to look away from.
        return forest.sum(&vec![T::default(); count], 1);
    }
    forest.sum(values, width)
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Ubjson,
    LightGbm,
    Cbm,
}

impl Format {
    fn detect(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(catboost::MAGIC) {
            return Some(Self::Cbm);
        }
        let first_line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        if first_line.trim_ascii_end() == lightgbm::FIRST_LINE.as_bytes() {
            return Some(Self::LightGbm);
        }
        let mut visible = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
        match (visible.next(), visible.next()) {
            (Some(b'{'), Some(b'"')) => Some(Self::Json),
            (Some(b'{'), Some(_)) => Some(Self::Ubjson),
            _ => None,
        }
    }
}

/// Whether some bytes are among others.
fn bytes_have(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
