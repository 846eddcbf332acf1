//! Nodes, pairs of nodes, and the state of the link that joins a pair: latency, jitter, spikes,
//! how often it was taken down, and the delay that all of them give a chunk. No I/O, no clock.

use std::time::Duration;

use rand::Rng;

/// A point in the network's time: how long after its start.
pub type Moment = Duration;

/// The number of a node, from 0.
pub type NodeId = usize;

/// An unordered pair of nodes, which is what a link joins. `low < high` always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    low: NodeId,
    high: NodeId,
}

impl Pair {
    /// The pair of two different nodes, in either order.
    ///
    /// # Panics
    /// If both are the same node, which no link joins.
    pub fn new(a: NodeId, b: NodeId) -> Self {
        assert_ne!(a, b, "a link joins two different nodes");
        Self {
            low: a.min(b),
            high: a.max(b),
        }
    }

    /// The node with the lower number.
    pub fn low(self) -> NodeId {
        self.low
    }

    /// The node with the higher number.
    pub fn high(self) -> NodeId {
        self.high
    }

    /// Whether the link ends at this node.
    pub fn touches(self, node: NodeId) -> bool {
        self.low == node || self.high == node
    }

    /// The direction that begins at this node, which is one of the two.
    pub fn direction_from(self, from: NodeId) -> Direction {
        if from == self.high {
            Direction::FromHigh
        } else {
            Direction::FromLow
        }
    }

    /// The place of this pair in [`pairs`]`(nodes)`.
    pub fn index(self, nodes: usize) -> usize {
        // Rows before this one hold (nodes - 1) + (nodes - 2) + … pairs.
        self.low * (2 * nodes - self.low - 1) / 2 + (self.high - self.low - 1)
    }
}

/// One of the two directions of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the node with the lower number to the other.
    FromLow,
    /// From the node with the higher number to the other.
    FromHigh,
}

impl Direction {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::FromLow, Self::FromHigh];
}

/// A value for each direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PerDirection<T> {
    from_low: T,
    from_high: T,
}

impl<T> std::ops::Index<Direction> for PerDirection<T> {
    type Output = T;

    fn index(&self, direction: Direction) -> &T {
        match direction {
            Direction::FromLow => &self.from_low,
            Direction::FromHigh => &self.from_high,
        }
    }
}

impl<T> std::ops::IndexMut<Direction> for PerDirection<T> {
    fn index_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::FromLow => &mut self.from_low,
            Direction::FromHigh => &mut self.from_high,
        }
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.low, self.high)
    }
}

/// As both nodes, the lower one first.
impl serde::Serialize for Pair {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.low, self.high].serialize(serializer)
    }
}

/// All pairs of `nodes` nodes, in lexical order.
pub fn pairs(nodes: usize) -> Vec<Pair> {
    (0..nodes)
        .flat_map(|low| (low + 1..nodes).map(move |high| Pair { low, high }))
        .collect()
}

/// What a link does to the traffic on it. Both directions and all connections share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Base latency in milliseconds.
    pub latency_ms: u64,
    /// Mean of the exponential part of the delay, in milliseconds.
    pub jitter_ms: u64,
    /// Sum of the spikes in force, in milliseconds.
    pub spike_ms: u64,
    /// How many times it was taken down and not yet brought up again.
    pub downs: u32,
    /// Losses in force.
    losses: PerDirection<u32>,
    /// Limits in force, in bytes per second, each as often as it was set.
    limits: Vec<u64>,
}

/// A change of a link's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new base latency, in milliseconds.
    Latency(u64),
    /// A new jitter, in milliseconds.
    Jitter(u64),
    /// Adds a spike of so many milliseconds; overlapping ones add up.
    AddSpike(u64),
    /// Takes away a spike that was added.
    RemoveSpike(u64),
    /// Takes the link down: its connections close, new ones are refused.
    Down,
    /// Takes one down back; the link is up when as many ups as downs have come.
    Up,
    /// Nothing from this node gets to the other one; the other direction works.
    Loss(NodeId),
    /// Takes one loss back; what was lost is sent again.
    LossEnd(NodeId),
    /// Limits each direction to so many bytes per second; of several limits the lowest counts.
    Limit(u64),
    /// Takes one such limit back.
    LiftLimit(u64),
    /// Closes the connections of the link, which stays up.
    DropConnections,
}

impl LinkState {
    /// A link that is up and has nothing but this latency and jitter, in milliseconds.
    pub fn new(latency_ms: u64, jitter_ms: u64) -> Self {
        Self {
            latency_ms,
            jitter_ms,
            ..Self::default()
        }
    }

    /// Applies a change to the link of `pair`.
    pub fn apply(&mut self, pair: Pair, change: Change) {
        match change {
            Change::Latency(ms) => self.latency_ms = ms,
            Change::Jitter(ms) => self.jitter_ms = ms,
            Change::AddSpike(ms) => self.spike_ms += ms,
            Change::RemoveSpike(ms) => self.spike_ms = self.spike_ms.saturating_sub(ms),
            Change::Down => self.downs += 1,
            Change::Up => self.downs = self.downs.saturating_sub(1),
            Change::Loss(from) => self.losses[pair.direction_from(from)] += 1,
            Change::LossEnd(from) => {
                let losses = &mut self.losses[pair.direction_from(from)];
                *losses = losses.saturating_sub(1);
            }
            Change::Limit(rate) => self.limits.push(rate),
            Change::LiftLimit(rate) => {
                if let Some(place) = self.limits.iter().position(|&limit| limit == rate) {
                    self.limits.swap_remove(place);
                }
            }
            Change::DropConnections => {}
        }
    }

    /// Whether everything in this direction is lost.
    pub fn loses(&self, direction: Direction) -> bool {
        self.losses[direction] > 0
    }

    /// Bytes per second that each direction carries; `None` is no limit.
    pub fn bandwidth(&self) -> Option<u64> {
        self.limits.iter().copied().min()
    }

    /// Whether connections can be made and kept.
    pub fn is_up(&self) -> bool {
        self.downs == 0
    }

    /// Draws the delay of one chunk, connect or close: whole milliseconds,
    /// latency + spike + ⌊Exp(1) × jitter⌋.
    pub fn draw_delay(&self, rng: &mut impl Rng) -> Duration {
        let jitter = libm::floor(crate::random::exponential(rng) * self.jitter_ms as f64);
        Duration::from_millis(self.latency_ms + self.spike_ms + jitter as u64)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn pairs_know_their_place() {
        for nodes in 0..7 {
            let all = pairs(nodes);
            assert_eq!(all.len(), nodes * nodes.saturating_sub(1) / 2);
            for (place, pair) in all.iter().enumerate() {
                assert_eq!(pair.index(nodes), place);
                assert_eq!(Pair::new(pair.high(), pair.low()), *pair);
            }
        }
    }

    #[test]
    fn downs_and_spikes_are_counted() {
        let pair = Pair::new(3, 1);
        let mut link = LinkState::default();
        for change in [Change::Down, Change::Down, Change::Up, Change::AddSpike(5)] {
            link.apply(pair, change);
        }
        assert!(!link.is_up());
        for change in [
            Change::Up,
            Change::AddSpike(7),
            Change::RemoveSpike(5),
            Change::Loss(3),
        ] {
            link.apply(pair, change);
        }
        assert!(link.is_up());
        assert_eq!(link.spike_ms, 7);
        assert!(link.loses(pair.direction_from(3)) && !link.loses(pair.direction_from(1)));
    }

    #[test]
    fn of_several_limits_the_lowest_counts_and_each_is_lifted_once() {
        let pair = Pair::new(0, 1);
        let mut link = LinkState::default();
        let mut after = |change| {
            link.apply(pair, change);
            link.bandwidth()
        };
        assert_eq!(after(Change::Limit(2048)), Some(2048));
        assert_eq!(after(Change::Limit(1024)), Some(1024));
        assert_eq!(after(Change::Limit(1024)), Some(1024));
        assert_eq!(after(Change::LiftLimit(1024)), Some(1024));
        assert_eq!(after(Change::LiftLimit(2048)), Some(1024));
        assert_eq!(after(Change::LiftLimit(1024)), None);
    }

    #[test]
    fn delay_is_latency_plus_spike_plus_floored_exponential() {
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let mut link = LinkState::new(20, 10);
        link.apply(Pair::new(0, 1), Change::AddSpike(7));
        let draws: Vec<u64> = (0..100_000)
            .map(|_| link.draw_delay(&mut rng).as_millis() as u64 - 27)
            .collect();
        let mean = draws.iter().sum::<u64>() as f64 / draws.len() as f64;
        // The mean of ⌊10 × Exp(1)⌋ is 1 / (e^0.1 − 1) = 9.508; its standard deviation is 10.
        assert!((mean - 9.508).abs() < 0.15, "{mean}");
        let zeros = draws.iter().filter(|&&d| d == 0).count() as f64 / draws.len() as f64;
        // P(Exp(1) < 0.1) = 0.0952.
        assert!((zeros - 0.0952).abs() < 0.005, "{zeros}");
        let still = LinkState::new(3, 0);
        assert!((0..100).all(|_| still.draw_delay(&mut rng) == Duration::from_millis(3)));
    }
}
