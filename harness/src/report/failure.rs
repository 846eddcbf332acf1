//! Why a case is not passed: what happened, where, what the solution said last, what to try next.
//!
//! A failure knows what can have caused it. What only the solution can cause (a wrong answer, an
//! answer given twice, an exit) fails the case on any machine; what a busy machine can cause as
//! well (a low score, a time-out, no progress) leaves it undecided when the machine was busy with
//! other things (see [`noise`](crate::noise)).

use serde::Serialize;

/// What can have caused a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Nothing but the solution.
    Solution,
    /// The solution, or a machine that had other things to do.
    Slowness,
    /// Unknown: the judge gave up before it knew.
    Unknown,
}

/// Why a case is not passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// A word for programs: `wrong_output`, `time_limit`, `exit_status`, `too_slow`, …
    pub kind: &'static str,
    /// One or more lines for people.
    pub message: String,
    /// The place of the failure: a line, a query, a node, a sequence number.
    #[serde(rename = "where")]
    pub place: Option<String>,
    /// The last lines that the solution said, the newest last.
    pub said: Vec<String>,
    /// What to try next, a sentence each.
    pub next: Vec<String>,
    /// What can have caused it.
    pub cause: Cause,
}

impl Failure {
    /// A failure that only the solution can have caused, without a place.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            place: None,
            said: Vec::new(),
            next: Vec::new(),
            cause: Cause::Solution,
        }
    }

    /// A failure that a slow machine can cause as well: a score, a time-out, no progress.
    pub fn slow(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            cause: Cause::Slowness,
            ..Self::new(kind, message)
        }
    }

    /// No failure, and no pass either: the judge could not find out. The message says why.
    pub fn undecided(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            cause: Cause::Unknown,
            ..Self::new(kind, message)
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

    /// The same failure with the last lines that the solution said
    /// (see [`last_lines`](crate::solution_log::last_lines)).
    #[must_use]
    pub fn said(self, lines: Vec<String>) -> Self {
        Self {
            said: lines,
            ..self
        }
    }

    /// The same failure with a hint what to try next, a sentence.
    #[must_use]
    pub fn hint(mut self, sentence: impl Into<String>) -> Self {
        self.next.push(sentence.into());
        self
    }
}
