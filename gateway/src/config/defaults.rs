//! Defaults that several settings or commands have in common.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::memory,
    loading::{LoadIsolation, LoadingConfig},
};

/// Connections open at once where memory allows it.
pub(super) const MAX_CONNECTIONS: usize = 20_000;

/// Bytes of the process's memory for each connection: a head that is still coming takes 64 KiB.
pub(super) const MEMORY_OF_CONNECTION: usize = 128 << 10;

/// The time that a load may take.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// `$XDG_CACHE_HOME/modelgate`, or `~/.cache/modelgate`; none if there is no home either.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the configuration; these two variables are the platform's, not ours"
)]
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var(name).ok().map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("modelgate"))
}

/// Where files of bundles are kept by default; none if there is no home.
pub fn bundle_cache_folder() -> Option<PathBuf> {
    Some(cache_folder()?.join("bundles"))
}

impl LoadingConfig {
    /// As `serve` has it by default, for commands that load one bundle.
    pub fn of_commands(binary: PathBuf) -> Self {
        Self {
            isolation: LoadIsolation::Process,
            binary: Some(binary),
            memory: None,
            process_memory: memory::of_process(),
            timeout: LOAD_TIMEOUT,
        }
    }
}
