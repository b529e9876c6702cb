//! The document's part about every route but `/predict`.

use serde_json::{Map, Value, json};

use crate::http::openapi::response::{named, of_kind, response};

/// Whose error shape a route has.
#[derive(Clone, Copy)]
enum Surface {
    Plain,
    OpenInference,
}

/// The routes' path items.
pub(super) fn paths() -> Map<String, Value> {
    let listing = json!({
        "type": "object",
        "properties": { "modelos_disponibles": { "type": "array", "items": { "type": "string" } } },
        "required": ["modelos_disponibles"],
        "additionalProperties": false,
    });
    let live = response("The process answers", truth("live"));
    let redirect = json!({
        "description": "To /docs, where HTML is asked for",
        "headers": { "Location": { "schema": { "type": "string" } } },
    });
    let alive = json!({
        "type": "object",
        "properties": { "status": { "const": "alive" }, "docs": { "type": "string" } },
        "required": ["status", "docs"],
        "additionalProperties": false,
    });
    let page = of_kind("text/html; charset=utf-8", "The page", json!({ "type": "string" }));
    let metrics = of_kind(
        "text/plain; version=0.0.4; charset=utf-8",
        "Every series, in Prometheus' text format",
        json!({ "type": "string" }),
    );
    let document = response("OpenAPI 3.1", json!({ "type": "object" }));
    [
        (
            "/listar_modelos",
            get("inference", "List the models, resident or not", &[("200", response("Their names", listing))]),
        ),
        ("/healthz", get("operation", "Whether the process answers", &[("200", live.clone())])),
        ("/v2/health/live", get("operation", "Whether the process answers", &[("200", live)])),
        (
            "/v2/health/ready",
            get(
                "operation",
                "Whether requests should be sent here",
                &[
                    ("200", response("They should", readiness())),
                    ("503", response("They should not: it starts, or it is about to end", readiness())),
                ],
            ),
        ),
        ("/metrics", get("operation", "Metrics", &[("200", metrics)])),
        ("/openapi.json", get("documentation", "This document", &[("200", document)])),
        ("/docs", get("documentation", "A page to read about the models and to try them", &[("200", page)])),
        (
            "/",
            get(
                "documentation",
                "Whether the process answers, or to the page",
                &[("200", response("It does", alive)), ("303", redirect)],
            ),
        ),
    ]
    .map(|(path, operation)| {
        let surface = if path.starts_with("/v2/") { Surface::OpenInference } else { Surface::Plain };
        (path.to_owned(), json!({ "get": finished(operation, path, surface) }))
    })
    .into_iter()
    .collect()
}

fn get(tag: &str, summary: &str, answers: &[(&str, Value)]) -> Value {
    let answers: Map<_, _> = answers.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone())).collect();
    json!({
        "tags": [tag],
        "summary": summary,
        "parameters": [{ "$ref": "#/components/parameters/RequestId" }],
        "responses": answers,
    })
}

/// With its id and the refusals that every route has.
fn finished(mut operation: Value, path: &str, surface: Surface) -> Value {
    let (method, internal) = match surface {
        Surface::Plain => ("MethodNotAllowed", "Internal"),
        Surface::OpenInference => ("OpenMethodNotAllowed", "OpenInternal"),
    };
    let words: Vec<_> =
        path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    operation["operationId"] = if words.is_empty() { "root".into() } else { words.join("_").into() };
    operation["responses"]["405"] = named(method);
    operation["responses"]["500"] = named(internal);
    operation
}

/// `{"ready": true}`, and the sources that are not as they should be.
fn readiness() -> Value {
    let mut ready = truth("ready");
    ready["properties"]["sources"] = json!({ "type": "object", "additionalProperties": { "type": "object" } });
    ready
}

/// `{"live": true}`.
fn truth(key: &str) -> Value {
    json!({
        "type": "object",
        "properties": { key: { "type": "boolean" } },
        "required": [key],
        "additionalProperties": false,
    })
}
