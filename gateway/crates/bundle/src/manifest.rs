//! The manifest: what a bundle is made of, as `modules/BUNDLE.md` describes it.

use std::{collections::BTreeSet, time::Duration};

use modelgate_onnx::Mode;
use modelgate_sandbox::{Isolation, Limits};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    batching::BatchingEntry,
    booster::BoosterEntry,
    builtin::{Builtin, PREFIX},
    files::is_inside,
};

/// The manifest's name in a bundle's folder.
pub const MANIFEST: &str = "bundle.toml";

/// The only manifest format there is.
const FORMAT: u32 = 1;

/// The largest manifest taken, in bytes: ten thousand times what a usual one takes.
pub const MAX_MANIFEST: usize = 1 << 20;

/// The longest deadline that a manifest may name at all.
pub(super) const MAX_DEADLINE: Duration = Duration::from_hours(1);

/// Columns that a manifest names only to have them ignored.
const MAX_IGNORED: usize = 10_000;

/// Parsed, not yet verified.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// The name that requests use.
    pub name: String,
    /// Its version, as the author numbers it.
    pub version: String,
    #[serde(default)]
    pub(super) description: String,
    /// Columns that requests may have beside the bundle's inputs: what made it passes over them.
    #[serde(default)]
    pub(super) ignored_columns: Vec<String>,
    pub(super) model: Option<ModelEntry>,
    #[serde(default)]
    pub(super) stage: Vec<StageEntry>,
    pub(super) golden: Option<FileEntry>,
    #[serde(default)]
    pub(super) limits: LimitsEntry,
    #[serde(default)]
    pub(super) run: RunEntry,
    #[serde(default)]
    pub(super) batching: BatchingEntry,
}

/// The graph, and the files that hold its larger tensors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelEntry {
    pub(super) file: String,
    pub(super) sha256: String,
    #[serde(default)]
    pub(super) mode: ModeEntry,
    #[serde(default)]
    pub(super) data: Vec<FileEntry>,
    pub(super) booster: Option<BoosterEntry>,
}

/// `mode` in `[model]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeEntry {
    #[default]
    Auto,
    Tables,
    Tensors,
}

impl From<ModeEntry> for Mode {
    fn from(mode: ModeEntry) -> Self {
        match mode {
            ModeEntry::Auto => Self::Auto,
            ModeEntry::Tables => Self::Tables,
            ModeEntry::Tensors => Self::Tensors,
        }
    }
}

impl ModelEntry {
    /// The key that tells it from other models: the digest of the graph, or one over it, those of the data, the mode and
    /// the booster's form.
    pub(super) fn identity(&self) -> String {
        if self.data.is_empty() && self.mode == ModeEntry::Auto && self.booster.is_none() {
            return self.sha256.clone();
        }
        let mut digest = Sha256::new_with_prefix(&self.sha256);
        if self.mode != ModeEntry::Auto {
            digest.update(format!("\n{:?}", self.mode));
        }
        for data in &self.data {
            digest.update(format!("\n{} {}", data.sha256, data.file));
        }
        if let Some(booster) = &self.booster {
            digest.update(format!("\n{booster:?}"));
        }
        format!("{:x}", digest.finalize())
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) file: String,
    pub(super) sha256: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StageEntry {
    pub(super) name: String,
    pub(super) module: String,
    pub(super) sha256: Option<String>,
    pub(super) config: Option<String>,
    pub(super) config_sha256: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsEntry {
    memory: Option<String>,
    deadline_ms: Option<u64>,
    rows: Option<u32>,
    host_call_bytes: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunEntry {
    #[serde(default)]
    pub(super) isolation: Isolation,
}

/// A file that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct FileRef {
    /// Its path in the bundle.
    pub file: String,
    /// Its digest.
    pub sha256: String,
}

impl Manifest {
    /// Parses one.
    ///
    /// # Errors
    /// What is wrong with the text itself; [`problems`](Self::problems) has the rest.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_MANIFEST {
            return Err(format!("{MANIFEST}: at most {MAX_MANIFEST} bytes are taken, got {}", bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| format!("{MANIFEST}: not UTF-8: {error}"))?;
        toml::from_str(text).map_err(|error| format!("{MANIFEST}: {error}"))
    }

    /// The digests of the graph and of the files that hold its larger tensors; none without a model.
    pub fn model_files(&self) -> impl Iterator<Item = &str> {
        let data = self.model.iter().flat_map(|model| &model.data).map(|data| data.sha256.as_str());
        self.model.iter().map(|model| model.sha256.as_str()).chain(data)
    }

    /// Whether it is about a booster's own file, with columns and answers that the file does not say.
    pub fn has_booster_form(&self) -> bool {
        self.model.as_ref().is_some_and(|model| model.booster.is_some())
    }

    /// The key that tells its model from others, once it is loaded.
    pub fn model_identity(&self) -> Option<String> {
        self.model.as_ref().map(ModelEntry::identity)
    }

    /// The modules in its chain that come with the gateway.
    pub fn builtin_modules(&self) -> impl Iterator<Item = &'static Builtin> {
        Builtin::all().iter().filter(|builtin| self.stage.iter().any(|stage| stage.module == builtin.name))
    }

    /// The number of modules in its chain.
    pub fn stages(&self) -> usize {
        self.stage.len()
    }

    /// Every file it names, once.
    ///
    /// # Errors
    /// A file without a digest, or with something that is none.
    pub fn files(&self) -> Result<Vec<FileRef>, String> {
        let mut files: Vec<FileRef> = Vec::new();
        let stages = self.stage.iter().flat_map(|stage| {
            let module = (!stage.module.starts_with(PREFIX)).then_some((&stage.module, stage.sha256.as_ref()));
            module.into_iter().chain(stage.config.as_ref().map(|config| (config, stage.config_sha256.as_ref())))
        });
        let graph = self.model.iter().map(|model| (&model.file, Some(&model.sha256)));
        let data = self.model.iter().flat_map(|model| &model.data);
        let others = graph.chain(data.chain(&self.golden).map(|entry| (&entry.file, Some(&entry.sha256))));
        for (file, sha256) in others.chain(stages) {
            let sha256 = sha256.ok_or_else(|| format!("{file}: its digest is missing"))?;
            if !is_sha256(sha256) {
                return Err(format!("{file}: expected a sha256 of 64 lower-case hex digits, got {sha256:?}"));
            }
            if !is_inside(file) {
                return Err(format!("{file}: expected a relative path inside the bundle, without `..`"));
            }
            let file = FileRef { file: file.clone(), sha256: sha256.clone() };
            if !files.contains(&file) {
                files.push(file);
            }
        }
        Ok(files)
    }

    /// The problems that show without the files.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.format != FORMAT {
            problems.push(format!("format: expected {FORMAT}, got {}", self.format));
        }
        for (field, value, length) in [("name", &self.name, 128), ("version", &self.version, 64)] {
            if !is_label(value, length) {
                problems.push(format!("{field}: expected 1 to {length} of A-Z a-z 0-9 . _ -, got {value:?}"));
            }
        }
        if self.ignored_columns.len() > MAX_IGNORED {
            let count = self.ignored_columns.len();
            problems.push(format!("ignored_columns: at most {MAX_IGNORED} are taken, got {count}"));
        }
        if self.stage.is_empty() {
            problems.push("stage: expected at least one [[stage]]".into());
        }
        if self.stage.len() > 16 {
            problems.push(format!("stage: at most 16 stages are taken, got {}", self.stage.len()));
        }
        let mut seen = BTreeSet::new();
        for stage in &self.stage {
            if !is_label(&stage.name, 64) {
                problems.push(format!("stage name: expected 1 to 64 of A-Z a-z 0-9 . _ -, got {:?}", stage.name));
            }
            if !seen.insert(&stage.name) {
                problems.push(format!("stage name: {:?} is used twice", stage.name));
            }
            if stage.module.starts_with(PREFIX) && Builtin::named(&stage.module).is_none() {
                let known: Vec<_> = Builtin::all().iter().map(|builtin| builtin.name).collect();
                problems.push(format!(
                    "stage {:?}: {:?} is not shipped with this gateway; it has {}",
                    stage.name,
                    stage.module,
                    known.join(", ")
                ));
            }
        }
        let booster = self.model.as_ref().and_then(|model| model.booster.as_ref());
        problems.extend(booster.and_then(|booster| booster.resolve().err()));
        problems.extend(self.limits.resolve().err());
        problems.extend(self.batching.resolve().err());
        problems.extend(self.batching.tolerance().err());
        problems
    }
}

impl LimitsEntry {
    pub(super) fn resolve(&self) -> Result<Limits, String> {
        let default = Limits::default();
        let bytes = |field: &str, value: &Option<String>, default: usize| match value {
            Some(text) => parse_bytes(text)
                .filter(|&bytes| bytes > 0)
                .ok_or_else(|| format!("[limits] {field}: expected a size such as \"64MiB\", got {text:?}")),
            None => Ok(default),
        };
        let deadline = match self.deadline_ms {
            Some(0) => return Err("[limits] deadline_ms: expected 1 or more, got 0".into()),
            Some(millis) => Duration::from_millis(millis),
            None => default.deadline,
        };
        if deadline > MAX_DEADLINE {
            let most = MAX_DEADLINE.as_millis();
            return Err(format!(
                "[limits] deadline_ms: expected an hour ({most}) at most, got {}",
                deadline.as_millis()
            ));
        }
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

/// Whether it may be a name in a manifest.
pub fn is_label(text: &str, length: usize) -> bool {
    (1..=length).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Whether it is a digest as manifests write it.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
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
    fn files_that_leave_the_bundle_or_have_no_digest_are_refused() {
        let digest = "0".repeat(64);
        let manifest = |file: &str, sha256: &str| {
            let text =
                format!("format = 1\nname = 'a'\nversion = '1'\n[model]\nfile = '{file}'\nsha256 = '{sha256}'\n");
            Manifest::parse(text.as_bytes()).expect("TOML").files()
        };
        assert_eq!(manifest("m/x.onnx", &digest).expect("good").len(), 1);
        for (file, sha256) in [("../x", digest.as_str()), ("/x", &digest), ("x", "../../etc"), ("x", "ABC")] {
            assert!(manifest(file, sha256).is_err(), "{file} {sha256}");
        }
    }
}
