//! The two ends of a snapshot's way from one node to another, and their messages.
//!
//! The receiver keeps a window of pieces asked for. It grows while pieces come back in about the time
//! that the first ones took, and shrinks when they take longer: then they are waiting in line somewhere,
//! and heartbeats with them.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Snapshot};

use super::snapshots::conf_state;
use crate::codec::{Malformed, Reader, Writer};
use crate::ids::{Index, NodeId, Term};

/// Pieces under way at most.
const WINDOW_LIMIT: usize = 64;
/// A snapshot that is received into memory is shorter than this, bytes.
const SIZE_LIMIT: u64 = 4 << 30;
/// Pieces that take so many ticks longer than the fastest wait in line.
const QUEUED: u64 = 5;

/// Which snapshot: where in the log it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct At {
    /// Of the last entry in it.
    pub index: Index,
    /// Of that entry.
    pub term: Term,
}

/// What a snapshot is before its bytes come.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Which one.
    pub at: At,
    /// Raft's view of the members there.
    pub conf_state: ConfState,
    /// Bytes.
    pub size: u64,
}

/// What nodes tell one another about snapshots.
#[derive(Debug, Clone, PartialEq)]
pub enum SnapshotMessage {
    /// "You need this, come and get it."
    Offer(Offer),
    /// "Send me this part."
    Pull {
        /// Of which snapshot.
        at: At,
        /// From its start, bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// A part.
    Piece {
        /// Of which snapshot.
        at: At,
        /// From its start, bytes.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// Their CRC32C.
        crc: u32,
    },
    /// "I do not have that one (any more)."
    Gone {
        /// Which.
        at: At,
    },
}

impl SnapshotMessage {
    /// Which snapshot it is about.
    pub fn at(&self) -> At {
        match self {
            Self::Offer(offer) => offer.at,
            Self::Pull { at, .. } | Self::Piece { at, .. } | Self::Gone { at } => *at,
        }
    }

    /// Roughly the encoded size, bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Piece { data, .. } => data.len() + 40,
            _ => 64,
        }
    }

    /// Appends the message.
    pub fn encode(&self, writer: &mut Writer) {
        let mut head = |kind: u8, at: &At| {
            writer.byte(kind);
            writer.uint(at.index.get());
            writer.uint(at.term.get());
        };
        match self {
            Self::Offer(offer) => {
                head(0, &offer.at);
                writer.uint(offer.size);
                // Writing into memory fails only on fields left unset, which proto3 lacks.
                writer.bytes(&offer.conf_state.write_to_bytes().unwrap_or_default());
            }
            Self::Pull { at, offset, length } => {
                head(1, at);
                writer.uint(*offset);
                writer.uint(*length);
            }
            Self::Piece {
                at,
                offset,
                data,
                crc,
            } => {
                head(2, at);
                writer.uint(*offset);
                writer.uint(u64::from(*crc));
                writer.bytes(data);
            }
            Self::Gone { at } => head(3, at),
        }
    }

    /// Reads what [`SnapshotMessage::encode`] wrote.
    ///
    /// # Errors
    ///
    /// If it is not in the format.
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let kind = reader.byte()?;
        let at = At {
            index: Index::new(reader.uint()?),
            term: Term::new(reader.uint()?),
        };
        let malformed = |_| Malformed { at: 0 };
        Ok(match kind {
            0 => Self::Offer(Offer {
                at,
                size: reader.uint()?,
                conf_state: ConfState::parse_from_bytes(reader.bytes()?)
                    .map_err(|_| Malformed { at: 0 })?,
            }),
            1 => Self::Pull {
                at,
                offset: reader.uint()?,
                length: reader.uint()?,
            },
            2 => Self::Piece {
                at,
                offset: reader.uint()?,
                crc: u32::try_from(reader.uint()?).map_err(malformed)?,
                data: reader.shared()?,
            },
            3 => Self::Gone { at },
            _ => return Err(Malformed { at: 0 }),
        })
    }
}

/// A snapshot's bytes, wherever they are.
pub trait Source: Debug + Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;
    /// A part, as far as it goes.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn read(&self, offset: u64, length: u64) -> io::Result<Bytes>;
    /// Whether reading waits for nothing.
    fn is_in_memory(&self) -> bool {
        false
    }
}

impl Source for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: u64, length: u64) -> io::Result<Bytes> {
        let bounded = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(self.len());
        Ok(self.slice(bounded(offset)..bounded(offset.saturating_add(length))))
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

/// A snapshot for followers.
#[derive(Debug, Clone)]
pub struct Offered {
    /// What Raft knows of it; its data do not matter.
    pub snapshot: Snapshot,
    /// Its data.
    pub source: Arc<dyn Source>,
}

impl Offered {
    /// One whose data are not in what Raft has of it.
    pub fn beside(mut snapshot: Snapshot) -> Self {
        let source = Arc::new(std::mem::take(&mut snapshot.data));
        Self { snapshot, source }
    }
}

impl From<Snapshot> for Offered {
    fn from(snapshot: Snapshot) -> Self {
        let source = Arc::new(snapshot.data.clone());
        Self { snapshot, source }
    }
}

/// Where a snapshot stands.
pub fn place(snapshot: &Snapshot) -> At {
    let metadata = snapshot.get_metadata();
    At {
        index: Index::new(metadata.index),
        term: Term::new(metadata.term),
    }
}

/// A part of a snapshot that was asked for.
#[derive(Debug, Clone)]
pub struct Part {
    at: At,
    offset: u64,
    length: u64,
    source: Arc<dyn Source>,
}

impl Part {
    /// The part itself; "gone", if it cannot be read.
    pub fn read(&self) -> SnapshotMessage {
        let at = self.at;
        match self.source.read(self.offset, self.length) {
            Ok(data) => SnapshotMessage::Piece {
                at,
                offset: self.offset,
                crc: crc32c::crc32c(&data),
                data,
            },
            Err(_) => SnapshotMessage::Gone { at },
        }
    }

    /// Whether reading it waits for nothing.
    pub fn is_in_memory(&self) -> bool {
        self.source.is_in_memory()
    }
}

/// A snapshot that a follower may pull.
#[derive(Debug)]
pub struct Outgoing {
    offered: Offered,
    /// The tick of the last offer.
    pub offered_at: u64,
    /// The tick of the last pull, at first that of the making.
    pub active: u64,
}

impl Outgoing {
    /// Made at tick `now`.
    pub fn new(offered: Offered, now: u64) -> Self {
        Self {
            offered,
            offered_at: now,
            active: now,
        }
    }

    /// Which one.
    pub fn at(&self) -> At {
        place(&self.offered.snapshot)
    }

    /// What the follower is told of it.
    pub fn offer(&self) -> Offer {
        Offer {
            at: self.at(),
            conf_state: conf_state(&self.offered.snapshot),
            size: self.offered.source.size(),
        }
    }

    /// A part of it, as far as it goes.
    pub fn part(&self, offset: u64, length: u64) -> Part {
        Part {
            at: self.at(),
            offset,
            length,
            source: self.offered.source.clone(),
        }
    }
}

/// What becomes of the pieces of a snapshot that this node pulls.
pub trait Intake: Debug + Send {
    /// The next piece; whether there was room for it.
    fn take(&mut self, data: &[u8]) -> bool;
    /// All pieces are there: the data of the snapshot, as this node's state machine takes them. `None`: it
    /// is none.
    fn finish(self: Box<Self>) -> Option<Bytes>;
}

/// Where snapshots are received.
pub trait Intakes: Debug + Send {
    /// One of `size` bytes is coming; `None`: there is no room for it.
    fn begin(&self, at: At, size: u64) -> Option<Box<dyn Intake>>;
}

/// Snapshots are received into memory.
#[derive(Debug, Default)]
pub struct InMemory;

impl Intakes for InMemory {
    fn begin(&self, _: At, size: u64) -> Option<Box<dyn Intake>> {
        let mut data = Vec::new();
        let room = usize::try_from(size).ok()?;
        if size > SIZE_LIMIT || data.try_reserve_exact(room).is_err() {
            return None;
        }
        Some(Box::new(data))
    }
}

impl Intake for Vec<u8> {
    fn take(&mut self, data: &[u8]) -> bool {
        self.extend_from_slice(data);
        true
    }

    fn finish(self: Box<Self>) -> Option<Bytes> {
        Some(Bytes::from(*self))
    }
}

/// A snapshot that this node pulls.
#[derive(Debug)]
pub struct Incoming {
    /// From whom.
    pub source: NodeId,
    /// What it will be.
    pub offer: Offer,
    /// What has come of it goes there.
    intake: Box<dyn Intake>,
    /// So much has come, bytes.
    here: u64,
    /// The tick of the last piece, at first that of the offer.
    pub heard: u64,
    /// Everything up to here has been asked for.
    asked: u64,
    /// Offsets asked for, and when.
    under_way: VecDeque<(u64, u64)>,
    /// Length of a piece, bytes.
    piece: u64,
    /// Pieces under way, at most.
    window: usize,
    /// Ticks that the fastest piece took.
    fastest: u64,
}

impl Incoming {
    /// Nothing has come yet at tick `now`.
    pub fn new(
        source: NodeId,
        offer: Offer,
        intake: Box<dyn Intake>,
        piece: u64,
        now: u64,
    ) -> Self {
        Self {
            source,
            offer,
            intake,
            here: 0,
            heard: now,
            asked: 0,
            under_way: VecDeque::new(),
            piece,
            window: 2,
            fastest: u64::MAX,
        }
    }

    /// Whether all of it is here.
    pub fn is_complete(&self) -> bool {
        self.here == self.offer.size
    }

    /// The data that all pieces are.
    pub fn finish(self) -> Option<Bytes> {
        self.intake.finish()
    }

    /// What is on its way may be lost.
    pub fn forget_asked(&mut self) {
        self.asked = self.here;
        self.under_way.clear();
        self.window = 2;
    }

    /// The parts to ask for now (offset and length), marked as asked for at tick `now`.
    pub fn due(&mut self, now: u64) -> Vec<(u64, u64)> {
        let mut due = Vec::new();
        while self.under_way.len() < self.window && self.asked < self.offer.size {
            let length = self.piece.min(self.offer.size - self.asked);
            due.push((self.asked, length));
            self.under_way.push_back((self.asked, now));
            self.asked += length;
        }
        due
    }

    /// Takes a piece that came at tick `now`; whether it was the next one and whole.
    pub fn take(&mut self, offset: u64, data: &[u8], crc: u32, now: u64) -> bool {
        let left = self.offer.size - self.here;
        if offset != self.here
            || data.is_empty()
            || data.len() as u64 > left
            || crc32c::crc32c(data) != crc
            || !self.intake.take(data)
        {
            return false;
        }
        self.heard = now;
        self.here += data.len() as u64;
        let here = self.here;
        while let Some((_, sent)) = self.under_way.pop_front_if(|&mut (start, _)| start < here) {
            let took = now - sent;
            self.fastest = self.fastest.min(took);
            self.window = if took > self.fastest + QUEUED {
                (self.window - 1).max(1)
            } else {
                (self.window + 1).min(WINDOW_LIMIT)
            };
        }
        self.asked = self.asked.max(here);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::snapshot::assemble;
    use proptest::prelude::*;

    fn outgoing(size: usize) -> Outgoing {
        let data: Vec<u8> = (0..size).map(|place| place as u8).collect();
        let conf_state = ConfState::from((vec![1, 2], vec![3]));
        let snapshot = assemble(Index::new(7), Term::new(2), conf_state, data.into());
        Outgoing::new(snapshot.into(), 0)
    }

    fn incoming(source: &Outgoing) -> Option<Incoming> {
        let offer = source.offer();
        let intake = InMemory.begin(offer.at, offer.size)?;
        Some(Incoming::new(NodeId::new(1), offer, intake, 100, 0))
    }

    /// Pulls all of it through a link that takes `ticks(place)` for the piece at that place in line, and
    /// loses what `lost` says. Returns the ticks it took, and the longest line.
    fn transfer(size: usize, per_tick: usize, lost: impl Fn(u64) -> bool) -> (u64, usize) {
        let source = outgoing(size);
        let mut sink = incoming(&source).unwrap();
        let mut line: VecDeque<(u64, u64)> = sink.due(0).into();
        let (mut longest, mut count) = (0, 0);
        for now in 1..100_000 {
            longest = longest.max(line.len());
            for (offset, length) in line.drain(..per_tick.min(line.len())).collect::<Vec<_>>() {
                count += 1;
                if lost(count) {
                    continue;
                }
                let SnapshotMessage::Piece { data, crc, .. } = source.part(offset, length).read()
                else {
                    unreachable!("a piece is a piece")
                };
                if sink.take(offset, &data, crc, now) {
                    line.extend(sink.due(now));
                }
            }
            if sink.is_complete() {
                assert_eq!(sink.finish(), Some(source.offered.snapshot.data));
                return (now, longest);
            }
            if now - sink.heard > 30 {
                sink.forget_asked();
                line = sink.due(now).into();
            }
        }
        panic!("never complete");
    }

    #[test]
    fn a_slow_link_gets_a_short_line_and_a_fast_one_is_used() {
        let (slow, line) = transfer(100_000, 1, |_| false);
        assert!(slow <= 1_010, "{slow} ticks for 1,000 pieces, one a tick");
        assert!(line <= 16, "{line} pieces in line");
        let (fast, _) = transfer(100_000, 50, |_| false);
        assert!(fast < 40, "{fast} ticks for 1,000 pieces, fifty a tick");
    }

    #[test]
    fn lost_pieces_are_pulled_again_from_where_it_broke_off() {
        let (ticks, _) = transfer(10_000, 1, |count| count % 40 == 39);
        assert!(ticks < 400, "{ticks} ticks for 100 pieces and three losses");
    }

    #[test]
    fn a_piece_that_is_not_whole_is_not_taken() {
        let source = outgoing(150);
        let mut sink = incoming(&source).unwrap();
        assert_eq!(sink.due(0), [(0, 100), (100, 50)]);
        let SnapshotMessage::Piece { data, crc, .. } = source.part(0, 100).read() else {
            unreachable!("a piece is a piece")
        };
        assert!(!sink.take(0, &data, crc ^ 1, 1));
        assert!(!sink.take(100, &data, crc, 1));
        assert!(sink.take(0, &data, crc, 1));
        assert!(!sink.take(0, &data, crc, 2), "again");
    }

    #[test]
    fn an_offer_beyond_all_measure_is_refused() {
        let offer = outgoing(10).offer();
        assert!(InMemory.begin(offer.at, u64::MAX).is_none());
    }

    proptest! {
        #[test]
        fn messages_survive_the_wire_and_garbage_is_refused(
            index: u64, term: u64, offset: u64, data: Vec<u8>, crc: u32, garbage: Vec<u8>,
        ) {
            let at = At { index: Index::new(index), term: Term::new(term) };
            for message in [
                SnapshotMessage::Offer(Offer { at, size: offset, conf_state: ConfState::default() }),
                SnapshotMessage::Pull { at, offset, length: index },
                SnapshotMessage::Piece { at, offset, data: data.clone().into(), crc },
                SnapshotMessage::Gone { at },
            ] {
                let mut writer = Writer::new();
                message.encode(&mut writer);
                let bytes = writer.finish();
                prop_assert_eq!(SnapshotMessage::decode(&mut Reader::new(&bytes)).unwrap(), message);
            }
            let _ = SnapshotMessage::decode(&mut Reader::new(&garbage));
        }
    }
}
