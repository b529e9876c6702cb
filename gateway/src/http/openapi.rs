//! The OpenAPI document of everything that is routed, with the models' features and a known answer of each. Of a model that
//! was not resident yet there is only its name.

mod column;
mod model;
mod predict;
mod protocols;
mod repository;
mod response;
mod routes;

use serde_json::{Map, Value, json};

use crate::{http::openapi::model::ModelDoc, model_info::ListedModel};

/// OpenAPI 3.1 for these models; `default` answers where none is named. Rows may have other fields where those are passed
/// over.
pub fn document(listed: &[ListedModel], default: Option<&str>, ignores_extra: bool) -> Value {
    let models: Vec<_> = listed
        .iter()
        .map(|model| ModelDoc {
            name: &model.name,
            version: &model.version,
            is_default: default == Some(model.name.as_str()),
            is_resident: model.resident,
            ignores_extra,
            reason: model.reason.as_deref(),
            info: model.info.as_ref(),
        })
        .collect();
    describe(&models)
}

fn describe(models: &[ModelDoc<'_>]) -> Value {
    let mut paths = routes::paths();
    paths.extend(protocols::paths(models));
    paths.extend(repository::paths());
    paths.insert("/predict".into(), json!({ "post": predict::operation(models) }));
    paths.insert("/predict/{model}".into(), json!({ "post": predict::operation_of_one(models) }));
    let schemas: Map<_, _> = response::schemas()
        .into_iter()
        .chain(protocols::schemas())
        .chain(models.iter().flat_map(ModelDoc::schemas))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "modelgate",
            "summary": "Predictions from the models that are live here",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [],
        "tags": [
            { "name": "inference", "description": "Models and their predictions" },
            { "name": "operation", "description": "Health and metrics; never behind inference" },
            { "name": "documentation", "description": "What is served here" },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": response::responses(),
            "headers": response::headers(),
            "parameters": response::parameters(),
        },
        // What the page at /docs shows and a schema has no place for: an object's keys have no order.
        "x-modelgate-models": models.iter().map(ModelDoc::summary).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
