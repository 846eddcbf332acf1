//! What ends a node that had been running: a value, so that the program that runs the node decides how
//! the process ends. Nothing in here is worth trying again: going on would break a promise.

use std::io;

use tokio::sync::mpsc;

use crate::database::DatabaseError;
use crate::ids::Index;
use crate::log::LogError;
use crate::machine::ApplyError;

/// Why a running node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A bug: a node without one of its threads would answer nobody for ever.
    #[error("the {thread} thread panicked")]
    Panicked {
        /// The thread's name.
        thread: &'static str,
    },
    /// The system refused a thread.
    #[error("cannot start the {thread} thread: {cause}")]
    NoThread {
        /// The thread's name.
        thread: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// An operator wants an entry skipped that is being applied: what it has done so far can only be
    /// undone by starting again, where the log then tells to skip it.
    #[error("the entry at index {index} is to be skipped: starting again without it")]
    Skip {
        /// The entry.
        index: Index,
    },
    /// It is unknown what is on disk.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The replicated state cannot be had.
    #[error(transparent)]
    State(#[from] ApplyError<DatabaseError>),
}

/// The faults of a running node; the first one is the end of it.
#[derive(Debug)]
pub struct Faults(mpsc::UnboundedReceiver<Fault>);

impl Faults {
    /// The next fault; never, if there is none.
    pub async fn next(&mut self) -> Fault {
        match self.0.recv().await {
            Some(fault) => fault,
            // All threads have ended as they were told.
            None => std::future::pending().await,
        }
    }
}

/// Where threads report faults to.
#[derive(Debug, Clone)]
pub(super) struct FaultSender(mpsc::UnboundedSender<Fault>);

impl FaultSender {
    pub(super) fn channel() -> (Self, Faults) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), Faults(receiver))
    }

    pub(super) fn report(&self, fault: Fault) {
        // Nobody listens once the node is being ended, and then it ends anyway.
        let _ = self.0.send(fault);
    }
}
