//! The time slice that a thread asks the kernel for.

use std::mem;

/// The slice asked for, in nanoseconds: shorter than the kernel's own (0.7 ms, and more with several cores), long enough
/// that busy threads do not change places at each request. `sched_setattr(2)` grants 0.1 to 100 ms.
const SLICE: u64 = 500_000;

/// Bytes of the attributes that every kernel since 3.14 knows.
const ATTRIBUTES: u32 = 48;

/// Asks for a short time slice for this thread. From Linux 6.12 on a thread with a short slice that wakes runs at
/// once, before one with a longer slice that keeps its core busy, and its share of the processor stays the same. Older
/// kernels know no slices, and a kernel that refuses leaves the thread as it was.
#[expect(unsafe_code, reason = "no library has a safe form of this system call")]
pub(super) fn shorten() {
    let Some(mut attributes) = attributes() else { return };
    let policy = attributes.sched_policy.cast_signed();
    if policy != libc::SCHED_OTHER && policy != libc::SCHED_BATCH {
        return;
    }
    // The niceness stays as it was read.
    attributes.size = ATTRIBUTES;
    attributes.sched_flags = 0;
    attributes.sched_runtime = SLICE;
    // SAFETY: the kernel only reads the structure, as many bytes as its first field says.
    _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// This thread's policy, niceness and slice, unless the kernel refuses to tell.
#[expect(unsafe_code, reason = "no library has a safe form of this system call")]
fn attributes() -> Option<libc::sched_attr> {
    // SAFETY: the structure is plain numbers, for which zeros are valid.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes at most so many bytes of a structure that has them, about the calling thread (0).
    let error = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, ATTRIBUTES, 0) };
    (error == 0).then_some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_changes_its_slice_alone() {
        std::thread::spawn(|| {
            let before = attributes().expect("this kernel tells");
            shorten();
            let after = attributes().expect("this kernel tells");
            assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
            // Kernels without slices tell none.
            let expected = if before.sched_runtime == 0 { 0 } else { SLICE };
            assert_eq!(after.sched_runtime, expected);
        })
        .join()
        .expect("no panic");
    }
}
