//! Where the converter puts the bundle that it made of a registry's version, and what it says of that version.
//!
//! A version that was registered with a scikit-learn flavour alone is never altered. The converter
//! (`modelgate-export watch`) writes beside it, under a root of its own:
//!
//! - `ROOT/NAME/VERSION/SOURCE/converted.json`: the manifest, with the digest of the `MLmodel` that it was made from;
//! - `ROOT/NAME/VERSION/SOURCE/DIGEST/`: the manifest's files, under the manifest's own digest;
//! - `ROOT/NAME/VERSION/SOURCE/state.json`: what keeps the converter from it.
//!
//! `SOURCE` is the beginning of the `MLmodel`'s digest: two registries with one bucket may number alike. The record is
//! written last and in one piece, so a bundle is there as a whole or not at all. A record that names another version, or
//! another `MLmodel`, is stale, and its bundle is never served.

use std::fmt::Write;

use anyhow::{Context, ensure};
use modelgate_bundle::{Manifest, is_label};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::artifact_folder::Folder;

/// The record of a conversion, in the version's folder.
pub(super) const RECORD: &str = "converted.json";

/// The converter's report while there is no record.
pub(super) const STATE: &str = "state.json";

/// The root in the bucket, or behind the proxy, that has the version's own artifacts.
const ROOT: &str = "modelgate/converted";

/// The only format of records.
const FORMAT: u32 = 1;

/// The longest name in a key, in bytes; a longer one is cut and told apart by its digest.
const MAX_KEY: usize = 200;

/// Bytes of a longer name that stand before its digest, for people.
const CUT: usize = 120;

/// Digits of the `MLmodel`'s digest in a key.
const SOURCE: usize = 16;

/// The longest words of the converter that are repeated, in characters.
const MAX_REASON: usize = 1000;

/// Where converted bundles are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted(Root);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Root {
    /// The usual one, in the store that has the version's artifacts.
    #[default]
    BesideArtifacts,
    At(Folder),
    /// None is looked for.
    None,
}

impl Converted {
    /// From an option or a variable: `s3://bucket/prefix`, `mlflow-artifacts:/prefix`, or `none`.
    ///
    /// # Errors
    /// Another kind of address.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self(Root::None));
        }
        let expected =
            || format!("converted: expected s3://bucket/prefix, mlflow-artifacts:/prefix or none, got {text:?}");
        let folder = Folder::parse(text).ok().with_context(expected)?;
        if let Folder::S3 { bucket, .. } = &folder {
            ensure!(!bucket.is_empty() && !bucket.contains('@'), expected());
        }
        Ok(Self(Root::At(folder)))
    }

    /// The folder of a version whose own files, with this `MLmodel`, are in `artifacts`.
    pub(super) fn folder(&self, artifacts: &Folder, model: &str, version: &str, mlmodel: &[u8]) -> Option<Folder> {
        let root = match (&self.0, artifacts) {
            (Root::None, _) => return None,
            (Root::At(root), _) => root.clone(),
            (Root::BesideArtifacts, Folder::S3 { bucket, .. }) => {
                Folder::S3 { bucket: bucket.clone(), key: ROOT.into() }
            }
            (Root::BesideArtifacts, Folder::Proxy { .. }) => Folder::Proxy { path: ROOT.into() },
        };
        let source = format!("{:x}", Sha256::digest(mlmodel));
        Some(root.join(&format!("{}/{version}/{}", key(model), &source[..SOURCE])))
    }
}

/// A model's name as part of a key; no two names have the same. Letters, digits, `_`, `-` and `.` stand for themselves, but
/// a leading `.` does not; every other byte is `=` and two hexadecimal digits.
pub(super) fn key(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || byte == b'.' && at > 0 {
            key.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            _ = write!(key, "={byte:02X}");
        }
    }
    if key.len() > MAX_KEY {
        key.truncate(CUT);
        // No escape begins so.
        _ = write!(key, "=x{:x}", Sha256::digest(name));
    }
    key
}

#[derive(Deserialize)]
struct Record {
    format: u32,
    name: String,
    version: String,
    mlmodel_sha256: String,
    manifest: String,
}

/// The manifest in a record, and the folder of its files, if the bundle was made from this very version: of this model,
/// with this `MLmodel`.
///
/// # Errors
/// One sentence says what is wrong, or what it was made from.
pub(super) fn manifest(record: &[u8], model: &str, version: &str, mlmodel: &[u8]) -> Result<(Vec<u8>, String), String> {
    let record: Record =
        serde_json::from_slice(record).map_err(|error| format!("its {RECORD} cannot be read: {error}"))?;
    if record.format != FORMAT {
        return Err(format!("its {RECORD} has format {}, expected {FORMAT}", record.format));
    }
    if record.name != model || record.version != version {
        return Err(format!("its {RECORD} is that of another version"));
    }
    if record.mlmodel_sha256 != format!("{:x}", Sha256::digest(mlmodel)) {
        return Err("its conversion is stale: the version has another MLmodel now".into());
    }
    let bytes = record.manifest.into_bytes();
    let manifest = Manifest::parse(&bytes)?;
    if let Some(problem) = manifest.problems().into_iter().next() {
        return Err(problem);
    }
    if manifest.version != version {
        return Err(format!("its converted bundle says that it is version {}", manifest.version));
    }
    let digest = format!("{:x}", Sha256::digest(&bytes));
    Ok((bytes, digest))
}

#[derive(Deserialize)]
struct State {
    state: String,
    #[serde(default)]
    reason: String,
    mlmodel_sha256: String,
}

/// The command that converts a version.
pub(super) fn command(model: &str, version: &str) -> String {
    let quote = if is_label(model, usize::MAX) { "" } else { "'" };
    format!("modelgate-export {quote}models:/{model}/{version}{quote} --publish")
}

/// The facts of a version that cannot be served yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts<'a> {
    /// Of a booster's flavour: its name, and why its file is not served as it is.
    pub(super) flavor: Option<&'a str>,
    /// The converter's state, if it said anything.
    pub(super) state: Option<&'a [u8]>,
    /// Why its record is not taken.
    pub(super) stale: Option<&'a str>,
}

/// Why a version cannot be served yet, and what to do, in one or two sentences.
pub(super) fn reason(model: &str, version: &str, mlmodel: &[u8], facts: Facts<'_>) -> String {
    let Facts { flavor, state, stale } = facts;
    let command = command(model, version);
    let flavor = flavor.map(|flavor| format!(", and its flavour {flavor}")).unwrap_or_default();
    let head = format!("version {version} has neither a bundle nor an ONNX flavour{flavor}");
    let digest = format!("{:x}", Sha256::digest(mlmodel));
    let state = state
        .and_then(|state| serde_json::from_slice::<State>(state).ok())
        .filter(|state| state.mlmodel_sha256 == digest && is_label(&state.state, 32));
    let message = match &state {
        Some(state) if state.state == "converting" => format!("{head}; the converter works on it"),
        Some(state) => {
            let words: String = state.reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
            format!("{head}, and its conversion failed: {words}; once that is mended, run `{command}`")
        }
        None => format!("{head}; convert it with `{command}`, or have `modelgate-export watch` convert every version"),
    };
    stale.map_or_else(|| message.clone(), |stale| format!("{message} ({stale})"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_those_of_the_converter() {
        let vectors: Vec<(String, String)> =
            serde_json::from_str(include_str!("../../../tests/data/converted_keys.json")).expect("pairs");
        assert!(vectors.len() > 8);
        for (name, expected) in vectors {
            assert_eq!(key(&name), expected, "{name:?}");
        }
        let long = ["a".repeat(256), "ü".repeat(256), format!("{}b", "a".repeat(255))].map(|name| key(&name));
        assert!(long.iter().all(|key| key.len() <= MAX_KEY) && long[0] != long[2]);
    }

    #[test]
    fn a_version_has_its_folder_beside_its_artifacts_or_where_it_is_said() {
        let s3 = Folder::parse("s3://models/mlflow/1/m").expect("a folder");
        let proxy = Folder::parse("mlflow-artifacts:/1/m").expect("a folder");
        let at = |converted: &Converted, artifacts| {
            converted.folder(artifacts, "a b", "3", b"mine").map(|folder| folder.address()).unwrap_or_default()
        };
        let beside = Converted::default();
        assert_eq!(at(&beside, &s3), "s3://models/modelgate/converted/a=20b/3/3fd30542fe3f61b1");
        assert_eq!(at(&beside, &proxy), "mlflow-artifacts:/modelgate/converted/a=20b/3/3fd30542fe3f61b1");
        let elsewhere = Converted::parse("s3://other/x/").expect("a bucket");
        assert_eq!(at(&elsewhere, &proxy), "s3://other/x/a=20b/3/3fd30542fe3f61b1");
        assert_eq!(at(&Converted::parse("None").expect("a word"), &s3), "");
        for bad in ["", "/srv", "file:///srv", "s3://", "s3://u:p@b/x"] {
            assert!(Converted::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_record_of_this_very_version_is_taken() {
        let text = "format = 1\nname = 'a_b'\nversion = '3'\n[[stage]]\nname = 'p'\nmodule = 'builtin:predict'\n";
        let record = |name: &str, version: &str, mlmodel: &str, manifest: &str| {
            let sha256 = format!("{:x}", Sha256::digest(mlmodel));
            json!({ "format": 1, "name": name, "version": version, "mlmodel_sha256": sha256, "manifest": manifest })
                .to_string()
        };
        let message = |record: &str| manifest(record.as_bytes(), "a b", "3", b"mine").map(|(bytes, _)| bytes);
        assert_eq!(message(&record("a b", "3", "mine", text)).as_deref(), Ok(text.as_bytes()));
        for (bad, why) in [
            (record("a_b", "3", "mine", text), "another version"),
            (record("a b", "2", "mine", text), "another version"),
            (record("a b", "3", "yours", text), "stale"),
            (record("a b", "3", "mine", &text.replace("'3'", "'2'")), "says that it is version 2"),
            (record("a b", "3", "mine", "format = 1"), "bundle.toml"),
            (record("a b", "3", "mine", text).replace("\"format\":1", "\"format\":2"), "format 2"),
            ("{}".into(), "cannot be read"),
        ] {
            let error = message(&bad).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_reason_is_the_converters_or_says_how_to_convert() {
        let state = |state: &str, mlmodel: &str| {
            let sha256 = format!("{:x}", Sha256::digest(mlmodel));
            json!({ "state": state, "reason": "no\nwheel", "mlmodel_sha256": sha256 }).to_string()
        };
        let message = |state: Option<String>| {
            let state = state.as_deref().map(str::as_bytes);
            reason("m", "3", b"mine", Facts { state, ..Facts::default() })
        };
        assert!(message(None).contains("`modelgate-export models:/m/3 --publish`"));
        assert!(message(Some(state("failed", "mine"))).contains("failed: nowheel"));
        assert!(message(Some(state("converting", "mine"))).ends_with("works on it"));
        // Of an earlier version of that number.
        assert_eq!(message(Some(state("failed", "yours"))), message(None));
        assert_eq!(message(Some("<html>".into())), message(None));
        let reason_for = |facts| reason("m", "3", b"mine", facts);
        assert!(reason_for(Facts { stale: Some("stale"), ..Facts::default() }).ends_with("(stale)"));
        let flavor = reason_for(Facts { flavor: Some("xgboost has no file"), ..Facts::default() });
        assert!(flavor.contains("and its flavour xgboost has no file; convert it with"), "{flavor}");
    }
}
