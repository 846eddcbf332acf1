//! Carrying out a schedule: acts begin when their time has come, and what they did is undone when
//! theirs is over. The performer is driven by whoever has the clock, so tests run it in virtual
//! time; [`Stage`] is what it acts on.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::schedule::{Act, Schedule, What};
use crate::network::{Change, NodeId, Pair};

/// What the monkeys can do things to.
pub trait Stage {
    /// Changes a link.
    fn change(&mut self, link: Pair, change: Change);
    /// Stops a node once more.
    fn freeze(&mut self, node: NodeId);
    /// Takes one freeze back.
    fn thaw(&mut self, node: NodeId);
    /// Kills a node once more.
    fn kill(&mut self, node: NodeId);
    /// Takes one kill back.
    fn revive(&mut self, node: NodeId);
    /// Fills a node's disk, or frees it.
    fn set_disk_full(&mut self, node: NodeId, full: bool);
    /// Hears of each act when it begins.
    fn begins(&mut self, act: &Act);
    /// Hears of what an act or the end of one does, in words.
    fn tells(&mut self, what: String);
    /// How far the clients have come; asked by the spof monkey.
    fn progress(&self) -> Progress;
}

/// How far the clients have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the newest request that was queued.
    pub newest_queued: u64,
    /// The number of the newest request that was answered; 0 before the first.
    pub newest_answered: u64,
}

/// What an act leaves to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Undo {
    Links(Vec<Pair>, Change),
    Thaw(NodeId),
    Revive(Vec<NodeId>),
    Disk(NodeId),
}

#[derive(Debug, PartialEq, Eq)]
struct Due {
    at_us: u64,
    order: u64,
    undo: Undo,
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

/// The spof monkey at work.
#[derive(Debug)]
struct Spof {
    /// Nodes still to come, the next one last.
    left: Vec<NodeId>,
    /// The node that is cut off, and the request that was the newest one queued then.
    held: Option<(NodeId, u64)>,
}

/// Carries out a schedule.
#[derive(Debug)]
pub struct Performer {
    nodes: usize,
    /// Acts still to come, the next one last.
    acts: Vec<Act>,
    undos: BinaryHeap<Reverse<Due>>,
    order: u64,
    spof: Option<Spof>,
}

impl Performer {
    /// Will carry out the acts of a schedule.
    pub fn new(schedule: &Schedule, nodes: usize) -> Self {
        let mut acts = schedule.acts.clone();
        acts.reverse();
        Self {
            nodes,
            acts,
            undos: BinaryHeap::new(),
            order: 0,
            spof: None,
        }
    }

    /// When something is to be done next, in microseconds after the start of the monkeys.
    pub fn next_us(&self) -> Option<u64> {
        let act = self.acts.last().map(|act| act.at_us);
        let undo = self.undos.peek().map(|Reverse(due)| due.at_us);
        act.into_iter().chain(undo).min()
    }

    /// Whether the spof monkey waits for progress, which no clock announces.
    pub fn watches_progress(&self) -> bool {
        self.spof.is_some()
    }

    /// Does what is due. Ends of acts come before beginnings of the same moment.
    pub fn advance(&mut self, now_us: u64, stage: &mut impl Stage) {
        while let Some(next) = self.next_us().filter(|&next| next <= now_us) {
            let undo_is_due = self
                .undos
                .peek()
                .is_some_and(|Reverse(due)| due.at_us == next);
            if undo_is_due {
                if let Some(Reverse(due)) = self.undos.pop() {
                    undo(&due.undo, stage);
                }
            } else if let Some(act) = self.acts.pop() {
                // What comes late must not end early: the end counts from the real beginning.
                self.begin(&act, now_us, stage);
            }
        }
        self.watch(stage);
    }

    /// Undoes everything at once and does nothing more.
    pub fn heal(&mut self, stage: &mut impl Stage) {
        self.acts.clear();
        if let Some(Spof {
            held: Some((node, _)),
            ..
        }) = self.spof.take()
        {
            self.let_go(node, stage);
        }
        while let Some(Reverse(due)) = self.undos.pop() {
            undo(&due.undo, stage);
        }
    }

    fn begin(&mut self, act: &Act, now_us: u64, stage: &mut impl Stage) {
        stage.begins(act);
        match &act.what {
            What::Latency { link, ms } => stage.change(*link, Change::Latency(*ms)),
            What::Jitter { link, ms } => stage.change(*link, Change::Jitter(*ms)),
            What::Spike { links, ms, for_us } => {
                change_all(links, Change::AddSpike(*ms), stage);
                let end = Undo::Links(links.clone(), Change::RemoveSpike(*ms));
                self.after(now_us, *for_us, end);
            }
            What::Down { links, for_us } => {
                change_all(links, Change::Down, stage);
                self.after(now_us, *for_us, Undo::Links(links.clone(), Change::Up));
            }
            What::Freeze { node, for_us } => {
                stage.freeze(*node);
                self.after(now_us, *for_us, Undo::Thaw(*node));
            }
            What::Kill { nodes, for_us } => {
                for &node in nodes {
                    stage.kill(node);
                }
                self.after(now_us, *for_us, Undo::Revive(nodes.clone()));
            }
            What::Loss { link, from, for_us } => {
                stage.change(*link, Change::Loss(*from));
                let end = Undo::Links(vec![*link], Change::LossEnd(*from));
                self.after(now_us, *for_us, end);
            }
            What::Bandwidth {
                link,
                bytes_per_s,
                for_us,
            } => {
                stage.change(*link, Change::Bandwidth(Some(*bytes_per_s)));
                self.after(
                    now_us,
                    *for_us,
                    Undo::Links(vec![*link], Change::Bandwidth(None)),
                );
            }
            What::DropConnections { links } => {
                change_all(links, Change::DropConnections, stage);
            }
            What::FullDisk { node, for_us } => {
                stage.set_disk_full(*node, true);
                self.after(now_us, *for_us, Undo::Disk(*node));
            }
            What::Spof { order } => {
                let left = order.iter().rev().copied().collect();
                self.spof = Some(Spof { left, held: None });
            }
        }
    }

    /// Lets the spof monkey look, and go on to its next node.
    fn watch(&mut self, stage: &mut impl Stage) {
        let Some(mut spof) = self.spof.take() else {
            return;
        };
        let progress = stage.progress();
        if let Some((node, newest_then)) = spof.held {
            if progress.newest_answered <= newest_then {
                self.spof = Some(spof);
                return;
            }
            self.let_go(node, stage);
        }
        if let Some(node) = spof.left.pop() {
            stage.tells(format!("spof: node {node} stopped and cut off"));
            stage.freeze(node);
            self.cut(node, Change::Down, stage);
            spof.held = Some((node, progress.newest_queued));
            self.spof = Some(spof);
        }
    }

    fn let_go(&self, node: NodeId, stage: &mut impl Stage) {
        stage.tells(format!("spof: node {node} back"));
        self.cut(node, Change::Up, stage);
        stage.thaw(node);
    }

    fn cut(&self, node: NodeId, change: Change, stage: &mut impl Stage) {
        for other in (0..self.nodes).filter(|&other| other != node) {
            stage.change(Pair::new(node, other), change);
        }
    }

    fn after(&mut self, now_us: u64, for_us: u64, undo: Undo) {
        self.order += 1;
        self.undos.push(Reverse(Due {
            at_us: now_us + for_us,
            order: self.order,
            undo,
        }));
    }
}

fn change_all(links: &[Pair], change: Change, stage: &mut impl Stage) {
    for &link in links {
        stage.change(link, change);
    }
}

fn undo(undo: &Undo, stage: &mut impl Stage) {
    match undo {
        Undo::Links(links, change) => {
            change_all(links, *change, stage);
            let links: Vec<String> = links.iter().map(ToString::to_string).collect();
            let what = match change {
                Change::Up => "up again",
                Change::RemoveSpike(_) => "fast again",
                Change::LossEnd(_) => "heard again",
                _ => "wide again",
            };
            stage.tells(format!("link {} {what}", links.join(" ")));
        }
        Undo::Thaw(node) => {
            stage.thaw(*node);
            stage.tells(format!("node {node} continued"));
        }
        Undo::Revive(nodes) => {
            for &node in nodes {
                stage.revive(node);
            }
            let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            stage.tells(format!("node {} started again", nodes.join(" ")));
        }
        Undo::Disk(node) => {
            stage.set_disk_full(*node, false);
            stage.tells(format!("disk of node {node} has room again"));
        }
    }
}

#[cfg(test)]
#[path = "act_tests.rs"]
mod tests;
