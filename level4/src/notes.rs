//! Lines on stderr: what an operator has to know, and with `-v` what happens between nodes.

use std::fmt::Arguments;
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static PROGRAM: OnceLock<&str> = OnceLock::new();
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Lines begin with this name from now on, and not with `level4`. Only the first call counts.
pub fn set_program(name: &'static str) {
    // The name that it has already.
    let _ = PROGRAM.set(name);
}

/// What lines begin with.
pub fn program() -> &'static str {
    PROGRAM.get().copied().unwrap_or("level4")
}

/// Whether `detail` says anything.
pub fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Relaxed);
}

/// Says it. Unlike with `eprintln!`, a stderr that nobody reads any more is no reason to panic.
pub fn note(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "{}: {text}", program());
}

/// Says it to those who asked for details.
pub fn detail(text: Arguments) {
    if VERBOSE.load(Relaxed) {
        note(text);
    }
}
