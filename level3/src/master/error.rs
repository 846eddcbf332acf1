//! What can go wrong between the master and its nodes, and in indexing.
//!
//! A [`Fault`] is one node's and names it; a [`MasterError`] is what is left when all that could
//! be asked have been. How an error looks over HTTP is the business of `api::failure`.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::roots::MAX_ROOTS;
use crate::root::RootName;
use crate::wire::{self, Endpoint, Refusal};

/// Why one node gave no answer. The message names the node.
#[derive(Debug, Error)]
#[error("node {node}: {cause}")]
pub struct Fault {
    /// Where the node is.
    pub node: Endpoint,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with a node, or with the way to it.
#[derive(Debug, Error)]
pub enum Cause {
    /// It said nothing for the time it has.
    #[error("no answer in time")]
    Silent,
    /// It said nothing before, and has not been heard of since. It is asked in the background.
    #[error("does not answer")]
    Down,
    /// The connection failed.
    #[error("{0}")]
    Connection(io::Error),
    /// There is no connection because this process may open no more files.
    #[error("not asked: the master may open no more files (`ulimit -n`)")]
    OutOfFiles,
    /// It does not hold the state that was asked for.
    #[error("{0}")]
    NoState(String),
    /// The request itself is no good: a message for people.
    #[error("{0}")]
    BadRequest(String),
    /// It answered that it cannot do what was asked: a message for people.
    #[error("{0}")]
    Refused(String),
    /// It said something that is no answer to what was asked.
    #[error("unexpected answer")]
    Unexpected,
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        let out_of_files = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
        if error.kind() == io::ErrorKind::TimedOut {
            Self::Silent
        } else if out_of_files.contains(&error.raw_os_error()) {
            Self::OutOfFiles
        } else {
            Self::Connection(error)
        }
    }
}

impl Cause {
    /// What a node's error frame says.
    pub(crate) fn of_error(payload: &[u8]) -> Self {
        match wire::decode_error(payload) {
            (Refusal::NoState, said) => Self::NoState(said),
            (Refusal::BadRequest, said) => Self::BadRequest(said),
            (Refusal::Failed, said) => Self::Refused(said),
        }
    }
}

impl MasterError {
    /// An error of the data folder, with the path.
    pub(crate) fn data(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Data {
            path: path.to_owned(),
            error,
        }
    }

    /// Whether a node said that it does not hold the state that was asked for.
    pub(crate) fn is_about_state(&self) -> bool {
        let is = |fault: &Fault| matches!(fault.cause, Cause::NoState(_));
        matches!(self, Self::Shard { faults, .. } if faults.iter().any(is))
    }
}

/// Why the master cannot do something.
#[derive(Debug, Error)]
pub enum MasterError {
    /// No replica of a shard answered.
    #[error("shard {shard}{}: {}", of(root), list(faults))]
    Shard {
        /// The root that it is a part of.
        root: RootName,
        /// Which shard, counting from 1.
        shard: u32,
        /// What each replica said.
        faults: Vec<Fault>,
    },
    /// Nothing was indexed yet, or no node says so.
    #[error("{0}")]
    NotIndexed(String),
    /// One node failed to do its part of indexing.
    #[error(transparent)]
    Node(#[from] Fault),
    /// The folder to index cannot be listed.
    #[error("{}: {error}", root.display())]
    Walk {
        /// The folder.
        root: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The folder cannot be named in a message to the nodes.
    #[error("{}: the path of the folder is not valid UTF-8", root.display())]
    Name {
        /// The folder.
        root: PathBuf,
    },
    /// The master's data folder cannot be read or written.
    #[error("data folder: {}: {error}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There are as many roots as there may be.
    #[error("there are {MAX_ROOTS} roots already, which is the most; remove one first")]
    TooManyRoots,
    /// A root that is asked and has no state to answer from.
    #[error("{root}: {why}")]
    Root {
        /// The root.
        root: RootName,
        /// What is in the way.
        why: String,
    },
    /// A worker thread ended before its work did.
    #[error("a worker thread has failed")]
    Worker,
    /// Serving ended with an error.
    #[error("cannot serve: {0}")]
    Serve(io::Error),
}

/// Names a root, unless it is the unnamed one.
fn of(root: &RootName) -> String {
    match root.as_str() {
        "" => String::new(),
        name => format!(" of root {name}"),
    }
}

/// Faults one after the other.
fn list(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
    faults.join("; ")
}
