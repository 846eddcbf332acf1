//! Lines on stderr for whoever runs the proxy.

use std::fmt::Arguments;
use std::io::Write as _;

/// Says it. Unlike with `eprintln!`, a stderr that nobody reads any more is no reason to panic.
pub fn note(text: Arguments) {
    let _ = writeln!(std::io::stderr(), "level2: {text}");
}
