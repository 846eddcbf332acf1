//! What the machine notes beside an executor that keeps its state in files, and how a process that starts
//! again gets back to where the one before it was: entries of the log are gone through once more, for the
//! sessions' sake, and no command is executed.

use std::io;

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType};

use super::{ApplyError, Executor, Machine, MemberChange};
use crate::codec::{Malformed, Reader, Writer};
use crate::consensus::{Apply, decode_snapshot_members, encode_snapshot_members};
use crate::ids::{Index, Term};

/// Why the state of an earlier process cannot be got back: it has to be made from snapshot and log.
#[derive(Debug, thiserror::Error)]
pub enum RecallError<E: std::error::Error + 'static> {
    /// The log has other entries.
    #[error("the log does not have the entry at {0} that the database has")]
    Log(Index),
    /// A note is not in the format.
    #[error("what was noted cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// The executor finds something else than it noted.
    #[error("what was noted does not fit: {0}")]
    Executor(#[source] E),
    /// An entry cannot be gone through.
    #[error(transparent)]
    Apply(#[from] ApplyError<E>),
}

fn encode(changes: &[MemberChange]) -> Vec<u8> {
    let mut writer = Writer::new();
    for change in changes {
        writer.uint(change.index.get());
        // Writing into memory fails only on fields left unset, which proto3 lacks.
        writer.bytes(&change.conf_state.write_to_bytes().unwrap_or_default());
        encode_snapshot_members(&change.members, &mut writer);
    }
    writer.finish()
}

fn decode(note: &[u8]) -> Result<Vec<MemberChange>, Malformed> {
    let mut reader = Reader::new(note);
    let mut changes = Vec::new();
    while !reader.is_empty() {
        changes.push(MemberChange {
            index: Index::new(reader.uint()?),
            conf_state: ConfState::parse_from_bytes(reader.bytes()?)
                .map_err(|_| Malformed { at: 0 })?,
            members: decode_snapshot_members(&mut reader)?,
        });
    }
    Ok(changes)
}

impl<E: Executor> Machine<E> {
    /// The executor's files are to have all that is applied: the next process need not execute it again.
    ///
    /// # Errors
    ///
    /// If they cannot be written. It can be tried again, also after more entries.
    pub fn commit(&mut self) -> io::Result<()> {
        let note = encode(&self.member_changes);
        self.executor.commit(self.applied, &note)?;
        self.member_changes.clear();
        Ok(())
    }

    /// Gets back to where an earlier process was, as far as it noted that: `entry` gives the log's entries.
    /// After a snapshot was restored, and before anything else is applied.
    ///
    /// # Errors
    ///
    /// If that does not fit together. The state is then unknown.
    pub fn recall<'l>(
        &mut self,
        entry: impl Fn(Index) -> Option<&'l Entry>,
    ) -> Result<(), RecallError<E::Error>> {
        let recorded = self.executor.recall(self.applied.0);
        for record in recorded.map_err(RecallError::Executor)? {
            let (last, term) = record.at;
            let mut changes = decode(&record.note)?.into_iter();
            if record.from != self.applied.0 {
                return Err(RecallError::Log(record.from));
            }
            while self.applied.0 < last {
                let index = self.applied.0.next();
                let entry = entry(index).ok_or(RecallError::Log(index))?;
                let of = Term::new(entry.term);
                let step = if entry.entry_type == EntryType::EntryNormal {
                    Apply::Batch {
                        index,
                        term: of,
                        data: entry.data.clone(),
                    }
                } else {
                    let change = changes.next().filter(|change| change.index == index);
                    let change = change.ok_or(RecallError::Log(index))?;
                    Apply::Members {
                        index,
                        term: of,
                        conf_state: change.conf_state,
                        members: change.members,
                    }
                };
                self.apply(step)?;
            }
            if self.applied != (last, term) {
                return Err(RecallError::Log(last));
            }
        }
        self.member_changes.clear();
        self.executor.recalled().map_err(RecallError::Executor)
    }
}
