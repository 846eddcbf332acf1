//! What a run tells those who look on (`live_feed`): how far it is, what the nodes are doing, and
//! how each query was answered. Nothing is looked at when nobody looks on, and never while a query
//! is under way.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::nodes;
use crate::live_feed;

/// How often at most something is told.
const TELL: Duration = Duration::from_millis(100);

/// How often at most the nodes' processes are looked at: that takes a millisecond or more.
const LOOK: Duration = Duration::from_millis(500);

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// The servers start.
    Starting,
    /// They read the tree.
    Indexing,
    /// Queries are asked.
    Asking,
}

/// How a query was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// Whole and right.
    Right,
    /// By its own words not whole.
    Partial,
    /// Wrong.
    Wrong,
}

impl Answer {
    /// All there are, in their order.
    pub const ALL: [Self; 3] = [Self::Right, Self::Partial, Self::Wrong];

    /// Its name, as it is told.
    pub fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Partial => "partial",
            Self::Wrong => "wrong",
        }
    }
}

#[derive(Debug, Serialize)]
struct Told {
    query: usize,
    ms: f64,
    answer: Answer,
}

/// What became of a node's process.
#[derive(Clone, Debug, Serialize)]
struct NodeNow {
    node: u32,
    /// `running`, `frozen`, or `exited` once it was there and is no more.
    state: &'static str,
    resident_mb: f64,
}

/// What is told at a time: the answers are those since the last time.
#[derive(Debug, Serialize)]
struct View<'a> {
    phase: Phase,
    at_s: f64,
    of: usize,
    nodes: Vec<&'a NodeNow>,
    answers: &'a [Told],
}

/// Tells how a run of so many queries goes.
#[derive(Debug)]
pub(super) struct Feed {
    is_open: bool,
    leader: u32,
    of: usize,
    started: Instant,
    told: Option<(Instant, Phase)>,
    looked: Option<Instant>,
    nodes: BTreeMap<u32, NodeNow>,
    answers: Vec<Told>,
}

impl Feed {
    /// A feed of what happens to the processes below `leader`.
    pub fn new(leader: u32, of: usize) -> Self {
        Self {
            is_open: live_feed::is_open(),
            leader,
            of,
            started: Instant::now(),
            told: None,
            looked: None,
            nodes: BTreeMap::new(),
            answers: Vec::new(),
        }
    }

    /// Tells what the run is doing, if it is time.
    pub fn tell(&mut self, phase: Phase) {
        let is_due = |since: Instant, pause| since.elapsed() >= pause;
        if !self.is_open
            || self
                .told
                .is_some_and(|(at, old)| old == phase && !is_due(at, TELL))
        {
            return;
        }
        if self.looked.is_none_or(|at| is_due(at, LOOK)) {
            self.look();
        }
        self.send(phase);
    }

    /// Notes how the query at a place was answered, and tells it if it is time.
    pub fn answered(&mut self, place: usize, time: Duration, answer: Answer) {
        if self.is_open {
            let ms = time.as_secs_f64() * 1e3;
            let query = place + 1;
            self.answers.push(Told { query, ms, answer });
            self.tell(Phase::Asking);
        }
    }

    /// Tells what was not told yet.
    pub fn end(&mut self) {
        if self.is_open {
            self.look();
            self.send(Phase::Asking);
        }
    }

    fn look(&mut self) {
        for node in self.nodes.values_mut() {
            node.state = "exited";
        }
        for (node, process) in nodes::find(self.leader) {
            let Some((is_stopped, resident)) = nodes::now(process) else {
                continue;
            };
            let state = if is_stopped { "frozen" } else { "running" };
            let resident_mb = resident as f64 / 1e6;
            let now = NodeNow {
                node,
                state,
                resident_mb,
            };
            self.nodes.insert(node, now);
        }
        self.looked = Some(Instant::now());
    }

    fn send(&mut self, phase: Phase) {
        let view = View {
            phase,
            at_s: self.started.elapsed().as_secs_f64(),
            of: self.of,
            nodes: self.nodes.values().collect(),
            answers: &self.answers,
        };
        live_feed::tell("search", &view);
        self.answers.clear();
        self.told = Some((Instant::now(), phase));
    }
}
