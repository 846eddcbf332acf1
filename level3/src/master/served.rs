//! The state that queries are answered from: that of one job, the same for all shards.
//!
//! A node holds up to two states of a shard, and a query names the one it wants. So an answer comes
//! from one state of one tree, while another is being built or shards are switching; a shard that
//! does not hold it is missing from the answer, and the answer says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::Master;
use super::error::MasterError;
use super::topology::{Statuses, Topology};
use crate::index::Identity;

/// A state of one tree.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct State {
    /// The job that made it. A later state has a greater number.
    pub job: u64,
    /// The tree.
    pub root: String,
}

impl State {
    /// The state that a shard's state is a part of.
    pub(crate) fn of(identity: &Identity) -> Self {
        Self {
            job: identity.job,
            root: identity.root.clone(),
        }
    }
}

/// The state in use, as far as it is known.
#[derive(Default)]
pub(crate) struct Served(Mutex<Option<Arc<State>>>);

impl Served {
    /// The state in use, if it is known.
    pub(crate) fn known(&self) -> Option<Arc<State>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Answers queries from `state` from now on.
    pub(crate) fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(state));
    }
}

impl Master {
    /// The state to answer queries from.
    pub(crate) async fn served(&self) -> Result<Arc<State>, MasterError> {
        if let Some(state) = self.served.known() {
            return Ok(state);
        }
        // One silent node must not hold up what the others can answer by themselves.
        let is_whole = |statuses: &Statuses| {
            choose(&self.topology, statuses, None).is_some_and(|found| found.is_whole)
        };
        let patience = self.config.node_timeout;
        self.learn(&self.topology.statuses_until(patience, is_whole).await);
        match self.served.known() {
            Some(state) => Ok(state),
            None => Err(MasterError::NotIndexed(
                self.obstacle()
                    .await
                    .unwrap_or_else(|| "not indexed".to_owned()),
            )),
        }
    }

    /// Whether there is another state to ask for than `state`, which a node does not hold.
    pub(crate) async fn has_moved_on(&self, state: &State) -> bool {
        if self.served.known().is_some_and(|now| *now == *state) {
            self.learn(&self.statuses().await);
        }
        self.served.known().is_some_and(|now| *now != *state)
    }

    /// Picks the state to serve by what the nodes hold.
    pub(crate) fn learn(&self, statuses: &Statuses) {
        let current = self.served.known();
        if let Some(choice) = choose(&self.topology, statuses, current.as_deref()) {
            self.served.set(choice.state);
        }
    }
}

/// A state to serve.
struct Choice {
    state: State,
    /// Whether all shards hold it.
    is_whole: bool,
}

/// The state that most shards can answer from; the current one if others are no better, and else
/// the newest.
fn choose(topology: &Topology, statuses: &Statuses, current: Option<&State>) -> Option<Choice> {
    let mut held: BTreeMap<State, BTreeSet<u32>> = BTreeMap::new();
    for shard in 1..=topology.shards() {
        for node in topology.replicas(shard) {
            let states = statuses.states(node, shard);
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
