//! A model's objective, names, classes and version.

use super::READER;
use crate::classes::ClassKind;
use crate::document::Document;
use crate::error::Read;
use crate::objective::{Objective, Task, Transform};

/// A model without its trees.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) objective: Objective,
    pub(crate) names: Vec<String>,
    pub(crate) classes: Vec<String>,
    pub(crate) class_kind: ClassKind,
    pub(crate) version: String,
}

impl About {
    /// `params` and `class_params` as the model has them, and how many scores a row has.
    pub(super) fn new(
        params: Option<&Document>,
        class_params: Option<&Document>,
        threshold: Option<f64>,
        version: Option<&str>,
        scores: usize,
    ) -> Read<Self> {
        if threshold.is_some_and(|threshold| threshold.to_bits() != 0.5_f64.to_bits()) {
            return Err(READER.unsupported("a probability threshold other than 0.5"));
        }
        let loss = params.and_then(|params| params.get("loss_function")).and_then(|loss| loss.get("type"));
        let loss = loss.and_then(Document::text).unwrap_or("unknown");
        let classes = class_params.and_then(|params| params.get("class_names")).map(names).unwrap_or_default();
        let class_kind = class_params.map(class_kind).unwrap_or_default();
        let objective = objective(loss, scores)?;
        let expected = match objective.task() {
            Task::Binary => 2,
            Task::Classes => scores,
            _ => classes.len(),
        };
        if !classes.is_empty() && classes.len() != expected {
            return Err(READER.corrupt(format!("{} names of {expected} classes", classes.len())));
        }
        let is_named = matches!(objective.task(), Task::Binary | Task::Classes);
        let classes = if is_named { classes } else { Vec::new() };
        // "Git info: … Branch: tags/v1.2.10".
        let version =
            version.and_then(|text| text.split("tags/v").nth(1)).and_then(|text| text.split_whitespace().next());
        let version = version.unwrap_or_default().to_owned();
        Ok(Self { objective, names: Vec::new(), classes, class_kind, version })
    }
}

fn names(list: &Document) -> Vec<String> {
    match list {
        Document::Integers(list) => list.iter().map(ToString::to_string).collect(),
        Document::Numbers(list) => list.iter().map(ToString::to_string).collect(),
        list => list
            .flags()
            .map_or_else(|| list.texts().unwrap_or_default(), |flags| flags.iter().map(ToString::to_string).collect()),
    }
}

/// The type of classes as the file tells it, or as their list shows it.
fn class_kind(params: &Document) -> ClassKind {
    let label_type = params.get("class_label_type").and_then(Document::text);
    let list = params.get("class_names");
    match label_type {
        Some("Integer") => ClassKind::Integer,
        Some("Float") => ClassKind::Number,
        Some("Boolean") => ClassKind::Flag,
        Some("String") => ClassKind::Text,
        _ => match list {
            Some(Document::Integers(_)) => ClassKind::Integer,
            Some(Document::Numbers(_)) => ClassKind::Number,
            list => list.and_then(Document::flags).map_or(ClassKind::Text, |_| ClassKind::Flag),
        },
    }
}

fn objective(loss: &str, scores: usize) -> Read<Objective> {
    let (task, transform) = match loss {
        "Logloss" | "CrossEntropy" | "Focal" => (Task::Binary, Transform::CatSigmoid),
        "MultiClass" => (Task::Classes, Transform::CatSoftmax),
        "MultiClassOneVsAll" => (Task::Classes, Transform::CatSigmoid),
        "MultiLogloss" | "MultiCrossEntropy" => (Task::Labels, Transform::CatSigmoid),
        "Poisson" | "Tweedie" => (Task::Regression, Transform::CatExponent),
        "RMSEWithUncertainty" => (Task::Regression, Transform::Uncertainty),
        "YetiRank" | "YetiRankPairwise" | "PairLogit" | "PairLogitPairwise" | "QueryRMSE" | "QuerySoftMax"
        | "QueryCrossEntropy" | "StochasticRank" | "StochasticFilter" | "LambdaMart" | "GroupQuantile" => {
            (Task::Ranking, Transform::Identity)
        }
        _ => (Task::Regression, Transform::Identity),
    };
    if task == Task::Binary && scores != 1 {
        return Err(READER.corrupt(format!("{scores} scores of two classes")));
    }
    Ok(Objective::new(loss, task, transform))
}
