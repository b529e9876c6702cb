//! The document's part about `/predict`.

use serde_json::{Map, Value, json};

use crate::http::openapi::{
    model::ModelDoc,
    response::{header, named, response},
};

const ABOUT: &str = "One object of features gives one prediction, a list of objects a list of predictions. The model is \
    named by `?model=` or `X-Model`, else by the key `model` unless the default model has a feature of that name, else it is \
    the default one; all rows of a list are for the same model. GET /listar_modelos lists the models.";

const ABOUT_ONE: &str = "As POST /predict, for the model that the path names: the key `model` is a feature where the model \
    has one of that name, and may repeat the model's name where it has none.";

/// `POST /predict`.
pub(super) fn operation(models: &[ModelDoc<'_>]) -> Value {
    let mut operation = described(models, "predict", "Predict", ABOUT);
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        for (name, place) in [("model", "query"), ("X-Model", "header")] {
            parameters.push(json!({
                "name": name, "in": place, "description": "Names the model.", "schema": { "type": "string" },
            }));
        }
    }
    operation
}

/// `POST /predict/{model}`.
pub(super) fn operation_of_one(models: &[ModelDoc<'_>]) -> Value {
    let mut operation = described(models, "predict_model", "Predict with a named model", ABOUT_ONE);
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        let mut schema = json!({ "type": "string" });
        if !models.is_empty() {
            schema["examples"] = models.iter().map(|model| model.name).collect();
        }
        parameters.push(json!({ "name": "model", "in": "path", "required": true, "schema": schema }));
    }
    operation
}

fn described(models: &[ModelDoc<'_>], id: &str, summary: &str, about: &str) -> Value {
    json!({
        "operationId": id,
        "tags": ["inference"],
        "summary": summary,
        "description": about,
        "parameters": [
            {
                "name": "outputs",
                "in": "query",
                "description": "`all` adds every output of the model to the answer.",
                "schema": { "type": "string", "enum": ["all"] },
            },
            { "$ref": "#/components/parameters/RequestId" },
        ],
        "requestBody": {
            "description": "Features. The body may be compressed: Content-Encoding gzip or deflate.",
            "required": true,
            "content": { "application/json": { "schema": request(models), "examples": questions(models) } },
        },
        "responses": {
            "200": answer(models),
            "400": named("BadRequest"),
            "404": named("UnknownModel"),
            "405": named("MethodNotAllowed"),
            "408": named("SlowBody"),
            "413": named("TooLarge"),
            "415": named("UnsupportedMediaType"),
            "422": named("BadRows"),
            "500": named("Internal"),
            "503": named("Unavailable"),
            "504": named("Deadline"),
        },
    })
}

/// No row fits two of these: a model that is not the default one must be named, and no row names two.
fn request(models: &[ModelDoc<'_>]) -> Value {
    let each: Vec<_> = models.iter().flat_map(ModelDoc::takes).collect();
    if each.is_empty() {
        json!({ "description": "No model is live: any request is answered with 503.", "type": ["object", "array"] })
    } else {
        json!({ "oneOf": each })
    }
}

/// Two models may well answer in the same way, so this is no `oneOf`.
fn answer(models: &[ModelDoc<'_>]) -> Value {
    let each: Vec<_> = models.iter().flat_map(ModelDoc::gives).collect();
    let schema = if each.is_empty() { json!({ "type": "object" }) } else { json!({ "anyOf": each }) };
    let mut answer = response("The prediction, or a list of them", schema);
    answer["content"]["application/json"]["examples"] = answers(models).into();
    answer["headers"]["X-Modelgate-Generation"] = header("Generation");
    answer["headers"]["X-Modelgate-Version"] = header("Version");
    answer
}

fn questions(models: &[ModelDoc<'_>]) -> Map<String, Value> {
    let mut examples = Map::new();
    for model in models {
        if let Some(row) = model.example_row() {
            let summary = format!("{}: a batch", model.name);
            examples.insert(format!("{}.batch", model.name), json!({ "summary": summary, "value": [row] }));
            let summary = format!("{}: a row", model.name);
            examples.insert(model.name.to_owned(), json!({ "summary": summary, "value": row }));
        }
    }
    examples
}

fn answers(models: &[ModelDoc<'_>]) -> Map<String, Value> {
    let mut examples = Map::new();
    for model in models {
        if let Some(answer) = model.example_answer() {
            examples.insert(format!("{}.batch", model.name), json!({ "value": { "predictions": [answer] } }));
            examples.insert(model.name.to_owned(), json!({ "value": { "prediction": answer } }));
        }
    }
    examples
}
