//! Every input that is kept holds: those that a person wrote, and those that a fuzzer found.

use std::{
    collections::BTreeSet,
    fs, mem, panic,
    path::{Path, PathBuf},
    sync::Mutex,
};

use modelgate_fuzz_checks::{CHECKS, is_ours};

/// The bytes of a seed at most: a fuzzer makes no larger inputs.
const LARGEST: u64 = 8 << 10;

/// The target that the gateway checks itself, since its messages are its own.
const OF_THE_GATEWAY: &str = "grpc";

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn names(folder: &str, suffix: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).expect(folder).flatten();
    let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    names.filter_map(|name| name.strip_suffix(suffix).map(str::to_owned)).collect()
}

// One test, since memory is counted for the whole process.
#[test]
fn every_seed_holds() {
    static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let panics = || PANICS.lock().expect("the hook holds it for no longer than it takes to push");
    let test = panic::take_hook();
    panic::set_hook(Box::new(|panic| {
        if is_ours(panic) {
            PANICS.lock().expect("no panic while it is held").push(panic.to_string());
        }
    }));
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        let mut seeds: Vec<_> = fs::read_dir(fuzz().join("seeds").join(name)).expect(name).flatten().collect();
        seeds.sort_by_key(fs::DirEntry::path);
        for seed in seeds {
            let bytes = fs::read(seed.path()).expect("a seed");
            let is_held = panic::catch_unwind(|| check(&bytes)).is_ok();
            let panics = mem::take(&mut *panics());
            if !is_held || !panics.is_empty() {
                failed.push(format!("{}: {panics:?}", seed.path().display()));
            }
        }
    }
    panic::set_hook(test);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_target_has_a_check_and_seeds() {
    let checks = CHECKS.iter().map(|(name, _)| (*name).to_owned()).chain([OF_THE_GATEWAY.to_owned()]);
    let checks: BTreeSet<_> = checks.collect();
    assert_eq!(names("fuzz_targets", ".rs"), checks);
    assert_eq!(names("seeds", ""), checks);
    assert!(names("dictionaries", ".dict").is_subset(&checks));
    for name in &checks {
        assert!(names(&format!("seeds/{name}"), "").len() > 2, "{name} has hardly a seed");
        for seed in fs::read_dir(fuzz().join("seeds").join(name)).expect("seeds").flatten() {
            assert!(seed.metadata().expect("a file").len() <= LARGEST, "{}", seed.path().display());
        }
    }
}
