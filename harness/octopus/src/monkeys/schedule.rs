//! The schedule of acts: a pure function of seed, node count, duration and settings. No clock, no
//! I/O; the same arguments give the same schedule on every machine, and switching one monkey off
//! changes no act of another.

use rand_chacha::ChaCha12Rng;
use serde::Serialize;

use super::settings::{Monkey, MonkeySettings};
use crate::network::{LinkState, NodeId, Pair, pairs};
use crate::random::{below, choose, exponential, normal, shuffled, stream};

/// Below this intensity the monkeys that break things do nothing.
const CALM: f64 = 0.1;

/// The latest time that a clock is set to, in seconds: a month after its machine was started.
const LONGEST_CLOCK_S: u64 = 30 * 24 * 3600;

/// The stream of the links' first states; the monkeys' streams are their places in
/// [`Monkey::ALL`] + 1.
const START_STREAM: u64 = 0;

/// What a monkey does. Times are in microseconds, `for_us` counted from the act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum What {
    /// A link's new base latency.
    Latency {
        /// The link.
        link: Pair,
        /// Milliseconds.
        ms: u64,
    },
    /// A link's new jitter.
    Jitter {
        /// The link.
        link: Pair,
        /// Milliseconds.
        ms: u64,
    },
    /// Links get slower.
    Spike {
        /// The links.
        links: Vec<Pair>,
        /// Milliseconds added to every delay.
        ms: u64,
        /// How long.
        for_us: u64,
    },
    /// Links go down.
    Down {
        /// The links.
        links: Vec<Pair>,
        /// How long.
        for_us: u64,
    },
    /// A node is stopped.
    Freeze {
        /// The node.
        node: NodeId,
        /// How long.
        for_us: u64,
    },
    /// Nodes are killed, and started again afterwards.
    Kill {
        /// The nodes.
        nodes: Vec<NodeId>,
        /// How long they stay dead.
        for_us: u64,
    },
    /// Each of these nodes in turn is stopped and cut off until the others have made progress.
    Spof {
        /// Every node once.
        order: Vec<NodeId>,
    },
    /// One direction of a link loses everything.
    Loss {
        /// The link.
        link: Pair,
        /// The node that is not heard.
        from: NodeId,
        /// How long.
        for_us: u64,
    },
    /// A link carries little.
    Bandwidth {
        /// The link.
        link: Pair,
        /// Bytes per second in each direction.
        bytes_per_s: u64,
        /// How long.
        for_us: u64,
    },
    /// The connections of these links break.
    DropConnections {
        /// The links.
        links: Vec<Pair>,
    },
    /// The file system of a node's folder is full.
    FullDisk {
        /// The node.
        node: NodeId,
        /// How long.
        for_us: u64,
    },
    /// A node is asked to end, and started again afterwards; what has not ended by then is killed.
    Restart {
        /// The node.
        node: NodeId,
        /// How long until it is started again.
        for_us: u64,
    },
    /// A node is killed, its folder emptied, and it is started again afterwards.
    Wipe {
        /// The node.
        node: NodeId,
        /// How long it stays dead.
        for_us: u64,
    },
    /// A node is killed, and started again afterwards with another time on its monotonic clock.
    Clock {
        /// The node.
        node: NodeId,
        /// What the clock shows when it is started again, in seconds.
        at_s: u64,
        /// How long it stays dead.
        for_us: u64,
    },
    /// A node is killed and stays dead.
    Crash {
        /// The node.
        node: NodeId,
    },
    /// A script of the user's is run.
    Script {
        /// Its name.
        name: String,
        /// A number that it is given, to choose by.
        draw: u32,
    },
}

impl What {
    /// How long it lasts, in microseconds; `None` if nothing has to be undone at a known time.
    pub fn for_us(&self) -> Option<u64> {
        match self {
            Self::Spike { for_us, .. }
            | Self::Down { for_us, .. }
            | Self::Freeze { for_us, .. }
            | Self::Kill { for_us, .. }
            | Self::Loss { for_us, .. }
            | Self::Bandwidth { for_us, .. }
            | Self::FullDisk { for_us, .. }
            | Self::Restart { for_us, .. }
            | Self::Wipe { for_us, .. }
            | Self::Clock { for_us, .. } => Some(*for_us),
            Self::Latency { .. }
            | Self::Jitter { .. }
            | Self::DropConnections { .. }
            | Self::Spof { .. }
            | Self::Crash { .. }
            | Self::Script { .. } => None,
        }
    }
}

/// One act of a monkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Act {
    /// Microseconds after the start of the monkeys.
    pub at_us: u64,
    /// Whose act.
    pub monkey: Monkey,
    /// What happens.
    #[serde(flatten)]
    pub what: What,
}

/// The links' first states and all acts, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// First state of each link, in the order of [`pairs`]; the clients' machine may be a place behind the nodes.
    pub links: Vec<LinkState>,
    /// All acts; where times tie, in the order of [`Monkey::ALL`].
    pub acts: Vec<Act>,
}

impl Schedule {
    /// Everything that will go wrong in `duration_us` after the start of the monkeys.
    pub fn new(seed: u64, nodes: usize, duration_us: u64, settings: &MonkeySettings) -> Self {
        let mut rng = stream(seed, START_STREAM);
        let links = pairs(settings.places(nodes))
            .iter()
            .map(|_| LinkState::new(draw_latency_ms(&mut rng), draw_jitter_ms(&mut rng)))
            .collect();
        let mut acts = Vec::new();
        for &monkey in &settings.enabled {
            let rng = stream(seed, monkey as u64 + 1);
            let draws = Draws {
                rng,
                nodes,
                places: settings.places(nodes),
                monkey,
                crashed: Vec::new(),
                scripts: &settings.scripts,
            };
            draws.schedule(duration_us, settings, &mut acts);
        }
        acts.sort_by_key(|act| (act.at_us, act.monkey));
        Self { links, acts }
    }

    /// The schedule as text, a line for each link between so many places and each act.
    pub fn lines(&self, places: usize) -> impl Iterator<Item = String> {
        let links = pairs(places)
            .into_iter()
            .zip(&self.links)
            .map(|(pair, state)| {
                format!(
                    "start link {pair} latency {} ms jitter {} ms",
                    state.latency_ms, state.jitter_ms
                )
            });
        links.chain(self.acts.iter().map(ToString::to_string))
    }
}

/// What one monkey draws from.
struct Draws<'a> {
    rng: ChaCha12Rng,
    nodes: usize,
    /// What links join: the nodes, and the clients' machine if its links are flaky.
    places: usize,
    monkey: Monkey,
    /// The nodes that are dead for good.
    crashed: Vec<NodeId>,
    scripts: &'a [String],
}

impl Draws<'_> {
    fn schedule(mut self, duration_us: u64, settings: &MonkeySettings, acts: &mut Vec<Act>) {
        let pace = self.monkey.pace();
        let mut at_us = (pace.offset_s * settings.offset_scale * 1e6) as u64;
        let Some(mean_gap_s) = pace.mean_gap_s else {
            let order = shuffled(&mut self.rng, (0..self.nodes).collect());
            if at_us < duration_us && self.nodes > 1 {
                acts.push(Act {
                    at_us,
                    monkey: self.monkey,
                    what: What::Spof { order },
                });
            }
            return;
        };
        let mean_gap_us = mean_gap_s * settings.gap_scale * 1e6;
        loop {
            // At least a microsecond, so that a scale of 0 ends too.
            at_us += ((exponential(&mut self.rng) * mean_gap_us) as u64).max(1);
            if at_us >= duration_us {
                return;
            }
            let intensity = settings.intensity.at(at_us as f64 / 1e6);
            let what = self.draw(intensity);
            if intensity < CALM && self.monkey.rests_when_calm() {
                continue;
            }
            if let Some(what) = what {
                acts.push(Act {
                    at_us,
                    monkey: self.monkey,
                    what,
                });
            }
        }
    }

    /// The next act, or `None` if there are too few nodes for it.
    fn draw(&mut self, intensity: f64) -> Option<What> {
        let all = pairs(self.places);
        let rng = &mut self.rng;
        Some(match self.monkey {
            Monkey::Latency => What::Latency {
                link: choose(rng, &all)?,
                ms: draw_latency_ms(rng),
            },
            Monkey::Jitter => What::Jitter {
                link: choose(rng, &all)?,
                ms: draw_jitter_ms(rng),
            },
            Monkey::Lagsplit => {
                let ms = (20.0 + 10.0 * normal(rng)) * 5.0 * intensity;
                What::Spike {
                    ms: libm::floor(ms).max(1.0) as u64,
                    links: self.partition()?,
                    for_us: self.up_to_ms(1000.0 * intensity),
                }
            }
            Monkey::Link => What::Down {
                links: vec![choose(rng, &all)?],
                for_us: self.up_to_ms(500.0 * intensity),
            },
            Monkey::Netsplit => What::Down {
                links: self.partition()?,
                for_us: self.up_to_ms(1000.0 * intensity),
            },
            Monkey::Unneighborly => What::Down {
                links: self.touching_every_node()?,
                for_us: self.up_to_ms(1000.0 * intensity),
            },
            Monkey::Freeze => What::Freeze {
                node: self.node()?,
                for_us: self.up_to_ms(1000.0 * intensity),
            },
            Monkey::Murder => What::Kill {
                nodes: vec![self.node()?],
                for_us: self.up_to_ms(1000.0 * intensity),
            },
            Monkey::Blackout => What::Kill {
                nodes: (0..self.nodes).collect(),
                for_us: self.up_to_ms(1000.0 * intensity),
            },
            Monkey::Oneway => {
                let link = choose(rng, &all)?;
                let from = if below(rng, 2) == 0 {
                    link.low()
                } else {
                    link.high()
                };
                What::Loss {
                    link,
                    from,
                    for_us: self.up_to_ms(1000.0 * intensity),
                }
            }
            Monkey::Bandwidth => What::Bandwidth {
                link: choose(rng, &all)?,
                bytes_per_s: 1024 * (1 + below(rng, 16)),
                for_us: self.up_to_ms(2000.0 * intensity),
            },
            Monkey::Reconnect => {
                let node = self.node()?;
                What::DropConnections {
                    links: all.into_iter().filter(|pair| pair.touches(node)).collect(),
                }
            }
            Monkey::Fulldisk => What::FullDisk {
                node: self.node()?,
                for_us: self.up_to_ms(1000.0 * intensity),
            },
            Monkey::Restart => What::Restart {
                node: self.node()?,
                for_us: self.up_to_ms(3000.0 * intensity),
            },
            Monkey::Wipe => What::Wipe {
                node: self.node()?,
                for_us: self.up_to_ms(1000.0 * intensity),
            },
            Monkey::Clock => What::Clock {
                node: self.node()?,
                at_s: 1 + below(&mut self.rng, LONGEST_CLOCK_S),
                for_us: self.up_to_ms(1000.0 * intensity),
            },
            Monkey::Crash => What::Crash {
                node: self.minority()?,
            },
            Monkey::Script => What::Script {
                name: {
                    let place = below(rng, self.scripts.len().max(1) as u64) as usize;
                    self.scripts.get(place)?.clone()
                },
                draw: below(rng, 1 << 32) as u32,
            },
            // Reacts to the run; see `Draws::schedule`.
            Monkey::Spof => return None,
        })
    }

    fn node(&mut self) -> Option<NodeId> {
        (self.nodes > 0).then(|| below(&mut self.rng, self.nodes as u64) as usize)
    }

    /// A node that may die for good: the majority stays.
    fn minority(&mut self) -> Option<NodeId> {
        let node = self.node()?;
        let most = (self.nodes - 1) / 2;
        (self.crashed.len() < most && !self.crashed.contains(&node)).then(|| {
            self.crashed.push(node);
            node
        })
    }

    /// Whole microseconds, uniform from 0 to so many milliseconds.
    fn up_to_ms(&mut self, ms: f64) -> u64 {
        below(&mut self.rng, (ms * 1000.0) as u64 + 1)
    }

    /// The links across a random partition: nodes in random order, the first k on one side,
    /// k uniform in 1…N−2 (1 for two nodes).
    fn partition(&mut self) -> Option<Vec<Pair>> {
        if self.places < 2 {
            return None;
        }
        let order = shuffled(&mut self.rng, (0..self.places).collect());
        let cuts = (self.places - 2).max(1) as u64;
        let first = 1 + below(&mut self.rng, cuts) as usize;
        let (one, other) = order.split_at(first);
        let mut crossing: Vec<Pair> = one
            .iter()
            .flat_map(|&a| other.iter().map(move |&b| Pair::new(a, b)))
            .collect();
        crossing.sort_unstable();
        Some(crossing)
    }

    /// Links in random order, each if it touches a node not yet touched.
    fn touching_every_node(&mut self) -> Option<Vec<Pair>> {
        let mut touched = vec![false; self.places];
        let mut taken = Vec::new();
        for pair in shuffled(&mut self.rng, pairs(self.places)) {
            if !touched[pair.low()] || !touched[pair.high()] {
                touched[pair.low()] = true;
                touched[pair.high()] = true;
                taken.push(pair);
            }
        }
        taken.sort_unstable();
        (!taken.is_empty()).then_some(taken)
    }
}

/// A link's base latency in milliseconds: max(1, ⌊20 + 10 × Normal(0, 1)⌋).
fn draw_latency_ms(rng: &mut ChaCha12Rng) -> u64 {
    libm::floor(20.0 + 10.0 * normal(rng)).max(1.0) as u64
}

/// A link's jitter in milliseconds: uniform in 0…19.
fn draw_jitter_ms(rng: &mut ChaCha12Rng) -> u64 {
    below(rng, 20)
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>11.6} s {:<12} {}",
            self.at_us as f64 / 1e6,
            self.monkey.name(),
            self.what
        )
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |us: &u64| format!("{:.3} ms", *us as f64 / 1000.0);
        match self {
            Self::Latency { link, ms } => write!(f, "latency of link {link} becomes {ms} ms"),
            Self::Jitter { link, ms } => write!(f, "jitter of link {link} becomes {ms} ms"),
            Self::Spike {
                links,
                ms: spike,
                for_us,
            } => {
                write!(
                    f,
                    "{spike} ms more on {} for {}",
                    list("link", links),
                    ms(for_us)
                )
            }
            Self::Down { links, for_us } => {
                write!(f, "{} down for {}", list("link", links), ms(for_us))
            }
            Self::Freeze { node, for_us } => write!(f, "node {node} stopped for {}", ms(for_us)),
            Self::Kill { nodes, for_us } => {
                write!(
                    f,
                    "{} killed, restart after {}",
                    list("node", nodes),
                    ms(for_us)
                )
            }
            Self::Spof { order } => write!(
                f,
                "{} stopped and cut off, one after the other, until the others make progress",
                list("node", order)
            ),
            Self::Loss { link, from, for_us } => {
                write!(
                    f,
                    "link {link} loses what comes from node {from} for {}",
                    ms(for_us)
                )
            }
            Self::Bandwidth {
                link,
                bytes_per_s,
                for_us,
            } => {
                write!(
                    f,
                    "link {link} carries {bytes_per_s} bytes/s for {}",
                    ms(for_us)
                )
            }
            Self::DropConnections { links } => {
                write!(f, "connections of {} break", list("link", links))
            }
            Self::FullDisk { node, for_us } => {
                write!(f, "disk of node {node} full for {}", ms(for_us))
            }
            Self::Restart { node, for_us } => {
                write!(f, "node {node} asked to end, restart after {}", ms(for_us))
            }
            Self::Wipe { node, for_us } => {
                write!(
                    f,
                    "node {node} killed and wiped, restart after {}",
                    ms(for_us)
                )
            }
            Self::Clock { node, at_s, for_us } => write!(
                f,
                "node {node} killed, clock at {at_s} s, restart after {}",
                ms(for_us)
            ),
            Self::Crash { node } => write!(f, "node {node} killed for good"),
            Self::Script { name, draw } => write!(f, "script {name} runs with {draw}"),
        }
    }
}

/// "link 0-1", "links 0-1 0-2".
fn list<T: ToString>(noun: &str, items: &[T]) -> String {
    let plural = if items.len() == 1 { "" } else { "s" };
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("{noun}{plural} {}", items.join(" "))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
