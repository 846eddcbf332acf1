//! Lines on stderr, where a server tells what goes on.

use std::fmt;
use std::io::{self, Write as _};

/// Writes a line to stderr. Unlike `eprintln!` it does not panic when nobody listens any more,
/// which is no reason for a server to end, least of all in the middle of stopping its children.
pub fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// [`line()`] with the arguments of `format!`.
#[macro_export]
macro_rules! note {
    ($($text:tt)*) => {
        $crate::log::line(format_args!($($text)*))
    };
}
