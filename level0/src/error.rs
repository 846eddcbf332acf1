//! Why a job could not be done, in one line that names the file and the cause.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Why a [`crate::Job`] could not be done. The message names the file and the cause in one line.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A dictionary cannot be opened or read.
    #[error("cannot read dictionary {}: {source}", Quoted(.path))]
    Dictionary {
        /// The dictionary's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The document cannot be opened or read.
    #[error("cannot read {}: {source}", Place(.path, "standard input"))]
    Input {
        /// The document's path, or nothing for standard input.
        path: Option<PathBuf>,
        /// What the system said.
        source: io::Error,
    },
    /// The report cannot be written.
    #[error("cannot write {}: {source}", Place(.path, "standard output"))]
    Output {
        /// The report's path, or nothing for standard output.
        path: Option<PathBuf>,
        /// What the system said.
        source: io::Error,
    },
    /// The report would overwrite what is still to be read.
    #[error("{} is read and cannot be written at the same time", Place(.path, "standard output"))]
    OutputIsInput {
        /// The report's path, or nothing for standard output.
        path: Option<PathBuf>,
    },
    /// The threads cannot be started.
    #[error("cannot start threads: {source}")]
    Threads {
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
}

/// A path in quotes.
pub(crate) struct Quoted<'a>(pub &'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line break in a name would make the message two lines.
        let name = self
            .0
            .to_string_lossy()
            .replace(char::is_control, "\u{FFFD}");
        write!(formatter, "'{name}'")
    }
}

/// A path in quotes, or what stands for it.
pub(crate) struct Place<'a>(pub &'a Option<PathBuf>, pub &'static str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => Quoted(path).fmt(formatter),
            None => formatter.write_str(self.1),
        }
    }
}
