//! The `modelgate` binary.

use std::process::ExitCode;

use clap::Parser;
use modelgate::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
