//! The address of a folder of artifacts: in a bucket, or behind the tracking server's proxy.

use crate::error::{Kind, SourceError};

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
        Err(SourceError::new(Kind::InvalidResponse, words))
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
