//! A model of the MLflow registry: the version that an alias, a stage, a number or `latest` names.
//!
//! The version's files are a bundle (under `bundle/`, where `log_bundle` of the exporter puts it), or an ONNX flavour
//! alone, which is served as it is. Of any other version the bundle is served that the converter made of it, or else the
//! file that XGBoost, LightGBM or CatBoost wrote.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use modelgate_bundle::{
    FileRef, MANIFEST, Manifest, is_inside, is_label,
    release::{Content, Release, by_version},
};
use percent_encoding::percent_decode_str;
use reqwest::{Client, RequestBuilder, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    artifact_folder::Folder,
    artifacts::{Artifacts, answered, bounded},
    converted::{self, Converted, Facts},
    error::{Kind, SourceError},
    listing::Listing,
    mlmodel::{Native, native},
    s3_client,
    spec::{Environment, ModelLocation, VersionRef},
    store::Incoming,
    tls::http_client,
};

/// A connection must be there, and a body bring its next piece, within these.
const CONNECT: Duration = Duration::from_secs(5);
const PIECE: Duration = Duration::from_secs(20);

/// Bytes of an answer of the registry.
const MAX_ANSWER: usize = 4 << 20;

/// Bytes of a model's name: MLflow's own limit is 256 characters.
const MAX_NAME: usize = 1_024;

/// Where a version's bundle may be, in this order.
const BUNDLES: [&str; 2] = ["bundle/", ""];

pub(super) struct MlflowSource {
    client: Client,
    server: Url,
    credentials: Credentials,
    artifacts: Artifacts,
    model: String,
    version: VersionRef,
    converted: Converted,
    index: usize,
    seen: Mutex<Option<Seen>>,
}

/// The version last seen.
#[derive(Clone)]
struct Seen {
    version: String,
    /// Where its files are.
    uri: String,
    release: Release,
    record: Option<Record>,
}

/// Where a version's record of a conversion is, and its digest; none while a booster's own file is served.
type Record = (Folder, Option<[u8; 32]>);

#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
enum Credentials {
    None,
    Basic(String, String),
    Token(String),
}

impl Credentials {
    /// Whichever MLflow's own client would send: those of the address, those of the variables, the token.
    fn new(server: &Url, environment: &Environment) -> Self {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let both = |name: String, password: String| {
            (!name.is_empty() && !password.is_empty()).then_some(Self::Basic(name, password))
        };
        let in_variables =
            || both(environment.username.clone().unwrap_or_default(), environment.password.clone().unwrap_or_default());
        both(decoded(server.username()), decoded(server.password().unwrap_or_default()))
            .or_else(in_variables)
            .or_else(|| environment.token.clone().map(Self::Token))
            .unwrap_or(Self::None)
    }
}

impl std::fmt::Debug for MlflowSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MlflowSource")
            .field("model", &self.model)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct ModelVersion {
    version: String,
}

#[derive(Deserialize)]
struct OneVersion {
    model_version: ModelVersion,
}

#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    model_versions: Vec<ModelVersion>,
}

#[derive(Deserialize)]
struct ArtifactList {
    #[serde(default)]
    files: Vec<Artifact>,
}

#[derive(Deserialize)]
struct Artifact {
    path: String,
}

#[derive(Deserialize)]
struct DownloadUri {
    artifact_uri: String,
}

impl MlflowSource {
    pub(super) fn new(at: ModelLocation, index: usize, environment: &Environment) -> anyhow::Result<Self> {
        anyhow::ensure!(
            is_name(&at.model),
            "models:/{}: expected a model's name of at most {MAX_NAME} bytes without control characters",
            at.model.escape_default()
        );
        let server = at.tracking.or_else(|| environment.tracking.clone()).with_context(|| {
            format!("models:/{}: set MLFLOW_TRACKING_URI, or append ?tracking=http://host:port", at.model)
        })?;
        let mut server =
            Url::parse(&server).ok().filter(|url| matches!(url.scheme(), "http" | "https")).with_context(|| {
                format!("models:/{}: expected the tracking server's address as http://host:port", at.model)
            })?;
        let credentials = Credentials::new(&server, environment);
        // So that no error repeats them. Fails only for addresses that can have none.
        _ = server.set_username("");
        _ = server.set_password(None);
        let client = http_client().connect_timeout(CONNECT).read_timeout(PIECE).build().context("the HTTP client")?;
        let endpoint = environment.mlflow_endpoint.as_deref().or(environment.endpoint.as_deref());
        let s3 = s3_client::client(&at.artifacts, environment, endpoint);
        Ok(Self {
            client,
            server,
            credentials,
            artifacts: Artifacts { s3 },
            model: at.model,
            version: at.version,
            converted: at.converted.or_else(|| environment.converted.clone()).unwrap_or_default(),
            index,
            seen: Mutex::default(),
        })
    }

    /// The next look knows nothing of the last one.
    pub(super) fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// `path` is taken as it is, segment by segment.
    fn url(&self, path: &str) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Credentials::None => request,
            Credentials::Basic(name, password) => request.basic_auth(name, Some(password)),
            Credentials::Token(token) => request.bearer_auth(token),
        }
    }

    fn proxied(&self, path: &str) -> RequestBuilder {
        self.signed(self.client.get(self.url(&format!("api/2.0/mlflow-artifacts/artifacts/{path}"))))
    }

    async fn ask<T: DeserializeOwned>(&self, call: &str, query: &[(&str, &str)]) -> Result<T, SourceError> {
        let url = self.url(&format!("api/2.0/mlflow/{call}"));
        parsed(self.signed(self.client.get(url).query(query))).await
    }

    async fn wanted_version(&self) -> Result<String, SourceError> {
        let model = self.model.as_str();
        match &self.version {
            VersionRef::Number(number) => Ok(number.clone()),
            VersionRef::Alias(alias) => {
                let one: OneVersion = self.ask("registered-models/alias", &[("name", model), ("alias", alias)]).await?;
                Ok(one.model_version.version)
            }
            VersionRef::Latest => self.newest(&[]).await,
            VersionRef::Stage(stage) => self.newest(&[stage]).await,
        }
    }

    /// The newest version of all that have one of these stages, or any. As MLflow's own client asks: a search would need the
    /// model's name in a filter, where no quote can stand.
    async fn newest(&self, stages: &[&str]) -> Result<String, SourceError> {
        let url = self.url("api/2.0/mlflow/registered-models/get-latest-versions");
        let body = json!({ "name": self.model, "stages": stages });
        let found: Versions = parsed(self.signed(self.client.post(url).json(&body))).await?;
        let versions = found.model_versions.into_iter().map(|version| version.version);
        versions.max_by(|a, b| by_version(a, b)).ok_or_else(|| self.none())
    }

    fn none(&self) -> SourceError {
        SourceError::new(Kind::Missing, format!("the registry has no such version of '{}'", self.model))
    }

    pub(super) async fn list(&self) -> Result<Listing, SourceError> {
        let version = self.wanted_version().await?;
        if !is_label(&version, 64) {
            return Err(SourceError::new(Kind::InvalidResponse, "the registry's version is no name"));
        }
        let query = [("name", self.model.as_str()), ("version", version.as_str())];
        let found: DownloadUri = self.ask("model-versions/get-download-uri", &query).await?;
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = known.filter(|seen| seen.version == version && seen.uri == found.artifact_uri);
        if let Some(seen) = known
            && self.is_as_it_was(&seen).await
        {
            return Ok(Listing { releases: vec![seen.release], ..Listing::default() });
        }
        let (release, record) = self.release(&version, &found.artifact_uri).await?;
        let problems = match &release.content {
            // The converter may have done its work by the next look.
            Content::Unservable { reason } => vec![reason.clone()],
            _ => {
                let seen = Seen { version, uri: found.artifact_uri, release: release.clone(), record };
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
                Vec::new()
            }
        };
        Ok(Listing { releases: vec![release], problems, ..Listing::default() })
    }

    /// Whether nobody converted it again. A record that cannot be read now tells nothing.
    async fn is_as_it_was(&self, seen: &Seen) -> bool {
        let Some((folder, digest)) = &seen.record else { return true };
        match self.read_if_there(folder, converted::RECORD).await {
            Ok(Some(record)) => *digest == Some(Sha256::digest(&record).into()),
            Ok(None) | Err(_) => true,
        }
    }

    /// The version as a release, and where its record is if it was converted.
    async fn release(&self, version: &str, uri: &str) -> Result<(Release, Option<Record>), SourceError> {
        let folder = Folder::parse(uri)?;
        let release = |id: String, content| Release {
            // Exactly as the registry has it, so that no two become one.
            model: self.model.clone(),
            version: version.to_owned(),
            id,
            source: self.index,
            content,
        };
        for folder_name in BUNDLES {
            // The proxy answers a file that is not there like a store that is down, so it is asked what there is.
            if let Folder::Proxy { path } = &folder.join(folder_name)
                && !self.has(path.trim_end_matches('/'), MANIFEST).await?
            {
                continue;
            }
            let bytes = match self.read(&folder.join(&format!("{folder_name}{MANIFEST}"))).await {
                Ok(bytes) => bytes,
                Err(error) if error.kind == Kind::Missing => continue,
                Err(error) => return Err(error),
            };
            let invalid =
                |problem: String| SourceError::new(Kind::InvalidResponse, format!("version {version}: {problem}"));
            let manifest = Manifest::parse(&bytes).map_err(invalid)?;
            if let Some(problem) = manifest.problems().into_iter().next() {
                return Err(invalid(problem));
            }
            let at = if folder_name.is_empty() {
                folder.address()
            } else {
                folder.join(folder_name.trim_end_matches('/')).address()
            };
            let id = format!("{:x}", Sha256::digest([&bytes[..], version.as_bytes()].concat()));
            return Ok((release(id, Content::Bundle { manifest: bytes.into(), at }), None));
        }
        let mlmodel = self.read(&folder.join("MLmodel")).await?;
        let (booster, flavor) = match native(&String::from_utf8_lossy(&mlmodel)) {
            Ok(Some(Native::Onnx(path))) if is_inside(&path) => {
                // What is at this address does not change: a version's files are written once.
                let id = format!("{:x}", Sha256::digest(format!("{uri} {version}")));
                return Ok((release(id, Content::Onnx { at: folder.join(&path).address(), booster: None }), None));
            }
            Ok(Some(Native::Booster(path, form))) if is_inside(&path) => (Some((path, form)), None),
            Ok(_) => (None, None),
            Err(why) => (None, Some(why)),
        };
        let (mut content, mut record) = self.converted(version, &folder, &mlmodel, flavor.as_deref()).await?;
        if let (Content::Unservable { .. }, Some((path, form))) = (&content, booster) {
            // A conversion that comes later is preferred: somebody made it because the file is refused.
            record = self.converted.folder(&folder, &self.model, version, &mlmodel).map(|folder| (folder, None));
            content = Content::Onnx { at: folder.join(&path).address(), booster: Some(form) };
        }
        let id = match &content {
            Content::Bundle { manifest, .. } => Sha256::digest([&manifest[..], version.as_bytes()].concat()),
            _ => Sha256::digest(format!("{uri} {version} {content:?}")),
        };
        Ok((release(format!("{id:x}"), content), record))
    }

    /// The bundle that the converter made of a version, or why there is none.
    async fn converted(
        &self,
        version: &str,
        artifacts: &Folder,
        mlmodel: &[u8],
        flavor: Option<&str>,
    ) -> Result<(Content, Option<Record>), SourceError> {
        let (mut stale, mut state) = (None, None);
        if let Some(folder) = self.converted.folder(artifacts, &self.model, version, mlmodel) {
            if let Some(record) = self.read_if_there(&folder, converted::RECORD).await? {
                match converted::manifest(&record, &self.model, version, mlmodel) {
                    Ok((manifest, digest)) => {
                        let at = folder.join(&digest).address();
                        let record = Some((folder, Some(Sha256::digest(&record).into())));
                        return Ok((Content::Bundle { manifest: manifest.into(), at }, record));
                    }
                    Err(problem) => stale = Some(problem),
                }
            }
            state = self.read_if_there(&folder, converted::STATE).await?;
        }
        let facts = Facts { flavor, state: state.as_deref(), stale: stale.as_deref() };
        let reason = converted::reason(&self.model, version, mlmodel, facts);
        Ok((Content::Unservable { reason }, None))
    }

    /// Whether the artifact proxy has this file in this folder.
    async fn has(&self, folder: &str, file: &str) -> Result<bool, SourceError> {
        let url = self.url("api/2.0/mlflow-artifacts/artifacts");
        let listed: ArtifactList = parsed(self.signed(self.client.get(url).query(&[("path", folder)]))).await?;
        Ok(listed.files.iter().any(|found| found.path.rsplit('/').next() == Some(file)))
    }

    /// A small file that need not be there. A client that may not list a bucket is denied a file that is not there.
    async fn read_if_there(&self, folder: &Folder, file: &str) -> Result<Option<Vec<u8>>, SourceError> {
        // The proxy answers a file that is not there like a store that is down, so it is asked what there is.
        if let Folder::Proxy { path } = folder
            && !self.has(path, file).await?
        {
            return Ok(None);
        }
        match self.read(&folder.join(file)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if matches!(error.kind, Kind::Missing | Kind::Denied) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The command that converts a version.
    pub(super) fn remedy(&self, version: &str) -> String {
        converted::command(&self.model, version)
    }

    async fn read(&self, at: &Folder) -> Result<Vec<u8>, SourceError> {
        self.artifacts.read_small(at, |path| self.proxied(path)).await
    }

    pub(super) async fn fetch(
        &self,
        at: &str,
        file: &FileRef,
        into: Incoming,
        limit: u64,
    ) -> Result<Incoming, SourceError> {
        let at = Folder::parse(at)?.join(&file.file);
        self.artifacts.fetch(&at, into, limit, |path| self.proxied(path)).await
    }
}

/// Whether requests can say a model's name, as it is or percent-encoded.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

async fn parsed<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, SourceError> {
    let asked = request.try_clone().and_then(|request| request.build().ok());
    let answer = answered(request).await?;
    let is_elsewhere = asked.is_some_and(|asked| asked.url() != answer.url());
    let bytes = bounded(answer, MAX_ANSWER).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        if is_elsewhere {
            return SourceError::new(Kind::Denied, "it redirects to a page, as where people log in");
        }
        SourceError::new(Kind::InvalidResponse, format!("not the registry's JSON: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_that_mlflow_would_send() {
        let variables = |name: Option<&str>, password: Option<&str>, token: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            Environment { username: text(name), password: text(password), token: text(token), ..Environment::default() }
        };
        let basic = |name: &str, password: &str| Credentials::Basic(name.into(), password.into());
        let token = || Credentials::Token("t".into());
        for (address, environment, expected) in [
            ("http://host", variables(None, None, None), Credentials::None),
            ("http://host", variables(None, None, Some("t")), token()),
            ("http://host", variables(Some("n"), Some("p"), Some("t")), basic("n", "p")),
            ("http://host", variables(Some("n"), None, Some("t")), token()),
            ("http://jo%40x:p%40s%3As%2F@host", variables(Some("n"), Some("p"), Some("t")), basic("jo@x", "p@s:s/")),
        ] {
            assert_eq!(Credentials::new(&Url::parse(address).expect(address), &environment), expected, "{address}");
        }
    }

    #[test]
    fn names_are_what_requests_can_say() {
        for good in ["churn", "a b", "模型一", "iris classifier/2", "..", "%41", &"ü".repeat(256)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a\nb", "\0", &"ü".repeat(513)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
