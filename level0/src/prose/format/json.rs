//! One JSON object a line, so that a report of any length can be read as it comes.

use super::Remark;
use serde::Serialize;
use std::io::{self, Write};

#[derive(Serialize)]
struct Object<'a> {
    file: String,
    line: u64,
    column: u64,
    offset: u64,
    word: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    suggestions: &'a [String],
}

#[derive(Serialize)]
struct Count<'a> {
    word: &'a str,
    count: u64,
}

pub(super) fn write(sink: &mut impl Write, remark: &Remark<'_>) -> io::Result<()> {
    let finding = remark.finding;
    write_line(
        sink,
        &Object {
            file: remark.name(),
            line: finding.line,
            column: finding.column,
            offset: finding.offset,
            word: finding.word,
            suggestions: remark.suggestions,
        },
    )
}

pub(super) fn write_count(sink: &mut impl Write, word: &str, count: u64) -> io::Result<()> {
    write_line(sink, &Count { word, count })
}

fn write_line(sink: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *sink, object)?;
    sink.write_all(b"\n")
}
