//! Lines for people.

use std::io::{self, Write};

/// A line on standard output; a reader that went away is no failure.
pub(super) fn say(text: &str) {
    _ = writeln!(io::stdout(), "{text}");
}

/// A line on standard error.
pub(super) fn complain(text: &str) {
    _ = writeln!(io::stderr(), "{text}");
}
