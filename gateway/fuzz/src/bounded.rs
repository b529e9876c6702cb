//! Fuzzing for a bounded time with a stable compiler: keeps the inputs that reach something new, and changes them.
//!
//! `bounded TARGET SECONDS [FOLDER ...]` begins with the files of some folders; `bounded TARGET FILE` tries one file again.
//! Inputs that crash or hang are left in `target/fuzz-crash`, and printed in hexadecimal: `xxd -r -p` makes a file of that.
//! Seeded, but two runs still differ: hash tables of what is tried are ordered by chance, and so what it reaches.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longer inputs reach nothing that shorter ones do not.
const LONGEST: usize = 4096;

/// After so long on one input it hangs.
const HANG: Duration = Duration::from_secs(60);

/// The input that is being tried, and the number of those before it.
static NOW: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static TRIED: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [target, what, folders @ ..] = &args[..] else {
        eprintln!("usage: bounded TARGET SECONDS [FOLDER ...] | bounded TARGET FILE");
        return ExitCode::FAILURE;
    };
    let target: fn(&[u8]) = match target.as_str() {
        "loader" => modelgate_fuzz::loader,
        "operators" => modelgate_fuzz::operators,
        other => {
            eprintln!("no target is called '{other}': loader, operators");
            return ExitCode::FAILURE;
        }
    };
    modelgate_fuzz::stop_at_our_panics(save);
    let Ok(seconds) = what.parse() else {
        return match fs::read(what) {
            Ok(input) => {
                target(&input);
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{what}: {error}");
                ExitCode::FAILURE
            }
        };
    };
    thread::spawn(watch);
    fuzz(target, Duration::from_secs(seconds), folders);
    ExitCode::SUCCESS
}

/// Keeps the input for somebody to look at.
fn save() {
    let name = "target/fuzz-crash";
    if let Ok(input) = NOW.try_lock() {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("the input is in {name} ({:?}): {hex}", fs::write(name, &*input));
    }
}

/// Ends the process if one input takes too long.
fn watch() {
    let (mut before, mut since) = (usize::MAX, Instant::now());
    loop {
        thread::sleep(Duration::from_secs(1));
        let tried = TRIED.load(Ordering::Relaxed);
        if tried != before {
            (before, since) = (tried, Instant::now());
        } else if since.elapsed() > HANG {
            eprintln!("an input takes more than {HANG:?}");
            save();
            process::exit(1);
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    fn changed(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len());
            let count = 1 + self.below(8);
            match self.below(8) {
                0 => drop(input.splice(at..at, (0..count).map(|_| self.below(256) as u8))),
                1 => drop(input.drain(at..(at + count).min(input.len()))),
                2 => input.truncate(at),
                3 => {
                    // The beginning of one and the end of another.
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len());
                    input.truncate(at);
                    input.extend(&other[from..]);
                }
                4 => {
                    let copied = input[at..(at + count).min(input.len())].to_vec();
                    input.splice(at..at, copied);
                }
                5 => input.extend((0..count).map(|_| self.below(256) as u8)),
                _ if input.is_empty() => {}
                6 => input[at] ^= 1 << self.below(8),
                _ => input[at] = self.below(256) as u8,
            }
        }
        input.truncate(LONGEST);
        input
    }
}

fn fuzz(target: fn(&[u8]), time: Duration, folders: &[String]) {
    let files = folders.iter().filter_map(|folder| fs::read_dir(Path::new(folder)).ok()).flatten().flatten();
    let files = files.filter_map(|file| fs::read(file.path()).ok()).filter(|file| file.len() <= LONGEST);
    let mut pending: Vec<Vec<u8>> = files.collect();
    pending.sort();
    pending.push(vec![0; 64]);
    let mut random = Random(1);
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    // For each place in the code, the orders of magnitude of how often one input came there.
    let mut seen: HashMap<usize, u8> = HashMap::new();
    let (start, mut slowest) = (Instant::now(), Duration::ZERO);
    while start.elapsed() < time {
        let input = pending.pop().unwrap_or_else(|| random.changed(&corpus));
        if let Ok(mut now) = NOW.lock() {
            now.clone_from(&input);
        }
        TRIED.fetch_add(1, Ordering::Relaxed);
        coverage::clear();
        let begin = Instant::now();
        target(&input);
        slowest = slowest.max(begin.elapsed());
        let mut is_new = corpus.is_empty();
        coverage::each(|place, count| {
            let bit = 1 << count.ilog2();
            let known = seen.entry(place).or_default();
            is_new |= *known & bit == 0;
            *known |= bit;
        });
        if is_new {
            corpus.push(input);
        }
    }
    let (tried, places) = (TRIED.load(Ordering::Relaxed), seen.len());
    let (loaded, answered) =
        (modelgate_fuzz::LOADED.load(Ordering::Relaxed), modelgate_fuzz::ANSWERED.load(Ordering::Relaxed));
    println!(
        "{tried} inputs in {:.0?}: {loaded} loaded, {answered} answers, {} inputs kept, {places} of {} places in the code \
         reached, the slowest took {slowest:.0?}",
        start.elapsed(),
        corpus.len(),
        coverage::places()
    );
    assert!(places > 100, "nothing is counted: built without instrument.sh");
}

/// The counters that the compiler puts at each branch.
mod coverage {
    use std::ptr;
    use std::slice;
    use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

    static START: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
    static LEN: AtomicUsize = AtomicUsize::new(0);

    /// Called before `main` by every instrumented part, always with the same bounds.
    #[unsafe(no_mangle)]
    extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
        START.store(start, Ordering::Relaxed);
        LEN.store((stop as usize).saturating_sub(start as usize), Ordering::Relaxed);
    }

    /// Calls through pointers are not counted.
    #[unsafe(no_mangle)]
    extern "C" fn __sanitizer_cov_trace_pc_indir(_: usize) {}

    fn counters() -> &'static mut [u8] {
        let (start, len) = (START.load(Ordering::Relaxed), LEN.load(Ordering::Relaxed));
        if start.is_null() {
            return &mut [];
        }
        // SAFETY: the linker's section of counters, which lives as long as the process. Only this thread runs instrumented
        // code and looks at it, one at a time.
        unsafe { slice::from_raw_parts_mut(start, len) }
    }

    pub(super) fn clear() {
        counters().fill(0);
    }

    pub(super) fn places() -> usize {
        counters().len()
    }

    pub(super) fn each(mut each: impl FnMut(usize, u8)) {
        let (chunks, rest) = counters().as_chunks::<8>();
        for (block, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| **chunk != [0; 8]) {
            chunk
                .iter()
                .enumerate()
                .filter(|(_, count)| **count != 0)
                .for_each(|(at, &count)| each(block * 8 + at, count));
        }
        let first = chunks.len() * 8;
        rest.iter().enumerate().filter(|(_, count)| **count != 0).for_each(|(at, &count)| each(first + at, count));
    }
}
