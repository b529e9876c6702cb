//! The cores that a thread may run on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread to one of so many shares of the cores that the process may use; lets it be where there are fewer. Two
/// threads that keep their cores busy are else left together on one by the kernel for as long as no other core is idle,
/// and take turns of several milliseconds there.
pub(super) fn keep_to_share(number: usize, shares: usize) {
    let Ok(all) = sched_getaffinity(None) else { return };
    if let Some(share) = share(&all, number, shares) {
        // Where that is not allowed, it is slower at times.
        _ = sched_setaffinity(None, &share);
    }
}

fn share(all: &CpuSet, number: usize, shares: usize) -> Option<CpuSet> {
    if shares < 2 || (all.count() as usize) < shares {
        return None;
    }
    let mut share = CpuSet::new();
    let cores = (0..CpuSet::MAX_CPU).filter(|&core| all.is_set(core));
    cores.skip(number).step_by(shares).for_each(|core| share.set(core));
    Some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for &core in cores {
            set.set(core);
        }
        set
    }

    #[test]
    fn no_two_threads_share_a_core() {
        let all = set(&[1, 2, 5, 8, 9]);
        assert_eq!(share(&all, 0, 2), Some(set(&[1, 5, 9])));
        assert_eq!(share(&all, 1, 2), Some(set(&[2, 8])));
        assert_eq!(share(&all, 4, 5), Some(set(&[9])));
    }

    #[test]
    fn threads_without_a_core_each_are_left_alone() {
        assert_eq!(share(&set(&[0, 1]), 0, 3), None);
        assert_eq!(share(&set(&[0, 1]), 0, 1), None);
    }

    #[test]
    fn a_thread_keeps_to_its_share() {
        std::thread::spawn(|| {
            let cores = sched_getaffinity(None).expect("known").count();
            keep_to_share(0, cores as usize);
            assert_eq!(sched_getaffinity(None).expect("known").count(), 1);
        })
        .join()
        .expect("no panic");
    }
}
