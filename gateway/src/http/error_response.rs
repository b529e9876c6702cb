//! The form of errors on each surface.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::answer::json_response;
use crate::{
    error::Error,
    json::decode::{DecodeError, FieldError},
};

/// Whose error shape a path's clients parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surface {
    /// `{"detail": …}`, as FastAPI answers.
    Plain,
    /// `{"error": {"message": …, "type": …, "param": …, "code": …}}`, as OpenAI answers.
    OpenAi,
    /// `{"error": "…"}`, as the Open Inference Protocol and TensorFlow Serving say.
    OpenInference,
    /// `{"error_code": "…", "message": "…"}`, as MLflow's scoring server answers.
    Mlflow,
}

impl Surface {
    fn at(path: &str) -> Self {
        let under = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if under("/v1/embeddings") {
            Self::OpenAi
        } else if under("/v2") || under("/v1") {
            Self::OpenInference
        } else if under("/invocations") || under("/models") || under("/ping") || under("/health") || under("/version") {
            Self::Mlflow
        } else {
            Self::Plain
        }
    }
}

/// Carried to the layer that knows the path, and so the shape: see [`refusal`].
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// An error in the shape that this path's clients parse.
pub(super) fn refusal(path: &str, error: &Error) -> Response {
    let surface = Surface::at(path);
    let (status, body) = match surface {
        Surface::Plain => (error.status(), json!({ "detail": detail(error) })),
        Surface::OpenAi => (open_status(error), json!({ "error": openai_error(error) })),
        Surface::OpenInference => (open_status(error), json!({ "error": message(error) })),
        Surface::Mlflow => {
            if let Error::MlflowContentType(text) = error {
                let kind = HeaderValue::from_static("text/plain; charset=utf-8");
                return (error.status(), [(header::CONTENT_TYPE, kind)], text.clone()).into_response();
            }
            let status = open_status(error);
            (status, json!({ "error_code": error_code(error, status), "message": message(error) }))
        }
    };
    let mut response = json_response(status, body.to_string().into_bytes());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// An error in the data is 400 everywhere but in FastAPI's world.
fn open_status(error: &Error) -> StatusCode {
    match error {
        Error::TooManyRows(_) => StatusCode::BAD_REQUEST,
        other if other.status() == StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        other => other.status(),
    }
}

/// OpenAI's words for what went wrong.
fn openai_error(error: &Error) -> Value {
    let status = open_status(error);
    let kind = match status.as_u16() {
        403 => "permission_error",
        400..500 => "invalid_request_error",
        _ => "server_error",
    };
    let (parameter, code) = match error {
        Error::UnknownModel(_) | Error::UnknownVersion(..) => (Some("model"), Some("model_not_found")),
        Error::Parameter { parameter, .. } => (Some(*parameter), None),
        Error::Problems(_) | Error::TooManyRows(_) => (Some("input"), None),
        _ => (None, None),
    };
    json!({ "message": message(error), "type": kind, "param": parameter, "code": code })
}

/// MLflow's names for what went wrong.
fn error_code(error: &Error, status: StatusCode) -> &'static str {
    match (error, status.as_u16()) {
        (Error::NotFound, _) => "ENDPOINT_NOT_FOUND",
        (_, 404) => "RESOURCE_DOES_NOT_EXIST",
        (_, 500) => "INTERNAL_ERROR",
        (_, 503) => "TEMPORARILY_UNAVAILABLE",
        (_, 504) => "DEADLINE_EXCEEDED",
        _ => "BAD_REQUEST",
    }
}

/// An error in one text, with every field that is at fault.
pub(crate) fn message(error: &Error) -> String {
    let at = |row: Option<u32>, field: Option<&str>| match (row, field) {
        (Some(row), Some(field)) => format!("row {row}, column '{field}': "),
        (Some(row), None) => format!("row {row}: "),
        (None, Some(field)) => format!("column '{field}': "),
        (None, None) => String::new(),
    };
    let texts: Vec<_> = match error {
        Error::Fields(errors) => {
            errors.iter().map(|error| format!("{}{}", at(error.row, Some(&error.field)), error.message)).collect()
        }
        Error::Problems(problems) => problems
            .iter()
            .map(|problem| format!("{}{}", at(problem.row, problem.column.as_deref()), problem.message))
            .collect(),
        other => return other.to_string(),
    };
    texts.join("; ")
}

/// A text for most errors; for bad fields the list that FastAPI gives.
fn detail(error: &Error) -> Value {
    match error {
        Error::Fields(errors) => errors.iter().map(field).collect(),
        Error::Problems(problems) => problems
            .iter()
            .map(|problem| {
                let location = location(problem.row, problem.column.as_deref());
                json!({ "type": "value_error", "loc": location, "msg": problem.message })
            })
            .collect(),
        Error::NotRows(_) | Error::NoRows => {
            json!([{ "type": "dict_type", "loc": ["body"], "msg": error.to_string() }])
        }
        _ => error.to_string().into(),
    }
}

fn field(error: &FieldError) -> Value {
    json!({
        "type": error.kind,
        "loc": location(error.row, Some(&error.field)),
        "msg": error.message,
        "input": error.input,
    })
}

/// `["body", 3, "Elevation"]`.
fn location(row: Option<u32>, field: Option<&str>) -> Vec<Value> {
    let mut location = vec![Value::from("body")];
    location.extend(row.map(Value::from));
    location.extend(field.map(Value::from));
    location
}

/// The answer to a body that is not a batch.
pub(super) fn decode_error(error: DecodeError) -> Error {
    match error {
        DecodeError::Malformed { line, column, message } => Error::MalformedJson { line, column, message },
        DecodeError::NotRows(what) => Error::NotRows(what),
        DecodeError::Empty => Error::NoRows,
        DecodeError::TooManyRows { limit } => Error::TooManyRows(limit),
        DecodeError::Excess(excess) => excess.into(),
        DecodeError::Fields(errors) => Error::Fields(errors),
        DecodeError::Table(problem) => Error::BadRequest(problem),
        DecodeError::SeveralModels { asked, named } => Error::BadRequest(format!(
            "all rows must name the same model: this request is for '{asked}', and a row names '{named}'"
        )),
    }
}
