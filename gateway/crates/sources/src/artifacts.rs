//! Where an MLflow model version's files are: in a bucket, or behind the tracking server's artifact proxy.

use aws_sdk_s3::Client;
use modelgate_bundle::MAX_MANIFEST;
use reqwest::{RequestBuilder, Response, StatusCode};

use crate::{
    artifact_folder::Folder,
    error::{Kind, SourceError},
    s3::read_small,
    s3_client::{download, explain},
    store::Incoming,
};

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
        _ => Kind::InvalidResponse,
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

/// The kind of a failure of the HTTP client. The client's words may hold the address with a password, so the address is
/// left out.
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
        Kind::InvalidResponse
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
