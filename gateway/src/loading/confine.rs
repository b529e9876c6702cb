//! The rights that a child gives up before it looks at a bundle.
//!
//! In order: the right to gain rights; memory, processor time, open files and core dumps beyond its limits; files, but for
//! those of its bundle and of compiled code, and the network (Landlock); every system call that a load does not need
//! (seccomp). A kernel without Landlock or seccomp leaves out that part alone; the gateway says so once.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Files open at once: the pipes, those of the bundle that are opened ahead, and memory images of modules.
const OPEN_FILES: u64 = 256;

/// Dies with the thread that started it, and is the first to go where memory runs short.
pub(super) fn bind_to_parent() {
    // Where either is refused, the end of the pipe from the gateway ends the child, and it goes in its turn.
    _ = set_parent_process_death_signal(Some(Signal::KILL));
    _ = File::options().write(true).open("/proc/self/oom_score_adj").and_then(|mut file| file.write_all(b"1000"));
}

/// Closes what the gateway inherited from its own parent and passed on. To be called before anything is opened.
#[expect(unsafe_code, reason = "no safe function closes descriptors that nobody owns")]
pub(super) fn close_inherited() {
    // SAFETY: the process has opened nothing but its three standard streams yet, so that no descriptor from 3 on has an
    // owner in it. A kernel without this call (before 5.9) leaves them open.
    _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u64, u64::from(u32::MAX), 0_u64) };
}

/// Limits memory to so many bytes and processor time to so many seconds.
///
/// # Errors
/// A limit that the kernel refuses: nothing is loaded without.
pub(super) fn limit(memory: u64, seconds: u64) -> io::Result<()> {
    for (resource, most) in [
        // Not the address space: the pool of instances reserves hundreds of gigabytes of it.
        (Resource::Data, memory),
        // Of a file in memory, which modules' initial memories are.
        (Resource::Fsize, memory),
        (Resource::Cpu, seconds),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ] {
        // Root could raise what it was given.
        let most = getrlimit(resource).maximum.map_or(most, |given| given.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// Takes away all files but those in `folders`, which can be read, and the network. Whether the kernel can.
pub(super) fn take_files(folders: &[PathBuf]) -> bool {
    let ruled = || -> Result<bool, landlock::RulesetError> {
        let abi = ABI::V6;
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?;
        // What is not there cannot be read either.
        for folder in folders.iter().filter_map(|folder| PathFd::new(folder).ok()) {
            rules = rules.add_rule(PathBeneath::new(folder, AccessFs::ReadFile | AccessFs::ReadDir))?;
        }
        Ok(rules.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
    };
    ruled().unwrap_or(false)
}

/// Takes away every system call that a load does not need: those fail. Whether the kernel can.
pub(super) fn take_calls() -> bool {
    let filter = || -> Result<(), Box<dyn std::error::Error>> {
        let allow = SeccompAction::Allow;
        let filter = SeccompFilter::new(rules()?, SeccompAction::Errno(libc::EPERM as u32), allow, arch()?)?;
        let program: BpfProgram = filter.try_into()?;
        Ok(seccompiler::apply_filter(&program)?)
    };
    // The C library falls back to `clone`, whose flags can be looked at; those of `clone3` are behind a pointer.
    let no_clone3 = || -> Result<(), Box<dyn std::error::Error>> {
        let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let missing = SeccompAction::Errno(libc::ENOSYS as u32);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, arch()?)?;
        let program: BpfProgram = filter.try_into()?;
        Ok(seccompiler::apply_filter(&program)?)
    };
    no_clone3().and_then(|()| filter()).is_ok()
}

fn arch() -> Result<TargetArch, Box<dyn std::error::Error>> {
    Ok(std::env::consts::ARCH.try_into()?)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn rules() -> Result<Rules, Box<dyn std::error::Error>> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq};

    let mut rules: Rules = CALLS.iter().chain(LEGACY_CALLS).map(|&call| (call, Vec::new())).collect();
    let thread = libc::CLONE_THREAD as u64;
    let own = u64::from(std::process::id());
    // Of two filters that refuse a call, the newer one's error is given: here `clone3` is the older one's.
    rules.insert(libc::SYS_clone3, Vec::new());
    let mut only = |call: i64, index: u8, length, compare, value: u64| -> Result<(), seccompiler::BackendError> {
        let condition = SeccompCondition::new(index, length, compare, value)?;
        rules.entry(call).or_default().push(SeccompRule::new(vec![condition])?);
        Ok(())
    };
    // Threads, no processes.
    only(libc::SYS_clone, 0, Qword, MaskedEq(thread), thread)?;
    // Its own limits can be read and lowered; others' are not its business.
    only(libc::SYS_prlimit64, 0, Dword, Eq, 0)?;
    // `abort`.
    only(libc::SYS_tgkill, 0, Dword, Eq, own)?;
    // Names of threads and of memory.
    for option in [libc::PR_SET_NAME, libc::PR_GET_NAME, PR_SET_VMA] {
        only(libc::SYS_prctl, 0, Dword, Eq, option as u64)?;
    }
    Ok(rules)
}

/// Names a part of memory, for those who look at it.
const PR_SET_VMA: i32 = 0x5356_4d41;

/// Calls that the allocator, the sandbox, the threads and the standard library use, on every processor.
const CALLS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_get_mempolicy,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mbind,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mincore,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Older forms of the same, where the processor's interface has them.
#[cfg(target_arch = "x86_64")]
const LEGACY_CALLS: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY_CALLS: &[i64] = &[];

/// The folder of a path: what stands beside a plain ONNX file is part of it.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        _ if path.is_dir() => path.to_owned(),
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
