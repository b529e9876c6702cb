//! The `modelgate` binary.

use std::process::ExitCode;

use modelgate::{allocator, cli::Cli, loading::child};

fn main() -> ExitCode {
    if child::is_asked_for() {
        return child::run();
    }
    allocator::set_up();
    Cli::of_process().run()
}
