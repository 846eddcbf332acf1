//! What a network of machines is made of.

use std::{net::IpAddr, os::fd::OwnedFd};

use super::super::link::LinkState;

/// What a link that is down does with packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Down {
    /// Drops them without a word, as a cut cable does: the sender waits and tries again.
    #[default]
    Drop,
    /// Refuses them, as a router without a way does: with a reset of TCP, with ICMP for all else.
    Reject,
}

/// What links do to packets all the time, besides what monkeys do. Shares are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PacketRules {
    /// What a link that is down does.
    pub down: Down,
    /// The share of packets that are lost.
    pub loss: f64,
    /// The share of packets that arrive twice.
    pub duplication: f64,
    /// The share of packets that overtake what is under way. All others of a flow keep their order.
    pub reorder: f64,
    /// Bytes that may wait in each direction of a link whose bandwidth is limited; what is more is lost.
    pub queue_bytes: u64,
}

impl Default for PacketRules {
    fn default() -> Self {
        Self {
            down: Down::Drop,
            loss: 0.0,
            duplication: 0.0,
            reorder: 0.0,
            queue_bytes: 32 * 1024,
        }
    }
}

/// What is in front of each packet that is read or written, and passed on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    Plain,
    /// What is left to be done to the packet (`virtio_net_hdr`).
    Offload,
    /// The header of Ethernet; all devices have the same address.
    Ethernet,
}

impl Framing {
    /// Bytes in front of each packet.
    pub fn header_bytes(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Offload => 10,
            Self::Ethernet => 14,
        }
    }

    /// The header of the network's own answer to a packet of the same protocol that had this one.
    pub(super) fn answers(self, header: &[u8]) -> Vec<u8> {
        match self {
            Self::Ethernet => header.to_vec(),
            // Nothing is left to be done.
            Self::Plain | Self::Offload => vec![0; self.header_bytes()],
        }
    }
}

/// Where a machine's packets are read and written.
#[derive(Debug)]
pub struct Device {
    /// Reads and writes one packet a call, and never blocks.
    pub packets: OwnedFd,
    /// Packets to these addresses go there.
    pub addresses: Vec<IpAddr>,
    /// What is in front of each packet.
    pub framing: Framing,
}

/// What a network of machines is made of.
#[derive(Debug)]
pub struct SwitchConfig {
    /// How many nodes there are.
    pub nodes: usize,
    /// Seed of the delays. Each link draws from a stream of its own.
    pub seed: u64,
    /// The state of each link at the start, in the order of `pairs`.
    pub links: Vec<LinkState>,
    /// What links do to packets.
    pub rules: PacketRules,
    /// The nodes' devices, in their order, and behind them those of others, who are joined to everybody
    /// by links without trouble.
    pub devices: Vec<Device>,
}
