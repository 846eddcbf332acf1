//! What judging gave: results by case, as a table for people and as JSON for programs.
//!
//! A [`Report`] is told with [`begin`](Report::begin) what is run, and gets each case's
//! [`CaseResult`] with [`add`](Report::add), which completes it: the settings, the command that
//! replays it, the verdict. What cannot be set up is told with [`stumble`](Report::stumble). A
//! report without a result, or with an error, is no pass.

mod failure;
mod figure;
mod json;
mod result;
mod table;

use std::{path::PathBuf, time::SystemTime};

use anyhow::Result;
use serde_json::{Value, json};

pub use failure::{Cause, Failure};
pub use figure::{plain, score};
pub use json::Target;
pub use result::{CaseResult, StageMark, Unit, Verdict};

use crate::{console, ladder::Attempt, live_feed, recording::Recording, settings::Settings};

/// A result and what the report knows of it besides.
#[derive(Debug)]
struct Entry {
    result: CaseResult,
    settings: Settings,
    /// What the run's page draws, if it was recorded.
    recording: Option<Recording>,
}

impl Entry {
    /// The command that judges the case again.
    fn replay(&self) -> String {
        self.settings.replay(&self.result.chosen)
    }
}

/// The results of a run, in the order in which they came.
#[derive(Debug)]
pub struct Report {
    started: SystemTime,
    /// The harness's own command line.
    command: Vec<String>,
    settings: Settings,
    /// The stage that the command is about, if it is about one.
    attempt: Option<Attempt>,
    entries: Vec<Entry>,
    errors: Vec<String>,
    /// What is said to people after everything else.
    epilogue: Vec<String>,
    is_kept: bool,
}

impl Report {
    /// An empty report of a run that starts now; `command` is the harness's own command line.
    pub fn new(command: Vec<String>) -> Self {
        Self {
            started: SystemTime::now(),
            command,
            settings: Settings::default(),
            attempt: None,
            entries: Vec::new(),
            errors: Vec::new(),
            epilogue: Vec::new(),
            is_kept: false,
        }
    }

    /// The results that come from now on belong to this command, and to this stage of a ladder.
    pub fn begin(&mut self, settings: Settings, attempt: Option<Attempt>) {
        self.settings = settings;
        self.attempt = attempt;
    }

    /// What a result is worth at the stage that is being judged; the result as it is without one.
    /// Levels ask before they look whether a case is passed.
    #[must_use]
    pub fn staged(&self, result: CaseResult) -> CaseResult {
        match &self.attempt {
            Some(attempt) => attempt.judge(result),
            None => result,
        }
    }

    /// Says something to people after the table.
    pub fn conclude_with(&mut self, text: String) {
        self.epilogue.push(text);
    }

    /// Adds a result and says so on stderr, where progress goes.
    pub fn add(&mut self, result: CaseResult) {
        self.put(result, None);
    }

    /// The same for a result whose run was recorded.
    pub fn add_recorded(&mut self, result: CaseResult, recording: Recording) {
        self.put(result, Some(recording));
    }

    fn put(&mut self, result: CaseResult, recording: Option<Recording>) {
        let world = result.world();
        let mut line = format!("{world}: {}: {}", result.case, result.verdict().shown());
        for remark in &result.remarks {
            line.extend([" · ", remark]);
        }
        console::log(&line);
        live_feed::tell(
            "result",
            &json!({
                "level": result.level,
                "case": result.case,
                "verdict": result.verdict(),
                "stage": result.stage.map(|stage| stage.number),
            }),
        );
        if let Some(reason) = result.noise.as_ref().and_then(super::noise::Noise::reason) {
            console::log(&format!("{world}: {}: noisy: {reason}", result.case));
        }
        self.entries.push(Entry {
            result,
            settings: self.settings.clone(),
            recording,
        });
    }

    /// Something could not be set up, or failed on the harness's side; says so on stderr.
    pub fn stumble(&mut self, error: &anyhow::Error) {
        let text = format!("{error:#}");
        console::log(&format!("harness: {text}"));
        self.errors.push(text);
    }

    /// A result as JSON, as [`write`](Self::write) will have it if it is added now.
    pub fn describe(&self, result: &CaseResult) -> Result<Value> {
        json::describe(&Entry {
            result: result.clone(),
            settings: self.settings.clone(),
            recording: None,
        })
    }

    /// Whether results are kept in the history, with recordings of their runs.
    pub const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The results are to be kept.
    pub const fn keep(&mut self) {
        self.is_kept = true;
    }

    /// The results so far as JSON, each with its recording: what a history keeps.
    pub fn kept(&self) -> Result<Vec<(Value, Option<&Recording>)>> {
        let kept = |entry| Ok((json::describe(entry)?, entry.recording.as_ref()));
        self.entries.iter().map(kept).collect()
    }

    /// Of the run as a whole, as JSON: which harness, on what machine, called how and when.
    pub fn run(&self) -> Result<Value> {
        json::run(self)
    }

    /// The results so far.
    pub fn results(&self) -> impl Iterator<Item = &CaseResult> {
        self.entries.iter().map(|entry| &entry.result)
    }

    /// Whether something could not be set up.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Whether there are cases and every one is passed.
    pub fn passed(&self) -> bool {
        !self.entries.is_empty() && self.errors.is_empty() && self.results().all(CaseResult::passed)
    }

    /// Whether a case is not passed.
    pub fn has_failed(&self) -> bool {
        self.results().any(|result| !result.passed())
    }

    /// Prints the table and the failures for people on stdout.
    pub fn print(&self) {
        if !self.entries.is_empty() {
            console::print(&table::render(&self.entries));
        }
        for text in &self.epilogue {
            console::print(text);
        }
    }

    /// Writes what is known so far as JSON, schema 2, as the record of a run that has not ended:
    /// what stands there if the harness is killed, and a proof that it can be written.
    pub fn open(&self, target: &Target) -> Result<()> {
        target.open(&json::render(self, Some("the run has not ended"))?)
    }

    /// Writes the results as JSON, schema 2.
    pub fn write(&self, target: &Target, interrupted: bool) -> Result<()> {
        target.write(&json::render(self, interrupted.then_some("interrupted"))?)
    }
}

/// Where the JSON goes that `--json` asks for: `-` is stdout, of which nothing else may be written
/// then (see [`console::give_stdout_to_json`]).
impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == "-" {
            Self::Stdout
        } else {
            Self::File(path)
        }
    }
}
