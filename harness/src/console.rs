//! Lines for people: results on stdout, progress and logs on stderr.
//!
//! Unlike `println!`, these do not panic when the other end of a pipe has gone (`harness | head`):
//! a run goes on to its end, its exit status, and its JSON file without an audience.

use std::io::{self, Write};

/// Writes a line to stdout, where results go.
pub fn print(line: &str) {
    // A reader who has left does not want the line; there is nobody to tell.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes a line to stderr, where progress and errors go.
pub fn log(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
