//! What is settled about sources, residency and release gates.

use std::{path::PathBuf, time::Duration};

use crate::{
    release::VersionPolicy,
    source::{Environment, Spec},
    swap::Gate,
};

/// Where bundles come from, and what becomes of them.
#[derive(Clone, Debug)]
pub struct LifecycleConfig {
    /// Where they come from.
    pub sources: Vec<Spec>,
    /// Between looks at a source.
    pub poll: Duration,
    /// Which versions of a model are wanted.
    pub versions: VersionPolicy,
    /// Where their files are kept.
    pub store: Option<PathBuf>,
    /// The largest, in bytes.
    pub max_bundle: u64,
    /// The model that answers where none is named.
    pub default_model: Option<String>,
    /// Whether a model is loaded only when a request names it.
    pub on_demand: bool,
    /// What the process may take for models, in bytes.
    pub memory_budget: Option<usize>,
    /// After so long without a request a model is let go.
    pub idle_unload: Option<Duration>,
    /// What a request waits for a model that is not resident.
    pub activation_timeout: Duration,
    /// How new releases are tried.
    pub gate: Gate,
    /// What users of S3 and MLflow have set already.
    pub environment: Environment,
}

/// The variables that users of S3 and MLflow have set already.
#[expect(clippy::disallowed_methods, reason = "this is part of config.rs; these names are the AWS SDK's and MLflow's")]
pub fn environment() -> Environment {
    let first =
        |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    Environment {
        endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
        access_key: first(&["AWS_ACCESS_KEY_ID"]),
        secret_key: first(&["AWS_SECRET_ACCESS_KEY"]),
        session_token: first(&["AWS_SESSION_TOKEN"]),
        mlflow_endpoint: first(&["MLFLOW_S3_ENDPOINT_URL"]),
        tracking: first(&["MLFLOW_TRACKING_URI"]),
        username: first(&["MLFLOW_TRACKING_USERNAME"]),
        password: first(&["MLFLOW_TRACKING_PASSWORD"]),
        token: first(&["MLFLOW_TRACKING_TOKEN"]),
    }
}
