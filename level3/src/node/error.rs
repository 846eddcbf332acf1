//! Why a node cannot do what it was asked. The message goes to the master as it stands.

use thiserror::Error;

use crate::index::IndexError;
use crate::search::SearchError;
use crate::wire::Refusal;

/// Why a node cannot do what it was asked.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The request is none.
    #[error("bad request: {0}")]
    Request(serde_json::Error),
    /// The query is none.
    #[error("bad query")]
    Query,
    /// The answer cannot be written down.
    #[error("cannot write the answer: {0}")]
    Answer(serde_json::Error),
    /// The node has no such shard, or nothing in it.
    #[error("shard {0} is not indexed")]
    NotIndexed(u32),
    /// The shard does not hold the state that was asked for: it has an older or a newer one.
    #[error("shard {shard} does not hold state {job}")]
    NoState {
        /// Its number.
        shard: u32,
        /// The job that made the state.
        job: u64,
    },
    /// The shard is there and cannot be used.
    #[error("shard {shard} is damaged: {what}")]
    Damaged {
        /// Its number.
        shard: u32,
        /// The check that failed.
        what: String,
    },
    /// An update gave way to one of a later job.
    #[error("a later request to index has taken over")]
    Superseded,
    /// The root without a name is always there.
    #[error("the unnamed root cannot be removed")]
    Unnamed,
    /// The index cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Something that must not happen has happened, in this request only.
    #[error("this request has run into a fault of the program; the node's log says where")]
    Panicked,
    /// The search was refused or failed.
    #[error(transparent)]
    Search(#[from] SearchError),
}

impl NodeError {
    /// What the master has to know of it.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::NoState { .. } | Self::NotIndexed(_) => Refusal::NoState,
            Self::Search(SearchError::Pattern(_) | SearchError::Filter(_)) => Refusal::BadRequest,
            _ => Refusal::Failed,
        }
    }
}
