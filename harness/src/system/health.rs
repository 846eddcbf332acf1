//! Whether nodes are well: looked at again and again while they run, and once more when everything is healed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use octopus::{EventLog, Machine, NodeId, NodeState, Nodes, Octopus, Place, interrupt};
use serde_json::json;

use super::{System, look::Looks};

/// How often a thread that waits looks whether it is over.
const TICK: Duration = Duration::from_millis(50);

/// Looks at nodes until it is dropped.
#[derive(Debug)]
pub struct Health {
    watches: Vec<Watch>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One node, and what was seen of it.
#[derive(Clone, Debug)]
struct Watch {
    node: NodeId,
    looks: Looks,
    machine: Arc<Machine>,
    nodes: Arc<Nodes>,
    log: Arc<EventLog>,
    /// None while nobody can know.
    is_well: Option<bool>,
}

impl System {
    /// Looks at the nodes from now on, if the system says when they are well.
    pub fn watch_health(&self, octopus: &Octopus, places: &[Place]) -> Result<Option<Health>> {
        let Some(health) = &self.description.health else {
            return Ok(None);
        };
        let mut watches = Vec::new();
        for place in places {
            let machine = octopus.machine(place.node);
            watches.push(Watch {
                node: place.node,
                looks: Looks::new(
                    health.port,
                    health.command.as_ref(),
                    &self.programs,
                    place,
                    places.len(),
                ),
                machine: Arc::clone(machine.context("a system needs machines")?),
                nodes: Arc::clone(octopus.nodes()),
                log: Arc::clone(octopus.log()),
                is_well: None,
            });
        }
        let over: Arc<AtomicBool> = Arc::default();
        let mut threads = Vec::new();
        for watch in &watches {
            let (mut watch, over, every) = (watch.clone(), Arc::clone(&over), health.every);
            let thread = thread::Builder::new()
                .name(format!("health of node {}", watch.node))
                .spawn(move || {
                    let mut next = Instant::now();
                    while !over.load(Ordering::Relaxed) {
                        if Instant::now() >= next {
                            next = Instant::now() + every;
                            watch.look();
                        }
                        thread::sleep(TICK.min(every));
                    }
                });
            threads.push(thread.context("cannot watch a node")?);
        }
        Ok(Some(Health {
            watches,
            over,
            threads,
        }))
    }
}

impl Health {
    /// Looks until all nodes that run are well; everything is healed.
    ///
    /// # Errors
    /// One is not within a time.
    pub fn finish(mut self, within: Duration) -> Result<(), String> {
        self.end();
        let start = Instant::now();
        for watch in &mut self.watches {
            while watch.nodes.state(watch.node) == NodeState::Running
                && let Some(why) = watch.look()
            {
                if interrupt::requested() {
                    return Ok(());
                }
                if start.elapsed() > within {
                    return Err(format!(
                        "node {} is not well {within:?} after everything was healed: {why}",
                        watch.node
                    ));
                }
                thread::sleep(TICK);
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watch {
    /// Looks, and writes down what has changed; what is wrong with the node.
    fn look(&mut self) -> Option<String> {
        let runs = self.nodes.state(self.node) == NodeState::Running;
        let looked = runs.then(|| self.looks.what_is_wrong(&self.machine));
        // One that was stopped meanwhile has not answered for that reason.
        let runs = self.nodes.state(self.node) == NodeState::Running;
        let looked = looked.filter(|_| runs);
        let is_well = looked.as_ref().map(Option::is_none);
        if is_well != self.is_well {
            self.is_well = is_well;
            let words = json!({ "node": self.node, "well": is_well });
            self.log.record("health", words);
        }
        looked.unwrap_or_else(|| Some("it has just been stopped".to_owned()))
    }
}
