//! What can be wrong with a job on prose, each in one line that says what and where.

use crate::error::{Place, Quoted};
use std::io;
use std::path::PathBuf;

/// Why a job cannot be begun or gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ProseError {
    /// A dictionary, or a personal list, cannot be read.
    #[error("cannot read dictionary {}: {source}", Quoted(.path))]
    Dictionary {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A hunspell dictionary is not what it should be.
    #[error("{} is no hunspell dictionary: {message}", Quoted(.path))]
    Hunspell {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The system has no dictionary of a language.
    #[error("no hunspell dictionary for {language:?}; installed: {}", Names(.known))]
    NoLanguage {
        /// The language asked for.
        language: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// What is to be added to the personal list is not a single word.
    #[error("{word:?} is not one word, so no text can hold it")]
    NotAWord {
        /// What was given.
        word: String,
    },
    /// The personal list cannot be added to.
    #[error("cannot write {}: {source}", Quoted(.path))]
    Personal {
        /// The list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A pattern for files is broken.
    #[error("{message}")]
    Glob {
        /// What is wrong with it, and with which.
        message: String,
    },
    /// The report cannot be written.
    #[error("cannot write standard output: {source}")]
    Output {
        /// What the system said.
        source: io::Error,
    },
    /// The threads cannot be started.
    #[error("cannot start threads: {source}")]
    Threads {
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
}

/// Why one document was left out, or not read to its end. The others are reported all the same.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The document, or a folder, cannot be read.
    #[error("cannot read {}: {source}", Place(.path, "standard input"))]
    Unreadable {
        /// The file, or the folder; nothing for standard input.
        path: Option<PathBuf>,
        /// What the system said.
        source: io::Error,
    },
    /// Something is wrong on the way through a folder.
    #[error("{message}")]
    Walk {
        /// What is wrong, and where.
        message: String,
    },
    /// A document that was named has a zero byte near its beginning, so it is no text.
    #[error("{} is no text: it has NUL bytes", Place(.path, "standard input"))]
    Binary {
        /// The file, or nothing for standard input.
        path: Option<PathBuf>,
    },
}

/// Names, with commas.
struct Names<'a>(&'a [String]);

impl std::fmt::Display for Names<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            formatter.write_str("none")
        } else {
            formatter.write_str(&self.0.join(", "))
        }
    }
}
