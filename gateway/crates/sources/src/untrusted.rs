//! Readers of what others write, without the servers that it comes from: for the fuzz targets, no part of the interface.

use std::fmt;

use aws_sdk_s3::{
    Client,
    config::{RuntimeComponents, retry::RetryConfig},
    primitives::SdkBody,
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};

use crate::{
    error::SourceError,
    listing::Listing,
    mlflow::MlflowSource,
    mlmodel::{Native, native},
    s3::S3Source,
    s3_client,
    spec::{Environment, Kind, S3Location, Spec},
};

/// The path of the file that a version with this `MLmodel` is served from.
///
/// # Errors
/// Why the file is not served.
pub fn mlmodel(text: &str) -> Result<Option<String>, String> {
    let path = |found| match found {
        Native::Onnx(path) | Native::Booster(path, _) => path,
    };
    native(text).map(|found| found.map(path))
}

/// A model of an MLflow registry.
#[derive(Debug)]
pub struct Registry(Box<MlflowSource>);

impl Registry {
    /// The model of an address such as `models:/name@alias`, in the registry at `tracking`; artifacts in S3 are there, too.
    ///
    /// # Errors
    /// No such address.
    pub fn new(address: &str, tracking: &str) -> anyhow::Result<Self> {
        let environment = Environment {
            tracking: Some(tracking.to_owned()),
            endpoint: Some(tracking.to_owned()),
            ..Environment::default()
        };
        match Spec::parse(address)?.kind()? {
            Kind::Mlflow(model) => Ok(Self(Box::new(MlflowSource::new(model, 0, &environment)?))),
            Kind::Dir(_) | Kind::S3(_) => anyhow::bail!("{address} is no model of a registry"),
        }
    }

    /// A first look.
    ///
    /// # Errors
    /// Answers that are none.
    pub async fn list(&self) -> Result<Listing, SourceError> {
        self.0.forget();
        self.0.list().await
    }
}

/// The status and the body that a request for an address is answered with.
pub type Answer = fn(&str) -> (u16, Vec<u8>);

/// A bucket whose requests never leave the process.
#[derive(Debug)]
pub struct Bucket(Client);

impl Bucket {
    /// A bucket that answers so.
    pub fn new(answer: Answer) -> Self {
        let config = s3_client::config(&S3Location::default(), &Environment::default(), Some("http://bucket.test"));
        Self(Client::from_conf(config.http_client(Canned(answer)).retry_config(RetryConfig::disabled()).build()))
    }

    /// A first look.
    ///
    /// # Errors
    /// An answer that is no listing.
    pub async fn list(&self) -> Result<Listing, SourceError> {
        let at = S3Location { bucket: "models".into(), prefix: "live".into(), ..S3Location::default() };
        S3Source::with_client(self.0.clone(), at, 0).list().await
    }
}

/// Sends no request, and answers each.
#[derive(Clone, Copy)]
struct Canned(Answer);

impl fmt::Debug for Canned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canned")
    }
}

impl HttpClient for Canned {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(*self)
    }
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = (self.0)(request.uri());
        let answer = StatusCode::try_from(status).map(|status| HttpResponse::new(status, SdkBody::from(body)));
        HttpConnectorFuture::ready(answer.map_err(|error| ConnectorError::user(error.into())))
    }
}
