//! Whether a bundle may come near the gateway: by its report, or by a child.

use std::{
    io::Write,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use modelgate_bundle::{Builtin, BundleError, MANIFEST, MAX_MANIFEST, Manifest, read_beneath, read_inside};
use modelgate_files::{
    beneath::{Beneath, Links},
    trust::Trust,
};
use modelgate_sandbox::cache::Code;
use modelgate_sources::store::attempts::{Attempts, NotBegun};
use rustix::process::{Resource, getrlimit};
use sha2::{Digest, Sha256};

use super::{
    LoadIsolation,
    message::{Answer, Task, TaskSource},
    parent::{self, NoAnswer},
    report::{Report, Reports, processor},
    throttle::Throttle,
};
use crate::{allocator::resident_memory, artifact_cache::ArtifactCache, batching_decision::EarlierDecision};

type Sha256Digest = sha2::digest::Output<Sha256>;

/// The memory that a child may take at least, where the gateway has hardly any memory left: a smaller one could load
/// nothing.
const LEAST_MEMORY: usize = 64 << 20;

/// The part of a load's time that it may rest, for others' sake.
const REST_SHARE: u32 = 5;

/// The settings of the first load of a bundle.
#[derive(Clone, Debug)]
pub struct LoadingConfig {
    /// Where.
    pub isolation: LoadIsolation,
    /// The binary of children; `None` in programs that are not the gateway's own and name none.
    pub binary: Option<PathBuf>,
    /// Bytes that a child may take, where the operator says so.
    pub memory: Option<usize>,
    /// Bytes that the gateway and its children may take together.
    pub process_memory: usize,
    /// The time that a child may take.
    pub timeout: Duration,
}

/// A bundle that is to be loaded.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// A folder or a plain ONNX file that the operator names.
    Path(&'a Path),
    /// A manifest from a source, and where its files are by digest.
    Stored {
        /// The manifest.
        manifest: &'a [u8],
        /// The place of a file.
        file: &'a dyn Fn(&str) -> PathBuf,
    },
}

impl std::fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Stored { .. } => f.write_str("stored"),
        }
    }
}

/// A bundle that the gateway may load itself.
#[derive(Clone, Debug, Default)]
pub struct Vetted {
    /// The facts about it; nothing where it was not loaded elsewhere.
    pub report: Option<Report>,
    /// Machine code of its modules that is in no cache yet.
    pub code: Arc<Code>,
    /// Where its report belongs, if that is new.
    key: Option<String>,
}

impl Vetted {
    /// Whether a child has just found this out.
    pub fn is_new(&self) -> bool {
        self.key.is_some() || !self.code.is_empty()
    }

    /// The facts that the gateway's own load need not find out again.
    pub fn found(&self) -> Option<&EarlierDecision> {
        self.report.as_ref().map(|report| &report.batching_decision)
    }
}

/// Why a bundle is not loaded.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// One sentence each.
    pub problems: Vec<String>,
    /// Whether its files could not be read, or are not what the manifest says.
    pub is_unread: bool,
    /// Whether a process died of it, or had to be killed.
    pub is_death: bool,
    /// Whether it may go better later.
    pub is_transient: bool,
}

impl From<Refusal> for BundleError {
    fn from(refusal: Refusal) -> Self {
        Self { problems: refusal.problems }
    }
}

impl Refusal {
    fn new(problem: impl Into<String>) -> Self {
        Self { problems: vec![problem.into()], ..Self::default() }
    }
}

/// Lets bundles be loaded by children, and keeps what those found out.
#[derive(Debug)]
pub struct Loader {
    config: LoadingConfig,
    reports: Option<Reports>,
    /// The causes of death of processes that loaded bundles which the operator names.
    deaths: Option<Attempts>,
    /// Whether it was said that there are no children here.
    is_warned: AtomicBool,
    /// Whether it was said that the kernel lacks something.
    is_told: AtomicBool,
}

impl Loader {
    /// Keeps reports beside the code in `cache`, if there is one.
    pub fn new(config: LoadingConfig, cache: Option<&Path>, trust: Trust) -> Self {
        let reports = cache.and_then(|cache| {
            Reports::at(cache, trust).inspect_err(|error| tracing::warn!(%error, "reports of loads are not kept")).ok()
        });
        let deaths = cache.and_then(|cache| Attempts::at(cache, trust).ok());
        Self { config, reports, deaths, is_warned: AtomicBool::new(false), is_told: AtomicBool::new(false) }
    }

    /// Whether children are wanted and can be started, as far as is known.
    pub fn is_isolating(&self) -> bool {
        self.config.isolation == LoadIsolation::Process
            && self.config.binary.is_some()
            && !self.is_warned.load(Ordering::Relaxed)
    }

    /// Finds out whether a bundle can be loaded, without loading it here: by a report, or by a child. `named` is what it is
    /// called where its manifest does not decide, `threads` how many will run it.
    ///
    /// # Errors
    /// What is wrong with the bundle, or what became of the child.
    pub fn vet(
        &self,
        subject: Subject<'_>,
        named: Option<(&str, &str)>,
        artifacts: &ArtifactCache,
        threads: usize,
        throttle: &Throttle<'_>,
    ) -> Result<Vetted, Refusal> {
        let Some(binary) = self.config.binary.as_deref().filter(|_| self.is_isolating()) else {
            return Ok(Vetted::default());
        };
        let key = self.key(subject, named, artifacts, binary);
        if !throttle.is_by_hand
            && let Some(report) = key.as_deref().and_then(|key| self.reports.as_ref()?.get(key))
            && holds(&report, subject, artifacts)
        {
            return Ok(Vetted { report: Some(report), ..Vetted::default() });
        }
        let own_code = builtin_code(subject, artifacts);
        let task = self.task(subject, named, artifacts, threads, throttle)?;
        let wanted = |name: &str| !own_code.iter().any(|own| own == name);
        match parent::run(binary, &task, throttle, self.config.timeout, wanted) {
            Ok(Answer::Loaded(report, code)) => {
                self.log_confinement(report.confined);
                Ok(Vetted { report: Some(*report), code: Arc::new(code), key })
            }
            Ok(Answer::Refused { problems, unread }) => {
                Err(Refusal { problems, is_unread: unread, ..Refusal::default() })
            }
            Err(NoAnswer::Impossible(error)) => {
                if !self.is_warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %error,
                        binary = %binary.display(),
                        "no process can be started here, so bundles are loaded in the gateway's own: one that takes too much \
                         ends the gateway (--load-isolation none says that this is meant)"
                    );
                }
                Ok(Vetted::default())
            }
            Err(NoAnswer::NotNow(error)) => Err(Refusal {
                is_transient: true,
                ..Refusal::new(format!("no process could be started to load it: {error}"))
            }),
            Err(NoAnswer::Cancelled) => {
                Err(Refusal { is_transient: true, ..Refusal::new("it is not wanted any more") })
            }
            Err(NoAnswer::Died(reason)) => Err(Refusal { is_death: true, ..Refusal::new(reason) }),
            Err(NoAnswer::Failed(reason)) => Err(Refusal::new(reason)),
        }
    }

    /// The same for a bundle that the operator names. What processes died of is refused after a few times, so that a gateway
    /// that is started again and again spends no more on it; `by_hand` it is tried all the same.
    ///
    /// # Errors
    /// As [`vet`](Self::vet), and that processes died of it.
    pub fn vet_static(
        &self,
        path: &Path,
        artifacts: &ArtifactCache,
        threads: usize,
        by_hand: bool,
    ) -> Result<Vetted, Refusal> {
        let id = if path.is_file() { digest_of(path) } else { manifest_in(path).map(Sha256::digest) };
        let deaths = self.deaths.as_ref().zip(id.map(|id| format!("{id:x}")));
        if let Some((attempts, id)) = &deaths
            && !by_hand
            && let Err(NotBegun::Died(deaths, reason)) = attempts.check(id, true)
        {
            return Err(Refusal::new(format!(
                "{reason} ({deaths} so far), so it is not tried again by itself: try it with `modelgate check`, or change \
                 the bundle"
            )));
        }
        let throttle = Throttle { is_by_hand: by_hand, ..Throttle::PLAIN };
        let vetted = self.vet(Subject::Path(path), None, artifacts, threads, &throttle);
        if let Some((attempts, id)) = &deaths {
            match &vetted {
                Ok(_) => attempts.forget(id),
                Err(refusal) if refusal.is_death => {
                    if let Err(error) = attempts.note_death(id, &refusal.problems.join("; ")) {
                        tracing::warn!(%error, "what a process died of could not be written down");
                    }
                }
                Err(_) => {}
            }
        }
        vetted
    }

    /// Keeps the report of a bundle that the gateway has loaded by now.
    pub fn keep(&self, vetted: &Vetted) {
        if let (Some(reports), Some(key), Some(report)) = (&self.reports, &vetted.key, &vetted.report)
            && let Err(error) = reports.put(key, report)
        {
            tracing::warn!(%error, "the report of a load could not be kept");
        }
    }

    /// The memory that a child may take: three quarters of what the gateway leaves, so that it can load the same after
    /// it.
    fn memory(&self) -> usize {
        let memory = self.config.memory.unwrap_or_else(|| {
            let left = self.config.process_memory.saturating_sub(resident_memory().unwrap_or(0));
            (left / 4 * 3).max(LEAST_MEMORY)
        });
        // What holds for this process holds for those that it starts.
        let limit = getrlimit(Resource::Data).maximum.and_then(|most| usize::try_from(most).ok());
        memory.min(limit.unwrap_or(usize::MAX))
    }

    fn task(
        &self,
        subject: Subject<'_>,
        named: Option<(&str, &str)>,
        artifacts: &ArtifactCache,
        threads: usize,
        throttle: &Throttle<'_>,
    ) -> Result<Task, Refusal> {
        let source = match subject {
            Subject::Path(path) => TaskSource::Path(path.to_owned()),
            Subject::Stored { manifest, file } => {
                let manifest = String::from_utf8(manifest.to_vec())
                    .map_err(|error| Refusal::new(format!("{MANIFEST}: not UTF-8: {error}")))?;
                let files = Manifest::parse(manifest.as_bytes()).and_then(|manifest| manifest.files());
                let files = files
                    .map_err(Refusal::new)?
                    .into_iter()
                    .map(|listed| (listed.sha256.clone(), file(&listed.sha256)));
                let files = files.collect();
                TaskSource::Stored { manifest, files }
            }
        };
        let seconds = self.config.timeout.as_secs() + 1;
        Ok(Task {
            source,
            named: named.map(|(name, version)| (name.to_owned(), version.to_owned())),
            ceilings: artifacts.ceilings,
            code: artifacts.compiler.cache().folders().cloned().collect(),
            threads,
            memory: self.memory() as u64,
            seconds,
            background: throttle.is_background,
            rest_ms: u64::try_from((self.config.timeout / REST_SHARE).as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Where the report of a bundle is; `None` where none can be.
    fn key(
        &self,
        subject: Subject<'_>,
        named: Option<(&str, &str)>,
        artifacts: &ArtifactCache,
        binary: &Path,
    ) -> Option<String> {
        let reports = self.reports.as_ref()?;
        let identity = match subject {
            Subject::Stored { manifest, .. } => Sha256::digest(manifest).to_vec(),
            Subject::Path(path) if path.is_file() => digest_of(path)?.to_vec(),
            Subject::Path(path) => Sha256::digest(manifest_in(path)?).to_vec(),
        };
        let ceilings = serde_json::to_vec(&artifacts.ceilings).ok()?;
        let (name, version) = named.unwrap_or_default();
        // The engine's own hash is of the processor's features as the compiler sees them.
        let engine = artifacts.compiler.entry(&[0; 32]);
        let mut hash = Sha256::new();
        for part in [
            identity.as_slice(),
            name.as_bytes(),
            version.as_bytes(),
            reports.binary(binary).ok()?.as_bytes(),
            processor().as_bytes(),
            engine.as_bytes(),
            &ceilings,
        ] {
            _ = hash.write_all(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Some(format!("{:x}", hash.finalize()))
    }

    /// Says once what the kernel lacks.
    fn log_confinement(&self, [files, calls]: [bool; 2]) {
        if (!files || !calls) && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                landlock = files,
                seccomp = calls,
                "the kernel cannot take everything from the processes that load bundles; their memory, time and \
                 environment are limited all the same"
            );
        }
    }
}

/// Whether a report that was found is still true: the code is there, and so are the files beside a plain ONNX file.
fn holds(report: &Report, subject: Subject<'_>, artifacts: &ArtifactCache) -> bool {
    let is_name = |name: &String| !name.contains('/');
    let has_code = report.code.iter().all(|name| is_name(name) && artifacts.compiler.cache().has(name));
    let has_files = match subject {
        Subject::Path(path) if path.is_file() => {
            let folder = super::confine::folder_of(path);
            let own = path.file_name().and_then(|name| name.to_str());
            report.plain_files.iter().filter(|file| Some(file.file.as_str()) != own).all(|file| {
                read_inside(&folder, &file.file)
                    .is_ok_and(|bytes| format!("{:x}", Sha256::digest(bytes)) == file.sha256)
            })
        }
        _ => true,
    };
    has_code && has_files
}

/// Compiles the modules of the gateway's own that a bundle uses, unless they are in the cache, and names their code: none
/// of it is taken from a child.
fn builtin_code(subject: Subject<'_>, artifacts: &ArtifactCache) -> Vec<String> {
    let manifest = match subject {
        Subject::Stored { manifest, .. } => Manifest::parse(manifest).ok(),
        Subject::Path(path) if path.is_file() => None,
        Subject::Path(path) => manifest_in(path).and_then(|manifest| Manifest::parse(&manifest).ok()),
    };
    if let Some(manifest) = manifest {
        for module in manifest.builtin_modules() {
            if let Err(error) = artifacts.compiler.precompile(&module.digest, || module.wasm()) {
                tracing::warn!(%error, "a module of the gateway's own cannot be compiled");
            }
        }
    }
    Builtin::all().iter().map(|module| artifacts.compiler.entry(&module.digest)).collect()
}

/// Of a plain ONNX file and its name, from which its bundle has its own.
fn digest_of(path: &Path) -> Option<Sha256Digest> {
    let mut hash = Sha256::new_with_prefix(path.file_name()?.as_bytes());
    std::io::copy(&mut std::fs::File::open(path).ok()?, &mut hash).ok()?;
    Some(hash.finalize())
}

fn manifest_in(folder: &Path) -> Option<Vec<u8>> {
    let folder = Beneath::open(folder, Links::Inside).ok()?;
    read_beneath(&folder, MANIFEST, MAX_MANIFEST as u64).ok()
}
