//! The allocator, and how soon it gives memory back.

use std::{env, os::unix::process::CommandExt, process::Command};

/// For every binary that serves: requests are made of small, short-lived allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After how many milliseconds memory that nobody uses goes back to the system.
const DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Makes memory go back to the system at once, by starting this program again with the allocator's setting.
///
/// Loading a model takes many times what it takes afterwards. By default the allocator keeps that for a second and then
/// until somebody happens to look; a gateway with few models would hold twice the memory that it needs. The setting is read
/// before `main`, from the environment alone. Where the program cannot be started again, it goes on as it is.
pub fn give_back_at_once() {
    if env::var_os(DELAY).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| env!("CARGO_PKG_NAME").into());
    // Comes back only with an error.
    _ = Command::new("/proc/self/exe").arg0(name).args(arguments).env(DELAY, "0").exec();
}
