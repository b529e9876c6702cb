//! The `modelgate` binary.

use std::process::ExitCode;

use clap::Parser;
use modelgate::{allocator, cli::Cli};

fn main() -> ExitCode {
    allocator::give_back_at_once();
    Cli::parse().run()
}
