//! The form in which a booster is asked and answers, where more is known of it than its file says: a registry keeps the
//! columns of the frame that a model takes, and the class whose `predict` people call.

use modelgate_boosters::{Booster, Kind, Library};
use modelgate_columns::{Column, Datatype};

use crate::error::ModelError;

/// The answers of a booster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// All that the model has: `label`, `probabilities` and `raw` of classes, `prediction` of numbers, `score` of an order.
    #[default]
    All,
    /// First the class that a classifier's `predict` gives, whatever the objective: `label`.
    Classes,
    /// The numbers of `Booster.predict`, or of a regressor's `predict`: `prediction`, probabilities where the objective has
    /// them.
    Numbers,
    /// Raw scores alone, as the `predict` of CatBoost's base class gives them: `prediction`.
    Raw,
}

/// A column of the frame that a booster takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The name that requests use.
    pub name: String,
    /// The type of its values: `bool`, `i32`, `i64`, `f32`, `f64`, or `bytes` for texts. The booster's own where it is not
    /// known.
    pub datatype: Option<Datatype>,
}

/// The answers and the columns of a booster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoosterForm {
    /// The answers.
    pub answers: Answers,
    /// The columns, one for each feature in their order; none where the file says enough.
    pub features: Vec<Feature>,
}

impl BoosterForm {
    /// The columns that requests have, in the order of the booster's features. Values may be missing, but for CatBoost's
    /// categories.
    ///
    /// # Errors
    /// Columns that the booster cannot take.
    pub(super) fn columns(&self, booster: &Booster) -> Result<Vec<Column>, ModelError> {
        let kinds = booster.features();
        if self.features.len() != kinds.len() {
            let (found, expected) = (self.features.len(), kinds.len());
            return Err(ModelError::Booster(format!("{found} columns are told of a model of {expected} features")));
        }
        self.in_order(booster).zip(kinds).map(|(feature, &kind)| column(booster.library(), feature, kind)).collect()
    }

    /// The columns in the order of the features. XGBoost and CatBoost find them by the names that their file has; LightGBM
    /// takes them as they come.
    fn in_order(&self, booster: &Booster) -> impl Iterator<Item = &Feature> {
        let find = |name: &String| self.features.iter().find(|feature| feature.name == *name);
        let named: Option<Vec<_>> = match booster.library() {
            Library::LightGbm => None,
            Library::XgBoost | Library::CatBoost => booster.names().iter().map(find).collect(),
        };
        let named = named.filter(|named| named.len() == self.features.len());
        named.unwrap_or_else(|| self.features.iter().collect()).into_iter()
    }
}

fn column(library: Library, feature: &Feature, kind: Kind) -> Result<Column, ModelError> {
    let name = &feature.name;
    let number = if library == Library::LightGbm { Datatype::F64 } else { Datatype::F32 };
    let (datatype, nullable) = match (kind, feature.datatype) {
        (Kind::Number, None) => (number, true),
        (Kind::Number, Some(datatype)) if datatype != Datatype::Bytes => (datatype, true),
        (Kind::Number, Some(_)) => {
            return Err(ModelError::Booster(format!(
                "the column '{name}' has texts, and the model takes numbers for it"
            )));
        }
        (Kind::Category, None | Some(Datatype::Bytes)) => (Datatype::Bytes, library != Library::CatBoost),
        // CatBoost makes texts of them.
        (Kind::Category, Some(datatype @ (Datatype::Bool | Datatype::I32 | Datatype::I64)))
            if library == Library::CatBoost =>
        {
            (datatype, false)
        }
        (Kind::Category, Some(datatype)) => {
            let message =
                format!("the column '{name}' has values of type {datatype}, and the model takes categories for it");
            return Err(ModelError::Booster(message));
        }
    };
    match datatype {
        Datatype::Bool | Datatype::I32 | Datatype::I64 | Datatype::F32 | Datatype::F64 | Datatype::Bytes => {
            Ok(Column { nullable, ..Column::scalar(name, datatype) })
        }
        other => {
            Err(ModelError::Booster(format!("the column '{name}' is of type {other}, which boosters do not take")))
        }
    }
}
