//! What is recorded of a run, beside the result: events as JSON lines, and a page with charts.
//!
//! A level says what happened as plain data: [`Event`]s in the order of time and [`Panel`]s to be
//! drawn. It knows nothing of the page, and the page nothing of levels.

mod page;
mod panel;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::output_file;
pub use page::render as page;
pub use panel::{Band, Mark, Panel, Point, Series, Span};

/// Something that happened: a JSON object with `t_us` (microseconds from the start of the run),
/// `event` (its kind), and the fields of its kind.
pub type Event = Value;

/// The flags by which a level is asked for records.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RecordingArgs {
    /// Write what happened as JSON lines
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,

    /// Write a report as one HTML page
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What a run leaves to be recorded.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// What happened, in the order of time.
    pub events: Vec<Event>,
    /// What the page draws.
    pub panels: Vec<Panel>,
    /// What is drawn behind all panels whose x axis is time.
    pub bands: Vec<Band>,
    /// The time that those panels show, in seconds; they share one axis then.
    pub time: Option<(f64, f64)>,
    /// The result in a few lines.
    pub summary: Option<String>,
    /// What was done and what came of it, in a sentence each, for somebody who sees it for the first time.
    pub headline: Vec<String>,
    /// Names that are drawn, and what they mean.
    pub glossary: Vec<(String, String)>,
}

impl Recording {
    /// What the page draws of it, as JSON: all but the events.
    pub fn drawn(&self) -> Value {
        json!({
            "panels": self.panels,
            "bands": self.bands,
            "time": self.time,
            "summary": self.summary,
            "headline": self.headline,
            "glossary": self.glossary,
        })
    }
}

impl RecordingArgs {
    /// Tries, before a run, whether the files can be written.
    pub fn check(&self) -> Result<()> {
        let files = [("the events", &self.events), ("the report", &self.report)];
        for (what, path) in files {
            if let Some(path) = path {
                output_file::check(what, path)?;
            }
        }
        Ok(())
    }

    /// Whether a page is asked for.
    pub fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// Writes the files of a case; `result` is its result as JSON. Of several cases each has files
    /// of its own: `run.html` becomes `run-CASE.html`.
    pub fn write(&self, case: Option<&str>, result: &Value, recording: &Recording) -> Result<()> {
        if let Some(path) = &self.events {
            let path = named(path, case);
            write_lines(&path, &recording.events)
                .with_context(|| format!("cannot write the events to {}", path.display()))?;
        }
        if let Some(path) = &self.report {
            write_page(&named(path, case), result, recording)?;
        }
        Ok(())
    }
}

/// Writes the page of a run.
pub fn write_page(path: &Path, result: &Value, recording: &Recording) -> Result<()> {
    fs::write(path, page(result, recording.drawn()))
        .with_context(|| format!("cannot write the report to {}", path.display()))
}

fn write_lines(path: &Path, events: &[Event]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for event in events {
        serde_json::to_writer(&mut file, event)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

fn named(path: &Path, case: Option<&str>) -> PathBuf {
    let Some(case) = case else {
        return path.to_owned();
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path
        .extension()
        .map(|e| format!(".{}", e.to_string_lossy()));
    path.with_file_name(format!("{stem}-{case}{}", extension.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_cases_has_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let args = RecordingArgs {
            events: Some(folder.path().join("run.jsonl")),
            report: Some(folder.path().join("run.html")),
        };
        args.check().unwrap();
        let recording = Recording {
            events: vec![
                json!({"t_us": 1, "event": "x"}),
                json!({"t_us": 2, "event": "y"}),
            ],
            ..Recording::default()
        };
        args.write(Some("a"), &json!({"case": "</script>"}), &recording)
            .unwrap();
        let lines = fs::read_to_string(folder.path().join("run-a.jsonl")).unwrap();
        assert_eq!(lines.lines().count(), 2);
        let page = fs::read_to_string(folder.path().join("run-a.html")).unwrap();
        assert_eq!(
            page.matches("</script>").count(),
            2,
            "the data closes no script"
        );
        let missing = RecordingArgs {
            events: Some(folder.path().join("no/such")),
            report: None,
        };
        assert!(missing.check().is_err());
    }
}
