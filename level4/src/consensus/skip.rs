//! Skipping an entry that nobody can apply, as an operator's last resort; and what is known about how
//! far the others have applied.
//!
//! That an entry is skipped is an entry itself, which is obeyed as soon as it is committed: a node that
//! has not applied the skipped one starts again from its disk, where it now finds both; one that has
//! applied it is rebuilt from one that has not. Only what a majority is stuck at may be skipped.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use raft::eraftpb::Entry;

use super::Core;
use super::tally::has_quorum;
use crate::codec::{Reader, Writer};
use crate::ids::{Index, NodeId};
use crate::message::PeerMessage;

/// The first byte of such an entry; those of batches are others.
const SKIP: u8 = 0x53;

/// Told instead of an index by a node that waits for nothing.
const IDLE: Index = Index::START;

/// A node has applied everything up to an index, and the next entry is committed.
#[derive(Debug)]
struct Waiting {
    applied: Index,
    /// The ticks of the first and the last time it said so.
    since: u64,
    last: u64,
}

/// How far others have applied, and what is to be skipped.
#[derive(Debug, Default)]
pub struct Skips {
    /// Nodes that said that something waits to be applied.
    progress: BTreeMap<NodeId, Waiting>,
    /// The tick since which a snapshot has been waiting for the state machine.
    overtaken: Option<u64>,
    /// Committed here, and not told to the environment.
    due: BTreeSet<Index>,
    /// Of entries handed out for applying, bytes so far.
    handed_out: usize,
    /// The same at the last of them, by index.
    marks: BTreeMap<Index, usize>,
}

impl Skips {
    /// A snapshot replaced the state up to `index`.
    pub fn forget(&mut self, index: Index) {
        self.due = self.due.split_off(&index.next());
    }
}

fn encode_skip(index: Index) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.byte(SKIP);
    writer.uint(index.get());
    writer.finish()
}

/// The index that an entry with this content says to skip, if it does.
pub fn decode_skip(data: &[u8]) -> Option<Index> {
    let mut reader = Reader::new(data);
    if data.first() != Some(&SKIP) || reader.byte().is_err() {
        return None;
    }
    let index = Index::new(reader.uint().ok()?);
    reader.is_empty().then_some(index)
}

impl Core {
    /// Asks for the entry at `index` to be skipped. The leader proposes it, if a majority is stuck there.
    pub fn skip(&mut self, index: Index) {
        if self.is_leader() {
            if self.stuck_at() == Some(index) && !self.skips.due.contains(&index) {
                // Refused while leadership moves; the operator asks again.
                let _ = self.raw.propose(Vec::new(), encode_skip(index));
            }
        } else if let Some(leader) = self.leader() {
            self.outbox.push((leader, PeerMessage::Skip { index }));
        }
    }

    /// The entry that a majority of the voters, as far as they said, cannot apply: it is committed, and
    /// they have been at the one before for the length of two comparisons.
    pub fn stuck_at(&self) -> Option<Index> {
        let period = self.timing.compare.next_multiple_of(8);
        let mut applied: BTreeMap<Index, HashSet<NodeId>> = BTreeMap::new();
        for (&node, waiting) in &self.skips.progress {
            let long = waiting.last - waiting.since >= 2 * period;
            let lately = self.ticks - waiting.last <= 3 * period;
            if long && lately && self.is_voter(node) {
                applied.entry(waiting.applied).or_default().insert(node);
            }
        }
        let prs = self.raw.raft.prs();
        let stuck = applied
            .into_iter()
            .find(|(_, nodes)| has_quorum(prs, nodes));
        stuck.map(|(index, _)| index.next())
    }

    /// Tells all members how far this node has applied, if anything waits to be.
    pub(super) fn report_progress(&mut self) {
        let (me, applied) = (self.id(), self.applied);
        let parted = self.has_parted();
        let waits = applied < self.committed();
        if waits {
            self.note_progress(me, applied, parted);
        }
        if waits || parted {
            self.report_progress_soon();
        }
    }

    /// Tells it in any case; of a node that waits for nothing, only whether it has parted.
    pub(super) fn report_progress_soon(&mut self) {
        let (me, parted) = (self.id(), self.has_parted());
        let waits = self.applied < self.committed();
        let applied = if waits { self.applied } else { IDLE };
        for &member in self.members.keys().filter(|&&member| member != me) {
            let progress = PeerMessage::Progress { applied, parted };
            self.outbox.push((member, progress));
        }
    }

    pub(super) fn note_progress(&mut self, from: NodeId, applied: Index, parted: bool) {
        let (now, period) = (self.ticks, self.timing.compare.next_multiple_of(8));
        if applied == IDLE {
            self.skips.progress.remove(&from);
        } else {
            let waiting = self.skips.progress.entry(from).or_insert(Waiting {
                applied,
                since: now,
                last: now,
            });
            // After a silence it may have waited for nothing meanwhile.
            if waiting.applied != applied || now - waiting.last > 2 * period {
                (waiting.applied, waiting.since) = (applied, now);
            }
            waiting.last = now;
        }
        let news = if parted {
            self.suspects.insert(from)
        } else {
            self.suspects.remove(&from)
        };
        if news && !parted {
            // It has been rebuilt, and what it told was of the state before.
            self.agreement.forget(from);
        }
        let members = &self.members;
        let is_member = |node: &NodeId| members.contains_key(node);
        self.skips.progress.retain(|node, _| is_member(node));
        self.suspects.retain(is_member);
        if news {
            self.recount();
        }
    }

    /// A committed entry is handed out for applying.
    pub(super) fn note_skip(&mut self, entry: &Entry) {
        self.skips.handed_out += entry.data.len();
        let index = Index::new(entry.index);
        self.skips.marks.insert(index, self.skips.handed_out);
        if let Some(index) = decode_skip(&entry.data) {
            self.skips.due.insert(index);
        }
    }

    /// The entry that the environment has to skip now. Only once a crash cannot make this node forget.
    pub(super) fn due_skip(&mut self) -> Option<Index> {
        if let Some(index) = self.overtaken() {
            return Some(index);
        }
        if self.skips.due.is_empty() || self.durability.is_change_unwritten() {
            return None;
        }
        let index = self.skips.due.pop_first()?;
        if !self.skipped.insert(index) {
            // Already at the start.
            return None;
        }
        if self.applied < index {
            return Some(index);
        }
        // Whether it is in the state that this process began with, the digests will tell.
        if index > self.origin {
            self.agreement.part(index);
        }
        None
    }

    /// A snapshot is on disk and waits behind an entry that takes long: that one's state is of no use any
    /// more.
    fn overtaken(&mut self) -> Option<Index> {
        let (now, period) = (self.ticks, self.timing.compare.next_multiple_of(8));
        if !self.is_replaced() || !self.durability.is_written() {
            self.skips.overtaken = None;
            return None;
        }
        let since = *self.skips.overtaken.get_or_insert(now);
        if now - since < 2 * period {
            return None;
        }
        self.skips.overtaken = Some(now);
        Some(self.applied.next())
    }

    /// Whether there is so much to apply that more would only fill the memory.
    pub(super) fn is_overloaded(&self) -> bool {
        self.unapplied() > self.timing.apply_limit
    }

    /// Whether it is even too much to take from a leader. Behind what a majority is stuck at there has to
    /// be room for the operator's word to skip it, and for what was proposed before that.
    pub(super) fn takes_no_more(&self) -> bool {
        let room = || self.stuck_at().map_or(0, |_| self.timing.apply_limit);
        self.is_overloaded() && self.unapplied() > self.timing.apply_limit.saturating_add(room())
    }

    /// Of entries handed out for applying and not applied, bytes.
    fn unapplied(&self) -> usize {
        let marks = &self.skips.marks;
        let done = marks.range(..=self.applied).next_back();
        let done = done.or_else(|| marks.first_key_value());
        done.map_or(0, |(_, &done)| self.skips.handed_out - done)
    }

    /// Forgets what is applied.
    pub(super) fn trim_marks(&mut self) {
        let applied = self.applied;
        while self
            .skips
            .marks
            .first_key_value()
            .is_some_and(|(&index, _)| index < applied)
        {
            self.skips.marks.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Batch;

    #[test]
    fn a_skip_is_told_from_a_batch() {
        let skipped = Index::new(300);
        assert_eq!(decode_skip(&encode_skip(skipped)), Some(skipped));
        assert_eq!(decode_skip(&Batch::default().encode()), None);
        assert_eq!(decode_skip(&[]), None);
        assert_eq!(decode_skip(&[SKIP]), None);
        assert!(Batch::decode(&encode_skip(skipped)).is_err());
    }
}
