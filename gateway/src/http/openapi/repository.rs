//! The document's part about what is known, where it comes from, and calls that change it.

use serde_json::{Map, Value, json};

use crate::http::openapi::response::{named, response};

/// The routes' path items.
pub(super) fn paths() -> Map<String, Value> {
    let command = |call: &str, what: &str| {
        let mut operation = operation(&format!("repository_{call}"), what, answered(), true);
        operation["parameters"] = json!([
            { "$ref": "#/components/parameters/RequestId" },
            { "name": "model", "in": "path", "required": true, "schema": { "type": "string" } },
        ]);
        operation["responses"]["400"] = error("A path that is not what is expected");
        operation["responses"]["404"] = error("No such model is known");
        operation["responses"]["409"] = error("It makes no sense now");
        operation["responses"]["503"] = error("The model cannot be served now; the index tells why");
        (format!("/v2/repository/models/{{model}}/{call}"), json!({ "post": operation }))
    };
    let mut index = operation("repository_index", "Every version that is known, with its state", states(), false);
    index["requestBody"] = json!({
        "required": false,
        "content": { "application/json": { "schema": {
            "type": "object",
            "properties": { "ready": { "description": "Only those that answer", "type": "boolean" } },
        } } },
    });
    for (status, what) in [
        ("400", "Not what is expected"),
        ("408", "The body did not arrive in time"),
        ("413", "The body is too large"),
        ("415", "An unknown Content-Encoding"),
        ("503", "At capacity, or not ready"),
    ] {
        index["responses"][status] = error(what);
    }
    let sources = operation("repository_sources", "How each source of bundles is doing", reports(), true);
    let mut state =
        operation("repository_state", "The whole state of models, versions, memory and sources", state(), true);
    state["responses"]["409"] = error("What is served here never changes");
    state["responses"]["503"] = error("No answer in time");
    [
        ("/v2/repository/index".to_owned(), json!({ "post": index })),
        ("/v2/repository/sources".to_owned(), json!({ "get": sources })),
        ("/v2/repository/state".to_owned(), json!({ "get": state })),
        command("load", "Make a model resident, and try again what failed"),
        command("unload", "Unload a model until it is loaded again"),
        command("rollback", "Go back to the release that answered before, or withdraw the one on trial"),
        command("promote", "End a trial: the release answers all from now on"),
    ]
    .into_iter()
    .collect()
}

fn operation(id: &str, summary: &str, answer: Value, is_guarded: bool) -> Value {
    let mut operation = json!({
        "operationId": id,
        "tags": ["operation"],
        "summary": summary,
        "parameters": [{ "$ref": "#/components/parameters/RequestId" }],
        "responses": {
            "200": response("As asked", answer),
            "405": named("OpenMethodNotAllowed"),
            "500": named("OpenInternal"),
        },
    });
    if is_guarded {
        operation["responses"]["403"] =
            error("Needs the admin token; without one configured, the admin socket or listener");
    }
    operation
}

fn error(what: &str) -> Value {
    response(what, json!({ "$ref": "#/components/schemas/OpenError" }))
}

fn answered() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "version": { "description": "The one that answers now, if any", "type": "string" },
            "generation": { "type": "integer", "minimum": 1 },
        },
        "required": ["name"],
    })
}

fn states() -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "version": { "type": "string" },
                "state": { "type": "string", "enum": ["READY", "UNAVAILABLE", "LOADING", "UNLOADING"] },
                "reason": { "type": "string" },
            },
            "required": ["name", "version", "state", "reason"],
        },
    })
}

/// The names that programs may rely on. There are more, for people.
fn state() -> Value {
    let text = || json!({ "type": "string" });
    let maybe = || json!({ "type": ["string", "null"] });
    let version = json!({
        "type": "object",
        "properties": {
            "version": text(),
            "id": { "description": "The digest of its content", "type": "string" },
            "source": maybe(),
            "state": { "type": "string", "enum": ["unloaded", "evicted", "fetching", "loading", "ready", "failed"] },
            "since": { "description": "In seconds since 1970", "type": ["integer", "null"] },
            "health": { "type": "string", "enum": ["unproven", "known_good", "rejected"] },
            "reason": text(),
        },
        "required": ["version", "id", "state", "health"],
    });
    let model = json!({
        "type": "object",
        "properties": {
            "name": text(),
            "desired": { "type": "string", "enum": ["fetched", "loaded", "unloaded"] },
            "serving": { "type": "array", "items": text() },
            "last_known_good": maybe(),
            "previous": maybe(),
            "rolled_back": { "type": ["object", "null"] },
            "rollout": { "type": ["object", "null"] },
            "versions": { "type": "array", "items": version },
        },
        "required": ["name", "desired", "serving", "versions"],
    });
    json!({
        "type": "object",
        "properties": {
            "gateway": { "description": "Its version", "type": "string" },
            "now": { "description": "In seconds since 1970", "type": "integer" },
            "is_reconciled": { "type": "boolean" },
            "memory": { "type": "object" },
            "models": { "type": "array", "items": model },
            "sources": reports()["properties"]["sources"],
        },
        "required": ["now", "models", "sources"],
    })
}

fn reports() -> Value {
    json!({
        "type": "object",
        "properties": { "sources": { "type": "array", "items": {
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "address": { "type": "string" },
                "state": { "description": "`waiting`, `ok`, or what is wrong", "type": "string" },
                "error": { "type": "string" },
                "from_cache": { "type": "boolean" },
                "last_success": { "type": ["integer", "null"] },
                "failures": { "type": "integer" },
                "releases": { "type": "integer" },
                "problems": { "type": "array", "items": { "type": "string" } },
            },
            "required": ["name", "address", "state"],
        } } },
        "required": ["sources"],
    })
}
