//! What a search is asked for, and what it answers: hits in the order of path and line.

use serde::{Deserialize, Serialize};

/// What to look for in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The needle or expression.
    pub query: String,
    /// Whether `query` is a regular expression.
    pub regex: bool,
    /// Whether upper and lower case are the same.
    pub ignore_case: bool,
    /// Only files whose path fits this pattern.
    pub path: Option<String>,
    /// How many of the first hits to leave out.
    #[serde(default)]
    pub skip: usize,
    /// The most hits to return.
    pub limit: usize,
    /// Lines to show in front of and behind each hit.
    pub context: usize,
    /// After this many milliseconds the search stops with what it has.
    pub time_limit_ms: u64,
}

/// A matching line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// Path of the file below the indexed root.
    pub file: String,
    /// The line, counting from 1.
    pub line: u64,
    /// Where the first match starts in the line, in characters, counting from 1.
    pub column: u64,
    /// The line without its end; cut around the first match if it is very long.
    pub text: String,
    /// Where the matches are in `text`, in characters from 0: start and end.
    pub spans: Vec<(u64, u64)>,
    /// Whether `text` is only a part of the line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// Lines in front, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Lines behind, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// What one shard answers to a [`Request`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four facts that do not depend on each other"
)]
pub struct Answer {
    /// Hits in the order of path and line.
    pub hits: Vec<Hit>,
    /// Whether there are more than the limit.
    pub more: bool,
    /// Whether the time limit ended the search.
    pub timed_out: bool,
    /// Whether it ends early for want of memory; the hits are the first ones all the same.
    #[serde(default)]
    pub cut: bool,
    /// Whether the index narrowed the search down.
    pub pruned: bool,
}

/// How many lines match in which files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Files and matching lines, in the order of paths.
    pub files: Vec<(String, usize)>,
    /// Whether there are more.
    pub more: bool,
    /// Whether the time limit ended the search.
    pub timed_out: bool,
}

impl Request {
    /// A search for this text as it stands, in all files: at most 1,000 hits within ten seconds.
    pub fn literal(query: &str) -> Self {
        Self {
            query: query.to_owned(),
            regex: false,
            ignore_case: false,
            path: None,
            skip: 0,
            limit: 1000,
            context: 0,
            time_limit_ms: 10_000,
        }
    }
}
