//! The state that queries are answered from: that of one job, the same for all shards of a root.
//!
//! A node holds up to two states of a shard, and a query names the one it wants. So an answer comes
//! from one state of one tree, while another is being built or shards are switching; a shard that
//! does not hold it is missing from the answer, and the answer says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::Master;
use super::error::MasterError;
use super::requests::{Root, Wanted};
use super::topology::{Statuses, Topology};
use crate::index::Identity;
use crate::root::{Ignore, Revision, RootName};

/// A state of one tree.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    /// The job that made it. A later state has a greater number.
    pub job: u64,
    /// The tree.
    pub root: String,
    /// What was left out of it on request.
    pub ignore: Ignore,
    /// What git had checked out.
    pub revision: Option<Revision>,
}

impl State {
    /// The state that a shard's state is a part of.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self {
            job: identity.job,
            root: identity.root.clone(),
            ignore: identity.ignore,
            revision: identity.revision.clone(),
        }
    }

    /// Whether it is a state of what is wanted.
    pub(super) fn is_of(&self, wanted: &Wanted) -> bool {
        Path::new(&self.root) == wanted.path && self.ignore == wanted.ignore
    }
}

impl Master {
    /// The state of a root to answer queries from.
    pub(crate) async fn served(&self, name: &RootName) -> Result<Arc<State>, MasterError> {
        let known = |root: &Arc<Root>| root.served();
        if let Some(state) = self.roots.get(name).as_ref().and_then(known) {
            return Ok(state);
        }
        self.learn_of(&[name]).await;
        let root = self.roots.get(name);
        match root.as_ref().and_then(known) {
            Some(state) => Ok(state),
            None => Err(MasterError::NotIndexed(
                self.obstacle(name)
                    .await
                    .unwrap_or_else(|| "not indexed".to_owned()),
            )),
        }
    }

    /// Whether there is another state to ask for than `state`, which a node does not hold.
    pub(crate) async fn has_moved_on(&self, name: &RootName, state: &State) -> bool {
        let served = || self.roots.get(name).and_then(|root| root.served());
        if served().is_some_and(|now| *now == *state) {
            self.learn(&self.statuses().await);
        }
        served().is_some_and(|now| *now != *state)
    }

    /// Asks the nodes which states of these roots they hold, and picks those to serve.
    pub(super) async fn learn_of(&self, names: &[&RootName]) -> Statuses {
        // One silent node must not hold up what the others can answer by themselves.
        let are_whole = |statuses: &Statuses| {
            names.iter().all(|name| {
                let found = choose(&self.topology, statuses, name, None);
                found.is_some_and(|found| found.is_whole)
            })
        };
        let patience = self.config.node_timeout;
        let statuses = self.topology.statuses_until(patience, are_whole).await;
        self.learn(&statuses);
        statuses
    }

    /// Picks the states to serve by what the nodes hold.
    pub(crate) fn learn(&self, statuses: &Statuses) {
        self.adopt(statuses);
        for root in self.roots.list() {
            let current = root.served();
            let choice = choose(&self.topology, statuses, root.name(), current.as_deref());
            if let Some(choice) = choice {
                root.serve(choice.state);
            }
        }
    }

    /// Takes over roots of which only the nodes know: a master without a data folder learns from
    /// them what it was serving, and what was removed while another node was away.
    pub(super) fn adopt(&self, statuses: &Statuses) {
        let mut newest: BTreeMap<&RootName, &Identity> = BTreeMap::new();
        for identity in statuses.identities() {
            let known = newest.entry(&identity.name).or_insert(identity);
            if known.job < identity.job {
                *known = identity;
            }
            self.roots.saw_job(identity.job);
        }
        let nodes = self.topology.nodes().count();
        for (name, (job, told)) in statuses.removals() {
            self.roots.saw_job(job);
            if newest.get(name).is_none_or(|newest| newest.job < job) {
                newest.remove(name);
                self.roots.learn_removal(name, job, told, nodes);
            }
        }
        for (name, identity) in newest {
            self.roots.adopt(name, || Wanted::of(identity));
        }
    }
}

/// A state to serve.
struct Choice {
    state: State,
    /// Whether all shards hold it.
    is_whole: bool,
}

/// The state of a root that most shards can answer from; the current one if others are no better,
/// and else the newest.
fn choose(
    topology: &Topology,
    statuses: &Statuses,
    name: &RootName,
    current: Option<&State>,
) -> Option<Choice> {
    let mut held: BTreeMap<State, BTreeSet<u32>> = BTreeMap::new();
    for shard in 1..=topology.shards() {
        for node in topology.replicas(shard) {
            let states = statuses.states(node, name, shard);
            for identity in states.filter(|identity| identity.of == topology.shards()) {
                held.entry(State::of(identity)).or_default().insert(shard);
            }
        }
    }
    let best = held
        .into_iter()
        .max_by_key(|(state, shards)| (shards.len(), current == Some(state), state.job));
    best.map(|(state, shards)| Choice {
        state,
        is_whole: shards.len() == topology.shards() as usize,
    })
}
