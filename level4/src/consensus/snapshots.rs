//! Snapshots for followers that are too far behind.
//!
//! Raft's own message would carry a whole state at once, hold up heartbeats, and be lost as a whole. So
//! a snapshot is only *offered*, and the follower pulls it in pieces, a few at a time: others' messages
//! pass between them, a broken connection costs nothing but the pieces on their way, and it makes no
//! difference who leads by the time the last piece comes. A follower pulls one snapshot at a time.

use std::collections::HashMap;

use raft::eraftpb::{ConfState, Message, MessageType, Snapshot};
use raft::{ProgressState, SnapshotStatus, StateRole};

use super::Core;
use super::transfer::{
    At, InMemory, Incoming, Intakes, Offer, Offered, Outgoing, Part, SnapshotMessage, place,
};
use crate::ids::{Index, NodeId};
use crate::log::snapshot::assemble;
use crate::message::PeerMessage;

/// Log held in memory for followers that are receiving a snapshot, at most, bytes.
const HELD_LOG_LIMIT: usize = 512 * 1024 * 1024;

/// How far followers have got with their snapshots, and this node with its own.
#[derive(Debug)]
pub struct Snapshots {
    /// The environment is making one.
    asked: bool,
    /// The one that Raft has.
    offered: Option<Offered>,
    /// What each follower may pull.
    outgoing: HashMap<NodeId, Outgoing>,
    /// What this node pulls.
    incoming: Option<Incoming>,
    /// Where that goes.
    intakes: Box<dyn Intakes>,
    /// Parts that were asked for and have to be read.
    parts: Vec<(NodeId, Part)>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self {
            asked: false,
            offered: None,
            outgoing: HashMap::new(),
            incoming: None,
            intakes: Box::new(InMemory),
            parts: Vec::new(),
        }
    }
}

impl Snapshots {
    /// Whether the environment has to be asked for a snapshot, given that Raft `wants` one.
    pub fn ask(&mut self, wants: bool) -> bool {
        let ask = wants && !self.asked;
        self.asked |= wants;
        ask
    }

    /// Parts that the environment has to read and send.
    pub fn take_parts(&mut self) -> Vec<(NodeId, Part)> {
        std::mem::take(&mut self.parts)
    }

    /// Whether a snapshot is on its way to this node.
    pub fn is_receiving(&self) -> bool {
        self.incoming.is_some()
    }
}

impl Core {
    /// Ticks without progress after which a transfer is taken for dead.
    fn stall(&self) -> u64 {
        5 * self.timing.election as u64
    }

    /// Raft wants `to` to have this snapshot: offers it, unless an earlier one is on its way.
    pub(super) fn offer_to(&mut self, to: NodeId, snapshot: &Snapshot) {
        let (now, stall) = (self.ticks, self.stall());
        let known = self.snapshots.outgoing.get(&to);
        if known.is_none_or(|outgoing| now - outgoing.active > stall) {
            // Raft's copy has not the data, if they are elsewhere.
            let offered = self.snapshots.offered.as_ref();
            let offered = offered.filter(|offered| place(&offered.snapshot) == place(snapshot));
            let Some(offered) = offered.cloned() else {
                // It was replaced, or is not needed any more, since Raft took it.
                self.raw.report_snapshot(to.get(), SnapshotStatus::Failure);
                return;
            };
            let outgoing = Outgoing::new(offered, now);
            self.snapshots.outgoing.insert(to, outgoing);
        }
        self.send_offer(to);
    }

    fn send_offer(&mut self, to: NodeId) {
        if let Some(outgoing) = self.snapshots.outgoing.get_mut(&to) {
            outgoing.offered_at = self.ticks;
            let offer = SnapshotMessage::Offer(outgoing.offer());
            self.outbox.push((to, PeerMessage::Snapshot(offer)));
        }
    }

    /// Something about a snapshot came from another node.
    pub(super) fn receive_snapshot(&mut self, from: NodeId, message: SnapshotMessage) {
        match message {
            SnapshotMessage::Offer(offer) => self.consider_offer(from, offer),
            SnapshotMessage::Pull { at, offset, length } => {
                let piece = self.snapshots.outgoing.get_mut(&from);
                let piece = piece.filter(|outgoing| outgoing.at() == at);
                let reply = match piece {
                    None => SnapshotMessage::Gone { at },
                    Some(outgoing) => {
                        outgoing.active = self.ticks;
                        let length = length.min(self.timing.piece);
                        let part = outgoing.part(offset, length);
                        if !part.is_in_memory() {
                            self.snapshots.parts.push((from, part));
                            return;
                        }
                        part.read()
                    }
                };
                self.outbox.push((from, PeerMessage::Snapshot(reply)));
            }
            SnapshotMessage::Piece {
                at,
                offset,
                data,
                crc,
            } => {
                let now = self.ticks;
                let incoming = self.snapshots.incoming.as_mut();
                if let Some(incoming) = incoming.filter(|i| i.source == from && i.offer.at == at)
                    && incoming.take(offset, &data, crc, now)
                {
                    self.pull(false);
                    self.install();
                }
            }
            SnapshotMessage::Gone { at } => {
                let incoming = &mut self.snapshots.incoming;
                if incoming
                    .as_ref()
                    .is_some_and(|i| i.source == from && i.offer.at == at)
                {
                    *incoming = None;
                }
            }
        }
    }

    fn consider_offer(&mut self, from: NodeId, offer: Offer) {
        let (now, stall) = (self.ticks, self.stall());
        let committed = self.committed();
        if self.needs_rebuilding() && offer.at.index >= self.last_index() {
            // Taken while it does not ask: from now on it takes no entries that this would undo.
            let _ = self.raw.raft.request_snapshot();
        }
        let wanted = self.raw.raft.pending_request_snapshot;
        let is_wanted = wanted != raft::INVALID_INDEX && offer.at.index >= Index::new(wanted);
        if offer.at.index < committed || offer.at.index == committed && !is_wanted {
            // Nothing new for this node: its leader goes on with the log.
            if self.leader() == Some(from) {
                let mut reply = Message::default();
                reply.set_msg_type(MessageType::MsgAppendResponse);
                (reply.to, reply.term) = (from.get(), self.term().get());
                (reply.index, reply.commit) = (committed.get(), committed.get());
                let durable = self.raw.raft.raft_log.persisted >= committed.get();
                if durable && self.durability.is_idle() {
                    reply.from = self.id().get();
                    self.outbox.push((from, PeerMessage::Raft(Box::new(reply))));
                }
            }
            return;
        }
        match &mut self.snapshots.incoming {
            Some(incoming) if now - incoming.heard <= stall => {
                if incoming.offer.at != offer.at || incoming.source != from {
                    return;
                }
            }
            Some(incoming) if incoming.offer.at == offer.at && incoming.offer == offer => {
                // The same from somebody who is there.
                incoming.source = from;
                incoming.heard = now;
            }
            incoming => {
                // What came of another one gives its room back first.
                *incoming = None;
                let piece = self.timing.piece;
                let intake = self.snapshots.intakes.begin(offer.at, offer.size);
                *incoming = intake.map(|intake| Incoming::new(from, offer, intake, piece, now));
            }
        }
        self.pull(false);
    }

    /// Asks for the next pieces; `again`: for those on their way as well, which may be lost.
    fn pull(&mut self, again: bool) {
        let now = self.ticks;
        if let Some(incoming) = &mut self.snapshots.incoming {
            if again {
                incoming.forget_asked();
            }
            let (source, at) = (incoming.source, incoming.offer.at);
            for (offset, length) in incoming.due(now) {
                let pull = SnapshotMessage::Pull { at, offset, length };
                self.outbox.push((source, PeerMessage::Snapshot(pull)));
            }
        }
    }

    /// Gives a whole snapshot to Raft, as from the present leader: what is committed is so under any.
    fn install(&mut self) {
        let Some(leader) = self.leader() else {
            return;
        };
        let raft = &self.raw.raft;
        let complete = self
            .snapshots
            .incoming
            .as_ref()
            .is_some_and(Incoming::is_complete);
        if !complete || raft.state != StateRole::Follower || self.is_installing() {
            return;
        }
        if let Some(incoming) = self.snapshots.incoming.take() {
            let offer = incoming.offer.clone();
            let At { index, term } = offer.at;
            if index < Index::new(self.raw.raft.pending_request_snapshot) {
                // It has promised to hold entries since.
                return;
            }
            let Some(data) = incoming.finish() else {
                return;
            };
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgSnapshot);
            (message.from, message.to, message.term) = (leader.get(), raft.id, raft.term);
            message.set_snapshot(assemble(index, term, offer.conf_state, data));
            // An error says that it is out of date.
            let _ = self.raw.step(message);
        }
    }

    /// A connection to `peer` is there again.
    pub(super) fn resume_snapshots(&mut self, peer: NodeId) {
        let incoming = self.snapshots.incoming.as_ref();
        if incoming.is_some_and(|incoming| incoming.source == peer) {
            self.pull(true);
        }
        if self.snapshots.outgoing.contains_key(&peer) && self.is_receiving_snapshot(peer) {
            self.send_offer(peer);
        }
    }

    /// Whether Raft waits until `peer` has a snapshot.
    fn is_receiving_snapshot(&self, peer: NodeId) -> bool {
        let progress = self.raw.raft.prs().get(peer.get());
        self.is_leader() && progress.is_some_and(|p| p.state == ProgressState::Snapshot)
    }

    /// `from` acknowledged entries up to `index`: if the log goes on from there, it needs no snapshot
    /// (any more), whichever it was that it got.
    pub(super) fn snapshot_done(&mut self, from: NodeId, index: Index) {
        let goes_on = index > Index::START && index >= self.raw.store().base_index();
        if goes_on && self.is_receiving_snapshot(from) {
            self.raw
                .report_snapshot(from.get(), SnapshotStatus::Failure);
        }
    }

    /// Offers and pulls got lost, snapshots were taken, followers died.
    pub(super) fn tend_snapshots(&mut self) {
        let (now, stall) = (self.ticks, self.stall());
        let mut again = Vec::new();
        let mut failed = Vec::new();
        let peers: Vec<NodeId> = self.snapshots.outgoing.keys().copied().collect();
        for peer in peers {
            let waits = self.is_receiving_snapshot(peer);
            let Some(outgoing) = self.snapshots.outgoing.get(&peer) else {
                continue;
            };
            let idle = now - outgoing.active;
            if idle > self.timing.snapshot || idle > stall && !waits {
                self.snapshots.outgoing.remove(&peer);
            } else if waits && now - outgoing.offered_at.max(outgoing.active) > stall / 4 {
                again.push(peer);
            }
        }
        for (&peer, progress) in self.raw.raft.prs().iter() {
            let peer = NodeId::new(peer);
            if progress.state == ProgressState::Snapshot
                && !self.snapshots.outgoing.contains_key(&peer)
            {
                failed.push(peer);
            }
        }
        again.sort_unstable();
        failed.sort_unstable();
        for peer in again {
            self.send_offer(peer);
        }
        for peer in failed {
            self.raw
                .report_snapshot(peer.get(), SnapshotStatus::Failure);
        }
        if let Some(incoming) = &self.snapshots.incoming {
            let idle = now - incoming.heard;
            if idle > self.timing.snapshot {
                self.snapshots.incoming = None;
            } else if idle > stall / 4 {
                self.pull(true);
            }
        }
        self.install();
    }

    /// A snapshot of the state for followers that need one; `None`: it could not be made.
    pub fn offer_snapshot(&mut self, offered: Option<impl Into<Offered>>) {
        self.snapshots.asked = false;
        let offered: Option<Offered> = offered.map(Into::into);
        let snapshot = offered.as_ref().map(|offered| offered.snapshot.clone());
        let index = snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.get_metadata().index);
        for &peer in self.members.keys() {
            // Whoever asked for a newer one goes on with entries, as far as there are any, and asks again:
            // nothing else is sent to it until then.
            if let Some(progress) = self.raw.raft.mut_prs().get_mut(peer.get())
                && progress.pending_request_snapshot > index
            {
                progress.pending_request_snapshot = raft::INVALID_INDEX;
            }
        }
        self.raw.mut_store().offer_snapshot(snapshot);
        self.snapshots.offered = offered;
    }

    /// Snapshots from other nodes are received there, and not in memory.
    pub fn receive_into(&mut self, intakes: Box<dyn Intakes>) {
        self.snapshots.intakes = intakes;
    }

    /// A snapshot at `index` is durable: entries before it may go, and go from memory here, but for the
    /// last `keep` and of these not more than `keep_bytes`, and for those that followers will need after
    /// the snapshots that they are receiving. Returns the last index that is gone, up to which the log on
    /// disk may be cut as well.
    pub fn compact(&mut self, index: Index, keep: u64, keep_bytes: usize) -> Index {
        let needed = self.snapshots.outgoing.values().map(|o| o.at().index).min();
        let store = self.raw.mut_store();
        let index = match needed {
            Some(needed) if store.bytes() < HELD_LOG_LIMIT => index.min(needed),
            _ => index,
        };
        if index > store.base_index() {
            store.compact(index, keep, keep_bytes);
        }
        store.offer_snapshot(None);
        let base = store.base_index();
        self.snapshots.offered = None;
        base
    }
}

/// The configuration that a snapshot was taken under.
pub(super) fn conf_state(snapshot: &Snapshot) -> ConfState {
    snapshot.get_metadata().get_conf_state().clone()
}
