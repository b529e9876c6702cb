//! The settings of sources, residency and release gates.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;

use crate::{
    config::aws_profile::profile,
    release::VersionPolicy,
    source::{Converted, Environment, Spec},
    trust::Trust,
};

/// Where bundles come from, and what becomes of them.
#[derive(Clone, Debug)]
pub struct LifecycleConfig {
    /// Where they come from.
    pub sources: Vec<Spec>,
    /// Between looks at a source.
    pub poll: Duration,
    /// The policy for the versions of a model that are wanted.
    pub version_policy: VersionPolicy,
    /// Where their files are kept.
    pub store: Option<PathBuf>,
    /// Whether that folder is looked at.
    pub trust: Trust,
    /// The largest, in bytes.
    pub max_bundle: u64,
    /// The model that answers where none is named.
    pub default_model: Option<String>,
    /// Whether a model is loaded only when a request names it.
    pub lazy_load: bool,
    /// The memory that the process may take for models, in bytes.
    pub memory_budget: Option<usize>,
    /// The time without a request after which a model is unloaded.
    pub idle_unload: Option<Duration>,
    /// The time that a request waits for a model that is not resident.
    pub activation_timeout: Duration,
    /// The time that loading a release may take.
    pub load_timeout: Duration,
    /// The gates that new releases pass.
    pub gate: Gate,
    /// The variables that users of S3 and MLflow have set already.
    pub environment: Environment,
}

/// The trial of a new version before it answers all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    /// The share of requests that a canary answers, in thousandths; 0 is no such trial.
    pub canary: u32,
    /// The share of requests that are copied to it, in thousandths; 0 is none.
    pub shadow: u32,
    /// Requests it must have had before it is judged.
    pub requests: u64,
    /// After so long a canary with fewer requests is judged by those it had.
    pub longest: Duration,
}

/// The variables that users of S3 and MLflow have set already. `NAME_FILE` names a file with the value of `NAME`, as
/// container engines hand out secrets.
///
/// # Errors
/// Such a file that cannot be read, and a profile that is named and of no use.
#[expect(clippy::disallowed_methods, reason = "this is the configuration; these names are the AWS SDK's and MLflow's")]
pub fn environment() -> anyhow::Result<Environment> {
    environment_from(&|name| std::env::var(name).ok())
}

fn environment_from(variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Environment> {
    let first = |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
    let secret = |name: &str| match (first(&[name]), first(&[&format!("{name}_FILE")])) {
        (Some(value), _) => Ok(Some(value)),
        (None, Some(path)) => std::fs::read_to_string(&path)
            .map(|value| Some(value.trim_end_matches(['\r', '\n']).to_owned()))
            .with_context(|| format!("{name}_FILE: {path}")),
        (None, None) => Ok(None),
    };
    let mut profile = profile(variable)?;
    let mut or_profile = |value: Option<String>, key: &str| value.or_else(|| profile.remove(key));
    let access_key = secret("AWS_ACCESS_KEY_ID")?;
    // Keys are taken from one place, never a part from each.
    let keys = match access_key {
        Some(key) => [Some(key), secret("AWS_SECRET_ACCESS_KEY")?, secret("AWS_SESSION_TOKEN")?],
        None => ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"].map(|key| or_profile(None, key)),
    };
    let [access_key, mut secret_key, session_token] = keys;
    // A secret alone is of no use; it is told where a bucket is named.
    if access_key.is_none() && secret_key.is_none() {
        secret_key = secret("AWS_SECRET_ACCESS_KEY")?;
    }
    Ok(Environment {
        endpoint: or_profile(first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]), "endpoint_url"),
        region: or_profile(first(&["AWS_REGION", "AWS_DEFAULT_REGION"]), "region"),
        access_key,
        secret_key,
        session_token,
        mlflow_endpoint: first(&["MLFLOW_S3_ENDPOINT_URL"]),
        tracking: first(&["MLFLOW_TRACKING_URI"]),
        username: secret("MLFLOW_TRACKING_USERNAME")?,
        password: secret("MLFLOW_TRACKING_PASSWORD")?,
        token: secret("MLFLOW_TRACKING_TOKEN")?,
        converted: first(&["MODELGATE_CONVERTED"]).map(|text| Converted::parse(&text)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn secrets_come_from_files_too_and_variables_win() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "from the file\n").expect("written");
        let file = file.to_str().expect("a plain path");
        let missing = folder.path().join("missing").to_str().expect("a plain path").to_owned();
        let message = |variables: &[(&str, &str)]| {
            let variables: HashMap<_, _> =
                variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            environment_from(&|name| variables.get(name).cloned())
        };

        let environment = message(&[
            ("AWS_ACCESS_KEY_ID_FILE", file),
            ("AWS_SECRET_ACCESS_KEY_FILE", file),
            ("AWS_SECRET_ACCESS_KEY", "from the variable"),
            ("MLFLOW_TRACKING_TOKEN_FILE", file),
        ])
        .expect("read");
        assert_eq!(environment.access_key.as_deref(), Some("from the file"));
        assert_eq!(environment.secret_key.as_deref(), Some("from the variable"));
        assert_eq!(environment.token.as_deref(), Some("from the file"));
        assert_eq!(environment.password, None);

        let error = message(&[("AWS_ACCESS_KEY_ID_FILE", &missing)]).expect_err("no such file");
        assert!(format!("{error:#}").contains("AWS_ACCESS_KEY_ID_FILE"), "{error:#}");
    }
}
