//! One source of bundles, whatever its kind.

use std::time::Duration;

use anyhow::Context;
use modelgate_bundle::FileRef;

use crate::{
    dir::DirSource,
    error::{Kind, SourceError},
    listing::Listing,
    mlflow::MlflowSource,
    s3::S3Source,
    spec::{self, Environment, Spec},
    store::Incoming,
};

/// One look at a source may take no longer.
const LOOK: Duration = Duration::from_secs(30);

/// One place where bundles come from.
#[derive(Debug)]
pub struct Source {
    name: String,
    /// Its address without secrets, for people.
    address: String,
    /// Its name and where it really is: another place under the same name is another source.
    identity: String,
    kind: SourceKind,
}

#[derive(Debug)]
enum SourceKind {
    Dir(DirSource),
    S3(Box<S3Source>),
    Mlflow(Box<MlflowSource>),
}

impl Source {
    /// Ready to be looked at; touches no network.
    ///
    /// # Errors
    /// An address that cannot be understood, or an environment that does not go with it.
    pub fn new(spec: &Spec, index: usize, environment: &Environment) -> anyhow::Result<Self> {
        let of_source = || format!("source {}", spec.name);
        let kind = match spec.kind()? {
            spec::Kind::Dir(folder) => SourceKind::Dir(DirSource::new(folder, index)),
            spec::Kind::S3(bucket) => {
                bucket.check(environment).with_context(of_source)?;
                SourceKind::S3(Box::new(S3Source::new(bucket, index, environment)))
            }
            spec::Kind::Mlflow(model) => {
                model.artifacts.check(environment).with_context(of_source)?;
                SourceKind::Mlflow(Box::new(MlflowSource::new(model, index, environment)?))
            }
        };
        let host = match &kind {
            SourceKind::Dir(_) => None,
            SourceKind::S3(_) => {
                let set = spec.option("endpoint").or_else(|| environment.endpoint.clone());
                set.or_else(|| environment.mlflow_endpoint.clone())
            }
            SourceKind::Mlflow(_) => spec.option("tracking").or_else(|| environment.tracking.clone()),
        };
        // Without the credentials in it, which may change.
        let host = host.as_deref().and_then(|host| host.rsplit('@').next()).map(|host| host.trim_end_matches('/'));
        let identity = format!("{}\n{}\n{}", spec.name, spec.address(), host.unwrap_or_default());
        Ok(Self { name: spec.name.clone(), address: spec.address(), identity, kind })
    }

    /// As the configuration names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Differs wherever the place differs. Not for people.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Where it is, without secrets.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it says itself which version of a model it wants, so that no policy applies.
    pub fn chooses(&self) -> bool {
        matches!(self.kind, SourceKind::Mlflow(_))
    }

    /// All that it offers now.
    pub async fn list(&self) -> Result<Listing, SourceError> {
        let list = async {
            match &self.kind {
                SourceKind::Dir(dir) => dir.list().await,
                SourceKind::S3(s3) => s3.list().await,
                SourceKind::Mlflow(mlflow) => mlflow.list().await,
            }
        };
        tokio::time::timeout(LOOK, list)
            .await
            .unwrap_or_else(|_| Err(SourceError::new(Kind::Timeout, format!("no answer within {} s", LOOK.as_secs()))))
    }

    /// Writes a file of a release into `into`; at most `limit` bytes.
    pub async fn fetch(&self, at: &str, file: &FileRef, into: Incoming, limit: u64) -> Result<Incoming, SourceError> {
        match &self.kind {
            SourceKind::Dir(dir) => dir.fetch(at, file, into, limit).await,
            SourceKind::S3(s3) => s3.fetch(at, file, into, limit).await,
            SourceKind::Mlflow(mlflow) => mlflow.fetch(at, file, into, limit).await,
        }
    }

    /// The command that makes a bundle of a version whose own file is refused; none where the source knows of none.
    pub fn remedy(&self, version: &str) -> Option<String> {
        match &self.kind {
            SourceKind::Dir(_) | SourceKind::S3(_) => None,
            SourceKind::Mlflow(mlflow) => Some(mlflow.remedy(version)),
        }
    }

    /// Ends when something may have changed there; never, if the source cannot tell.
    pub async fn changed(&self) {
        match &self.kind {
            SourceKind::Dir(dir) => dir.changed().await,
            SourceKind::S3(_) | SourceKind::Mlflow(_) => std::future::pending().await,
        }
    }
}
