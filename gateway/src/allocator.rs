//! The allocator, and how soon memory that is free goes back to the machine.

use std::{env, os::unix::process::CommandExt, process::Command};

/// For every binary that serves: requests are made of small, short-lived allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The allocator's settings, and what they are to be: after how many milliseconds memory that nobody uses goes back to the
/// system, and whether the system may give 2 MiB for the first byte that is touched.
///
/// Buffers of a connection come and go with every turn of an I/O thread. Without a delay a turn that frees the last of
/// them pays for a call and for a fault on each page of the next one: 15 % of a request's processor time.
const SETTINGS: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "10"), ("MIMALLOC_ALLOW_THP", "0")];

/// The same for a process that loads one bundle and ends: memory that is only reserved does not count as taken.
pub const SETTINGS_OF_CHILD: [(&str, &str); 3] =
    [("MIMALLOC_PURGE_DELAY", "0"), ("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_ARENA_EAGER_COMMIT", "0")];

/// Makes the process take what it uses and little more, by starting this program again with the allocator's settings.
///
/// Loading a model takes many times what it takes afterwards. By default the allocator keeps that for a second and then
/// until somebody happens to look, and it asks the system for huge pages, of which a few bytes hold 2 MiB: a gateway of
/// many models that come and go would hold twice the memory that it needs, and read large models at half the speed.
/// Settings that are there stay as they are. They are read before `main`, from the environment alone; where the program
/// cannot be started again, it goes on as it is.
///
/// What is free after the delay goes back when somebody allocates next; [`give_back`] does not wait for that.
pub fn set_up() {
    let missing = SETTINGS.iter().filter(|(name, _)| env::var_os(name).is_none());
    let mut missing = missing.peekable();
    if missing.peek().is_none() {
        return;
    }
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_else(|| env!("CARGO_PKG_NAME").into());
    // Comes back only with an error.
    _ = Command::new("/proc/self/exe").arg0(name).args(arguments).envs(missing.copied()).exec();
}

/// Gives what this thread, and threads that ended, have freed back to the system now: for after a load, and after a model
/// is gone. Takes some milliseconds.
#[expect(unsafe_code, reason = "the allocator's function has no safe form")]
pub fn give_back() {
    // SAFETY: may be called by any thread at any time, as its documentation says; it frees nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// The memory that this process takes now, in bytes; `None` where the system does not tell.
pub fn resident_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kib.map(|kib: usize| kib << 10)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Set for the process that looks at itself.
    const INSIDE: &str = "MODELGATE_TEST_INSIDE";

    /// Bytes of this process in memory.
    fn resident() -> usize {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    /// In a process of its own, with the settings and without other tests beside it.
    #[test]
    fn what_was_freed_goes_back_when_asked() {
        const PIECES: usize = 50_000;
        const BYTES: usize = PIECES * 4096;
        if env::var_os(INSIDE).is_none() {
            let name = std::thread::current().name().unwrap().to_owned();
            let test = Command::new(env::current_exe().unwrap())
                .args(["--exact", &name, "--nocapture"])
                .envs(SETTINGS)
                .env(INSIDE, "yes")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&test.stdout);
            assert!(test.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let before = resident();
        // Every other piece stays for a while, so that no whole region is free.
        let (mut stay, mut go) = (Vec::new(), Vec::new());
        for piece in 0..PIECES {
            let list = if piece % 2 == 0 { &mut stay } else { &mut go };
            list.push(vec![piece as u8 | 1; 4096]);
        }
        let full = resident();
        assert!(full > before + BYTES, "{before} bytes, then {full}");
        drop(go);
        drop(stay);
        give_back();
        let after = resident();
        assert!(after < before + BYTES / 10, "{before} bytes, then {full}, then {after}");
    }
}
