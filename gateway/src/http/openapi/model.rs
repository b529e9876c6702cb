//! What the document says about one model.

use std::time::Duration;

use modelgate_columns::Column;
use serde_json::{Map, Value, json};

use crate::{bundle::Example, http::openapi::column};

/// A live model, as far as callers see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelDoc<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) description: &'a str,
    /// Whether it answers where no model is named.
    pub(super) is_default: bool,
    pub(super) inputs: &'a [Column],
    /// The first is the prediction.
    pub(super) outputs: &'a [Column],
    pub(super) example: Option<&'a Example>,
    /// In one request.
    pub(super) max_rows: u32,
    /// Of one request.
    pub(super) deadline: Duration,
}

impl ModelDoc<'_> {
    /// Its schemas under their names in `components`. A model's name needs no escape there: bundles are held to the same
    /// letters.
    pub(super) fn schemas(&self) -> [(String, Value); 4] {
        let rows = json!({
            "title": format!("{}: a batch", self.name),
            "type": "array",
            "items": { "$ref": self.at("row") },
            "minItems": 1,
            "maxItems": self.max_rows,
        });
        [
            (format!("{}.row", self.name), self.row()),
            (format!("{}.rows", self.name), rows),
            (format!("{}.answer", self.name), self.answer(false)),
            (format!("{}.answers", self.name), self.answer(true)),
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
        let mut row = self.example?.input.clone();
        if self.names_model() {
            row.insert("model".into(), self.name.into());
        }
        Some(row.into())
    }

    /// Its known answer.
    pub(super) fn example_answer(&self) -> Option<&Value> {
        self.example?.output.get(&self.outputs.first()?.name)
    }

    /// What people want to know of it, in the order that its author chose.
    pub(super) fn card(&self) -> Value {
        let names = |columns: &[Column]| columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        json!({
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "default": self.is_default,
            "inputs": names(self.inputs),
            "outputs": names(self.outputs),
            "rows": self.max_rows,
            "deadline_ms": u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX),
            "row": self.at("row"),
            "answer": self.at("answer"),
        })
    }

    fn at(&self, schema: &str) -> String {
        format!("#/components/schemas/{}.{schema}", self.name)
    }

    /// A feature of that name would hide the key that names the model.
    fn names_model(&self) -> bool {
        self.inputs.iter().all(|column| column.name != "model")
    }

    fn row(&self) -> Value {
        let mut properties = Map::new();
        let mut required: Vec<&str> = Vec::new();
        for column in self.inputs {
            properties.insert(column.name.clone(), column::input(column));
            if !column::is_optional(column) {
                required.push(&column.name);
            }
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
            "additionalProperties": false,
        })
    }

    fn answer(&self, list: bool) -> Value {
        let of = |column: &Column| {
            let value = column::output(column);
            if list { json!({ "type": "array", "items": value }) } else { value }
        };
        let key = if list { "predictions" } else { "prediction" };
        let outputs: Map<_, _> = self.outputs.iter().map(|column| (column.name.clone(), of(column))).collect();
        let names: Vec<_> = self.outputs.iter().map(|column| column.name.as_str()).collect();
        let mut properties = Map::new();
        properties.insert(key.into(), self.outputs.first().map_or(Value::Null, of));
        properties.insert(
            "outputs".into(),
            json!({
                "description": "Every output; with ?outputs=all only.",
                "type": "object",
                "properties": outputs,
                "required": names,
                "additionalProperties": false,
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
        match self.description {
            "" => version,
            text => format!("{}. {version}", text.trim_end_matches('.')),
        }
    }
}
