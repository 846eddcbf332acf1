//! What waits for the disk: numbers handed to the environment for writing, and the messages that may
//! only go out once the writes before them are done.

use std::collections::VecDeque;

use raft::eraftpb::Message;

use crate::ids::Index;

/// Raft numbers everything that it hands out for writing; this tracks which numbers are on disk.
#[derive(Debug, Default)]
pub struct Durability {
    /// Messages that wait for a number to be on disk.
    held: VecDeque<(u64, Vec<Message>)>,
    /// Numbers handed to the environment and not yet on disk.
    writing: VecDeque<u64>,
    /// The number of the last ready.
    last_number: u64,
    /// Raft's hard state has changed since it was last handed out for writing.
    hard_state_dirty: bool,
    /// The write by which the last configuration change is known to be committed after a crash too.
    change_write: u64,
    /// The write of the last snapshot that came from another node.
    snapshot_write: u64,
    /// How far the own log was told to everybody to be durable, as a leader of this term.
    announced: Index,
}

impl Durability {
    /// Raft made a ready with this number.
    pub fn numbered(&mut self, number: u64) {
        self.last_number = number;
    }

    /// Raft's hard state has changed.
    pub fn hard_state_changed(&mut self) {
        self.hard_state_dirty = true;
    }

    /// Whether the hard state on disk is not the present one.
    pub fn is_hard_state_dirty(&self) -> bool {
        self.hard_state_dirty
    }

    /// The hard state is handed out for writing, if it has changed.
    pub fn take_hard_state_dirty(&mut self) -> bool {
        std::mem::take(&mut self.hard_state_dirty)
    }

    /// These messages promise what is written by `number`.
    pub fn hold(&mut self, number: u64, messages: Vec<Message>) {
        if !messages.is_empty() {
            self.held.push_back((number, messages));
        }
    }

    /// `number` was handed out for writing.
    pub fn write(&mut self, number: u64) {
        self.writing.push_back(number);
    }

    /// A configuration change was committed in the ready `number`, which `writes` or does not.
    pub fn change_committed(&mut self, number: u64, writes: bool) {
        let last_write = self.writing.back().copied().unwrap_or_default();
        self.change_write = if writes { number } else { last_write };
    }

    /// Whether a crash could make this node forget that the last configuration change was committed.
    pub fn is_change_unwritten(&self) -> bool {
        let unwritten = self.writing.front();
        unwritten.is_some_and(|&number| number <= self.change_write)
    }

    /// `number` writes a snapshot from another node.
    pub fn writes_snapshot(&mut self, number: u64) {
        self.snapshot_write = number;
    }

    /// Whether a crash could bring back the state from before the last snapshot from another node.
    pub fn is_snapshot_unwritten(&self) -> bool {
        let unwritten = self.writing.front();
        unwritten.is_some_and(|&number| number <= self.snapshot_write)
    }

    /// Whether everything handed out is on disk.
    pub fn is_written(&self) -> bool {
        self.writing.is_empty()
    }

    /// Whether, besides, no message waits.
    pub fn is_idle(&self) -> bool {
        self.writing.is_empty() && self.held.is_empty()
    }

    /// Everything up to `number` is on disk; gives the last number that is done with it, as what was
    /// numbered after the last write and writes nothing itself is done as well.
    pub fn persisted(&mut self, number: u64) -> u64 {
        while self.writing.front().is_some_and(|&n| n <= number) {
            self.writing.pop_front();
        }
        self.writing
            .front()
            .map_or(self.last_number, |&next| next - 1)
    }

    /// The messages that waited for numbers up to this one.
    pub fn release(&mut self, number: u64) -> Vec<Message> {
        let mut released = Vec::new();
        while self.held.front().is_some_and(|&(n, _)| n <= number) {
            released.extend(
                self.held
                    .pop_front()
                    .map(|(_, messages)| messages)
                    .unwrap_or_default(),
            );
        }
        released
    }

    /// Whether the own log being durable up to `index` is news to the others.
    pub fn announce(&mut self, index: Index) -> bool {
        let is_news = index > self.announced;
        self.announced = self.announced.max(index);
        is_news
    }

    /// Term or leader changed: nothing has been announced yet.
    pub fn restart_announcing(&mut self) {
        self.announced = Index::default();
    }
}
