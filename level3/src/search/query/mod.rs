//! The query language of the search box: words, expressions and filters.
//!
//! `lexer` cuts a query into words, quoted texts, expressions and filters, each with its place;
//! `parser` makes of them what to look for and where, or an error that points at a place; `case`
//! says whether capitals matter. The result is a [`Query`], which is what shards are asked.
//! `docs/api.md` describes the language for those who use it.

mod case;
mod lexer;
mod parser;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use parser::{Parsed, RootRule, parse};

/// What to look for, and in which files.
///
/// A line is found if all terms of `all` match it and none of `none` does. Without any term, files
/// are found by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// What a line must match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<Term>,
    /// What it must not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub none: Vec<Term>,
    /// What must hold of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRule>,
}

/// A text or an expression to look for in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// The text or expression.
    pub text: String,
    /// Whether `text` is a regular expression.
    pub regex: bool,
    /// Whether upper and lower case are the same.
    pub ignore_case: bool,
}

/// A condition on a file: it fits one of some patterns, or none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRule {
    /// The patterns.
    pub any: Vec<FilePattern>,
    /// Whether the file must fit none of them.
    pub negated: bool,
}

/// What a file can fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilePattern {
    /// A glob for its path if there is a slash in it, otherwise for its name.
    Glob {
        /// The glob.
        text: String,
        /// Whether upper and lower case are the same.
        ignore_case: bool,
    },
    /// A part of its path.
    Part {
        /// The part.
        text: String,
        /// Whether upper and lower case are the same.
        ignore_case: bool,
    },
    /// A language, by the name that this crate gives it.
    Language(String),
}

impl Query {
    /// A search for this text as it stands, in all files.
    pub fn literal(text: &str) -> Self {
        Self::term(text, false)
    }

    /// A search by this expression, in all files.
    pub fn expression(text: &str) -> Self {
        Self::term(text, true)
    }

    fn term(text: &str, regex: bool) -> Self {
        let term = Term {
            text: text.to_owned(),
            regex,
            ignore_case: false,
        };
        Self {
            all: vec![term],
            ..Self::default()
        }
    }

    /// Whether it looks for files by their names rather than for lines.
    pub fn is_about_names(&self) -> bool {
        self.all.is_empty() && self.none.is_empty()
    }

    /// Whether answering takes automata, and so memory.
    pub(crate) fn is_heavy(&self) -> bool {
        let mut terms = self.all.iter().chain(&self.none);
        terms.any(|term| term.regex || term.ignore_case)
    }
}

/// Why a query was refused, and where in it that is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct QueryError {
    /// What is wrong.
    pub message: String,
    /// Where it starts, in characters from 0.
    pub position: usize,
    /// How long it is, in characters.
    pub length: usize,
}
