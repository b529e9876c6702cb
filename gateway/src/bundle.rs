//! The bundle: a manifest and the files it names, read whole and verified.
//!
//! `modules/BUNDLE.md` describes the format. Reading collects every problem, so that an author sees all of them at once.

use std::{
    collections::BTreeMap,
    fmt,
    io::Read,
    path::{Component, Path},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    batching::{Batching, BatchingEntry},
    wasm::{host::Limits, module::Isolation},
};

/// The manifest's name in a bundle's folder.
pub const MANIFEST: &str = "bundle.toml";

/// The only manifest format there is.
const FORMAT: u32 = 1;

/// The largest file of a bundle, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// Examples taken from a golden file.
const MAX_EXAMPLES: usize = 10_000;

/// The modules shipped inside the gateway.
const BUILTIN: [(&str, &[u8]); 2] = [
    ("builtin:tabular", include_bytes!(concat!(env!("OUT_DIR"), "/tabular.wasm"))),
    ("builtin:predict", include_bytes!(concat!(env!("OUT_DIR"), "/predict.wasm"))),
];

/// The bundle that `--demo` serves.
const DEMO: [(&str, &[u8]); 5] = [
    (MANIFEST, include_bytes!("../demo/bundle.toml")),
    ("model.onnx", include_bytes!("../demo/model.onnx")),
    ("preprocess.json", include_bytes!("../demo/preprocess.json")),
    ("predict.json", include_bytes!("../demo/predict.json")),
    ("golden.json", include_bytes!("../demo/golden.json")),
];

/// A bundle in memory, every digest verified.
pub struct Bundle {
    /// What requests call it.
    pub name: String,
    /// Its version, as the author numbers it.
    pub version: String,
    /// One line for people.
    pub description: String,
    /// The sha256 of the manifest, in hex: the bundle's identity.
    pub digest: String,
    /// The ONNX graph.
    pub model: Option<Vec<u8>>,
    /// The chain, in order; at least one.
    pub stages: Vec<Stage>,
    /// Known answers.
    pub golden: Golden,
    /// What a request may use.
    pub limits: Limits,
    /// Whether instances outlive a request.
    pub isolation: Isolation,
    /// How far requests are run together.
    pub batching: Batching,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({} {} {})", self.name, self.version, self.digest)
    }
}

/// One module in the chain.
#[derive(Debug)]
pub struct Stage {
    /// A label, unique in the bundle.
    pub name: String,
    /// As the manifest names it: `builtin:tabular`, `modules/mine.wasm`.
    pub module: String,
    /// The module.
    pub wasm: Vec<u8>,
    /// What its `init` is given.
    pub config: Vec<u8>,
}

/// Rows with known answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Floats may differ by this much, times the expected value where that is above 1.
    #[serde(default = "default_tolerance")]
    pub tolerance: f64,
    /// One row each.
    pub examples: Vec<Example>,
}

/// One row and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// A value for each input column.
    pub input: serde_json::Map<String, Value>,
    /// A value for some or all of the outputs.
    pub output: serde_json::Map<String, Value>,
}

fn default_tolerance() -> f64 {
    1e-5
}

/// Everything that is wrong with a bundle.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct BundleError {
    /// One sentence each.
    pub problems: Vec<String>,
}

impl From<String> for BundleError {
    fn from(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}

/// Where a bundle's files are.
#[derive(Clone, Copy, Debug)]
enum Folder<'a> {
    Disk(&'a Path),
    Embedded(&'a [(&'a str, &'a [u8])]),
}

impl Folder<'_> {
    fn read(&self, file: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::Embedded(files) => files
                .iter()
                .find(|(name, _)| *name == file)
                .map(|(_, bytes)| bytes.to_vec())
                .ok_or_else(|| format!("{file}: not among the embedded files")),
            Self::Disk(folder) => read_inside(folder, file).map_err(|error| format!("{file}: {error}")),
        }
    }
}

impl Bundle {
    /// Reads the bundle in this folder.
    pub fn read(folder: &Path) -> Result<Self, BundleError> {
        Self::read_from(Folder::Disk(folder))
    }

    /// The bundle that comes with the gateway.
    pub fn demo() -> Result<Self, BundleError> {
        Self::read_from(Folder::Embedded(&DEMO))
    }

    fn read_from(folder: Folder<'_>) -> Result<Self, BundleError> {
        let bytes = folder.read(MANIFEST)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| format!("{MANIFEST}: not UTF-8: {error}"))?;
        let manifest: Manifest = toml::from_str(text).map_err(|error| format!("{MANIFEST}: {error}"))?;
        let mut problems = manifest.problems();

        let mut fetch = |file: &str, sha256: Option<&str>, field: &str| match verified(folder, file, sha256, field) {
            Ok(bytes) => bytes,
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        };
        let model = manifest.model.as_ref().map(|model| fetch(&model.file, Some(&model.sha256), "[model] sha256"));
        let stages = manifest
            .stage
            .iter()
            .map(|stage| Stage {
                name: stage.name.clone(),
                module: stage.module.clone(),
                wasm: match BUILTIN.iter().find(|(name, _)| *name == stage.module) {
                    Some((_, wasm)) => wasm.to_vec(),
                    None if stage.module.starts_with("builtin:") => Vec::new(),
                    None => fetch(&stage.module, stage.sha256.as_deref(), "[[stage]] sha256"),
                },
                config: match &stage.config {
                    Some(config) => fetch(config, stage.config_sha256.as_deref(), "[[stage]] config_sha256"),
                    None => Vec::new(),
                },
            })
            .collect();
        let golden =
            manifest.golden.as_ref().map(|golden| fetch(&golden.file, Some(&golden.sha256), "[golden] sha256"));
        let golden = match golden.filter(|bytes| !bytes.is_empty()).map(|bytes| Golden::parse(&bytes)).transpose() {
            Ok(golden) => golden.unwrap_or_default(),
            Err(problem) => {
                problems.push(problem);
                Golden::default()
            }
        };
        if !problems.is_empty() {
            return Err(BundleError { problems });
        }
        Ok(Self {
            limits: manifest.limits.resolve()?,
            isolation: manifest.run.isolation,
            batching: manifest.batching.resolve()?,
            name: manifest.name,
            version: manifest.version,
            description: manifest.description,
            digest: format!("{:x}", Sha256::digest(&bytes)),
            model,
            stages,
            golden,
        })
    }
}

impl Golden {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let golden: Self = serde_json::from_slice(bytes).map_err(|error| format!("golden examples: {error}"))?;
        if golden.examples.len() > MAX_EXAMPLES {
            return Err(format!("golden examples: at most {MAX_EXAMPLES} are taken, got {}", golden.examples.len()));
        }
        if !(golden.tolerance >= 0.0 && golden.tolerance.is_finite()) {
            return Err(format!("golden examples: expected a tolerance of 0 or more, got {}", golden.tolerance));
        }
        Ok(golden)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    name: String,
    version: String,
    #[serde(default)]
    description: String,
    model: Option<FileEntry>,
    #[serde(default)]
    stage: Vec<StageEntry>,
    golden: Option<FileEntry>,
    #[serde(default)]
    limits: LimitsEntry,
    #[serde(default)]
    run: RunEntry,
    #[serde(default)]
    batching: BatchingEntry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    file: String,
    sha256: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageEntry {
    name: String,
    module: String,
    sha256: Option<String>,
    config: Option<String>,
    config_sha256: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsEntry {
    memory: Option<String>,
    deadline_ms: Option<u64>,
    rows: Option<u32>,
    host_call_bytes: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunEntry {
    #[serde(default)]
    isolation: Isolation,
}

impl Manifest {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.format != FORMAT {
            problems.push(format!("format: expected {FORMAT}, got {}", self.format));
        }
        for (field, value, length) in [("name", &self.name, 128), ("version", &self.version, 64)] {
            if !is_label(value, length) {
                problems.push(format!("{field}: expected 1 to {length} of A-Z a-z 0-9 . _ -, got {value:?}"));
            }
        }
        if self.stage.is_empty() {
            problems.push("stage: expected at least one [[stage]]".into());
        }
        if self.stage.len() > 16 {
            problems.push(format!("stage: at most 16 stages are taken, got {}", self.stage.len()));
        }
        let mut seen = BTreeMap::new();
        for stage in &self.stage {
            if !is_label(&stage.name, 64) {
                problems.push(format!("stage name: expected 1 to 64 of A-Z a-z 0-9 . _ -, got {:?}", stage.name));
            }
            if seen.insert(&stage.name, ()).is_some() {
                problems.push(format!("stage name: {:?} is used twice", stage.name));
            }
            if stage.module.starts_with("builtin:") && !BUILTIN.iter().any(|(name, _)| *name == stage.module) {
                let known: Vec<_> = BUILTIN.iter().map(|(name, _)| *name).collect();
                problems.push(format!(
                    "stage {:?}: {:?} is not shipped with this gateway; it has {}",
                    stage.name,
                    stage.module,
                    known.join(", ")
                ));
            }
        }
        problems.extend(self.limits.resolve().err());
        problems.extend(self.batching.resolve().err());
        problems
    }
}

impl LimitsEntry {
    fn resolve(&self) -> Result<Limits, String> {
        let default = Limits::default();
        let bytes = |field: &str, value: &Option<String>, default: usize| match value {
            Some(text) => parse_bytes(text)
                .filter(|&bytes| bytes > 0)
                .ok_or_else(|| format!("[limits] {field}: expected a size such as \"64MiB\", got {text:?}")),
            None => Ok(default),
        };
        let deadline = match self.deadline_ms {
            Some(0) => return Err("[limits] deadline_ms: expected 1 or more, got 0".into()),
            Some(millis) if millis > 3_600_000 => {
                return Err(format!("[limits] deadline_ms: expected an hour (3600000) at most, got {millis}"));
            }
            Some(millis) => Duration::from_millis(millis),
            None => default.deadline,
        };
        Ok(Limits {
            memory: bytes("memory", &self.memory, default.memory)?,
            deadline,
            rows: match self.rows {
                Some(0) => return Err("[limits] rows: expected 1 or more, got 0".into()),
                rows => rows.unwrap_or(default.rows),
            },
            host_call_bytes: bytes("host_call_bytes", &self.host_call_bytes, default.host_call_bytes)?,
        })
    }
}

/// `1024`, `64KiB`, `64MiB`, `2GiB`; `None` if it is none of these or too large.
pub fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

fn is_label(text: &str, length: usize) -> bool {
    (1..=length).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn verified(folder: Folder<'_>, file: &str, sha256: Option<&str>, field: &str) -> Result<Vec<u8>, String> {
    let expected = sha256.ok_or_else(|| format!("{file}: its digest is missing ({field})"))?;
    let bytes = folder.read(file)?;
    let actual = format!("{:x}", Sha256::digest(&bytes));
    if actual == expected {
        Ok(bytes)
    } else {
        Err(format!("{file}: wrong digest: the manifest says sha256 {expected}, the file has {actual}"))
    }
}

/// Reads a file that is really inside the folder: no `..`, no absolute path, no link out of it.
fn read_inside(folder: &Path, file: &str) -> Result<Vec<u8>, String> {
    let path = Path::new(file);
    if file.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("expected a relative path inside the bundle, without `..`".into());
    }
    let folder = folder.canonicalize().map_err(|error| error.to_string())?;
    let path = folder.join(path).canonicalize().map_err(|error| error.to_string())?;
    if !path.starts_with(&folder) {
        return Err("is a link that leaves the bundle".into());
    }
    let file = std::fs::File::open(&path).map_err(|error| error.to_string())?;
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("is not a file".into());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed() {
        assert_eq!(parse_bytes("64MiB"), Some(64 << 20));
        assert_eq!(parse_bytes("1024"), Some(1024));
        assert_eq!(parse_bytes("2 GiB"), Some(2 << 30));
        for bad in ["", "MiB", "-1", "64MB", "99999999999999999999GiB", "17179869184GiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("in"), b"x").expect("written");
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("out")).expect("linked");
        assert_eq!(read_inside(folder.path(), "in"), Ok(b"x".to_vec()));
        for bad in ["", "../in", "/etc/hostname", "out", ".", "missing"] {
            assert!(read_inside(folder.path(), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_problem_of_a_manifest_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = r#"
            format = 2
            name = "a b"
            version = "1"
            model = { file = "../m.onnx", sha256 = "00" }
            stage = [{ name = "s", module = "builtin:nothing" }, { name = "s", module = "m.wasm" }]
            limits = { memory = "lots" }
        "#;
        std::fs::write(folder.path().join(MANIFEST), manifest).expect("written");
        let error = Bundle::read(folder.path()).expect_err("a bad one");
        assert_eq!(error.problems.len(), 7, "{error}");
    }
}
