//! `file:line:column: word (did you mean …?)`, for people and for editors that jump to it.

use super::Remark;
use std::io::{self, Write};

pub(super) fn write(sink: &mut impl Write, remark: &Remark<'_>) -> io::Result<()> {
    // A line break in a name would make one line two.
    let name = remark.name().replace(char::is_control, "\u{FFFD}");
    let finding = remark.finding;
    write!(
        sink,
        "{name}:{}:{}: {}",
        finding.line, finding.column, finding.word
    )?;
    match remark.question() {
        Some(question) => writeln!(sink, " ({question})"),
        None => writeln!(sink),
    }
}
