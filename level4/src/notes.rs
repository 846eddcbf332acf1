//! Lines on stderr: what an operator has to know, and with `-v` what happens between nodes.

use std::fmt::Arguments;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Whether `detail` says anything.
pub fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Relaxed);
}

/// Says it. Unlike with `eprintln!`, a stderr that nobody reads any more is no reason to panic.
pub fn note(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "level4: {text}");
}

/// Says it to those who asked for details.
pub fn detail(text: Arguments) {
    if VERBOSE.load(Relaxed) {
        note(text);
    }
}
