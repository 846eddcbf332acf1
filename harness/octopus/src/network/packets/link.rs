//! What a link does to a packet, decided by its state and its random numbers: no I/O, no clock.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha12Rng;

use super::{
    flow::Flows,
    packet::Packet,
    rules::{Down, PacketRules},
};
use crate::network::link::{Change, Direction, LinkState, Moment, Pair, PerDirection};

/// The most bytes under delay in a direction; what is more is lost, as in a router that has no room.
const MOST_UNDER_DELAY: u64 = 64 << 20;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives.
    Arrives {
        at: Moment,
        /// And once more.
        again: Option<Moment>,
    },
    /// It does not.
    Lost,
    /// The sender is told, at a moment, that it does not.
    Refused(Moment),
    /// Its connection was broken: the sender is told at a moment.
    Reset(Moment),
}

/// A link as the switch has it.
#[derive(Debug)]
pub(super) struct PacketLink {
    pub pair: Pair,
    pub state: LinkState,
    rng: ChaCha12Rng,
    flows: Flows,
    /// Until when each direction is busy with sending, where bandwidth is limited.
    busy_until: PerDirection<Moment>,
    /// Bytes under way in each direction.
    under_way: PerDirection<u64>,
    /// How often all that was under way was lost: what was sent before does not arrive.
    era: u64,
}

impl PacketLink {
    pub fn new(pair: Pair, state: LinkState, rng: ChaCha12Rng) -> Self {
        Self {
            pair,
            state,
            rng,
            flows: Flows::default(),
            busy_until: PerDirection::default(),
            under_way: PerDirection::default(),
            era: 0,
        }
    }

    /// The era in which packets are sent now; they arrive if it is still the same then.
    pub fn era(&self) -> u64 {
        self.era
    }

    pub fn change(&mut self, change: Change) {
        let was_up = self.state.is_up();
        self.state.apply(self.pair, change);
        match change {
            Change::Down if was_up => {
                self.era += 1;
                self.flows.forget_times();
                self.under_way = PerDirection::default();
                self.busy_until = PerDirection::default();
            }
            Change::DropConnections => self.flows.break_all(),
            Change::LiftLimit(_) if self.state.bandwidth().is_none() => {
                self.busy_until = PerDirection::default();
            }
            _ => {}
        }
    }

    /// Decides about a packet that is sent now. What arrives is under way until [`Self::arrived`].
    pub fn send(
        &mut self,
        now: Moment,
        direction: Direction,
        packet: &Packet<'_>,
        rules: &PacketRules,
    ) -> Fate {
        if !self.state.is_up() {
            return match rules.down {
                Down::Drop => Fate::Lost,
                Down::Reject => Fate::Refused(now + self.state.draw_delay(&mut self.rng)),
            };
        }
        if self.flows.is_broken(packet, direction) {
            return Fate::Reset(now + self.state.draw_delay(&mut self.rng));
        }
        if self.state.loses(direction) || self.happens(rules.loss) {
            return Fate::Lost;
        }
        let bytes = packet.bytes.len() as u64;
        if self.under_way[direction] + bytes > MOST_UNDER_DELAY {
            return Fate::Lost;
        }
        let Some(sent) = self.sent_at(now, direction, bytes, rules) else {
            return Fate::Lost;
        };
        let at = if self.happens(rules.reorder) {
            sent
        } else {
            let at = sent + self.state.draw_delay(&mut self.rng);
            self.flows.in_order(packet, direction, at, now)
        };
        let again = self.happens(rules.duplication).then(|| {
            let later = sent + self.state.draw_delay(&mut self.rng);
            later.max(at)
        });
        self.under_way[direction] += bytes * if again.is_some() { 2 } else { 1 };
        Fate::Arrives { at, again }
    }

    /// A packet of so many bytes that was sent in the present era has arrived.
    pub fn arrived(&mut self, direction: Direction, bytes: u64) {
        let under_way = &mut self.under_way[direction];
        *under_way = under_way.saturating_sub(bytes);
    }

    /// When the last byte is sent; never, if there is no room to wait for that.
    fn sent_at(
        &mut self,
        now: Moment,
        direction: Direction,
        bytes: u64,
        rules: &PacketRules,
    ) -> Option<Moment> {
        let Some(rate) = self.state.bandwidth().filter(|&rate| rate > 0) else {
            return Some(now);
        };
        let start = self.busy_until[direction].max(now);
        let waiting = start.saturating_sub(now).as_secs_f64() * rate as f64;
        // One packet may always wait, however small the queue.
        if waiting > 0.0 && waiting + bytes as f64 > rules.queue_bytes as f64 {
            return None;
        }
        let end = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        self.busy_until[direction] = end;
        Some(end)
    }

    /// Draws nothing where it never happens, so that a rule of 0 changes no other draw.
    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random::<f64>() < share
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
