//! What Raft has ready: messages to send, entries to write and to apply, and the order between them.
//!
//! A message that promises what is on disk waits for the disk; a commit that is overheard (see
//! [`super::acks`]) takes effect as one that the leader told.

use raft::StateRole;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::skip::decode_skip;
use super::tally::has_quorum;
use super::{Apply, Core, Effects, Persist, decode_snapshot_members};
use crate::codec::Reader;
use crate::ids::{Index, NodeId, Term};
use crate::message::PeerMessage;

impl Core {
    /// Moves Raft's output into `effects` until there is none left.
    pub(super) fn drain_ready(&mut self, effects: &mut Effects) {
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            let number = ready.number();
            self.durability.numbered(number);
            for message in ready.take_messages() {
                self.send(message);
            }
            for state in ready.take_read_states() {
                let mut index = Index::new(state.index);
                if self.is_leader() {
                    index = index.max(self.read_floor());
                }
                self.reads.confirm(&state.request_ctx, index);
            }
            let mut persist = Persist {
                number,
                ..Persist::default()
            };
            if !ready.snapshot().is_empty() {
                let snapshot = ready.snapshot().clone();
                self.raw.mut_store().restore(&snapshot);
                let index = Index::new(snapshot.get_metadata().index);
                self.handed_out = index;
                self.unapplied_changes.clear();
                self.skips.forget(index);
                // One that cannot be read is refused by the state machine, and the node stops.
                if let Ok(members) = decode_snapshot_members(&mut Reader::new(&snapshot.data)) {
                    self.members = members;
                    self.members_as_of = index;
                    let is_member = self.members.contains_key(&self.id());
                    if is_member {
                        self.removed = None;
                    }
                    effects.members = Some(self.membership());
                }
                persist.snapshot = Some(snapshot.clone());
                self.durability.writes_snapshot(number);
                effects.apply.push(Apply::Restore(snapshot));
                self.restoring += 1;
            }
            if let Some(first) = ready.entries().first() {
                drop(self.unapplied_changes.split_off(&Index::new(first.index)));
                for entry in ready.entries().iter().filter(|e| is_change(e)) {
                    self.unapplied_changes.insert(Index::new(entry.index));
                }
                persist.entries = ready.take_entries();
                self.raw.mut_store().append(&persist.entries);
            }
            if let Some(hard_state) = ready.hs() {
                self.raw.mut_store().set_hard_state(hard_state);
                self.durability.hard_state_changed();
            }
            let committed = ready.take_committed_entries();
            let changes = committed.iter().any(is_lasting);
            // A new commit index alone need not be written, the leader tells it again. But it goes
            // along with entries: whoever holds a second configuration change must know, after a
            // crash too, that the first was committed, or it might hold elections among the voters
            // of long ago. And that of a configuration change is written at once: a cluster that
            // forgot that a member is out might need its vote, when its disk is gone already.
            let writes = ready.must_sync()
                || !persist.entries.is_empty()
                || changes && self.durability.is_hard_state_dirty();
            if writes && self.durability.take_hard_state_dirty() {
                persist.hard_state = Some(self.raw.raft.hard_state());
            }
            self.durability
                .hold(number, ready.take_persisted_messages());
            self.raw.advance_append_async(ready);
            for entry in committed {
                self.commit(entry, effects);
            }
            if changes {
                self.durability.change_committed(number, writes);
            }
            if writes {
                self.durability.write(number);
                effects.persist.push(persist);
            } else if self.durability.is_written() {
                self.raw.on_persist_ready(number);
                self.release_held(number);
            }
        }
    }

    /// What a read confirmed by this leader has to wait for. Followers overhear commits, and answer
    /// clients, before the leader itself knows of the commit; so its commit index is not enough, and
    /// everything in its log counts.
    fn read_floor(&self) -> Index {
        self.last_index()
    }

    fn send(&mut self, mut message: Message) {
        if message.msg_type == MessageType::MsgSnapshot {
            return self.offer_to(NodeId::new(message.to), &message.take_snapshot());
        }
        if message.msg_type == MessageType::MsgReadIndexResp {
            if !self.is_leader() {
                return;
            }
            // It rides behind the question's context: the message's own index is taken for a commit
            // notice by the receiver.
            if let Some(entry) = message.entries.first_mut() {
                let floor = self.read_floor().get().to_le_bytes();
                entry.data = [&entry.data[..], &floor].concat().into();
            }
        }
        let to = NodeId::new(message.to);
        let message = PeerMessage::Raft(Box::new(message));
        self.outbox.push((to, message));
    }

    /// Sends what waited for `number` to be on disk, and tells everybody what is durable here.
    pub(super) fn release_held(&mut self, number: u64) {
        let mut acknowledged = None;
        let current = self.term();
        for message in self.durability.release(number) {
            // The disk was slow, and a later leader may have replaced what was promised to an earlier one.
            let term = Term::new(message.term);
            if term < current && is_promise(&message) {
                continue;
            }
            if message.msg_type == MessageType::MsgAppendResponse && !message.reject {
                let to = NodeId::new(message.to);
                acknowledged = acknowledged.max(Some((term, Index::new(message.index), to)));
            }
            self.send(message);
        }
        if self.is_leader() {
            let log = &self.raw.raft.raft_log;
            let (term, index) = (current, Index::new(log.persisted));
            let of_term = log.term(index.get()).is_ok_and(|of| Term::new(of) == term);
            if of_term && self.durability.announce(index) {
                acknowledged = Some((term, index, self.id()));
            }
        }
        if let Some((term, index, leader)) = acknowledged {
            let me = self.id();
            self.acks.note(me, term, index);
            for &member in self.members.keys() {
                if member != me && member != leader {
                    self.outbox.push((member, PeerMessage::Ack { term, index }));
                }
            }
            self.commit_by_acks();
        }
    }

    /// Commits what a quorum is known to hold; see [`acks`].
    pub(super) fn commit_by_acks(&mut self) {
        if self.raw.raft.state != StateRole::Follower
            || !self.is_configured(self.id())
            || !self.unapplied_changes.is_empty()
        {
            return;
        }
        let raft = &mut self.raw.raft;
        // What has come since the last ready may hold changes as well.
        if raft.raft_log.unstable.entries.iter().any(is_change) {
            return;
        }
        let term = Term::new(raft.term);
        let voters = raft.prs();
        if let Some(index) = self.acks.committed(term, |nodes| has_quorum(voters, nodes)) {
            let index = index.get().min(raft.raft_log.last_index());
            raft.raft_log.maybe_commit(index, term.get());
        }
    }

    /// Hands a committed entry to the state machine; configuration changes take effect here.
    fn commit(&mut self, entry: Entry, effects: &mut Effects) {
        let (index, term) = (Index::new(entry.index), Term::new(entry.term));
        self.handed_out = index;
        if is_change(&entry) {
            self.unapplied_changes.remove(&index);
            let was_member = self.members.contains_key(&self.id());
            let conf_state = self.apply_change(&entry);
            let is_member = self.members.contains_key(&self.id());
            self.members_as_of = index;
            self.set_removed(!is_member && (was_member || self.removed.is_some()));
            effects.members = Some(self.membership());
            let members = self.members.clone();
            effects.apply.push(Apply::Members {
                index,
                term,
                conf_state,
                members,
            });
            self.recount();
        } else {
            self.note_skip(&entry);
            effects.apply.push(Apply::Batch {
                index,
                term,
                data: entry.data,
            });
        }
    }
}

fn is_change(entry: &Entry) -> bool {
    entry.entry_type != EntryType::EntryNormal
}

/// Whether a message says what is on this node's disk.
fn is_promise(message: &Message) -> bool {
    let kind = message.msg_type;
    matches!(
        kind,
        MessageType::MsgAppendResponse | MessageType::MsgRequestVoteResponse
    ) && !message.reject
}

/// Whether a crash must not make this node forget that the entry was committed.
fn is_lasting(entry: &Entry) -> bool {
    is_change(entry) || decode_skip(&entry.data).is_some()
}
