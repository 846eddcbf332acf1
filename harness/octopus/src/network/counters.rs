//! What the network carried, counted per direction of each link. The network's thread adds;
//! anybody reads.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::link::NodeId;
use super::passage::Passages;

/// What went from one node to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DirectionTraffic {
    /// Bytes read from the sending node.
    pub bytes_read: u64,
    /// Bytes handed to the receiving node; those lost on the way make the difference.
    pub bytes_written: u64,
    /// Chunks handed to the receiving node, each of at most 1,024 bytes; between machines, packets.
    pub chunks: u64,
    /// Connects in this direction that were not refused.
    pub connections: u64,
    /// Connects in this direction that found the link down.
    pub refused: u64,
}

/// The traffic of the whole network at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// How many nodes there are.
    pub nodes: usize,
    /// Row by row: `directions[from * nodes + to]`. The diagonal stays zero.
    pub directions: Vec<DirectionTraffic>,
}

impl Traffic {
    /// What went from one node to another.
    pub fn between(&self, from: NodeId, to: NodeId) -> DirectionTraffic {
        self.directions[from * self.nodes + to]
    }

    /// The sum over all directions.
    pub fn total(&self) -> DirectionTraffic {
        self.directions
            .iter()
            .fold(DirectionTraffic::default(), |sum, one| DirectionTraffic {
                bytes_read: sum.bytes_read + one.bytes_read,
                bytes_written: sum.bytes_written + one.bytes_written,
                chunks: sum.chunks + one.chunks,
                connections: sum.connections + one.connections,
                refused: sum.refused + one.refused,
            })
    }
}

/// The live counters of one direction.
#[derive(Debug, Default)]
pub(super) struct LiveTally {
    pub bytes_read: AtomicU64,
    pub bytes_written: AtomicU64,
    pub chunks: AtomicU64,
    pub connections: AtomicU64,
    pub refused: AtomicU64,
}

/// The live counters of a network.
#[derive(Debug)]
pub(super) struct Counters {
    /// There once somebody wants to know what passes, byte by byte.
    pub passages: OnceLock<Passages>,
    nodes: usize,
    directions: Vec<LiveTally>,
}

impl Counters {
    pub fn new(nodes: usize) -> Self {
        Self {
            passages: OnceLock::new(),
            nodes,
            directions: (0..nodes * nodes).map(|_| LiveTally::default()).collect(),
        }
    }

    pub fn nodes(&self) -> usize {
        self.nodes
    }

    pub fn direction(&self, from: NodeId, to: NodeId) -> &LiveTally {
        &self.directions[from * self.nodes + to]
    }

    /// A copy of all counters. Each is exact; together they may be a few chunks apart while
    /// traffic flows.
    pub fn snapshot(&self) -> Traffic {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            nodes: self.nodes,
            directions: self
                .directions
                .iter()
                .map(|one| DirectionTraffic {
                    bytes_read: load(&one.bytes_read),
                    bytes_written: load(&one.bytes_written),
                    chunks: load(&one.chunks),
                    connections: load(&one.connections),
                    refused: load(&one.refused),
                })
                .collect(),
        }
    }
}
