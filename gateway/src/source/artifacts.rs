//! Where an MLflow model version's files are: in a bucket, or behind the tracking server's artifact proxy.

use aws_sdk_s3::Client;
use reqwest::{RequestBuilder, Response, StatusCode};

use crate::{
    bundle::MAX_MANIFEST,
    source::{
        error::{Kind, SourceError},
        s3::read_small,
        s3_client::{download, explain},
    },
    store::Incoming,
};

/// A folder of artifacts; written as text into a release's `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    S3 { bucket: String, key: String },
    Proxy { path: String },
}

impl Folder {
    /// From the address that the registry gives.
    pub(super) fn parse(address: &str) -> Result<Self, SourceError> {
        if let Some(rest) = address.strip_prefix("s3://") {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            return Ok(Self::S3 { bucket: bucket.to_owned(), key: key.trim_matches('/').to_owned() });
        }
        if let Some(rest) = address.strip_prefix("mlflow-artifacts:") {
            // With or without a host, which is the tracking server's.
            let path = match rest.strip_prefix("//") {
                Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
                None => rest,
            };
            return Ok(Self::Proxy { path: path.trim_matches('/').to_owned() });
        }
        let scheme = address.split(':').next().unwrap_or_default();
        let words = format!("artifacts at {scheme}: cannot be reached; only s3: and mlflow-artifacts: can");
        Err(SourceError::new(Kind::Garbage, words))
    }

    /// A file, or a folder, in it.
    pub(super) fn join(&self, file: &str) -> Self {
        let join = |path: &str| if path.is_empty() { file.to_owned() } else { format!("{path}/{file}") };
        match self {
            Self::S3 { bucket, key } => Self::S3 { bucket: bucket.clone(), key: join(key) },
            Self::Proxy { path } => Self::Proxy { path: join(path) },
        }
    }

    /// As [`parse`](Self::parse) takes it.
    pub(super) fn address(&self) -> String {
        match self {
            Self::S3 { bucket, key } => format!("s3://{bucket}/{key}"),
            Self::Proxy { path } => format!("mlflow-artifacts:/{path}"),
        }
    }
}

/// Both ways to artifacts.
#[derive(Debug)]
pub(super) struct Artifacts {
    pub(super) s3: Client,
}

impl Artifacts {
    /// A small file. `proxied` makes a request to the artifact proxy.
    pub(super) async fn read_small(
        &self,
        at: &Folder,
        proxied: impl Fn(&str) -> RequestBuilder,
    ) -> Result<Vec<u8>, SourceError> {
        match at {
            Folder::S3 { bucket, key } => read_small(&self.s3, bucket, key).await,
            Folder::Proxy { path } => bounded(answered(proxied(path)).await?, MAX_MANIFEST).await,
        }
    }

    /// A file into the local cache.
    pub(super) async fn fetch(
        &self,
        at: &Folder,
        mut into: Incoming,
        limit: u64,
        proxied: impl Fn(&str) -> RequestBuilder,
    ) -> Result<Incoming, SourceError> {
        match at {
            Folder::S3 { bucket, key } => {
                let object =
                    self.s3.get_object().bucket(bucket).key(key).send().await.map_err(|error| explain(&error))?;
                download(object, into, limit).await
            }
            Folder::Proxy { path } => {
                let mut response = answered(proxied(path)).await?;
                while let Some(piece) = response.chunk().await.map_err(|error| failed(&error))? {
                    into.write(&piece)?;
                    if into.len() > limit {
                        return Err(SourceError::new(Kind::TooLarge, format!("over the limit of {limit} bytes")));
                    }
                }
                Ok(into)
            }
        }
    }
}

/// Sends it; anything but success is an error with the server's own words.
pub(super) async fn answered(request: RequestBuilder) -> Result<Response, SourceError> {
    let response = request.send().await.map_err(|error| failed(&error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let words = bounded(response, 16 << 10).await.unwrap_or_default();
    let words = serde_json::from_slice::<serde_json::Value>(&words)
        .ok()
        .and_then(|value| {
            let text = |key| value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            Some(format!("{} {}", text("error_code"), text("message"))).filter(|words| words.len() > 1)
        })
        .unwrap_or_default();
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Denied,
        StatusCode::NOT_FOUND => Kind::Missing,
        // An alias that is not there.
        StatusCode::BAD_REQUEST if words.starts_with("INVALID_PARAMETER_VALUE") => Kind::Missing,
        StatusCode::TOO_MANY_REQUESTS => Kind::Server,
        status if status.is_server_error() => Kind::Server,
        _ => Kind::Garbage,
    };
    Err(SourceError::new(kind, format!("status {} {words}", status.as_u16())))
}

/// The whole body, if it is no larger.
pub(super) async fn bounded(mut response: Response, most: usize) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failed(&error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > most {
            return Err(SourceError::new(Kind::TooLarge, format!("an answer of more than {most} bytes")));
        }
    }
    Ok(bytes)
}

/// What a failure of the HTTP client means. Its words may hold the address with a password, so the address is left out.
pub(super) fn failed(error: &reqwest::Error) -> SourceError {
    if error.is_redirect() {
        return SourceError::new(
            Kind::Denied,
            "it redirects to another host, or without end, as to a page where people log in",
        );
    }
    let kind = if error.is_timeout() {
        Kind::Timeout
    } else if error.is_connect() || error.is_request() && !is_nonsense(error) {
        Kind::Unreachable
    } else {
        Kind::Garbage
    };
    let mut words = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words = if words.is_empty() { inner.to_string() } else { format!("{words}: {inner}") };
        cause = inner.source();
    }
    SourceError::new(kind, words)
}

/// Whether an answer came that is not HTTP; else the connection was closed before there was one.
fn is_nonsense(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_artifacts_are_understood() {
        for (address, folder, again) in [
            ("s3://b/a/c", Folder::S3 { bucket: "b".into(), key: "a/c".into() }, "s3://b/a/c"),
            ("mlflow-artifacts:/1/m", Folder::Proxy { path: "1/m".into() }, "mlflow-artifacts:/1/m"),
            ("mlflow-artifacts://host:5000/1/m", Folder::Proxy { path: "1/m".into() }, "mlflow-artifacts:/1/m"),
        ] {
            assert_eq!(Folder::parse(address).expect(address), folder);
            assert_eq!(folder.address(), again);
        }
        assert_eq!(Folder::parse("s3://b").expect("a bucket").join("x").address(), "s3://b/x");
        for bad in ["file:///etc", "/etc", "ftp://x"] {
            assert!(Folder::parse(bad).is_err(), "{bad}");
        }
    }
}
