//! The document's part about `/predict`.

use serde_json::{Map, Value, json};

use crate::http::openapi::{
    model::ModelDoc,
    response::{header, named, response},
};

const ABOUT: &str = "One object of features gives one prediction, a list of objects a list of predictions. `model` names \
    the model, and the default one may go without; all rows of a list are for the same model. GET /listar_modelos lists \
    the models.";

/// `POST /predict`.
pub(super) fn operation(models: &[ModelDoc<'_>]) -> Value {
    json!({
        "operationId": "predict",
        "tags": ["inference"],
        "summary": "Predict",
        "description": ABOUT,
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
