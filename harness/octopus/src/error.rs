//! What can go wrong in setting up and running a simulation.

use std::{io, path::PathBuf};

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused something.
    #[error("{doing}")]
    System {
        /// What was tried, as in "cannot create /tmp/x".
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A simulation without nodes was asked for.
    #[error("a simulation needs at least one node")]
    NoNodes,
    /// A socket's path would be too long.
    #[error(
        "{} has {bytes} bytes, a socket's path at most {most}: use a folder with a shorter path",
        path.display()
    )]
    LongPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// The system's limit.
        most: usize,
    },
    /// A folder that is to be emptied belongs to somebody else.
    #[error("{} is not empty and was not made here: name another folder", .0.display())]
    ForeignFolder(PathBuf),
    /// A folder is in use by another run.
    #[error("{} is in use by another run: wait for it, or name another folder", .0.display())]
    FolderInUse(PathBuf),
    /// A program cannot be shut in; the text says what is missing.
    #[error("no sandbox: {0}")]
    NoSandbox(String),
    /// There can be no machines; the text says what is missing.
    #[error("no machines: {0}")]
    NoMachines(String),
    /// Nobody here can limit processors.
    #[error(
        "a share of the processor needs the cpu controller of cgroup v2, and the right to give it on"
    )]
    NoProcessorShares,
    /// Small disks exist on Linux only.
    #[error("small disks (the fulldisk monkey) need Linux")]
    NoSmallDisks,
}

impl Error {
    /// The error with its cause, in a line.
    pub(crate) fn told(&self) -> String {
        let cause = std::error::Error::source(self);
        cause.map_or_else(|| self.to_string(), |cause| format!("{self}: {cause}"))
    }
}

/// Adds what was tried to an error of the system's.
pub(crate) trait Doing<T> {
    /// `text` says what was tried: "cannot create /tmp/x".
    fn doing(self, text: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, text: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::System {
            doing: text(),
            source,
        })
    }
}
