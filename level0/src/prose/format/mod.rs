//! How unknown words are told: to people, to programs, to code reviews.

mod github;
mod json;
mod plain;
mod sarif;

use super::document::Finding;
use std::io::{self, Write};
use std::path::Path;

/// The form of the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// `file:line:column: word`, one a line, as compilers do.
    #[default]
    Plain,
    /// One JSON object a line.
    Json,
    /// Workflow commands of GitHub's actions: a warning beside the line of a pull request.
    Github,
    /// SARIF 2.1.0 (OASIS), which code hosts and editors read.
    Sarif,
}

/// A finding, the document it is in, and words that may have been meant.
pub(crate) struct Remark<'a> {
    /// Nothing for standard input.
    pub path: Option<&'a Path>,
    pub finding: &'a Finding<'a>,
    pub suggestions: &'a [String],
}

impl Remark<'_> {
    /// The document's name in a report.
    fn name(&self) -> String {
        self.path.map_or_else(
            || "<stdin>".to_owned(),
            |path| path.to_string_lossy().into_owned(),
        )
    }

    /// `did you mean a, b or c?`, if there are suggestions.
    fn question(&self) -> Option<String> {
        let (last, others) = self.suggestions.split_last()?;
        Some(if others.is_empty() {
            format!("did you mean {last}?")
        } else {
            format!("did you mean {} or {last}?", others.join(", "))
        })
    }
}

/// Writes remarks in one of the formats.
pub(crate) struct Writer<W> {
    format: Format,
    sink: W,
    remarks: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(format: Format, sink: W) -> Self {
        Self {
            format,
            sink,
            remarks: 0,
        }
    }

    pub(crate) fn write(&mut self, remark: &Remark<'_>) -> io::Result<()> {
        let is_first = self.remarks == 0;
        self.remarks += 1;
        match self.format {
            Format::Plain => plain::write(&mut self.sink, remark),
            Format::Json => json::write(&mut self.sink, remark),
            Format::Github => github::write(&mut self.sink, remark),
            Format::Sarif => sarif::write(&mut self.sink, remark, is_first),
        }
    }

    /// What is written to, of a report that has no remarks.
    pub(crate) fn into_sink(self) -> W {
        self.sink
    }

    /// Ends the report, which may be empty.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.format == Format::Sarif {
            sarif::finish(&mut self.sink, self.remarks == 0)?;
        }
        self.sink.flush()
    }
}

/// Writes the counts of distinct unknown words, the most frequent first.
pub(crate) fn write_list(
    sink: &mut impl Write,
    format: Format,
    words: &[(String, u64)],
) -> io::Result<()> {
    for (word, count) in words {
        match format {
            Format::Json => json::write_count(sink, word, *count)?,
            _ => writeln!(sink, "{count}\t{word}")?,
        }
    }
    sink.flush()
}

#[cfg(test)]
mod tests {
    use super::{Finding, Format, Remark, Writer};
    use std::path::Path;

    fn written(format: Format, path: Option<&str>, suggestions: &[&str]) -> String {
        let finding = Finding {
            word: "fx\u{F6}",
            offset: 17,
            line: 2,
            column: 5,
        };
        let suggestions: Vec<String> = suggestions.iter().map(|&word| word.to_owned()).collect();
        let remark = Remark {
            path: path.map(Path::new),
            finding: &finding,
            suggestions: &suggestions,
        };
        let mut bytes = Vec::new();
        let mut writer = Writer::new(format, &mut bytes);
        writer.write(&remark).expect("a vector takes all");
        writer.write(&remark).expect("a vector takes all");
        writer.finish().expect("a vector takes all");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn people_read_a_line_a_word() {
        let line = "a b.txt:2:5: fx\u{F6}\n";
        assert_eq!(written(Format::Plain, Some("a b.txt"), &[]), line.repeat(2));
        let line = "<stdin>:2:5: fx\u{F6} (did you mean fox, fix or fax?)\n";
        assert_eq!(
            written(Format::Plain, None, &["fox", "fix", "fax"]),
            line.repeat(2)
        );
        assert!(written(Format::Plain, Some("a\nb"), &[]).starts_with("a\u{FFFD}b:2:5"));
    }

    #[test]
    fn programs_read_an_object_a_line() {
        let text = written(Format::Json, Some("a\"b"), &["fox"]);
        for line in text.lines() {
            let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(
                object,
                serde_json::json!({"file": "a\"b", "line": 2, "column": 5, "offset": 17,
                    "word": "fx\u{F6}", "suggestions": ["fox"]})
            );
        }
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn github_reads_commands_whose_special_characters_are_escaped() {
        let text = written(Format::Github, Some("a,b:c%\n"), &[]);
        let line = "::warning file=a%2Cb%3Ac%25%0A,line=2,col=5,endColumn=8,title=Unknown word::fx\u{F6}\n";
        assert_eq!(text, line.repeat(2));
    }

    #[test]
    fn sarif_is_one_document_even_without_results() {
        let text = written(Format::Sarif, Some("a b/\u{E9}.txt"), &["fox"]);
        let log: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let results = log["runs"][0]["results"].as_array().expect("results");
        assert_eq!((log["version"].as_str(), results.len()), (Some("2.1.0"), 2));
        let location = &results[1]["locations"][0]["physicalLocation"];
        assert_eq!(location["artifactLocation"]["uri"], "a%20b/%C3%A9.txt");
        assert_eq!(
            location["region"],
            serde_json::json!({"startLine": 2, "startColumn": 5, "endColumn": 8})
        );
        let mut bytes = Vec::new();
        Writer::new(Format::Sarif, &mut bytes)
            .finish()
            .expect("a vector takes all");
        let log: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
    }
}
