//! The ways to misbehave.

use std::hint::black_box;

use modelgate_module::{Error, Problem, log, model};

/// An act, by the name in the configuration or in the column `act`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// `trap`: an unreachable instruction.
    Trap,
    /// `panic`: the message goes to the log, then it traps.
    Panic,
    /// `loop`: without end, calling nothing.
    Loop,
    /// `sleepless`: without end, calling the host each time.
    Sleepless,
    /// `allocate`: until there is no more, then it traps.
    Allocate,
    /// `hoard`: keeps 8 MiB more with each request.
    Hoard,
    /// `recurse`: without end.
    Recurse,
    /// `wrong-shape`: gives more than its signature says. At the start, a signature that makes no sense.
    WrongShape,
    /// `too-few-bytes`: gives less than its signature says. At the start, a column without a name.
    TooFewBytes,
    /// `huge-result`: tries to give 1 GiB.
    HugeResult,
    /// `lie`: says that its result is 1 GiB that lies beyond its memory.
    Lie,
    /// `log-flood`: 100,000 messages of 1 KiB, then answers as it should.
    LogFlood,
    /// `log-huge`: one message of 16 MiB, then answers as it should.
    LogHuge,
    /// `host-call-flood`: hands the model 4 MiB again and again, 10,000 times, then answers as it should.
    HostCallFlood,
    /// `error`: says that it failed.
    Error,
    /// `model-error`: says that the model failed.
    ModelError,
    /// `invalid`: says that the caller is wrong.
    Invalid,
    /// `problem-flood`: says 200,000 times that the caller is wrong.
    ProblemFlood,
    /// `remember`: adds to `x` the number of requests before.
    Remember,
    /// `mean`: gives each row the mean of `x` over all rows.
    Mean,
}

impl Act {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "trap" => Self::Trap,
            "panic" => Self::Panic,
            "loop" => Self::Loop,
            "sleepless" => Self::Sleepless,
            "allocate" => Self::Allocate,
            "hoard" => Self::Hoard,
            "recurse" => Self::Recurse,
            "wrong-shape" => Self::WrongShape,
            "too-few-bytes" => Self::TooFewBytes,
            "huge-result" => Self::HugeResult,
            "lie" => Self::Lie,
            "log-flood" => Self::LogFlood,
            "log-huge" => Self::LogHuge,
            "host-call-flood" => Self::HostCallFlood,
            "error" => Self::Error,
            "model-error" => Self::ModelError,
            "invalid" => Self::Invalid,
            "problem-flood" => Self::ProblemFlood,
            "remember" => Self::Remember,
            "mean" => Self::Mean,
            _ => return None,
        })
    }

    /// Does it, where that is more than giving a wrong result.
    pub(crate) fn run(self, hoard: &mut Vec<Vec<u64>>) -> Result<(), Error> {
        match self {
            Self::Trap => trap(),
            Self::Panic => panic!("asked to panic"),
            Self::Loop => loop {
                black_box(());
            },
            Self::Sleepless => loop {
                log::debug("still awake");
            },
            Self::Allocate => {
                let mut kept = Vec::new();
                loop {
                    kept.push(black_box(vec![1u64; 1 << 17]));
                }
            }
            Self::Hoard => hoard.push(vec![1; 1 << 20]),
            Self::Recurse => _ = black_box(recurse(black_box(1))),
            Self::LogFlood => {
                let message = "flood ".repeat(170);
                for _ in 0..100_000 {
                    log::info(&message);
                }
            }
            Self::LogHuge => log::info(&"huge".repeat(1 << 22)),
            Self::HostCallFlood => {
                let words = vec![0; 1 << 19];
                for _ in 0..10_000 {
                    // Words that are not the model's input are refused; they are handed over all the same.
                    _ = black_box(model::compute(1, &words));
                }
            }
            Self::Error => return Err(Error::internal("asked to fail")),
            Self::ModelError => return Err(Error::model("asked to blame the model")),
            Self::Invalid => return Err(Error::invalid("x", 0, "asked to refuse it")),
            Self::ProblemFlood => {
                let problems = (0..200_000).map(|row| Problem::at("x", row, "asked to refuse it"));
                return Err(Error::InvalidInput(problems.collect()));
            }
            Self::WrongShape | Self::TooFewBytes | Self::HugeResult | Self::Lie | Self::Remember | Self::Mean => {}
        }
        Ok(())
    }
}

/// A list that is not there, to be handed to the host, which must look before it reads.
#[cfg(target_arch = "wasm32")]
#[expect(
    unsafe_code,
    clippy::same_length_and_capacity,
    reason = "no safe code breaks the canonical ABI, and the gateway must bear what does"
)]
pub(crate) fn lie() -> Vec<u64> {
    const WORDS: usize = 1 << 27;
    let anywhere = black_box(8usize) as *mut u64;
    // SAFETY: there is none. Nothing in this module reads the list; lifting it traps, after which the instance is gone.
    unsafe { Vec::from_raw_parts(anywhere, WORDS, WORDS) }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn lie() -> Vec<u64> {
    Vec::new()
}

/// An `unreachable` without the panic's message.
fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort()
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: u64) -> u64 {
    // The array keeps the call from becoming a loop.
    let frame = black_box([depth; 16]);
    recurse(frame[3] + 1) + frame[7]
}
