//! The document's part about one model.

use std::borrow::Cow;

use modelgate_columns::Column;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::{
    bundle::{Example, is_label},
    http::openapi::column,
    model_info::ModelInfo,
    wasm::host::Limits,
};

/// Letters of a model's name that are repeated in the names of its schemas.
const MAX_COMPONENT: usize = 128;

/// The description of a model that was not resident yet.
const UNSEEN: &str = "The first request loads it; from then on its features are known.";

/// A model, as far as callers see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelDoc<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// Whether it answers where no model is named.
    pub(super) is_default: bool,
    /// Whether it answers without being loaded first.
    pub(super) is_resident: bool,
    /// Whether fields that it does not take are passed over.
    pub(super) ignores_extra: bool,
    /// Why no request can have it, where that is so.
    pub(super) reason: Option<&'a str>,
    /// `None` until it was resident once.
    pub(super) info: Option<&'a ModelInfo>,
}

impl<'a> ModelDoc<'a> {
    pub(super) fn inputs(&self) -> &'a [Column] {
        self.info.map_or(&[], |info| &info.signature.inputs)
    }

    /// The first is the prediction.
    fn outputs(&self) -> &'a [Column] {
        self.info.map_or(&[], |info| &info.signature.outputs)
    }

    pub(super) fn example(&self) -> Option<&'a Example> {
        self.info?.example.as_ref()
    }

    fn max_rows(&self) -> u32 {
        self.info.map_or(Limits::default().rows, |info| info.max_rows)
    }

    fn description(&self) -> &'a str {
        self.info.map_or("", |info| info.description.as_str())
    }

    /// Its schemas under their names in `components`.
    pub(super) fn schemas(&self) -> [(String, Value); 4] {
        let rows = json!({
            "title": format!("{}: a batch", self.name),
            "type": "array",
            "items": { "$ref": self.at("row") },
            "minItems": 1,
            "maxItems": self.max_rows(),
        });
        let name = self.component();
        [
            (format!("{name}.row"), self.row()),
            (format!("{name}.rows"), rows),
            (format!("{name}.answer"), self.answer(false)),
            (format!("{name}.answers"), self.answer(true)),
        ]
    }

    /// References to what it takes: a row, or a list of rows.
    pub(super) fn takes(&self) -> [Value; 2] {
        [json!({ "$ref": self.at("row") }), json!({ "$ref": self.at("rows") })]
    }

    /// References to what it gives for a row and for a list of rows.
    pub(super) fn gives(&self) -> [Value; 2] {
        [json!({ "$ref": self.at("answer") }), json!({ "$ref": self.at("answers") })]
    }

    /// A row that is known to be answered.
    pub(super) fn example_row(&self) -> Option<Value> {
        let mut row = self.example()?.input.clone();
        if self.names_model() {
            row.insert("model".into(), self.name.into());
        }
        Some(row.into())
    }

    /// Its known answer.
    pub(super) fn example_answer(&self) -> Option<&'a Value> {
        self.example()?.output.get(&self.outputs().first()?.name)
    }

    /// The facts that people want to know of it, in the order that its author chose.
    pub(super) fn summary(&self) -> Value {
        let names = |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        let deadline = self.info.map_or(Limits::default().deadline, |info| info.deadline);
        json!({
            "name": self.name,
            "version": self.version,
            "description": self.description(),
            "default": self.is_default,
            "resident": self.is_resident,
            "reason": self.reason,
            "known": self.info.is_some(),
            "inputs": names(self.inputs()),
            "outputs": names(self.outputs()),
            "rows": self.max_rows(),
            "deadline_ms": u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            "row": self.at("row"),
            "answer": self.at("answer"),
        })
    }

    fn at(&self, schema: &str) -> String {
        format!("#/components/schemas/{}.{schema}", self.component())
    }

    /// Its name where component names are of few letters: itself where it has no others, else its digest.
    fn component(&self) -> Cow<'a, str> {
        if is_label(self.name, MAX_COMPONENT) {
            return self.name.into();
        }
        format!("{:x}", Sha256::digest(self.name)).into()
    }

    /// A feature of that name would hide the key that names the model.
    fn names_model(&self) -> bool {
        self.inputs().iter().all(|column| column.name != "model")
    }

    fn row(&self) -> Value {
        let mut properties = Map::new();
        let mut required: Vec<&str> = Vec::new();
        for column in self.inputs() {
            properties.insert(column.name.clone(), column::input(column));
            if !column::is_optional(column) {
                required.push(&column.name);
            }
        }
        for column in self.info.map_or(&[][..], |info| &info.ignored) {
            let ignored = json!({ "description": "May be there; the model passes over it." });
            properties.entry(column.clone()).or_insert(ignored);
        }
        if self.names_model() {
            let text = if self.is_default {
                "This model, the default one; may be left out."
            } else {
                "Names this model, which is not the default one."
            };
            properties.insert("model".into(), json!({ "type": "string", "const": self.name, "description": text }));
            if !self.is_default {
                required.push("model");
            }
        }
        json!({
            "title": format!("{}: a row", self.name),
            "description": self.about(),
            "type": "object",
            "properties": properties,
            "required": required,
            // Whatever it takes, until that is known.
            "additionalProperties": self.info.is_none() || self.ignores_extra,
        })
    }

    fn answer(&self, list: bool) -> Value {
        let schema = |column: &Column| {
            let value = column::output(column);
            if list { json!({ "type": "array", "items": value }) } else { value }
        };
        let key = if list { "predictions" } else { "prediction" };
        let outputs: Map<_, _> = self.outputs().iter().map(|column| (column.name.clone(), schema(column))).collect();
        let names: Vec<_> = self.outputs().iter().map(|column| column.name.as_str()).collect();
        let mut properties = Map::new();
        let unseen = if list { json!({ "type": "array" }) } else { json!({}) };
        properties.insert(key.into(), self.outputs().first().map_or(unseen, schema));
        properties.insert(
            "outputs".into(),
            json!({
                "description": "Every output; with ?outputs=all only.",
                "type": "object",
                "properties": outputs,
                "required": names,
                "additionalProperties": self.info.is_none(),
            }),
        );
        json!({
            "title": format!("{}: {}", self.name, if list { "the answers for a batch" } else { "the answer for a row" }),
            "type": "object",
            "properties": properties,
            "required": [key],
            "additionalProperties": false,
        })
    }

    fn about(&self) -> String {
        let version = format!("Version {}.", self.version);
        match (self.info, self.description()) {
            (None, _) => format!("{version} {UNSEEN}"),
            (_, "") => version,
            (_, text) => format!("{}. {version}", text.trim_end_matches('.')),
        }
    }
}
