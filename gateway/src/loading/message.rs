//! The messages between the gateway and a child.
//!
//! A task is one line of JSON on the child's standard input. After it come single bytes while the load goes on, each a
//! [`Signal`]. The answer is on standard output: the length of its head as 8 bytes, the head as JSON, then the machine code of its
//! entries back to back.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use modelgate_bundle::Ceilings;
use modelgate_sandbox::cache::Code;
use serde::{Deserialize, Serialize};

use super::report::Report;

/// Bytes of a task at most: its manifest is the largest part.
pub(super) const MAX_TASK: u64 = 8 << 20;

/// Bytes of an answer's head at most.
const MAX_HEAD: u64 = 4 << 20;

/// Bytes of machine code taken from one child. A module of 64 MB compiles to less.
const MAX_CODE: u64 = 512 << 20;

/// A child's task.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Task {
    pub(super) source: TaskSource,
    /// The names of the model and its version, where the manifest does not decide.
    pub(super) named: Option<(String, String)>,
    pub(super) ceilings: Ceilings,
    /// Folders of compiled code.
    pub(super) code: Vec<PathBuf>,
    /// Threads that will run the bundle, for the estimate of its footprint.
    pub(super) threads: usize,
    /// Bytes that the child may allocate.
    pub(super) memory: u64,
    /// Seconds of processor time that it may use.
    pub(super) seconds: u64,
    /// Whether others come first: see [`Signal::Busy`].
    pub(super) background: bool,
    /// For how many milliseconds it may rest in all.
    pub(super) rest_ms: u64,
}

/// Where a task's files are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum TaskSource {
    /// A bundle's folder or a plain ONNX file.
    Path(PathBuf),
    /// A manifest, and where its files are by digest.
    Stored { manifest: String, files: Vec<(String, PathBuf)> },
}

/// Events in the gateway while a child loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Signal {
    /// Requests are served: work that no request waits for rests every now and then.
    Busy = b'b',
    /// None are, or a request waits for the load: it does not rest.
    Idle = b'i',
}

/// The head of an answer.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Head {
    /// The bundle could serve.
    Loaded {
        report: Box<Report>,
        /// Names and lengths of the code that follows.
        code: Vec<(String, u64)>,
    },
    /// The bundle cannot serve.
    Refused {
        problems: Vec<String>,
        /// Whether its files could not be read, or are not what the manifest says.
        unread: bool,
    },
}

/// An answer as the gateway takes it.
#[derive(Debug)]
pub(super) enum Answer {
    Loaded(Box<Report>, Code),
    Refused { problems: Vec<String>, unread: bool },
}

/// Writes an answer.
pub(super) fn write(to: &mut impl Write, head: &Head, code: &[Vec<u8>]) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    to.write_all(&(head.len() as u64).to_le_bytes())?;
    to.write_all(&head)?;
    for code in code {
        to.write_all(code)?;
    }
    to.flush()
}

/// Reads an answer. Code is kept only under names that are `wanted`; all that is read is bounded.
///
/// # Errors
/// An answer that is cut short, too long or not as it should be.
pub(super) fn read(from: &mut impl Read, wanted: impl Fn(&str) -> bool) -> io::Result<Answer> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let head = take(from, length, MAX_HEAD)?;
    match serde_json::from_slice(&head)? {
        Head::Refused { problems, unread } => Ok(Answer::Refused { problems, unread }),
        Head::Loaded { report, code: entries } => {
            let mut code = Code::new();
            let mut left = MAX_CODE;
            for (name, length) in entries {
                let bytes = take(from, length, left)?;
                left -= length;
                if wanted(&name) {
                    code.insert(name, bytes);
                }
            }
            Ok(Answer::Loaded(report, code))
        }
    }
}

/// So many bytes, which must be there and not be more than `most`.
fn take(from: &mut impl Read, length: u64, most: u64) -> io::Result<Vec<u8>> {
    if length > most {
        return Err(io::Error::other(format!("{length} bytes are more than the {most} that are taken")));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written_and_only_what_is_wanted_is_kept() {
        let report = Box::new(Report::default());
        let code = vec![("a".to_owned(), 3), ("b".to_owned(), 2)];
        let mut bytes = Vec::new();
        write(&mut bytes, &Head::Loaded { report, code }, &[vec![1, 2, 3], vec![4, 5]]).expect("written");
        let Answer::Loaded(_, code) = read(&mut bytes.as_slice(), |name| name == "b").expect("an answer") else {
            panic!("refused")
        };
        assert_eq!(code, Code::from([("b".to_owned(), vec![4, 5])]));
        for cut in 0..bytes.len() {
            assert!(read(&mut &bytes[..cut], |_| true).is_err(), "cut at {cut}");
        }
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&mut bytes.as_slice(), |_| true).is_err());
    }
}
