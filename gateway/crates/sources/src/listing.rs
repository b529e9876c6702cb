//! One look at a source.

use std::sync::Arc;

use modelgate_bundle::{
    Manifest,
    release::{Content, Release},
};
use sha2::{Digest, Sha256};

/// Bytes of all manifests of one source: they stay in memory.
const MAX_MANIFESTS: usize = 64 << 20;

/// Problems that are told of one look, and characters of each.
const MAX_PROBLEMS: usize = 1000;
const MAX_WORDS: usize = 600;

/// Everything that a source offers.
#[derive(Debug, Default)]
pub struct Listing {
    /// All of it, for the policy to choose from.
    pub releases: Vec<Release>,
    /// Finds that are no release, a sentence each.
    pub problems: Vec<String>,
    /// Bytes of the manifests so far.
    pub(super) taken: usize,
}

impl Listing {
    /// Adds the bundle with this manifest, or what is wrong with it. `at` is where its files are. Tells whether it is one.
    pub(super) fn add(&mut self, source: usize, manifest: &Arc<[u8]>, at: &str) -> bool {
        self.taken = self.taken.saturating_add(manifest.len());
        let parsed = Manifest::parse(manifest).and_then(|parsed| match parsed.problems() {
            problems if problems.is_empty() => parsed.files().map(|_| parsed),
            problems => Err(problems.join("; ")),
        });
        match parsed {
            Ok(parsed) => {
                self.releases.push(Release {
                    id: format!("{:x}", Sha256::digest(manifest)),
                    model: parsed.name,
                    version: parsed.version,
                    source,
                    content: Content::Bundle { manifest: Arc::clone(manifest), at: at.to_owned() },
                });
                true
            }
            Err(problem) => {
                self.report(format!("{at}: {problem}"));
                false
            }
        }
    }

    /// Tells of something that is no release.
    pub(super) fn report(&mut self, mut problem: String) {
        if let Some((end, _)) = problem.char_indices().nth(MAX_WORDS) {
            problem.truncate(end);
        }
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// Whether the source has more manifests than are taken; says so once.
    pub(super) fn is_full(&mut self) -> bool {
        let is_full = self.taken > MAX_MANIFESTS;
        if is_full {
            self.report(format!(
                "at most {MAX_MANIFESTS} bytes of manifests are taken; what comes after them is ignored"
            ));
        }
        is_full
    }

    /// Where two have the same model and version, keeps the first by place, and says so.
    #[must_use]
    pub fn without_doubles(mut self) -> Self {
        let at = |release: &Release| match &release.content {
            Content::Bundle { at, .. } | Content::Onnx { at, .. } => at.clone(),
            Content::Folder(_) | Content::Demo | Content::Unservable { .. } => String::new(),
        };
        self.releases.sort_by_cached_key(|release| (release.model.clone(), release.version.clone(), at(release)));
        let mut last: Option<(String, String)> = None;
        let problems = &mut self.problems;
        self.releases.retain(|release| {
            let this = (release.model.clone(), release.version.clone());
            let is_double = last.as_ref() == Some(&this);
            if is_double {
                problems.push(format!("{}: a second {} version {}; it is ignored", at(release), this.0, this.1));
            }
            last = Some(this);
            !is_double
        });
        self
    }
}
