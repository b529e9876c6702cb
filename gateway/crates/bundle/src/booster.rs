//! `[model] booster` of a manifest: the columns and the answers of a booster.

use modelgate_columns::Datatype;
use modelgate_onnx::{Answers, BoosterForm, Feature};
use serde::{Deserialize, Serialize};

/// The form of a booster, as a manifest writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BoosterEntry {
    #[serde(default)]
    answers: AnswersEntry,
    #[serde(default)]
    columns: Vec<ColumnEntry>,
}

/// `answers` in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum AnswersEntry {
    #[default]
    All,
    Classes,
    Numbers,
    Raw,
}

/// A column in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ColumnEntry {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datatype: Option<String>,
}

impl BoosterEntry {
    pub(super) fn new(form: &BoosterForm) -> Self {
        let answers = match form.answers {
            Answers::All => AnswersEntry::All,
            Answers::Classes => AnswersEntry::Classes,
            Answers::Numbers => AnswersEntry::Numbers,
            Answers::Raw => AnswersEntry::Raw,
        };
        let column = |feature: &Feature| ColumnEntry {
            name: feature.name.clone(),
            datatype: feature.datatype.map(|datatype| datatype.name().to_owned()),
        };
        Self { answers, columns: form.features.iter().map(column).collect() }
    }

    /// The form that it says.
    ///
    /// # Errors
    /// A datatype that there is not.
    pub(super) fn resolve(&self) -> Result<BoosterForm, String> {
        let answers = match self.answers {
            AnswersEntry::All => Answers::All,
            AnswersEntry::Classes => Answers::Classes,
            AnswersEntry::Numbers => Answers::Numbers,
            AnswersEntry::Raw => Answers::Raw,
        };
        let feature = |column: &ColumnEntry| {
            let datatype = column.datatype.as_deref().map(|name| {
                Datatype::from_name(name).ok_or_else(|| {
                    format!("[model] booster: the column {:?} has the datatype {name:?}, which is none", column.name)
                })
            });
            Ok(Feature { name: column.name.clone(), datatype: datatype.transpose()? })
        };
        let features = self.columns.iter().map(feature).collect::<Result<_, String>>()?;
        Ok(BoosterForm { answers, features })
    }
}
