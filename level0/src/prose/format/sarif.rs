//! SARIF 2.1.0: one JSON document with a run, a rule and a result for each unknown word.
//!
//! It is written as it comes: a head, results with commas between them, a foot.

use super::Remark;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use std::io::{self, Write};

/// What is percent-coded in a path that becomes a relative URI (RFC 3986: all but the unreserved
/// characters and the slash).
const CODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

const RULE: &str = "unknown-word";

pub(super) fn write(sink: &mut impl Write, remark: &Remark<'_>, is_first: bool) -> io::Result<()> {
    if is_first {
        begin(sink)?;
    } else {
        sink.write_all(b",\n")?;
    }
    let finding = remark.finding;
    let mut text = format!("Unknown word: {}", finding.word);
    if let Some(question) = remark.question() {
        text.push_str("; ");
        text.push_str(&question);
    }
    let end = finding.column + finding.word.chars().count() as u64;
    let uri = utf8_percent_encode(&remark.name(), CODED).to_string();
    let result = json!({
        "ruleId": RULE,
        "level": "warning",
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri},
            "region": {
                "startLine": finding.line,
                "startColumn": finding.column,
                "endColumn": end,
            },
        }}],
    });
    serde_json::to_writer(&mut *sink, &result)?;
    Ok(())
}

pub(super) fn finish(sink: &mut impl Write, is_empty: bool) -> io::Result<()> {
    if is_empty {
        begin(sink)?;
    }
    sink.write_all(b"\n]}]}\n")
}

fn begin(sink: &mut impl Write) -> io::Result<()> {
    let driver = json!({
        "name": "level0",
        "version": env!("CARGO_PKG_VERSION"),
        "rules": [{"id": RULE, "shortDescription": {"text": "A word that no dictionary knows"}}],
    });
    writeln!(
        sink,
        "{{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",\
        \"runs\":[{{\"tool\":{{\"driver\":{driver}}},\"columnKind\":\"unicodeCodePoints\",\"results\":["
    )
}
