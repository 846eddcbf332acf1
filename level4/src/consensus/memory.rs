//! The log as Raft reads it: the entries after the last compaction, in memory.
//!
//! Durability is not its business: the core hands every change to its environment as well, which
//! writes it to disk, and Raft hears of that through `on_persist_ready`.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};

use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

use super::skip::decode_skip;
use crate::ids::{Index, Term};

/// Entries `base.0 + 1 ..`, the hard state, and a snapshot for followers that are too far behind.
#[derive(Debug, Default)]
pub struct MemoryLog {
    /// Index and term of the entry before the first.
    base: (Index, Term),
    entries: VecDeque<Entry>,
    hard_state: HardState,
    conf_state: ConfState,
    snapshot: Option<Snapshot>,
    snapshot_wanted: Cell<bool>,
}

impl MemoryLog {
    /// The log as recovered from disk. `conf_state` is the one at `base`.
    pub fn new(
        base: (Index, Term),
        entries: Vec<Entry>,
        hard_state: HardState,
        conf_state: ConfState,
    ) -> Self {
        Self {
            base,
            entries: entries.into(),
            hard_state,
            conf_state,
            ..Self::default()
        }
    }

    /// The last entry, or that before the first one.
    pub fn last(&self) -> Index {
        self.base.0 + self.entries.len() as u64
    }

    /// The entry at `index`, if it is held.
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        let first = self.base.0.next();
        let place = (index >= first).then(|| index.since(first))?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Appends entries, which replace everything from their first index on.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = Index::new(first.index).since(self.base.0.next());
        self.entries.truncate(keep as usize);
        self.entries.extend(entries.iter().cloned());
    }

    /// Entries up to `index` are applied, and so committed, whatever is on disk about that; `conf_state` is the
    /// configuration there.
    pub fn begin_from(&mut self, index: Index, conf_state: ConfState) {
        self.hard_state.commit = self.hard_state.commit.max(index.get());
        self.conf_state = conf_state;
    }

    /// Remembers term, vote and commit index.
    pub fn set_hard_state(&mut self, hard_state: &HardState) {
        self.hard_state = hard_state.clone();
    }

    /// Starts over behind a snapshot that the leader sent.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let metadata = snapshot.get_metadata();
        self.base = (Index::new(metadata.index), Term::new(metadata.term));
        self.entries.clear();
        self.conf_state = metadata.get_conf_state().clone();
    }

    /// Forgets entries up to `index`, but for the last `keep` of them, and of these not more than
    /// `keep_bytes`.
    pub fn compact(&mut self, index: Index, keep: u64, keep_bytes: usize) {
        let held = index.since(self.base.0) as usize;
        let latest = self.entries.range(..held.min(self.entries.len())).rev();
        let mut bytes = 0;
        let kept = latest
            .take(keep as usize)
            .take_while(|entry| {
                bytes += entry.data.len();
                bytes <= keep_bytes
            })
            .count();
        let up_to = index.saturating_sub(kept as u64);
        while self.base.0 < up_to
            && let Some(entry) = self.entries.pop_front()
        {
            self.base = (Index::new(entry.index), Term::new(entry.term));
        }
    }

    /// What the entries that are known to be committed say to skip.
    pub fn skips(&self) -> BTreeSet<Index> {
        let committed = self.hard_state.commit;
        let entries = self.entries.iter().filter(|entry| entry.index <= committed);
        entries
            .filter_map(|entry| decode_skip(&entry.data))
            .collect()
    }

    /// What all entries hold, bytes.
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.data.len() + 64).sum()
    }

    /// The index of the entry before the first that is held.
    pub fn base_index(&self) -> Index {
        self.base.0
    }

    /// Whether Raft asked for a snapshot that is not here; asking clears the mark.
    pub fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.take()
    }

    /// The configuration changes after `applied`.
    pub fn unapplied_changes(&self, applied: Index) -> BTreeSet<Index> {
        let entries = self.entries.iter();
        let later = entries.filter(|entry| Index::new(entry.index) > applied);
        later
            .filter(|entry| entry.entry_type != EntryType::EntryNormal)
            .map(|entry| Index::new(entry.index))
            .collect()
    }

    /// Provides the snapshot to send to followers (`None` frees its memory).
    pub fn offer_snapshot(&mut self, snapshot: Option<Snapshot>) {
        self.snapshot = snapshot;
    }
}

impl Storage for MemoryLog {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.conf_state.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let (low, high) = (Index::new(low), Index::new(high));
        if low <= self.base.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last().next() {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let first = self.base.0.next();
        let range = low.since(first) as usize..high.since(first) as usize;
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0u64;
        let mut entries = Vec::with_capacity(range.len());
        for entry in self.entries.range(range) {
            size += entry.data.len() as u64 + 24;
            if size > limit && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        let index = Index::new(index);
        if index == self.base.0 {
            return Ok(self.base.1.get());
        }
        if index < self.base.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.entry(index)
            .map(|entry| entry.term)
            .ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.base.0.next().get())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last().get())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> Result<Snapshot> {
        // A follower refuses a snapshot from before it became a member.
        let usable = |snapshot: &&Snapshot| {
            let metadata = snapshot.get_metadata();
            let members = metadata.get_conf_state();
            metadata.index >= request_index.max(self.base.0.get())
                && (members.voters.contains(&to) || members.learners.contains(&to))
        };
        if let Some(snapshot) = self.snapshot.as_ref().filter(usable) {
            return Ok(snapshot.clone());
        }
        self.snapshot_wanted.set(true);
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
