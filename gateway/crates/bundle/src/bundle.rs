//! The bundle: a manifest and the files it names, read whole and verified.
//!
//! `modules/BUNDLE.md` describes the format. Reading collects every problem, so that an author sees all of them at once.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use modelgate_files::beneath::{Beneath, Links};
use modelgate_onnx::{BoosterForm, Mode, Model};
use modelgate_sandbox::{Isolation, Limits};
use sha2::{Digest, Sha256};

use crate::{
    batching::Batching,
    builtin::{Builtin, PREFIX},
    error::BundleError,
    files::Files,
    golden::Golden,
    manifest::{MANIFEST, Manifest},
    plain::PlainModel,
    python,
};

/// The bundle that `--demo` serves.
const DEMO: [(&str, &[u8]); 5] = [
    (MANIFEST, include_bytes!("../../../demo/bundle.toml")),
    ("model.onnx", include_bytes!("../../../demo/model.onnx")),
    ("preprocess.json", include_bytes!("../../../demo/preprocess.json")),
    ("predict.json", include_bytes!("../../../demo/predict.json")),
    ("golden.json", include_bytes!("../../../demo/golden.json")),
];

/// A bundle in memory, every digest verified.
pub struct Bundle {
    /// The name that requests use.
    pub name: String,
    /// Its version, as the author numbers it.
    pub version: String,
    /// One line for people.
    pub description: String,
    /// Columns that requests may have beside its inputs.
    pub ignored_columns: Vec<String>,
    /// The sha256 of the manifest, in hex: the bundle's identity.
    pub digest: String,
    /// The ONNX graph.
    pub model: Option<ModelFile>,
    /// The chain, in order; at least one.
    pub stages: Vec<Stage>,
    /// Known answers.
    pub golden: Golden,
    /// The limits of a request.
    pub limits: Limits,
    /// Whether instances outlive a request.
    pub isolation: Isolation,
    /// Limits on running requests together.
    pub batching: Batching,
    /// The largest difference that rows of others may make to a number.
    pub batching_tolerance: f64,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({} {} {})", self.name, self.version, self.digest)
    }
}

/// The ONNX graph of a bundle.
pub enum ModelFile {
    /// To be loaded.
    Bytes {
        /// The key that tells it from other models.
        identity: String,
        /// The file.
        onnx: Vec<u8>,
        /// The files that hold its larger tensors, by name.
        data: BTreeMap<String, Vec<u8>>,
        /// Whether it is served as tables or as tensors.
        mode: Mode,
        /// The columns and answers of a booster, where its file does not say them.
        booster: Option<BoosterForm>,
    },
    /// Loaded already, for another generation.
    Live(Arc<Model>),
}

impl fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { identity, onnx, .. } => write!(f, "ModelFile({identity}, {} bytes)", onnx.len()),
            Self::Live(_) => f.write_str("ModelFile(live)"),
        }
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
    /// The configuration that its `init` gets.
    pub config: Vec<u8>,
}

impl Stage {
    /// Whether its module came with the bundle, not with the gateway.
    pub fn is_custom(&self) -> bool {
        !self.module.starts_with(PREFIX)
    }
}

impl Bundle {
    /// Reads the bundle in this folder, or makes one of a plain ONNX file.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        if path.is_file() {
            return Self::plain(&PlainModel::read(path)?);
        }
        if !path.join(MANIFEST).exists()
            && let Some(sentence) = python::folder(path)
        {
            return Err(sentence.into());
        }
        let open =
            Beneath::open(path, Links::Inside).map_err(|error| format!("{MANIFEST}: {}: {error}", path.display()))?;
        let files = Files::Folder(&open);
        Self::build(&files.read(MANIFEST)?, &files, &|_| None)
    }

    /// A bundle of a plain ONNX file, without golden examples.
    fn plain(model: &PlainModel) -> Result<Self, BundleError> {
        let files: Vec<(&str, &[u8])> =
            model.data.iter().chain([&model.graph]).map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let manifest = model.manifest(None, None, Mode::Auto);
        Self::build(manifest.as_bytes(), &Files::Embedded(&files), &|_| None)
    }

    /// The bundle that comes with the gateway.
    pub fn demo() -> Result<Self, BundleError> {
        let files = Files::Embedded(&DEMO);
        Self::build(&files.read(MANIFEST)?, &files, &|_| None)
    }

    /// A bundle whose files are found by digest. `live` gives a model that is loaded already: its file is not read.
    pub fn stored(
        manifest: &[u8],
        read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
        live: &dyn Fn(&str) -> Option<Arc<Model>>,
    ) -> Result<Self, BundleError> {
        Self::build(manifest, &Files::Stored(read), live)
    }

    fn build(bytes: &[u8], files: &Files<'_>, live: &dyn Fn(&str) -> Option<Arc<Model>>) -> Result<Self, BundleError> {
        let manifest = Manifest::parse(bytes)?;
        let mut problems = manifest.problems();

        let mut fetch = |file: &str, sha256: Option<&str>, field: &str| match files.verified(file, sha256, field) {
            Ok(bytes) => bytes,
            Err(problem) => {
                problems.push(problem);
                Vec::new()
            }
        };
        let model = manifest.model.as_ref().map(|model| match live(&model.identity()) {
            Some(model) => ModelFile::Live(model),
            None => ModelFile::Bytes {
                onnx: fetch(&model.file, Some(&model.sha256), "[model] sha256"),
                data: model
                    .data
                    .iter()
                    .map(|data| (data.file.clone(), fetch(&data.file, Some(&data.sha256), "[model] data sha256")))
                    .collect(),
                mode: model.mode.into(),
                identity: model.identity(),
                booster: model.booster.as_ref().and_then(|booster| booster.resolve().ok()),
            },
        });
        let stages = manifest
            .stage
            .iter()
            .map(|stage| Stage {
                name: stage.name.clone(),
                module: stage.module.clone(),
                wasm: match Builtin::named(&stage.module) {
                    Some(builtin) => builtin.wasm(),
                    None if stage.module.starts_with(PREFIX) => Vec::new(),
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
            batching_tolerance: manifest.batching.tolerance()?,
            name: manifest.name,
            version: manifest.version,
            description: manifest.description,
            ignored_columns: manifest.ignored_columns,
            digest: format!("{:x}", Sha256::digest(bytes)),
            model,
            stages,
            golden,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
