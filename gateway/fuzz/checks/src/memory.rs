//! Memory that a decoder takes, counted by the allocator.

use std::alloc::System;

use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};

#[global_allocator]
static ALLOCATOR: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Memory that an input may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// For each byte of the input.
    pub(crate) factor: usize,
    /// For any input.
    pub(crate) floor: usize,
}

/// Runs `decode` on an input of so many bytes, and panics where it took more than it may. Threads beside this one must not
/// allocate meanwhile.
pub(crate) fn within<T>(allowance: Allowance, input: usize, decode: impl FnOnce() -> T) -> T {
    let most = input * allowance.factor + allowance.floor;
    ALLOCATOR.reset_peak_memory();
    let decoded = decode();
    let taken = ALLOCATOR.get_peak_memory();
    assert!(taken <= most, "{input} bytes took {taken} bytes of memory, more than {most}");
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_though_it_is_given_back() {
        let allowance = Allowance { factor: 2, floor: 64 << 10 };
        let take = |bytes: usize| within(allowance, 1 << 20, || drop(vec![1u8; bytes]));
        take(2 << 20);
        assert!(std::panic::catch_unwind(|| take(4 << 20)).is_err());
    }
}
