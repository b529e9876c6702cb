//! The `modelgate` binary.

use std::process::ExitCode;

use clap::Parser;
use modelgate::{allocator, cli::Cli};

fn main() -> ExitCode {
    allocator::set_up();
    Cli::parse().run()
}
