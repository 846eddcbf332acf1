//! What a machine executes commands on: the database, or something simpler in tests.

use bytes::Bytes;

use crate::message::Command;

/// What varies from one execution to the next, the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// `now`, milliseconds since 1970.
    pub time_ms: u64,
    /// For `random()`.
    pub seed: u64,
}

/// Executes commands on data of its own.
pub trait Executor {
    /// Why a command or a snapshot could not be executed or put in place.
    type Error: std::error::Error + Send + Sync + 'static;
    /// The whole state as of one moment, which costs little to take.
    type Saved: Saved;

    /// Names what the results depend on besides the log: the engine and its version, hashed.
    fn engine(&self) -> u64;
    /// Whether replicas' answers to this command have to be equal.
    fn is_comparable(&self, _command: &Command) -> bool {
        true
    }
    /// What the last command did beyond its answer: how many rows it changed.
    fn changes(&self) -> u64 {
        0
    }
    /// Runs a command. The result depends on the state, the command and the moment alone.
    ///
    /// # Errors
    ///
    /// If what happened may not have happened elsewhere. The state is then unknown.
    fn execute(&mut self, moment: Moment, command: &Command) -> Result<Bytes, Self::Error>;
    /// The whole state. Whoever applies entries waits for this, and not for the state's bytes.
    fn save(&mut self) -> Self::Saved;
    /// Replaces the whole state.
    fn restore(&mut self, state: &[u8]) -> Result<(), Self::Error>;
}

/// An executor's state as of one moment, to be turned into bytes wherever there is time for it.
pub trait Saved: Send + 'static {
    /// How many bytes there are.
    fn size(&self) -> usize;
    /// Appends them: what [`Executor::restore`] takes.
    fn append_to(&self, bytes: &mut Vec<u8>);

    /// The bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size());
        self.append_to(&mut bytes);
        bytes
    }
}

impl Saved for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }

    fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }
}
