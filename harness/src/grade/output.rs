//! The folder of a grading: pages, tables, and a record of each run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{
    class::Class,
    page,
    record::{Record, Run},
    tables,
};
use crate::output_file;

const RUNS: &str = "runs";
const PAGE: &str = "index.html";

/// Where results go.
#[derive(Debug)]
pub(super) struct Output {
    folder: PathBuf,
}

impl Output {
    /// Opens a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be written to; this is known before anything is judged.
    pub fn open(folder: &Path) -> Result<Self> {
        let runs = folder.join(RUNS);
        fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display()))?;
        output_file::check("the page", &folder.join(PAGE))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    fn run_file(&self, run: &Run, ending: &str) -> PathBuf {
        self.folder.join(RUNS).join(run.key() + ending)
    }

    /// The record that was kept of a run.
    pub fn record(&self, run: &Run) -> Option<Record> {
        Record::load(&self.run_file(run, ".json"))
    }

    /// Where the charts of a run go.
    pub fn charts(&self, run: &Run) -> PathBuf {
        self.run_file(run, "-charts.html")
    }

    /// Keeps a record, and its page.
    pub fn keep(&self, record: &Record) -> Result<()> {
        write(&self.run_file(&record.run, ".html"), &page::run(record))?;
        record.save(&self.run_file(&record.run, ".json"))
    }

    /// Writes the tables and the page of a class.
    pub fn write(&self, class: &Class) -> Result<()> {
        let json = serde_json::to_string_pretty(class)? + "\n";
        for (name, text) in [
            (PAGE, page::class(class)),
            ("grades.csv", tables::csv(class)),
            ("junit.xml", tables::junit(class)),
            ("grades.json", json),
        ] {
            write(&self.folder.join(name), &text)?;
        }
        Ok(())
    }

    /// Where to look, for people.
    pub fn shown(&self) -> String {
        format!(
            "the page: {} · beside it grades.csv, junit.xml, grades.json",
            self.folder.join(PAGE).display()
        )
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
