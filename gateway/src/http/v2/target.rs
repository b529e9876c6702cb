//! The model that a path names.

use axum::{
    extract::{FromRequestParts, Path, rejection::PathRejection},
    http::request::Parts,
};
use serde::Deserialize;

use crate::error::Error;

/// The model that a path names, and its version where it names one.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Target {
    pub(in crate::http) model: String,
    #[serde(default)]
    pub(in crate::http) version: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path: Result<Path<Self>, PathRejection> = Path::from_request_parts(parts, state).await;
        path.map(|Path(target)| target).map_err(|error| Error::BadRequest(error.body_text()))
    }
}
