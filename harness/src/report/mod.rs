//! What judging gave: results by case, as a table for people and as JSON for programs.

mod json;
mod table;

use std::{path::Path, time::SystemTime};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::console;

/// What a score is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Seconds; less is better, a ratio is reference / ours.
    S,
    /// Points; more is better, a ratio is ours / reference.
    Points,
    /// Accepted gitcoins.
    Coins,
}

/// Why a solution failed a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// A word for programs: `wrong_output`, `time_limit`, `exit_status`, `too_slow`, …
    pub kind: &'static str,
    /// One or more lines for people.
    pub message: String,
    /// The place of the failure: a line, a query, a node, a sequence number.
    #[serde(rename = "where")]
    pub place: Option<String>,
}

impl Failure {
    /// A failure without a place.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            place: None,
        }
    }

    /// The same failure at a place.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self {
            place: Some(place.into()),
            ..self
        }
    }
}

/// The judgement of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseResult {
    /// The level, 0 to 4.
    pub level: u8,
    /// The case's name.
    pub case: String,
    /// The solution's command line.
    pub solution: Vec<String>,
    /// Whether the case is passed.
    pub passed: bool,
    /// The solution's figure, in [`unit`](Self::unit)s.
    pub score: Option<f64>,
    /// The reference solution's figure, in the same unit.
    pub reference: Option<f64>,
    /// How many times better than the reference.
    pub ratio: Option<f64>,
    /// What score and reference are counted in.
    pub unit: Unit,
    /// Everything else that was measured; names end in their unit.
    pub figures: Map<String, Value>,
    /// Why the case is not passed.
    pub failure: Option<Failure>,
}

impl CaseResult {
    /// A result without figures; passed unless [`fail`](Self::fail)ed later.
    pub fn new(level: u8, case: impl Into<String>, solution: Vec<String>, unit: Unit) -> Self {
        Self {
            level,
            case: case.into(),
            solution,
            passed: true,
            score: None,
            reference: None,
            ratio: None,
            unit,
            figures: Map::new(),
            failure: None,
        }
    }

    /// Sets the score and, if the case has a reference, the ratio to it.
    #[must_use]
    pub fn scored(mut self, score: f64, reference: Option<f64>) -> Self {
        self.score = Some(score);
        self.reference = reference;
        self.ratio = reference.map(|reference| match self.unit {
            Unit::S => reference / score,
            Unit::Points | Unit::Coins => score / reference,
        });
        self
    }

    /// Adds a figure; the name ends in its unit, as in `wall_best_s`.
    #[must_use]
    pub fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }

    /// Marks the case as failed.
    #[must_use]
    pub fn fail(mut self, failure: Failure) -> Self {
        self.passed = false;
        self.failure = Some(failure);
        self
    }
}

/// The results of a run, in the order in which they came.
#[derive(Debug)]
pub struct Report {
    started: SystemTime,
    results: Vec<CaseResult>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            started: SystemTime::now(),
            results: Vec::new(),
        }
    }
}

impl Report {
    /// Adds a result and says so on stderr, where progress goes.
    pub fn add(&mut self, result: CaseResult) {
        let verdict = if result.passed { "passed" } else { "FAILED" };
        console::log(&format!(
            "level {}: {}: {verdict}",
            result.level, result.case
        ));
        self.results.push(result);
    }

    /// The results so far.
    pub fn results(&self) -> &[CaseResult] {
        &self.results
    }

    /// Whether every case was passed.
    pub fn passed(&self) -> bool {
        self.results.iter().all(|result| result.passed)
    }

    /// Prints the table and the failures for people on stdout.
    pub fn print(&self) {
        if !self.results.is_empty() {
            console::print(&table::render(&self.results));
        }
    }

    /// Writes the results as JSON (schema 1, see the harness's README).
    pub fn write_json(&self, path: &Path, interrupted: bool) -> Result<()> {
        let text = json::render(self.started, &self.results, self.passed() && !interrupted)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
