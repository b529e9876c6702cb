//! The address of a source: `[NAME=]ADDRESS`, where the address is a folder, `s3://bucket/prefix`, or
//! `models:/name@alias`.

use std::{fmt, path::PathBuf};

use anyhow::{Context, ensure};
use percent_encoding::percent_decode_str;
use reqwest::Url;

use crate::converted::Converted;

/// A source as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name; the address where none is given.
    pub name: String,
    address: String,
    options: Vec<(String, String)>,
}

/// The place that an address means.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Dir(PathBuf),
    S3(S3Location),
    Mlflow(ModelLocation),
}

/// A bucket, or a part of it.
#[derive(Clone, Debug, Default)]
pub(super) struct S3Location {
    pub(super) bucket: String,
    /// Without a slash at either end; may be empty.
    pub(super) prefix: String,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) anonymous: bool,
}

impl S3Location {
    /// Whether it can be asked with what the environment says, as far as that can be told without asking.
    ///
    /// # Errors
    /// An endpoint that is none, and half a pair of keys: without the other half requests would be anonymous.
    pub(super) fn check(&self, environment: &Environment) -> anyhow::Result<()> {
        let variables =
            [("AWS_ENDPOINT_URL", &environment.endpoint), ("MLFLOW_S3_ENDPOINT_URL", &environment.mlflow_endpoint)];
        let option = [("endpoint", &self.endpoint)];
        let used = if self.endpoint.is_some() { &option[..] } else { &variables };
        for (name, endpoint) in used.iter().filter_map(|(name, endpoint)| Some((name, endpoint.as_deref()?))) {
            let is_url = Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            ensure!(is_url, "{name}: expected http://HOST:PORT or https://HOST, got {:?}", without_user(endpoint));
        }
        let (key, secret) = (environment.access_key.is_some(), environment.secret_key.is_some());
        ensure!(self.anonymous || secret || !key, "AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is missing");
        ensure!(self.anonymous || key || !secret, "AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is missing");
        Ok(())
    }
}

/// A model in a registry.
#[derive(Clone, Debug)]
pub(super) struct ModelLocation {
    pub(super) model: String,
    pub(super) version: VersionRef,
    pub(super) tracking: Option<String>,
    /// The way to its artifacts where they are in S3; the bucket comes with each version.
    pub(super) artifacts: S3Location,
    /// Where bundles are that were made of its versions, if it is said here.
    pub(super) converted: Option<Converted>,
}

/// The version that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VersionRef {
    Number(String),
    Alias(String),
    Stage(String),
    Latest,
}

/// The variables that users of S3 and MLflow have set already.
#[derive(Clone, Default)]
pub struct Environment {
    /// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// `AWS_REGION`, `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_key: Option<String>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<String>,
    /// `MLFLOW_S3_ENDPOINT_URL`.
    pub mlflow_endpoint: Option<String>,
    /// `MLFLOW_TRACKING_URI`.
    pub tracking: Option<String>,
    /// `MLFLOW_TRACKING_USERNAME`.
    pub username: Option<String>,
    /// `MLFLOW_TRACKING_PASSWORD`.
    pub password: Option<String>,
    /// `MLFLOW_TRACKING_TOKEN`.
    pub token: Option<String>,
    /// `MODELGATE_CONVERTED`: where the converter puts its bundles.
    pub converted: Option<Converted>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("endpoint", &self.endpoint)
            .field("tracking", &self.tracking)
            .finish_non_exhaustive()
    }
}

/// An address as it may be shown: without a name and a password before the host.
fn without_user(address: &str) -> String {
    let (scheme, rest) = address.split_at(address.find("://").map_or(0, |at| at + 3));
    format!("{scheme}{}", rest.rsplit('@').next().unwrap_or_default())
}

impl Spec {
    /// Parses it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let named = text.split_once('=').filter(|(name, _)| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        });
        let (name, address) = named.map_or((None, text), |(name, address)| (Some(name), address));
        ensure!(!address.is_empty(), "source: expected [NAME=]ADDRESS, got {text:?}");
        let has_options = address.starts_with("s3://") || address.starts_with("models:/");
        let (address, options) = match address.split_once('?').filter(|_| has_options) {
            Some((address, options)) => (address, options),
            None => (address, ""),
        };
        let options = options
            .split('&')
            .filter(|option| !option.is_empty())
            .map(|option| {
                let (key, value) =
                    option.split_once('=').with_context(|| format!("source: expected key=value, got {option:?}"))?;
                Ok((key.to_owned(), value.to_owned()))
            })
            .collect::<anyhow::Result<_>>()?;
        let name = name.unwrap_or(address).trim_end_matches('/').to_owned();
        let spec = Self { name, address: address.to_owned(), options };
        spec.kind()?;
        Ok(spec)
    }

    /// Where it is, without its options.
    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    pub(super) fn option(&self, key: &str) -> Option<String> {
        self.options.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn known(&self, keys: &[&str]) -> anyhow::Result<()> {
        for (key, _) in &self.options {
            ensure!(
                keys.contains(&key.as_str()),
                "source {}: no option {key:?}; there is {}",
                self.name,
                keys.join(", ")
            );
        }
        Ok(())
    }

    fn s3_options(&self) -> S3Location {
        S3Location {
            endpoint: self.option("endpoint"),
            region: self.option("region"),
            anonymous: self.option("anonymous").is_some_and(|value| value != "false"),
            ..S3Location::default()
        }
    }

    pub(super) fn kind(&self) -> anyhow::Result<Kind> {
        if let Some(rest) = self.address.strip_prefix("s3://") {
            self.known(&["endpoint", "region", "anonymous"])?;
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            // No bucket has an `@` in its name: a password is before it, which would be shown as part of the address.
            ensure!(
                !bucket.is_empty() && !bucket.contains('@'),
                "source {}: expected s3://bucket/prefix, got {}",
                without_user(&self.name),
                without_user(&self.address)
            );
            return Ok(Kind::S3(S3Location {
                bucket: decoded(bucket)?,
                prefix: decoded(prefix.trim_matches('/'))?,
                ..self.s3_options()
            }));
        }
        if let Some(rest) = self.address.strip_prefix("models:/") {
            self.known(&["tracking", "converted", "endpoint", "region", "anonymous"])?;
            let expected = || {
                format!(
                    "source {}: expected models:/name@alias, /name/3, /name/latest or /name/Stage, got {}",
                    self.name, self.address
                )
            };
            // By MLflow's rule: what follows a slash is no alias, so a name may have an `@` there.
            let (model, version) = if let Some((model, version)) = rest.rsplit_once('/') {
                let version = match decoded(version)? {
                    word if word.eq_ignore_ascii_case("latest") => VersionRef::Latest,
                    word if word.bytes().all(|byte| byte.is_ascii_digit()) => {
                        VersionRef::Number(word.trim_start_matches('0').to_owned())
                    }
                    stage => VersionRef::Stage(stage),
                };
                (model, version)
            } else {
                let (model, alias) = rest.rsplit_once('@').with_context(expected)?;
                (model, VersionRef::Alias(decoded(alias)?))
            };
            let empty = VersionRef::Alias(String::new());
            ensure!(!model.is_empty() && version != empty && version != VersionRef::Number(String::new()), expected());
            return Ok(Kind::Mlflow(ModelLocation {
                model: decoded(model)?,
                version,
                tracking: self.option("tracking"),
                artifacts: self.s3_options(),
                converted: self.option("converted").map(|text| Converted::parse(&text)).transpose()?,
            }));
        }
        ensure!(
            !self.address.contains("://"),
            "source {}: expected a folder, s3://bucket/prefix or models:/name@alias, got {}",
            without_user(&self.name),
            without_user(&self.address)
        );
        Ok(Kind::Dir(PathBuf::from(&self.address)))
    }
}

/// Names with spaces, or with what means something in an address, are written with `%20` and the like.
fn decoded(text: &str) -> anyhow::Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.with_context(|| format!("source: {text:?} is no UTF-8 when decoded"))?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        let spec = Spec::parse("prod=s3://models/live/?endpoint=http://minio:9000&anonymous=true").expect("a bucket");
        assert_eq!(spec.name, "prod");
        let Ok(Kind::S3(location)) = spec.kind() else { panic!("{spec:?}") };
        assert_eq!((location.bucket.as_str(), location.prefix.as_str(), location.anonymous), ("models", "live", true));
        assert_eq!(location.endpoint.as_deref(), Some("http://minio:9000"));
        for (text, version) in [
            ("models:/churn@champion", VersionRef::Alias("champion".into())),
            ("models:/churn/3", VersionRef::Number("3".into())),
            ("models:/churn/latest", VersionRef::Latest),
            ("models:/churn/Production", VersionRef::Stage("Production".into())),
        ] {
            let Ok(Kind::Mlflow(location)) = Spec::parse(text).expect("a model").kind() else { panic!("{text}") };
            assert_eq!((location.model.as_str(), location.version), ("churn", version));
        }
        for (text, model, version) in [
            ("models:/user@corp/1", "user@corp", VersionRef::Number("1".into())),
            ("models:/user@corp/Latest", "user@corp", VersionRef::Latest),
            ("models:/user@corp@best", "user@corp", VersionRef::Alias("best".into())),
            ("models:/churn/03", "churn", VersionRef::Number("3".into())),
            ("models:/my%20model%40home%25@best", "my model@home%", VersionRef::Alias("best".into())),
            ("models:/my model/1", "my model", VersionRef::Number("1".into())),
        ] {
            let Ok(Kind::Mlflow(location)) = Spec::parse(text).expect("a model").kind() else { panic!("{text}") };
            assert_eq!((location.model.as_str(), location.version), (model, version), "{text}");
        }
        let Ok(Kind::S3(location)) = Spec::parse("s3://models/a%20b/c").expect("a bucket").kind() else { panic!() };
        assert_eq!(location.prefix, "a b/c");
        assert!(matches!(Spec::parse("/srv/a=b").expect("a folder").kind(), Ok(Kind::Dir(_))));
        for bad in
            ["", "x=", "s3://", "models:/churn", "models:/churn@", "ftp://x", "s3://b/p?nonsense=1", "models:/churn/"]
        {
            assert!(Spec::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (text, shown) in [
            ("ftp://u:secret@h/x", "source ftp://h/x: expected a folder"),
            ("ftp://u:se/secret@h", "source ftp://h: expected a folder"),
            ("s3://u:secret@b/x", "expected s3://bucket/prefix, got s3://b/x"),
        ] {
            let error = Spec::parse(text).expect_err(text).to_string();
            assert!(error.contains(shown) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn endpoints_have_a_scheme() {
        let given = |option: Option<&str>, variable: &str| {
            let location = S3Location { endpoint: option.map(str::to_owned), ..S3Location::default() };
            let environment = Environment { endpoint: Some(variable.to_owned()), ..Environment::default() };
            location.check(&environment).map_err(|error| error.to_string())
        };
        assert_eq!(given(None, "http://127.0.0.1:9000"), Ok(()));
        assert_eq!(given(Some("https://u:secret@minio"), "127.0.0.1:9000"), Ok(()));
        for (option, variable, message) in [
            (
                None,
                "127.0.0.1:9000",
                "AWS_ENDPOINT_URL: expected http://HOST:PORT or https://HOST, got \"127.0.0.1:9000\"",
            ),
            (Some("minio:9000"), "http://minio:9000", "got \"minio:9000\""),
            (Some("ftp://u:secret@h"), "http://minio:9000", "got \"ftp://h\""),
            (Some(""), "http://minio:9000", "endpoint: expected"),
        ] {
            let error = given(option, variable).expect_err(variable);
            assert!(error.contains(message) && !error.contains("secret"), "{error}");
        }
    }
    #[test]
    fn half_a_pair_of_keys_is_told() {
        let given = |access_key: Option<&str>, secret_key: Option<&str>, anonymous: bool| {
            let location = S3Location { anonymous, ..S3Location::default() };
            let (access_key, secret_key) = (access_key.map(str::to_owned), secret_key.map(str::to_owned));
            location.check(&Environment { access_key, secret_key, ..Environment::default() })
        };
        for (access_key, secret_key, missing) in
            [(Some("key"), None, "AWS_SECRET_ACCESS_KEY is missing"), (None, Some("s"), "AWS_ACCESS_KEY_ID is missing")]
        {
            let error = given(access_key, secret_key, false).expect_err(missing).to_string();
            assert!(error.contains(missing), "{error}");
            assert!(given(access_key, secret_key, true).is_ok());
        }
        assert!(given(Some("key"), Some("s"), false).is_ok() && given(None, None, false).is_ok());
    }
}
