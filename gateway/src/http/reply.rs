//! How errors look on each surface.

use axum::{
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{error::Error, json::decode::FieldError};

/// Whose error shape a path's clients parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// `{"detail": …}`, as FastAPI answers.
    Plain,
    /// `{"error": "…"}`, as the Open Inference Protocol says.
    OpenInference,
}

/// An error on its way to a caller.
#[derive(Debug)]
pub(super) struct Refusal {
    surface: Surface,
    error: Error,
}

impl Refusal {
    /// In the shape that this path's clients parse.
    pub(super) fn of(uri: &Uri, error: Error) -> Self {
        let open = uri.path() == "/v2" || uri.path().starts_with("/v2/");
        Self { surface: if open { Surface::OpenInference } else { Surface::Plain }, error }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { surface: Surface::Plain, error }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.error.status();
        let body = match self.surface {
            Surface::Plain => json!({ "detail": detail(&self.error) }),
            Surface::OpenInference => json!({ "error": self.error.to_string() }),
        };
        let mut response = json_response(status, body.to_string().into_bytes());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A text for most errors; for bad fields the list that FastAPI gives.
fn detail(error: &Error) -> Value {
    match error {
        Error::Fields(errors) => errors.iter().map(field).collect(),
        Error::Problems(problems) => problems
            .iter()
            .map(|problem| {
                let place = location(problem.row, problem.column.as_deref());
                json!({ "type": "value_error", "loc": place, "msg": problem.message })
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
    let mut place = vec![Value::from("body")];
    place.extend(row.map(Value::from));
    place.extend(field.map(Value::from));
    place
}

/// A JSON body.
pub(super) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}
