//! The gateway's side of a child: starts it, tells it what to do, waits, kills it when its time is up, and says what
//! became of it.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{
    child,
    message::{self, Answer, Signal, Task},
    throttle::Throttle,
};
use crate::allocator;

/// Between two looks at what happens in the gateway: at first, and later.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LOOK: Duration = Duration::from_millis(40);

/// Bytes kept of what a child says on standard error: the last ones.
const SAID: usize = 4 << 10;

/// Characters of that in a reason.
const MAX_REPORTED: usize = 300;

/// Signals by number, as `waitpid` gives them.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// No process can be started here at all.
    Impossible(io::Error),
    /// None can be started now.
    NotNow(io::Error),
    /// No caller waits for it any more.
    Cancelled,
    /// The child died, or was killed in time: for people.
    Died(String),
    /// The child ended without an answer that makes sense: for people.
    Failed(String),
}

/// Runs a task in a child of this binary. Code is taken only under names that are `wanted`.
pub(super) fn run(
    binary: &Path,
    task: &Task,
    throttle: &Throttle<'_>,
    timeout: Duration,
    wanted: impl Fn(&str) -> bool + Send,
) -> Result<Answer, NoAnswer> {
    let deadline = Instant::now() + timeout;
    let mut message = serde_json::to_vec(task).map_err(|error| NoAnswer::Failed(error.to_string()))?;
    message.push(b'\n');
    let mut child = start(binary)?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(input), Some(mut output), Some(errors)) = (input, output, errors) else {
        return Err(NoAnswer::Failed("its pipes are missing".into()));
    };
    let (heard, answers) = mpsc::sync_channel(1);
    // Both end with the child, which is killed and waited for below whatever happens.
    let (ended, said) = thread::scope(|scope| {
        let said = scope.spawn(move || last_of(errors));
        scope.spawn(move || {
            let answer = message::read(&mut output, wanted);
            drop(output);
            _ = heard.send(answer);
        });
        let ended = wait(&mut child, input, &message, &answers, throttle, deadline);
        // Also where it ended: nothing of it is left then.
        _ = child.kill();
        let status = child.wait();
        (ended.map(|answer| (answer, status)), said.join().unwrap_or_default())
    });
    match ended {
        Err(Stopped::Late) => Err(NoAnswer::Died(format!("loading it took longer than --load-timeout ({timeout:?})"))),
        Err(Stopped::Cancelled) => Err(NoAnswer::Cancelled),
        // What a child says that did not end well is not believed.
        Ok((Ok(answer), Ok(status))) if status.success() => Ok(answer),
        Ok((_, Err(error))) => Err(NoAnswer::Failed(error.to_string())),
        Ok((answer, Ok(status))) => Err(became(status, &said, task, answer.err().as_ref())),
    }
}

/// Without the gateway's environment: secrets are in it.
fn start(binary: &Path) -> Result<Child, NoAnswer> {
    let name = OsStr::new(env!("CARGO_PKG_NAME"));
    let spawned = Command::new(binary)
        .arg0(name)
        .arg(child::COMMAND)
        .env_clear()
        .envs(allocator::SETTINGS_OF_CHILD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    spawned.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
            NoAnswer::Impossible(error)
        }
        _ => NoAnswer::NotNow(error),
    })
}

/// Why a child is not waited for any longer.
enum Stopped {
    Late,
    Cancelled,
}

/// Waits for the answer, and until the child has ended by itself.
fn wait(
    child: &mut Child,
    mut input: impl Write,
    message: &[u8],
    answers: &mpsc::Receiver<io::Result<Answer>>,
    throttle: &Throttle<'_>,
    deadline: Instant,
) -> Result<io::Result<Answer>, Stopped> {
    // A child that died already is told of by its status. It reads all of this before it does anything else.
    _ = input.write_all(message);
    let (mut served, mut was_busy, mut look) = ((throttle.served)(), false, FIRST_LOOK);
    let answer = loop {
        match answers.recv_timeout(look) {
            Ok(answer) => break answer,
            Err(RecvTimeoutError::Disconnected) => break Err(io::ErrorKind::UnexpectedEof.into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= deadline {
            return Err(Stopped::Late);
        }
        if (throttle.is_cancelled)() {
            return Err(Stopped::Cancelled);
        }
        let now = (throttle.served)();
        let is_busy = now != served && !(throttle.is_urgent)();
        if is_busy != was_busy {
            // One byte in a pipe of thousands, which the child empties all the time.
            _ = input.write_all(&[if is_busy { Signal::Busy } else { Signal::Idle } as u8]);
        }
        (served, was_busy, look) = (now, is_busy, (look * 2).min(LOOK));
    };
    // It closes its output as the last thing that it does.
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= deadline {
            return Err(Stopped::Late);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(answer)
}

/// The last bytes that come.
fn last_of(mut from: impl Read) -> String {
    let (mut last, mut piece) = (Vec::new(), [0; 1024]);
    while let Ok(length @ 1..) = from.read(&mut piece) {
        last.extend_from_slice(&piece[..length]);
        last.drain(..last.len().saturating_sub(SAID));
    }
    String::from_utf8_lossy(&last).into_owned()
}

/// The end of a child that gave no answer.
fn became(status: ExitStatus, said: &str, task: &Task, error: Option<&io::Error>) -> NoAnswer {
    let too_much = || format!("loading it took more than {} MiB (--load-memory)", task.memory >> 20);
    let reported = reported(said);
    match status.signal() {
        Some(SIGABRT) if child::NO_MEMORY.iter().any(|words| said.contains(words)) => NoAnswer::Died(too_much()),
        Some(SIGXCPU) => {
            let seconds = task.seconds;
            NoAnswer::Died(format!("loading it took more than {seconds} s of processor time (--load-timeout)"))
        }
        Some(SIGKILL) => NoAnswer::Died(
            "the process that loaded it was killed by signal 9, as the system does where memory runs out".into(),
        ),
        Some(signal) => NoAnswer::Died(format!("the process that loaded it was killed by signal {signal}{reported}")),
        None if status.success() => {
            let error = error.map(|error| format!(": {error}")).unwrap_or_default();
            NoAnswer::Failed(format!("the process that loaded it gave no answer{error}"))
        }
        None => NoAnswer::Failed(format!("the process that loaded it failed{reported}")),
    }
}

/// A child's words, in one line.
fn reported(said: &str) -> String {
    let line: String = said.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let line = line.trim();
    let skip = line.chars().count().saturating_sub(MAX_REPORTED);
    if line.is_empty() { String::new() } else { format!(": {}", line.chars().skip(skip).collect::<String>()) }
}
