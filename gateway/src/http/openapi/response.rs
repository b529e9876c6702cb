//! Answers, headers and error shapes that several routes share.

use serde_json::{Map, Value, json};

/// A reference to one of [`responses`].
pub(super) fn named(name: &str) -> Value {
    json!({ "$ref": format!("#/components/responses/{name}") })
}

/// A reference to one of [`headers`].
pub(super) fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// A JSON answer of that schema. Every answer carries the request's id.
pub(super) fn response(description: &str, schema: Value) -> Value {
    of_kind("application/json", description, schema)
}

/// The same of another content type.
pub(super) fn of_kind(kind: &str, description: &str, schema: Value) -> Value {
    let mut response = json!({ "description": description, "headers": { "X-Request-Id": header("RequestId") } });
    response["content"][kind]["schema"] = schema;
    response
}

fn error(description: &str, shape: &str) -> Value {
    response(description, json!({ "$ref": format!("#/components/schemas/{shape}") }))
}

fn with_header(mut response: Value, name: &str, component: &str) -> Value {
    response["headers"][name] = header(component);
    response
}

/// Every refusal: `error.rs` holds the table.
pub(super) fn responses() -> Value {
    let plain = |description| error(description, "Error");
    json!({
        "BadRequest": plain(
            "Malformed JSON, with its line and column; a body that cannot be decompressed; or an unknown query"
        ),
        "UnknownModel": plain("No model of that name is live"),
        "MethodNotAllowed": with_header(plain("Another method than those in Allow"), "Allow", "Allow"),
        "SlowBody": plain("The body did not arrive in time"),
        "TooLarge": plain("The body has too many bytes, before or after decompression, or too many rows"),
        "UnsupportedMediaType": plain("Not JSON, or an unknown Content-Encoding"),
        "BadRows": error("Fields that are missing, unknown or wrong: each is named", "FieldErrors"),
        "Internal": plain("A module, the model or the gateway failed; the request id names it in the log"),
        "Unavailable": with_header(plain("At capacity, or not ready"), "Retry-After", "RetryAfter"),
        "Deadline": plain("The deadline passed before there was an answer"),
        "OpenMethodNotAllowed": with_header(
            error("Another method than those in Allow", "OpenError"), "Allow", "Allow"
        ),
        "OpenInternal": error("The gateway failed; the request id names it in the log", "OpenError"),
    })
}

/// The error shapes, and nothing of a model.
pub(super) fn schemas() -> Map<String, Value> {
    let plain = json!({
        "type": "object",
        "properties": { "detail": { "type": "string" } },
        "required": ["detail"],
        "additionalProperties": false,
    });
    let open = json!({
        "description": "An error as the Open Inference Protocol tells it",
        "type": "object",
        "properties": { "error": { "type": "string" } },
        "required": ["error"],
        "additionalProperties": false,
    });
    let field = json!({
        "type": "object",
        "properties": {
            "type": {
                "description": "The kind of fault",
                "type": "string",
                "examples": ["missing", "float_type", "extra_forbidden", "value_error"],
            },
            "loc": {
                "description": "`body`, the row where the body is a list, and the field",
                "type": "array",
                "items": { "type": ["string", "integer"] },
                "minItems": 1,
                "examples": [["body", "Elevation"], ["body", 3, "Elevation"]],
            },
            "msg": { "description": "What was expected", "type": "string" },
            "input": { "description": "What came, shortened" },
        },
        "required": ["type", "loc", "msg"],
        "additionalProperties": false,
    });
    let fields = json!({
        "type": "object",
        "properties": { "detail": { "type": "array", "items": { "$ref": "#/components/schemas/FieldError" } } },
        "required": ["detail"],
        "additionalProperties": false,
    });
    [("Error", plain), ("OpenError", open), ("FieldError", field), ("FieldErrors", fields)]
        .map(|(name, schema)| (name.to_owned(), schema))
        .into_iter()
        .collect()
}

/// Every header of an answer that is not HTTP's own business.
pub(super) fn headers() -> Value {
    json!({
        "RequestId": {
            "description": "The id that the request brought, or a new one; the log has it, too",
            "schema": { "type": "string", "maxLength": 128 },
        },
        "Generation": {
            "description": "Which load of the model answered, numbered from 1 within the process",
            "schema": { "type": "integer", "minimum": 1 },
        },
        "Version": { "description": "The model's version that answered", "schema": { "type": "string" } },
        "RetryAfter": {
            "description": "Seconds to wait before the next attempt",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "Allow": { "description": "The methods that are taken here", "schema": { "type": "string" } },
    })
}

/// Headers that any request may bring.
pub(super) fn parameters() -> Value {
    json!({
        "RequestId": {
            "name": "X-Request-Id",
            "in": "header",
            "description": "Comes back with the answer and stands in the log. One that is longer than 128 characters, or \
                            not plain ASCII, is replaced.",
            "schema": { "type": "string", "pattern": "^[!-~]{1,128}$" },
        },
    })
}
