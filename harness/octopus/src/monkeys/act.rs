//! Carrying out a schedule: acts begin when their time has come, and what they did is undone when
//! theirs is over, each exactly once. The performer is driven by whoever has the clock, so tests
//! run it in virtual time; [`Stage`] is what it acts on. Whatever acts do to links and nodes is
//! counted there, so acts may overlap in any way; what the end of an act says is what is true then.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::schedule::{Act, Schedule, What};
use crate::network::{Change, LinkState, NodeId, Pair};
use crate::nodes::NodeState;

/// What the monkeys can do things to. Everything is counted: what was done twice has to be taken
/// back twice.
pub trait Stage {
    /// Changes a link.
    fn change(&mut self, link: Pair, change: Change);
    /// Stops a node once more.
    fn freeze(&mut self, node: NodeId);
    /// Takes one freeze back.
    fn thaw(&mut self, node: NodeId);
    /// Kills nodes once more, all at the same time.
    fn kill(&mut self, nodes: &[NodeId]);
    /// Takes one kill of each of them back.
    fn revive(&mut self, nodes: &[NodeId]);
    /// Fills a node's disk once more.
    fn fill_disk(&mut self, node: NodeId);
    /// Takes one filling back.
    fn free_disk(&mut self, node: NodeId);
    /// Asks a node to end; counts as a kill, and is taken back like one.
    fn shut_down(&mut self, node: NodeId);
    /// Empties the folder of a node that is dead.
    fn wipe(&mut self, node: NodeId);
    /// Sets the monotonic clock that a node finds at its next start.
    fn set_clock(&mut self, node: NodeId, at_s: u64);
    /// Runs a script, which is told a number, on behalf of an act.
    fn run_script(&mut self, act: usize, name: &str, draw: u32);

    /// The state of a link.
    fn link(&self, link: Pair) -> LinkState;
    /// The state of a node.
    fn node(&self, node: NodeId) -> NodeState;
    /// Whether a node's disk is full.
    fn disk_is_full(&self, node: NodeId) -> bool;
    /// How far the clients have come; asked by the spof monkey.
    fn progress(&self) -> Progress;

    /// Hears what the performer does.
    fn hears(&mut self, news: News<'_>);
}

/// What a performer does. Acts have the numbers that they have in their schedule, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// An act begins.
    Begins(usize, &'a Act),
    /// An act is over, and its doings are undone; what is true now, in words.
    Ends(usize, &'a Act, String),
    /// The spof act stops a node and cuts it off.
    Holds(usize, NodeId),
    /// The spof act lets a node go.
    Releases(usize, NodeId),
}

/// How far the clients have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the newest request that was queued, or is about to be: none newer was sent yet.
    pub newest_queued: u64,
    /// The number of the newest request that was answered; 0 before the first.
    pub newest_answered: u64,
}

/// The spof monkey at work.
#[derive(Debug)]
struct Spof {
    number: usize,
    /// Nodes still to come, the next one last.
    left: Vec<NodeId>,
    /// The node that is cut off, and the request that was the newest one queued then.
    held: Option<(NodeId, u64)>,
}

/// Carries out a schedule.
#[derive(Debug)]
pub struct Performer {
    nodes: usize,
    acts: Vec<Act>,
    /// The number of the next act to begin.
    next: usize,
    /// When the acts that last are over: microseconds, and the order of their beginnings.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    /// The acts that last, by the order of their beginnings.
    lasting: BTreeMap<u64, usize>,
    begun: u64,
    spof: Option<Spof>,
}

impl Performer {
    /// Will carry out the acts of a schedule.
    pub fn new(schedule: &Schedule, nodes: usize) -> Self {
        Self {
            nodes,
            acts: schedule.acts.clone(),
            next: 0,
            ends: BinaryHeap::new(),
            lasting: BTreeMap::new(),
            begun: 0,
            spof: None,
        }
    }

    /// When something is to be done next, in microseconds after the start of the monkeys.
    pub fn next_us(&self) -> Option<u64> {
        let act = self.acts.get(self.next).map(|act| act.at_us);
        act.into_iter().chain(self.next_end_us()).min()
    }

    /// Whether the spof monkey waits for progress, which no clock announces.
    pub fn watches_progress(&self) -> bool {
        self.spof.is_some()
    }

    /// Does what is due. Ends of acts come before beginnings of the same moment.
    pub fn advance(&mut self, now_us: u64, stage: &mut impl Stage) {
        while let Some(next) = self.next_us().filter(|&next| next <= now_us) {
            if self.next_end_us() == Some(next) {
                if let Some(Reverse((_, order))) = self.ends.pop() {
                    self.end(order, stage);
                }
            } else {
                // What comes late must not end early: the end counts from the real beginning.
                self.begin_next(now_us, stage);
            }
        }
        self.watch(stage);
    }

    /// Undoes everything at once and does nothing more.
    pub fn heal(&mut self, stage: &mut impl Stage) {
        self.next = self.acts.len();
        if let Some(spof) = self.spof.take() {
            if let Some((node, _)) = spof.held {
                self.let_go(spof.number, node, stage);
            }
            let act = &self.acts[spof.number];
            stage.hears(News::Ends(spof.number, act, "spof: over".to_owned()));
        }
        while let Some(Reverse((_, order))) = self.ends.pop() {
            self.end(order, stage);
        }
    }

    fn next_end_us(&self) -> Option<u64> {
        self.ends.peek().map(|Reverse((at_us, _))| *at_us)
    }

    fn begin_next(&mut self, now_us: u64, stage: &mut impl Stage) {
        let number = self.next;
        self.next += 1;
        let act = &self.acts[number];
        stage.hears(News::Begins(number, act));
        begin(number, &act.what, stage);
        if let What::Spof { order } = &act.what {
            let left = order.iter().rev().copied().collect();
            self.spof = Some(Spof {
                number,
                left,
                held: None,
            });
        }
        if let Some(for_us) = act.what.for_us() {
            self.begun += 1;
            self.lasting.insert(self.begun, number);
            self.ends.push(Reverse((now_us + for_us, self.begun)));
        }
    }

    fn end(&mut self, order: u64, stage: &mut impl Stage) {
        if let Some(number) = self.lasting.remove(&order) {
            let act = &self.acts[number];
            undo(&act.what, stage);
            let truth = truth(&act.what, stage);
            stage.hears(News::Ends(number, act, truth));
        }
    }

    /// Lets the spof monkey look, and go on to its next node.
    fn watch(&mut self, stage: &mut impl Stage) {
        let Some(mut spof) = self.spof.take() else {
            return;
        };
        if let Some((node, newest_then)) = spof.held {
            if stage.progress().newest_answered <= newest_then {
                self.spof = Some(spof);
                return;
            }
            self.let_go(spof.number, node, stage);
        }
        if let Some(node) = spof.left.pop() {
            stage.hears(News::Holds(spof.number, node));
            stage.freeze(node);
            self.cut(node, Change::Down, stage);
            // Only what was queued after the node had stopped says that the others get on without it.
            spof.held = Some((node, stage.progress().newest_queued));
            self.spof = Some(spof);
        } else {
            let text = "spof: every node had its turn".to_owned();
            stage.hears(News::Ends(spof.number, &self.acts[spof.number], text));
        }
    }

    /// Links come back first, then the node.
    fn let_go(&self, number: usize, node: NodeId, stage: &mut impl Stage) {
        self.cut(node, Change::Up, stage);
        stage.thaw(node);
        stage.hears(News::Releases(number, node));
    }

    fn cut(&self, node: NodeId, change: Change, stage: &mut impl Stage) {
        for other in (0..self.nodes).filter(|&other| other != node) {
            stage.change(Pair::new(node, other), change);
        }
    }
}

fn begin(number: usize, what: &What, stage: &mut impl Stage) {
    match what {
        What::Latency { link, ms } => stage.change(*link, Change::Latency(*ms)),
        What::Jitter { link, ms } => stage.change(*link, Change::Jitter(*ms)),
        What::Spike { links, ms, .. } => change_all(links, Change::AddSpike(*ms), stage),
        What::Down { links, .. } => change_all(links, Change::Down, stage),
        What::Freeze { node, .. } => stage.freeze(*node),
        What::Kill { nodes, .. } => stage.kill(nodes),
        What::Loss { link, from, .. } => stage.change(*link, Change::Loss(*from)),
        What::Bandwidth {
            link, bytes_per_s, ..
        } => stage.change(*link, Change::Limit(*bytes_per_s)),
        What::DropConnections { links } => change_all(links, Change::DropConnections, stage),
        What::FullDisk { node, .. } => stage.fill_disk(*node),
        What::Restart { node, .. } => stage.shut_down(*node),
        What::Wipe { node, .. } => {
            stage.kill(&[*node]);
            stage.wipe(*node);
        }
        What::Clock { node, at_s, .. } => {
            stage.kill(&[*node]);
            stage.set_clock(*node, *at_s);
        }
        // Nothing takes it back.
        What::Crash { node } => stage.kill(&[*node]),
        What::Script { name, draw } => stage.run_script(number, name, *draw),
        // Acts when it watches.
        What::Spof { .. } => {}
    }
}

fn undo(what: &What, stage: &mut impl Stage) {
    match what {
        What::Spike { links, ms, .. } => change_all(links, Change::RemoveSpike(*ms), stage),
        What::Down { links, .. } => change_all(links, Change::Up, stage),
        What::Freeze { node, .. } => stage.thaw(*node),
        What::Kill { nodes, .. } => stage.revive(nodes),
        What::Restart { node, .. } | What::Wipe { node, .. } | What::Clock { node, .. } => {
            stage.revive(&[*node]);
        }
        What::Loss { link, from, .. } => stage.change(*link, Change::LossEnd(*from)),
        What::Bandwidth {
            link, bytes_per_s, ..
        } => stage.change(*link, Change::LiftLimit(*bytes_per_s)),
        What::FullDisk { node, .. } => stage.free_disk(*node),
        // These last; a script ends by itself, and whoever runs it says so.
        What::Latency { .. }
        | What::Jitter { .. }
        | What::DropConnections { .. }
        | What::Spof { .. }
        | What::Crash { .. }
        | What::Script { .. } => {}
    }
}

fn change_all(links: &[Pair], change: Change, stage: &mut impl Stage) {
    for &link in links {
        stage.change(link, change);
    }
}

/// What is true of the links or nodes of an act after its end; other acts may still hold them.
fn truth(what: &What, stage: &impl Stage) -> String {
    match what {
        What::Spike { links, .. } => of_links(links, |link| match stage.link(link).spike_ms {
            0 => "fast again".to_owned(),
            ms => format!("still {ms} ms slower"),
        }),
        What::Down { links, .. } => of_links(links, |link| {
            let up = stage.link(link).is_up();
            if up { "up again" } else { "still down" }.to_owned()
        }),
        What::Loss { link, from, .. } => {
            let loses = stage.link(*link).loses(link.direction_from(*from));
            let word = if loses {
                "still loses"
            } else {
                "carries again"
            };
            format!("link {link} {word} what comes from node {from}")
        }
        What::Bandwidth { link, .. } => match stage.link(*link).bandwidth() {
            None => format!("link {link} wide again"),
            Some(rate) => format!("link {link} still carries {rate} bytes/s"),
        },
        What::Freeze { node, .. }
        | What::Restart { node, .. }
        | What::Wipe { node, .. }
        | What::Clock { node, .. } => of_nodes(&[*node], stage),
        What::Kill { nodes, .. } => of_nodes(nodes, stage),
        What::FullDisk { node, .. } => {
            let full = stage.disk_is_full(*node);
            let word = if full { "still full" } else { "has room again" };
            format!("disk of node {node} {word}")
        }
        What::Latency { .. }
        | What::Jitter { .. }
        | What::DropConnections { .. }
        | What::Spof { .. }
        | What::Crash { .. }
        | What::Script { .. } => what.to_string(),
    }
}

/// "link 0-1 0-2 up again, link 1-2 still down".
fn of_links(links: &[Pair], word: impl Fn(Pair) -> String) -> String {
    grouped(
        "link",
        links.iter().map(|link| (link.to_string(), word(*link))),
    )
}

fn of_nodes(nodes: &[NodeId], stage: &impl Stage) -> String {
    let word = |node: &NodeId| match stage.node(*node) {
        NodeState::Running => "runs again",
        NodeState::Frozen => "still stopped",
        NodeState::Killed => "still dead",
        NodeState::Exited => "has ended by itself",
    };
    let nodes = nodes
        .iter()
        .map(|node| (node.to_string(), word(node).to_owned()));
    grouped("node", nodes)
}

fn grouped(noun: &str, items: impl Iterator<Item = (String, String)>) -> String {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, word) in items {
        groups.entry(word).or_default().push(name);
    }
    let texts: Vec<String> = groups
        .iter()
        .map(|(word, names)| format!("{noun} {} {word}", names.join(" ")))
        .collect();
    texts.join(", ")
}

#[cfg(test)]
#[path = "act_tests.rs"]
mod tests;
