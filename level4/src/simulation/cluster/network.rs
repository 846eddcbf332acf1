//! The network: it delays, doubles, reorders and loses messages, and what is on a connection that breaks.

use rand::Rng as _;

use super::{Cluster, Event};
use crate::ids::NodeId;
use crate::message::PeerMessage;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// What becomes of all.
    Usual,
    /// It never arrives.
    Lost,
    /// It arrives later by so many milliseconds.
    Late(u64),
}

/// Decides on each message, from one machine to another.
pub type Wind = Box<dyn FnMut(usize, usize, &PeerMessage) -> Fate>;

/// A message on its way.
pub(super) struct Message {
    pub to: NodeId,
    pub from: NodeId,
    pub bytes: Vec<u8>,
    /// Of the connection it is sent on.
    pub connection: u64,
    /// Its number in the trace.
    pub number: u64,
}

impl Cluster {
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, message: &PeerMessage) {
        let (Some(a), Some(b)) = (self.place_of(from), self.place_of(to)) else {
            return;
        };
        let planted = self.planted.sent((from, to), self.slots.len(), message);
        let message = planted.as_ref().unwrap_or(message);
        let number = self.record.sent(self.now, (a, b), message);
        let is_cut = self.cut.contains(&(a.min(b), a.max(b)));
        if is_cut || self.rng.random_bool(self.loss) {
            let why = if is_cut { "the link is cut" } else { "lost" };
            return self.record.lost(self.now, (a, b), number, why);
        }
        let mut late = 0;
        if let Some(wind) = &mut self.wind {
            match wind(a, b, message) {
                Fate::Usual => {}
                Fate::Lost => return self.record.lost(self.now, (a, b), number, "lost"),
                Fate::Late(ms) => late = ms * 1_000,
            }
        }
        let connection = self.connection(a, b);
        let bytes = message.encode();
        let copies = if self.loss > 0.0 && self.rng.random_bool(0.05) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let delay = late + self.rng.random_range(self.pace.message.clone());
            let message = Message {
                to,
                from,
                bytes: bytes.clone(),
                connection,
                number,
            };
            self.schedule(delay, Event::Deliver(message), 0);
        }
    }

    pub(super) fn deliver(&mut self, message: &Message) {
        let Message {
            to,
            from,
            bytes,
            connection,
            number,
        } = message;
        // A machine that was emptied meanwhile has another name, and nobody knows the old one.
        let (Some(place), Some(author)) = (self.place_of(*to), self.place_of(*from)) else {
            return;
        };
        let ends = (author, place);
        if self.connection(place, author) != *connection {
            let why = "the connection broke";
            return self.record.lost(self.now, ends, *number, why);
        }
        let Some(process) = &mut self.slots[place].process else {
            return self.record.lost(self.now, ends, *number, "nobody is there");
        };
        let message = PeerMessage::decode(bytes, *from, *to).expect("own encoding");
        self.record.delivered(self.now, ends, *number, &message);
        process.core.receive(*from, message);
        self.touch(place);
    }

    /// The number of the pair's present connection.
    fn connection(&self, a: usize, b: usize) -> u64 {
        let pair = (a.min(b), a.max(b));
        self.connections.get(&pair).copied().unwrap_or_default()
    }
}
