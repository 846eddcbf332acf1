//! The flows of a link: when the last packet of each arrives, so that none overtakes it, and which
//! connections were broken since they began.

use rustc_hash::FxHashMap;

use super::packet::{Packet, SYN};
use crate::network::link::{Direction, Moment, PerDirection};

/// The most flows of a link that are remembered. Of one that is forgotten, packets may overtake each other.
const MOST: usize = 16_384;

/// What packets have in common whose order is kept: protocol and ports, the lower node's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    is_v4: bool,
    protocol: u8,
    ports: (u16, u16),
}

#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// When the last packet arrives.
    last: PerDirection<Moment>,
    /// How often the link's connections had been broken when it began.
    epoch: u64,
}

#[derive(Debug, Default)]
pub(super) struct Flows {
    known: FxHashMap<Key, Flow>,
    epoch: u64,
}

impl Flows {
    /// Breaks all connections that there are.
    pub fn break_all(&mut self) {
        self.epoch += 1;
    }

    /// Whether a packet belongs to a connection that was broken.
    pub fn is_broken(&mut self, packet: &Packet<'_>, direction: Direction) -> bool {
        let Some(tcp) = packet.tcp() else {
            return false;
        };
        let epoch = self.epoch;
        let flow = self.known.entry(key(packet, direction));
        let flow = flow.or_insert(Flow {
            epoch,
            ..Flow::default()
        });
        if tcp.flags & SYN != 0 {
            flow.epoch = epoch;
        }
        flow.epoch < epoch
    }

    /// A packet that could arrive at a moment arrives then, or right behind the last of its flow.
    pub fn in_order(
        &mut self,
        packet: &Packet<'_>,
        direction: Direction,
        at: Moment,
        now: Moment,
    ) -> Moment {
        if self.known.len() >= MOST {
            let waits =
                |last: &PerDirection<Moment>| Direction::BOTH.iter().any(|&way| last[way] > now);
            self.known.retain(|_, flow| waits(&flow.last));
            if self.known.len() >= MOST {
                self.known.clear();
            }
        }
        let epoch = self.epoch;
        let flow = self.known.entry(key(packet, direction));
        let flow = flow.or_insert(Flow {
            epoch,
            ..Flow::default()
        });
        let at = at.max(flow.last[direction]);
        flow.last[direction] = at;
        at
    }

    /// Forgets when packets arrive: those under way are lost.
    pub fn forget_times(&mut self) {
        for flow in self.known.values_mut() {
            flow.last = PerDirection::default();
        }
    }
}

fn key(packet: &Packet<'_>, direction: Direction) -> Key {
    let (from, to) = packet.ports;
    let ports = match direction {
        Direction::FromLow => (from, to),
        Direction::FromHigh => (to, from),
    };
    Key {
        is_v4: packet.from.is_ipv4(),
        protocol: packet.protocol,
        ports,
    }
}
