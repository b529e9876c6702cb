//! The model that a request to `/predict` is for: resolved once, before its body is decoded.
//!
//! The path, `?model=` and `X-Model` go first, then the key `model` of the body, found by a scan that decodes nothing. Only the
//! generation that answers is taken from the catalog as one that answers: a model that is merely asked for its columns loses
//! no turn of its canary.

use std::{sync::Arc, time::Instant};

use axum::body::Bytes;

use super::body::SMALL;
use crate::{
    app::App,
    error::Error,
    generation::Generation,
    json::decode::{ModelKey, first_row_fits, model_key},
    workers::NO_MODEL,
};

/// The generation that answers a request.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) generation: Arc<Generation>,
    /// Whether the body's key `model` names the model; else the key is a feature.
    pub(super) key_names_model: bool,
}

impl Resolved {
    async fn named(app: &App, name: &str, key_names_model: bool) -> Result<Self, Error> {
        Ok(Self { generation: app.resolve(Some(name), None).await?, key_names_model })
    }

    /// The model that answers where none is named.
    async fn default_model(app: &App) -> Result<Self, Error> {
        let generation = app.resolve(None, None).await?;
        let key_names_model = !generation.takes_model_key();
        Ok(Self { generation, key_names_model })
    }
}

/// Resolves the model of a request: `named` outside of the body; else by the body's key, unless that is a feature of the
/// default model; else the default model.
///
/// # Errors
/// As [`resolve`](crate::app::Shared::resolve) of `App`; [`Error::Overloaded`] and [`Error::Deadline`] where no worker had
/// time to scan a large body.
pub(super) async fn resolve(app: &App, named: Option<&str>, body: &Bytes) -> Result<Resolved, Error> {
    if let Some(name) = named {
        return Resolved::named(app, name, false).await;
    }
    let key = if body.len() <= SMALL {
        model_key(body)
    } else {
        scan(app, body, |body| model_key(body).into_owned()).await?
    };
    if let ModelKey::Name(name) = &key
        && names_model(app, name, body).await?
    {
        return Resolved::named(app, name, true).await;
    }
    // Of a list, other rows may have the key.
    Resolved::default_model(app).await
}

/// Whether the key's value `name` is a model's; else it is the value of a feature of the default model. A default model whose
/// columns are not known is loaded for this only where the first row has other columns than the model called `name`.
async fn names_model(app: &App, name: &str, body: &Bytes) -> Result<bool, Error> {
    if app.names_another(name) {
        let ignores_extra = app.http.ignore_extra_fields;
        let generation = app.look(name, None).await?;
        let fits = move |body: &[u8]| first_row_fits(body, generation.inputs(), generation.policy(ignores_extra));
        if scan(app, body, fits).await? {
            return Ok(true);
        }
    }
    Ok(!app.model_key_is_feature().await)
}

/// Scans a body: at once where that is quick, else on a worker.
async fn scan<T: Send + 'static>(
    app: &App,
    body: &Bytes,
    scan: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Result<T, Error> {
    if body.len() <= SMALL {
        return Ok(scan(body));
    }
    let body = body.clone();
    let deadline = Instant::now() + app.http.body_timeout;
    app.workers.call(NO_MODEL, body.len(), deadline, move || scan(&body)).await
}
