//! A client for one S3 endpoint, and what its errors mean.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::GetObjectOutput,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use crate::{
    error::{Kind, SourceError},
    s3_bound::Bounded,
    spec::{Environment, S3Location},
    store::Incoming,
};

/// Under a prefix: files by digest, shared by all bundles.
pub(super) const BLOBS: &str = "blobs/";

/// A connection must be there, and a request's answer begin, within these.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(20);

/// A body must bring its next piece within this.
const PIECE: Duration = Duration::from_secs(20);

/// For this place, with what the environment says. Touches no network.
pub(super) fn client(location: &S3Location, environment: &Environment, endpoint: Option<&str>) -> Client {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    Client::from_conf(config(location, environment, endpoint).http_client(http).build())
}

/// The configuration of the client, but for what sends its requests.
pub(super) fn config(location: &S3Location, environment: &Environment, endpoint: Option<&str>) -> Builder {
    let endpoint = location.endpoint.as_deref().or(endpoint);
    let region = location.region.clone().or_else(|| environment.region.clone()).unwrap_or_else(|| "us-east-1".into());
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(ANSWER).build();
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region))
        .timeout_config(timeouts)
        .interceptor(Bounded)
        // Bodies that stop coming are noticed below, and told as what they are.
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().download_enabled(false).build())
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        // Every file is checked against the manifest's sha256; older servers know no other checksums.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = endpoint {
        // Where the endpoint is no Amazon host, bucket names in host names would need a wildcard in the DNS.
        config = config.endpoint_url(endpoint).force_path_style(!endpoint.contains("amazonaws.com"));
    }
    match (&environment.access_key, &environment.secret_key) {
        (Some(key), Some(secret)) if !location.anonymous => config.credentials_provider(Credentials::new(
            key.clone(),
            secret.clone(),
            environment.session_token.clone(),
            None,
            "environment",
        )),
        _ => config.allow_no_auth(),
    }
}

/// The kind of an error of the client, and its words.
pub(super) fn explain<E: ProvideErrorMetadata + std::fmt::Debug>(error: &SdkError<E>) -> SourceError {
    let service = match error {
        SdkError::TimeoutError(_) => return SourceError::new(Kind::Timeout, "no answer in time"),
        SdkError::DispatchFailure(failure) => {
            let kind = if failure.is_timeout() { Kind::Timeout } else { Kind::Unreachable };
            let words = failure.as_connector_error().map(|error| causes(error)).unwrap_or_default();
            return SourceError::new(kind, words);
        }
        SdkError::ConstructionFailure(_) => {
            return SourceError::new(Kind::Denied, "the request could not be made; are credentials set?");
        }
        SdkError::ServiceError(service) => service,
        _ => return SourceError::new(Kind::InvalidResponse, "the answer is not that of an S3 server"),
    };
    let status = service.raw().status().as_u16();
    let code = service.err().code().unwrap_or_default();
    let message = without_ids(service.err().message().unwrap_or_default());
    SourceError::new(kind(code, status), format!("status {status} {code} {message}"))
}

/// The words as far as the first id of a request or host: it differs each time, and makes news of what is none.
fn without_ids(message: &str) -> &str {
    let lower = message.to_ascii_lowercase();
    let ids = ["request id", "request-id", "request_id", "requestid", "host id", "host-id", "host_id", "hostid"];
    let end = ids.iter().filter_map(|id| lower.find(id)).min().unwrap_or(message.len());
    message[..end].trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | ',' | ';'))
}

/// The kind of a refusal. Servers differ in the status that goes with a code: tokens that have expired are told with
/// 400, too.
fn kind(code: &str, status: u16) -> Kind {
    match code {
        "RequestTimeTooSkewed" => return Kind::ClockSkew,
        "NoSuchBucket" | "NoSuchKey" | "NotFound" => return Kind::Missing,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "ExpiredToken" | "InvalidAccessKeyId"
        | "InvalidSecurity" | "InvalidToken" | "SignatureDoesNotMatch" | "TokenRefreshRequired"
        // It is another region's.
        | "AuthorizationHeaderMalformed" | "PermanentRedirect" => return Kind::Denied,
        "InternalError" | "ServiceUnavailable" | "SlowDown" | "Throttling" | "ThrottlingException"
        | "TooManyRequests" => return Kind::Server,
        _ => {}
    }
    match status {
        401 | 403 => Kind::Denied,
        404 => Kind::Missing,
        429 | 500.. => Kind::Server,
        _ => Kind::InvalidResponse,
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        cause = inner.source();
    }
    words
}

/// An object's bytes into a file of the local cache, at most `limit`.
pub(super) async fn download(object: GetObjectOutput, mut into: Incoming, limit: u64) -> Result<Incoming, SourceError> {
    let too_large = || SourceError::new(Kind::TooLarge, format!("over the limit of {limit} bytes"));
    let length = object.content_length().and_then(|length| u64::try_from(length).ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = object.body;
    loop {
        let piece = tokio::time::timeout(PIECE, body.next())
            .await
            .map_err(|_| SourceError::new(Kind::Timeout, "the body stopped coming"))?;
        match piece {
            Some(Ok(piece)) => into.write(&piece)?,
            Some(Err(error)) => {
                return Err(SourceError::new(
                    Kind::InvalidResponse,
                    format!("the body ended early: {}", causes(&error)),
                ));
            }
            None => break,
        }
        if into.len() > limit {
            return Err(too_large());
        }
    }
    if length.is_some_and(|length| length != into.len()) {
        return Err(SourceError::new(Kind::InvalidResponse, "the body ended early"));
    }
    Ok(into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_mean_what_their_codes_say_whatever_the_status() {
        for (code, status, means) in [
            ("ExpiredToken", 400, Kind::Denied),
            ("InvalidToken", 400, Kind::Denied),
            ("TokenRefreshRequired", 400, Kind::Denied),
            ("InvalidAccessKeyId", 403, Kind::Denied),
            ("SignatureDoesNotMatch", 403, Kind::Denied),
            ("AuthorizationHeaderMalformed", 400, Kind::Denied),
            ("", 403, Kind::Denied),
            ("SlowDown", 400, Kind::Server),
            ("TooManyRequests", 429, Kind::Server),
            ("", 429, Kind::Server),
            ("", 502, Kind::Server),
            ("RequestTimeTooSkewed", 403, Kind::ClockSkew),
            ("NoSuchBucket", 404, Kind::Missing),
            ("", 404, Kind::Missing),
            ("InvalidArgument", 400, Kind::InvalidResponse),
        ] {
            assert_eq!(kind(code, status), means, "{code} {status}");
        }
    }

    #[test]
    fn ids_that_differ_each_time_are_left_out() {
        for (message, words) in [
            ("Access Denied. Request ID: 000a1b", "Access Denied."),
            ("Müde (RequestId: 1; HostId: 2)", "Müde"),
            ("Slow down, HostId=/x+y=", "Slow down"),
            ("Access Denied.", "Access Denied."),
            ("", ""),
        ] {
            assert_eq!(without_ids(message), words);
        }
    }
}
