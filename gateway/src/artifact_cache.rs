//! The models and modules that generations share: a file that one of them has loaded or compiled already is not loaded or
//! compiled again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use modelgate_onnx::{Model, ModelError, ModelLimits};

use crate::{
    bundle::{Ceilings, ModelFile},
    wasm::{cache::Code, module::Compiler},
};

/// The models and modules that are in use. Each is freed with the last generation that uses it.
#[derive(Clone, Debug)]
pub struct ArtifactCache {
    /// Compiles modules, and knows those that are in use.
    pub compiler: Compiler,
    /// The most that bundles may ask for.
    pub ceilings: Ceilings,
    models: Arc<Mutex<HashMap<String, Weak<Model>>>>,
    /// The plan that an earlier load of the bundle's model had.
    plan: Option<String>,
}

impl ArtifactCache {
    /// An empty cache.
    pub fn new(compiler: Compiler) -> Self {
        Self { compiler, ceilings: Ceilings::default(), models: Arc::default(), plan: None }
    }

    /// The same under these ceilings.
    #[must_use]
    pub fn under(self, ceilings: Ceilings) -> Self {
        Self { ceilings, ..self }
    }

    /// The same cache, with machine code that another process of this gateway compiled.
    #[must_use]
    pub fn and_code(&self, code: Arc<Code>) -> Self {
        let cache = self.compiler.cache().and_offered(code);
        Self { compiler: self.compiler.with_cache(cache), ..self.clone() }
    }

    /// The same cache for a bundle whose model had this plan: see [`Model::plan`].
    #[must_use]
    pub fn and_plan(&self, plan: Option<&str>) -> Self {
        Self { plan: plan.map(str::to_owned), ..self.clone() }
    }

    /// A model that is loaded, by what tells it from others.
    pub fn live_model(&self, identity: &str) -> Option<Arc<Model>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).get(identity).and_then(Weak::upgrade)
    }

    /// Loads a model, unless it is loaded. The lock is not held meanwhile: two that load the same one at once both do.
    pub fn model(&self, file: ModelFile) -> Result<Arc<Model>, ModelError> {
        let (identity, onnx, data, mode, booster) = match file {
            ModelFile::Live(model) => return Ok(model),
            ModelFile::Bytes { identity, onnx, data, mode, booster } => (identity, onnx, data, mode, booster),
        };
        if let Some(model) = self.live_model(&identity) {
            return Ok(model);
        }
        let limits = ModelLimits::default();
        let model = match booster {
            Some(form) => Model::load_booster(&form, &onnx, &limits),
            None => Model::load_again(self.plan.as_deref(), mode, onnx, data, &limits),
        };
        let model = Arc::new(model?);
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.retain(|_, model| model.strong_count() > 0);
        models.insert(identity, Arc::downgrade(&model));
        Ok(model)
    }
}
