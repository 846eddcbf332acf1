//! The running network and nodes as monkeys see them, and the loop in which they act in real time.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{Fault, Order, lock};
use crate::{
    events::{ActEvent, Event, EventLog, LinkNow},
    monkeys::{Monkey, News, Performer, Progress, Stage},
    network::{Change, LinkState, Network, NodeId, Pair},
    nodes::{NodeState, Nodes},
    scripts::Scripts,
};

/// How often the spof monkey looks whether there is progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(2);

/// Carries out the schedule in real time until told to end.
pub(super) fn perform<P: Fn() -> Progress>(
    mut performer: Performer,
    mut stage: LiveStage<P>,
    orders: &mpsc::Receiver<Order>,
) {
    let start = Instant::now();
    loop {
        performer.advance(start.elapsed().as_micros() as u64, &mut stage);
        let until_next = performer
            .next_us()
            .map(|next| Duration::from_micros(next).saturating_sub(start.elapsed()));
        let patience = if performer.watches_progress() {
            until_next.map_or(PROGRESS_INTERVAL, |next| next.min(PROGRESS_INTERVAL))
        } else {
            // Without acts there is nothing to do but to wait for the order to end.
            until_next.unwrap_or(Duration::from_secs(3600))
        };
        match orders.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Order::Heal) => return performer.heal(&mut stage),
            Ok(Order::Leave) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The running network and nodes, as the monkeys see them. Writes down what changes.
pub(super) struct LiveStage<P> {
    pub network: Arc<Network>,
    pub nodes: Arc<Nodes>,
    pub scripts: Arc<Scripts>,
    pub log: Arc<EventLog>,
    pub fault: Fault,
    pub progress: P,
}

impl<P> LiveStage<P> {
    /// Does something to nodes, and writes down which of them changed.
    fn act(&self, nodes: &[NodeId], deed: impl FnOnce(&Nodes) -> io::Result<()>) {
        // The signal is what counts; waiting for the ends of processes may take a while.
        let at_us = self.log.now_us();
        let before: Vec<_> = nodes.iter().map(|&node| self.nodes.now(node)).collect();
        if let Err(error) = deed(&self.nodes) {
            lock(&self.fault).get_or_insert(error);
        }
        for before in before {
            let now = self.nodes.now(before.node);
            if now != before {
                self.log.note_at(at_us, Event::Node(now));
            }
        }
    }

    fn act_on_disk(&self, node: NodeId, deed: impl FnOnce(&Nodes) -> io::Result<()>) {
        let before = self.nodes.disk_is_full(node);
        self.act(&[], deed);
        let full = self.nodes.disk_is_full(node);
        if full != before {
            self.log.note(Event::Disk { node, full });
        }
    }
}

impl<P: Fn() -> Progress> Stage for LiveStage<P> {
    fn change(&mut self, link: Pair, change: Change) {
        let before = LinkNow::new(link, &self.network.link(link));
        self.network.change(link, change);
        let now = LinkNow::new(link, &self.network.link(link));
        if now != before {
            self.log.note(Event::Link(now));
        }
    }

    fn freeze(&mut self, node: NodeId) {
        self.act(&[node], |nodes| nodes.freeze(node));
    }

    fn thaw(&mut self, node: NodeId) {
        self.act(&[node], |nodes| nodes.thaw(node));
    }

    fn kill(&mut self, killed: &[NodeId]) {
        self.act(killed, |nodes| nodes.kill(killed));
    }

    fn revive(&mut self, revived: &[NodeId]) {
        self.act(revived, |nodes| nodes.revive(revived));
    }

    fn fill_disk(&mut self, node: NodeId) {
        self.act_on_disk(node, |nodes| nodes.fill_disk(node));
    }

    fn free_disk(&mut self, node: NodeId) {
        self.act_on_disk(node, |nodes| nodes.free_disk(node));
    }

    fn shut_down(&mut self, node: NodeId) {
        self.act(&[node], |nodes| nodes.shut_down(node));
    }

    fn wipe(&mut self, node: NodeId) {
        self.act(&[node], |nodes| nodes.wipe(node));
    }

    fn set_clock(&mut self, node: NodeId, at_s: u64) {
        self.nodes.set_clock(node, at_s);
    }

    fn run_script(&mut self, act: usize, name: &str, draw: u32) {
        if let Err(error) = self.scripts.run(act, name, draw) {
            lock(&self.fault).get_or_insert(error);
        }
    }

    fn link(&self, link: Pair) -> LinkState {
        self.network.link(link)
    }

    fn node(&self, node: NodeId) -> NodeState {
        self.nodes.state(node)
    }

    fn disk_is_full(&self, node: NodeId) -> bool {
        self.nodes.disk_is_full(node)
    }

    fn progress(&self) -> Progress {
        (self.progress)()
    }

    fn hears(&mut self, news: News<'_>) {
        let spof = Monkey::Spof;
        self.log.note(Event::Act(match news {
            News::Begins(number, act) => ActEvent::Begins {
                number,
                act: act.clone(),
                text: act.what.to_string(),
            },
            News::Ends(number, act, text) => ActEvent::Ends {
                number,
                monkey: act.monkey,
                text,
            },
            News::Holds(number, node) => ActEvent::Holds {
                number,
                monkey: spof,
                node,
                text: format!("spof: node {node} stopped and cut off"),
            },
            News::Releases(number, node) => ActEvent::Releases {
                number,
                monkey: spof,
                node,
                text: format!("spof: node {node} back"),
            },
        }));
    }
}
