//! Workflow commands, as GitHub's actions read them from a step's output.
//!
//! `::warning file=…,line=…,col=…::message`; in values the characters that end them are percent-coded.

use super::Remark;
use std::io::{self, Write};

pub(super) fn write(sink: &mut impl Write, remark: &Remark<'_>) -> io::Result<()> {
    let finding = remark.finding;
    let end = finding.column + finding.word.chars().count() as u64;
    let mut message = data(finding.word);
    if let Some(question) = remark.question() {
        message.push_str(": ");
        message.push_str(&data(&question));
    }
    writeln!(
        sink,
        "::warning file={},line={},col={},endColumn={end},title=Unknown word::{message}",
        property(&remark.name()),
        finding.line,
        finding.column,
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
