//! The memory that the process may use.

use std::{fs, path::Path};

/// Bytes: the machine's memory, or less where a control group says so.
pub(super) fn of_process() -> usize {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(usize::MAX);
    groups.lines().flat_map(|line| limits(line, Path::new("/sys/fs/cgroup"))).fold(machine, usize::min)
}

/// `MemTotal:  16384 kB`.
fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// The limits of a group and of those above it, of either version of control groups.
fn limits(line: &str, root: &Path) -> Vec<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        names if names.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    // In a container the path is the host's, and the group itself is mounted at the root.
    let own = root.join(path.trim_start_matches('/'));
    own.ancestors()
        .take_while(|group| group.starts_with(&root))
        .filter_map(|group| fs::read_to_string(group.join(file)).ok()?.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_of_all_groups_counts() {
        let root = tempfile::TempDir::new().expect("a folder");
        for (group, limit) in [("a/b", "2048"), ("a", "1024"), ("", "max"), ("memory/c", "512")] {
            let folder = root.path().join(group);
            fs::create_dir_all(&folder).expect("made");
            let file = if group.starts_with("memory") { "memory.limit_in_bytes" } else { "memory.max" };
            fs::write(folder.join(file), format!("{limit}\n")).expect("written");
        }
        let least = |line| limits(line, root.path()).into_iter().min();
        assert_eq!(least("0::/a/b"), Some(1024));
        assert_eq!(least("0::/elsewhere"), None);
        assert_eq!(least("4:memory:/c"), Some(512));
        assert_eq!(least("5:cpu,cpuacct:/c"), None);
        assert_eq!(least("garbage"), None);
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16 kB\n"), Some(16 << 10));
        assert!(of_process() > 1 << 20);
    }
}
