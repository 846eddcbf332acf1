//! The program's flags: those of the contest, and those for prose.
//!
//! `--prose` makes the positional arguments documents and gives some flags another meaning, so it has
//! a parser of its own; which one is used is decided by that flag alone.

mod contest;
mod prose;

use std::ffi::OsString;
use std::num::NonZero;

/// More threads than any machine has cores only wait for one another, for minutes.
const MOST_THREADS: usize = 1024;

/// What the command line asks for.
pub enum Invocation {
    /// Mark the words of one document, as in 2014.
    Contest(level0::Job),
    /// Check documents as people write them.
    Prose(prose::Invocation),
}

/// Reads the command line; ends the program after `--help` or on a wrong flag.
pub fn parse(arguments: &[OsString]) -> Invocation {
    let mut flags = arguments.iter().take_while(|argument| *argument != "--");
    if flags.any(|argument| argument == "--prose") {
        Invocation::Prose(prose::parse())
    } else {
        Invocation::Contest(contest::parse(prose::knows_flag))
    }
}

/// The value of `--threads`.
fn threads(value: &str) -> Result<NonZero<usize>, String> {
    let count: Option<NonZero<usize>> = value.parse().ok();
    count
        .filter(|count| count.get() <= MOST_THREADS)
        .ok_or_else(|| format!("it must be a number from 1 to {MOST_THREADS}"))
}
