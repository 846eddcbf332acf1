//! What a search is asked for, and what it answers: hits in the order of path and line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budget::REQUEST_BYTES;
use super::query::Query;

/// What to look for in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What to look for, and in which files.
    pub query: Query,
    /// Which hits come first.
    #[serde(default)]
    pub order: Order,
    /// How many of the first hits to leave out.
    #[serde(default)]
    pub skip: usize,
    /// The most hits to return.
    pub limit: usize,
    /// Lines to show in front of and behind each hit.
    pub context: usize,
    /// The most bytes of hits, on each shard.
    #[serde(default = "request_bytes")]
    pub bytes: usize,
    /// After this many milliseconds the search stops with what it has.
    pub time_limit_ms: u64,
}

fn request_bytes() -> usize {
    REQUEST_BYTES
}

/// Which hits come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// By path and line.
    #[default]
    Path,
    /// By [rank](Hit::rank), and then by path and line.
    Best,
}

/// A matching line, or a file that was found by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The name of the root that it is in; empty for the unnamed one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// Path of the file below the indexed root.
    pub file: String,
    /// The line, counting from 1; 0 for a file that was found by its name.
    pub line: u64,
    /// Where the first match starts in the line, in characters, counting from 1.
    pub column: u64,
    /// The line without its end; cut around the first match if it is very long.
    pub text: String,
    /// Where the matches are in `text`, in characters from 0: start and end.
    pub spans: Vec<(u64, u64)>,
    /// Characters of the line in front of `text`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// How good it is where that decides on the order: 0 is best.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rank: u64,
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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
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

/// How many lines match, in which folders and languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Matching lines; files, where those are looked for by name.
    pub lines: u64,
    /// Files that have some.
    pub files: u64,
    /// The deepest folder that all of them share, with a `/` behind it; empty for the root.
    pub folder: String,
    /// Lines in each of its sub-folders.
    pub folders: BTreeMap<String, u64>,
    /// Lines in each language.
    pub languages: BTreeMap<String, u64>,
    /// Whether there may be more.
    pub at_least: bool,
}

impl Request {
    /// A search for at most 1,000 hits within ten seconds.
    pub fn new(query: Query) -> Self {
        Self {
            query,
            order: Order::Path,
            skip: 0,
            limit: 1000,
            context: 0,
            bytes: REQUEST_BYTES,
            time_limit_ms: 10_000,
        }
    }

    /// A search for this text as it stands, in all files.
    pub fn literal(text: &str) -> Self {
        Self::new(Query::literal(text))
    }
}
