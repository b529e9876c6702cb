//! The child: takes a task, confines itself, loads, answers, ends.

use std::{
    cell::Cell,
    collections::HashMap,
    env,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    panic,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use modelgate_bundle::{Bundle, BundleError, FileRef, MAX_FILE, Manifest, plain::PlainModel};
use modelgate_onnx::Mode;
use modelgate_sandbox::{
    cache::{Code, CodeCache, Collected},
    engine::{PoolSize, WasmEngine},
    module::Compiler,
};

use super::{
    confine,
    message::{self, Head, MAX_TASK, Signal, Task, TaskSource},
    report::Report,
};
use crate::{
    artifact_cache::ArtifactCache,
    batching_decision::EarlierDecision,
    metrics::Metrics,
    verified::{self, Verified},
    workers,
};

/// The subcommand, which no help tells of: the gateway alone uses it.
pub const COMMAND: &str = "load-in-child";

/// Module instances alive at once in a child, over all stages of its bundle.
const INSTANCES: u32 = 48;

/// The steps by which the priority of a child is lower than the gateway's if no request waits for its load.
const NICE: i32 = 10;

/// Problems told of one bundle, and characters of each.
const MAX_PROBLEMS: usize = 200;
const MAX_PROBLEM: usize = 4_000;

/// The last words of a child whose memory ran out: the standard library, and the engine.
pub(super) const NO_MEMORY: [&str; 2] = ["memory allocation of", "failed to allocate"];

/// Whether this process was started as a child.
pub fn is_asked_for() -> bool {
    env::args_os().nth(1).is_some_and(|argument| argument == COMMAND)
}

/// Runs the child. Its code says that it answered, whatever the answer is.
pub fn run() -> ExitCode {
    confine::close_inherited();
    confine::bind_to_parent();
    end_without_memory();
    // Standard input stays open for the gateway's signals, standard output for the answer.
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Makes a panic about memory the end of the process. The engine panics where the standard library aborts, and such a panic
/// ends one plan alone: a gateway that has more memory than this process would then go on where this one could not.
fn end_without_memory() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        hook(panic);
        if panic.payload_as_str().is_some_and(|text| text.contains(NO_MEMORY[1])) {
            std::process::abort();
        }
    }));
}

fn work() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin());
    let mut line = Vec::new();
    input.by_ref().take(MAX_TASK).read_until(b'\n', &mut line)?;
    let task: Task = serde_json::from_slice(&line)?;
    if task.background {
        // Without the right to, it competes as an equal.
        _ = rustix::process::setpriority_process(None, NICE);
    }
    // All that is opened ahead can be read later, whatever is taken away.
    let status = File::open("/proc/self/status");
    let mut files = HashMap::new();
    let mut folders = task.code.clone();
    match &task.source {
        TaskSource::Path(path) => folders.push(confine::folder_of(path)),
        TaskSource::Stored { files: named, .. } => {
            for (digest, path) in named {
                // One that is not there is told as a problem of the bundle.
                if let Ok(file) = File::open(path) {
                    files.insert(digest.clone(), file);
                }
            }
        }
    }
    confine::limit(task.memory, task.seconds)?;
    let confined = [confine::take_files(&folders), confine::take_calls()];

    let busy = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&busy);
    let is_background = task.background;
    // Ends with the process, at the latest when the gateway is gone.
    thread::Builder::new().name("signals".into()).spawn(move || hear(input, &heard))?;
    let loader = thread::Builder::new().name("loader".into()).stack_size(workers::STACK).spawn(move || {
        if is_background {
            let rest = Duration::from_millis(task.rest_ms);
            let served = Cell::new(0);
            let rises = move || {
                served.set(served.get() + u64::from(busy.load(Ordering::Relaxed)));
                served.get()
            };
            modelgate_throttle::resting(rises, rest, || load(&task, &files)).0
        } else {
            load(&task, &files)
        }
    })?;
    // Its message is on standard error.
    let loaded = loader.join().map_err(|_| io::Error::other("the load panicked"))?;
    let mut output = io::stdout().lock();
    match loaded {
        Ok((mut report, code)) => {
            report.peak_bytes = status.map_or(0, |status| peak(&status));
            report.confined = confined;
            let (names, code): (Vec<_>, Vec<_>) = code.into_iter().unzip();
            let names = names.into_iter().zip(code.iter().map(|code| code.len() as u64)).collect();
            message::write(&mut output, &Head::Loaded { report: Box::new(report), code: names }, &code)
        }
        Err((problems, unread)) => {
            let problems = problems.into_iter().take(MAX_PROBLEMS).map(cut).collect();
            message::write(&mut output, &Head::Refused { problems, unread }, &[])
        }
    }
}

/// Takes the gateway's signals until there are no more: then the gateway is gone, and nobody waits for an answer.
fn hear(mut input: impl Read, busy: &AtomicBool) {
    let mut signal = [0];
    while input.read_exact(&mut signal).is_ok() {
        busy.store(signal == [Signal::Busy as u8], Ordering::Relaxed);
    }
    #[expect(clippy::exit, reason = "nothing is to be ended in order")]
    std::process::exit(2);
}

/// All that is wrong with a bundle, and whether its files could not be read.
type Problems = (Vec<String>, bool);

fn load(task: &Task, files: &HashMap<String, File>) -> Result<(Report, Code), Problems> {
    let broken = |problem: String| (vec![problem], false);
    let start = Instant::now();
    let collected = Arc::new(Mutex::new(Collected::default()));
    let engine = WasmEngine::with_one_compiler_thread(PoolSize { instances: INSTANCES, ..PoolSize::default() });
    let engine = engine.map_err(|error| broken(format!("the module pool cannot be reserved: {error:#}")))?;
    let cache = CodeCache::collecting(task.code.clone(), Arc::clone(&collected));
    let artifacts = ArtifactCache::new(Compiler::new(engine, cache)).under(task.ceilings);
    let metrics = Metrics::new().map_err(|error| broken(error.to_string()))?;
    let is_unread = Cell::new(false);
    let read = || {
        let bundle = match &task.source {
            TaskSource::Path(path) => Bundle::read(path),
            TaskSource::Stored { manifest, .. } => {
                let read = |digest: &str| match files.get(digest) {
                    Some(file) => whole(file).map_err(|error| format!("not in the local cache: {error}")),
                    None => Err("not in the local cache".to_owned()),
                };
                Bundle::stored(manifest.as_bytes(), &read, &|_| None)
            }
        };
        is_unread.set(bundle.is_err());
        bundle.map(|bundle| match &task.named {
            Some((name, version)) => Bundle { name: name.clone(), version: version.clone(), ..bundle },
            None => bundle,
        })
    };
    let verified = verified::load(&read, &artifacts, &metrics, None);
    let Verified { mut generation, runner, .. } =
        verified.map_err(|error: BundleError| (error.problems, is_unread.get()))?;
    generation.measure(&runner, task.threads);
    let plain_files = match &task.source {
        TaskSource::Path(path) if path.is_file() => plain_files(path).map_err(broken)?,
        _ => Vec::new(),
    };
    let Collected { names, code } = std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner));
    let report = Report {
        name: generation.name.clone(),
        version: generation.version.clone(),
        digest: generation.digest.clone(),
        seconds: start.elapsed().as_secs_f64(),
        footprint: generation.footprint() as u64,
        batching_decision: EarlierDecision::from(&generation),
        rows_meet: generation.model.as_ref().and_then(|model| model.rows().reason()).map(str::to_owned),
        isolation: generation.isolation,
        custom_modules: generation.custom_modules.clone(),
        takes_model_key: generation.takes_model_key(),
        golden_examples: generation.golden.examples.len(),
        plain_files,
        code: names,
        ..Report::default()
    };
    // The process is about to end: its memory goes with it, sooner than piece by piece.
    std::mem::forget((generation, runner, artifacts));
    Ok((report, code))
}

/// The files of the bundle that is made of a plain ONNX file, with their digests.
fn plain_files(path: &std::path::Path) -> Result<Vec<FileRef>, String> {
    let manifest = PlainModel::read(path)?.manifest(None, None, Mode::Auto);
    Manifest::parse(manifest.as_bytes())?.files()
}

/// A file from its beginning, however often it was read. More than a bundle's file may have is not read.
fn whole(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(MAX_FILE + 1);
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The most memory that this process has taken, from an open `/proc/self/status`.
fn peak(status: &File) -> u64 {
    let mut text = vec![0; 16 << 10];
    let length = status.read_at(&mut text, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..length]);
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

fn cut(mut problem: String) -> String {
    if let Some((end, _)) = problem.char_indices().nth(MAX_PROBLEM) {
        problem.truncate(end);
        problem.push('…');
    }
    problem
}
