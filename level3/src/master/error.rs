//! What can go wrong between the master and its nodes, and in indexing.
//!
//! A [`Fault`] is one node's and names it; a [`MasterError`] is what is left when all that could
//! be asked have been. How an error looks over HTTP is the business of `api::failure`.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::wire::Endpoint;

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
    /// The connection failed.
    #[error("{0}")]
    Connection(io::Error),
    /// It answered that it cannot do what was asked: a message for people.
    #[error("{0}")]
    Refused(String),
    /// It said something that is no answer to what was asked.
    #[error("unexpected answer")]
    Unexpected,
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::TimedOut {
            Self::Silent
        } else {
            Self::Connection(error)
        }
    }
}

/// Why the master cannot do something.
#[derive(Debug, Error)]
pub enum MasterError {
    /// No replica of a shard answered.
    #[error("shard {shard}: {}", list(faults))]
    Shard {
        /// Which shard, counting from 1.
        shard: u32,
        /// What each replica said.
        faults: Vec<Fault>,
    },
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
    /// A worker thread ended before its work did.
    #[error("a worker thread has failed")]
    Worker,
    /// Serving ended with an error.
    #[error("cannot serve: {0}")]
    Serve(io::Error),
}

/// Faults one after the other.
fn list(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
    faults.join("; ")
}
