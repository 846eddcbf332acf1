//! What a machine executes commands on: the database, or something simpler in tests.

use std::io;

use bytes::Bytes;

use crate::ids::{Index, Term};
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
    /// The commands of the entry at `index`, if it had any, have been run.
    fn end_entry(&mut self, _index: Index, _time_ms: u64) {}
    /// The whole state. Whoever applies entries waits for this, and not for the state's bytes.
    fn save(&mut self) -> Self::Saved;
    /// Replaces the whole state.
    fn restore(&mut self, state: &[u8]) -> Result<(), Self::Error>;

    /// The whole state at the last commit, which can be kept by reference to the executor's own files.
    ///
    /// # Errors
    ///
    /// If these cannot be written. It can be tried again.
    fn save_reference(&mut self) -> io::Result<Self::Saved> {
        Ok(self.save())
    }

    /// Everything up to the entry `at` is applied: an executor with files of its own notes that there, and
    /// with it `note`, so that the next process need not execute it again.
    ///
    /// # Errors
    ///
    /// If it cannot be written. It can be tried again, or be done with later entries.
    fn commit(&mut self, _at: (Index, Term), _note: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// What an earlier process has noted after the entry `applied`. Until [`Executor::recalled`], commands are
    /// not executed, but give what they gave then.
    ///
    /// # Errors
    ///
    /// If the files cannot be used.
    fn recall(&mut self, _applied: Index) -> Result<Vec<Recorded>, Self::Error> {
        Ok(Vec::new())
    }

    /// All that was noted has been gone through.
    ///
    /// # Errors
    ///
    /// If other commands were given than then.
    fn recalled(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Entries whose effects an earlier process has noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The entry before them.
    pub from: Index,
    /// The last of them.
    pub at: (Index, Term),
    /// As given to [`Executor::commit`].
    pub note: Bytes,
}

/// An executor's state as of one moment, to be turned into bytes wherever there is time for it.
pub trait Saved: Send + 'static {
    /// How many bytes there are.
    fn size(&self) -> usize;
    /// Appends them: what [`Executor::restore`] takes, on any node.
    ///
    /// # Errors
    ///
    /// If they have to be read, and cannot be.
    fn append_to(&self, bytes: &mut Vec<u8>) -> io::Result<()>;
    /// How many bytes there are of a reference.
    fn reference_size(&self) -> usize {
        self.size()
    }
    /// Appends what the executor takes when it starts again on this node.
    ///
    /// # Errors
    ///
    /// As [`Saved::append_to`].
    fn append_reference_to(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.append_to(bytes)
    }
    /// Makes what a reference refers to durable.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    /// The reference is durable, and the only one that is needed.
    fn keep(&self) {}

    /// The bytes.
    ///
    /// # Errors
    ///
    /// As [`Saved::append_to`].
    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.size());
        self.append_to(&mut bytes)?;
        Ok(bytes)
    }
}

impl Saved for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }

    fn append_to(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.extend_from_slice(self);
        Ok(())
    }
}
