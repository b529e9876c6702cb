//! The outputs of a booster, and a batch of them packed.

use modelgate_boosters::{Booster, ClassKind, Library, Scores, Task};
use modelgate_columns::{Column, Datatype, LayoutError, Writer};

use super::form::Answers;

/// The classes of a model, in the type that answers have.
#[derive(Debug)]
enum Labels {
    /// Their places.
    Indices,
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Flags(Vec<bool>),
    Texts,
}

/// The first outputs of a model.
#[derive(Debug)]
enum First {
    /// The class and the probabilities.
    Classes(Labels),
    /// A yes or no for each of the outputs, and the outputs.
    Decisions,
    /// The outputs, if they are other numbers than the raw scores.
    Transformed,
    /// Nothing: raw scores are all there is.
    Raw,
}

/// The outputs of a model.
#[derive(Debug)]
pub(super) struct Outputs {
    first: First,
    pub(super) columns: Vec<Column>,
}

impl Labels {
    fn new(booster: &Booster) -> Self {
        fn parsed<T: std::str::FromStr>(names: &[String]) -> Option<Vec<T>> {
            names.iter().map(|name| name.parse().ok()).collect()
        }
        let names = booster.classes();
        if names.is_empty() {
            return Self::Indices;
        }
        let typed = match booster.class_kind() {
            ClassKind::Integer => parsed(names).map(Self::Integers),
            ClassKind::Number => parsed(names).map(Self::Numbers),
            ClassKind::Flag => parsed(names).map(Self::Flags),
            ClassKind::Text => None,
        };
        typed.unwrap_or(Self::Texts)
    }

    fn datatype(&self) -> Datatype {
        match self {
            Self::Indices | Self::Integers(_) => Datatype::I64,
            Self::Numbers(_) => Datatype::F64,
            Self::Flags(_) => Datatype::Bool,
            Self::Texts => Datatype::Bytes,
        }
    }

    fn pack(&self, booster: &Booster, indices: &[usize], writer: &mut Writer) -> Result<(), LayoutError> {
        fn chosen<T: Copy + Default>(classes: &[T], indices: &[usize]) -> Vec<T> {
            indices.iter().map(|&index| classes.get(index).copied().unwrap_or_default()).collect()
        }
        match self {
            Self::Indices => writer.fixed(&indices.iter().map(|&index| index as i64).collect::<Vec<_>>()),
            Self::Integers(classes) => writer.fixed(&chosen(classes, indices)),
            Self::Numbers(classes) => writer.fixed(&chosen(classes, indices)),
            Self::Flags(classes) => {
                writer.fixed(&chosen(classes, indices).into_iter().map(u8::from).collect::<Vec<_>>());
            }
            Self::Texts => {
                let name = |&index: &usize| booster.classes().get(index).map_or(&[][..], |name| name.as_bytes());
                writer.strings(indices.iter().map(name))?;
            }
        }
        Ok(())
    }
}

impl Outputs {
    pub(super) fn new(booster: &Booster, answers: Answers) -> Self {
        let number = if booster.library() == Library::XgBoost { Datatype::F32 } else { Datatype::F64 };
        let (objective, scores) = (booster.objective(), booster.scores());
        // Of outputs that are one class a row there is one.
        let width = if objective.is_greatest() { 1 } else { scores };
        let task = objective.task();
        let name = match task {
            Task::Binary | Task::Classes | Task::Regression => "prediction",
            Task::Labels if answers == Answers::Numbers => "prediction",
            Task::Labels => "probabilities",
            Task::Ranking => "score",
        };
        let raw = column("raw", number, scores);
        let (first, columns) = match (answers, task) {
            (Answers::Raw, _) => (First::Raw, vec![column("prediction", number, scores)]),
            (Answers::All | Answers::Classes, Task::Binary | Task::Classes) => {
                let labels = Labels::new(booster);
                let label = Column::scalar("label", labels.datatype());
                let classes = if task == Task::Binary { 2 } else { scores };
                (First::Classes(labels), vec![label, column("probabilities", number, classes), raw])
            }
            (Answers::Classes, _) => {
                (First::Decisions, vec![column("label", Datatype::I64, width), column(name, number, width), raw])
            }
            (Answers::All | Answers::Numbers, _) if objective.is_transforming() => {
                (First::Transformed, vec![column(name, number, width), raw])
            }
            (Answers::All | Answers::Numbers, _) => (First::Raw, vec![column(name, number, scores)]),
        };
        Self { first, columns }
    }

    pub(super) fn pack(&self, booster: &Booster, raw: &Scores) -> Result<Vec<u64>, LayoutError> {
        let mut writer = Writer::default();
        match &self.first {
            First::Classes(labels) => {
                if let Some((probabilities, indices)) = booster.classify(raw) {
                    labels.pack(booster, &indices, &mut writer)?;
                    put(&mut writer, &probabilities);
                }
            }
            First::Decisions => {
                writer.fixed(&booster.decide(raw).into_iter().map(i64::from).collect::<Vec<_>>());
                put(&mut writer, &booster.outputs(raw.clone()));
            }
            First::Transformed => put(&mut writer, &booster.outputs(raw.clone())),
            First::Raw => {}
        }
        put(&mut writer, raw);
        Ok(writer.finish())
    }
}

fn put(writer: &mut Writer, scores: &Scores) {
    match scores {
        Scores::Single(scores) => writer.fixed(scores),
        Scores::Double(scores) => writer.fixed(scores),
    }
}

/// A column of so many values a row.
fn column(name: &str, datatype: Datatype, width: usize) -> Column {
    let width = i64::try_from(width).unwrap_or(i64::MAX);
    let shape = if width == 1 { vec![-1] } else { vec![-1, width] };
    Column::new(name, datatype, shape)
}
