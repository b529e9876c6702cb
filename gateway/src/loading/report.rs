//! The results of a load, kept so that the next one need not find them out again.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use modelgate_bundle::FileRef;
use modelgate_files::{temporary::temporary_path, trust::Trust};
use modelgate_sandbox::module::Isolation;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::batching_decision::{Cause, EarlierDecision};

/// Reports kept; the oldest go first.
const MAX_REPORTS: usize = 512;

/// Bytes of a report at most.
const MAX_BYTES: u64 = 1 << 20;

/// The facts about a bundle that was loaded.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The sha256 of its manifest.
    pub digest: String,
    /// Seconds that the load took, golden examples included.
    pub seconds: f64,
    /// Bytes of memory that the process which loaded it took at its height.
    pub peak_bytes: u64,
    /// Bytes that it takes while it is resident, estimated.
    pub footprint: u64,
    /// Whether rows of different requests run together, why, and the kinds of plans that the model has.
    #[serde(rename = "joining")]
    pub batching_decision: EarlierDecision,
    /// Why a row's answer may depend on the rows beside it, as far as the graph goes; `None` if it may not.
    pub rows_meet: Option<String>,
    /// Whether instances outlive a request.
    pub isolation: Isolation,
    /// The stages whose modules came with the bundle.
    pub custom_modules: Vec<String>,
    /// Whether it has a column `model`.
    pub takes_model_key: bool,
    /// The number of golden examples that were answered as expected.
    pub golden_examples: usize,
    /// Names of the machine code that it needs, in the code cache.
    pub code: Vec<String>,
    /// The files of a plain ONNX file's bundle; none where there is a manifest.
    pub plain_files: Vec<FileRef>,
    /// Whether the kernel had what keeps a child from files (Landlock) and from system calls (seccomp).
    pub confined: [bool; 2],
}

impl Default for Report {
    fn default() -> Self {
        let decision =
            EarlierDecision { cause: Cause::Untried, detail: String::new(), max_rows: 1, plan: String::new() };
        Self {
            name: String::new(),
            version: String::new(),
            digest: String::new(),
            seconds: 0.0,
            peak_bytes: 0,
            footprint: 0,
            batching_decision: decision,
            rows_meet: None,
            isolation: Isolation::Worker,
            custom_modules: Vec::new(),
            takes_model_key: false,
            golden_examples: 0,
            code: Vec::new(),
            plain_files: Vec::new(),
            confined: [false; 2],
        }
    }
}

/// A folder of reports, `reports` beside the entries of the code cache.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    folder: PathBuf,
}

impl Reports {
    /// Uses a folder in `cache`, making it if it is not there.
    pub(super) fn at(cache: &Path, trust: Trust) -> io::Result<Self> {
        let folder = cache.join("reports");
        trust.make(&folder)?;
        Ok(Self { folder })
    }

    /// The report under this key, if there is one that makes sense.
    pub(super) fn get(&self, key: &str) -> Option<Report> {
        let mut text = Vec::new();
        File::open(self.path(key)).ok()?.take(MAX_BYTES).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps a report. One that cannot be kept costs the next load a child, no more.
    pub(super) fn put(&self, key: &str, report: &Report) -> io::Result<()> {
        let bytes = serde_json::to_vec(report)?;
        let temporary = temporary_path(&self.folder);
        let written = File::create_new(&temporary)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&temporary, self.path(key)));
        if written.is_err() {
            _ = fs::remove_file(&temporary);
        }
        self.drop_oldest();
        written
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }

    /// Keeps the folder bounded.
    fn drop_oldest(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let entries =
            entries.flatten().filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"));
        let mut entries: Vec<_> =
            entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
        if entries.len() > MAX_REPORTS {
            entries.sort();
            for (_, path) in &entries[..entries.len() - MAX_REPORTS] {
                _ = fs::remove_file(path);
            }
        }
    }

    /// The digest of a binary. Reading one takes tens of milliseconds, so the digest is remembered for as long as the file is
    /// the same by place, length and times: the time of its last change cannot be set to the past by those who may write to it.
    pub(super) fn binary(&self, path: &Path) -> io::Result<String> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
        let identity = format!("{}:{} {} {times:?}", meta.dev(), meta.ino(), meta.len());
        let known = self.folder.join("binary");
        let text = fs::read_to_string(&known).unwrap_or_default();
        if let Some((owner, digest)) = text.trim_end().split_once('\n')
            && owner == identity
        {
            return Ok(digest.to_owned());
        }
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash)?;
        let digest = format!("{:x}", hash.finalize());
        let temporary = temporary_path(&self.folder);
        // Two binaries that share a cache take turns, which costs each of them that reading.
        _ = fs::write(&temporary, format!("{identity}\n{digest}\n")).and_then(|()| fs::rename(&temporary, &known));
        Ok(digest)
    }
}

/// The properties that decide which code and which plans a processor gets, as text.
pub(super) fn processor() -> String {
    /// Of one core, those lines that do not differ between cores or from moment to moment.
    const LINES: [&str; 10] = [
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "stepping",
        "flags",
        "Features",
        "CPU implementer",
        "CPU part",
        "CPU variant",
    ];
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let lines = lines.filter(|line| line.split_once(':').is_some_and(|(name, _)| LINES.contains(&name.trim())));
    format!("{}\n{}", std::env::consts::ARCH, lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_found_under_its_key_alone_and_a_damaged_one_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let reports = Reports::at(folder.path(), Trust::Verified).expect("a folder");
        reports.put("a", &Report { name: "m".into(), ..Report::default() }).expect("written");
        assert_eq!(reports.get("a").expect("there").name, "m");
        assert!(reports.get("b").is_none());
        fs::write(reports.path("a"), "{").expect("damaged");
        assert!(reports.get("a").is_none());
    }

    #[test]
    fn a_changed_binary_has_another_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        let reports = Reports::at(folder.path(), Trust::Verified).expect("a folder");
        let binary = folder.path().join("binary");
        fs::write(&binary, "one").expect("written");
        let first = reports.binary(&binary).expect("read");
        assert_eq!(reports.binary(&binary).expect("known"), first);
        let opened = File::options().append(true).open(&binary);
        opened.and_then(|mut file| file.write_all(b"!")).expect("changed");
        assert_ne!(reports.binary(&binary).expect("read"), first);
    }
}
