//! A node on its way to being a member, or to being one at another address.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::consensus::Removal;
use crate::ids::NodeId;
use crate::node::Node;
use crate::notes::{detail, note};
use crate::transport::Transport;

/// It asks again this often.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Between two looks at what it has become.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between two attempts to reach the member that was given.
const DIAL_AGAIN: Duration = Duration::from_millis(10);

/// A node that wants to be a member under its name.
pub struct Candidate {
    pub node: Arc<Node>,
    pub transport: Arc<Transport>,
    pub id: NodeId,
    /// Its address for its peers.
    pub name: String,
    /// Members that its operator named; without any, it only tells its address.
    pub through: Vec<String>,
}

/// What there is to ask for.
enum Wish {
    /// Nothing: it is a member, and known by its name.
    Nothing,
    /// Members know it by another address.
    Moved(String),
    /// It is no member, or not yet.
    Join,
}

impl Candidate {
    /// Sees to it, as long as the node runs, that it is a member under its name, as far as its operator
    /// wants that.
    pub async fn settle(self) {
        let mut told = None;
        for turn in 0.. {
            match self.wish().await {
                Wish::Moved(old) => {
                    if told.as_ref() != Some(&old) {
                        note(format_args!(
                            "the cluster knows this node by {old}: telling it the new address {}",
                            self.name
                        ));
                        told = Some(old);
                    }
                    self.ask(turn).await;
                }
                Wish::Join if !self.through.is_empty() => self.ask(turn).await,
                Wish::Join | Wish::Nothing => sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn wish(&self) -> Wish {
        match self.node.status().await {
            // Its operator has to want it back: a process that asked by itself would undo each removal.
            Ok(status) => match (status.removed, status.members.get(&self.id)) {
                (Some(Removal::Live), _) => Wish::Nothing,
                (Some(Removal::Absent), _) | (None, None) => Wish::Join,
                (None, Some(name)) if *name == self.name => Wish::Nothing,
                (None, Some(name)) => Wish::Moved(name.clone()),
            },
            // The node is ending.
            Err(_) => Wish::Nothing,
        }
    }

    /// Asks whoever it is connected to, or else becomes so. The connection made for that stays as the
    /// connection to that member. If several were named, each has its turn.
    async fn ask(&self, turn: usize) {
        self.node.join(self.id, self.name.clone());
        self.transport.ask_to_join(&self.name);
        let deadline = tokio::time::Instant::now() + ASK_AGAIN;
        while tokio::time::Instant::now() < deadline {
            let through = self
                .through
                .iter()
                .cycle()
                .nth(turn % self.through.len().max(1));
            if let Some(through) = through.filter(|_| self.is_alone()).cloned() {
                // A task of its own: the connection outlives the asking.
                let transport = self.transport.clone();
                let address = through.clone();
                let dial = async move { transport.dial(&address, None).await };
                let mut dial = tokio::spawn(dial);
                tokio::select! {
                    ended = &mut dial => if let Ok(Err(reason)) = ended {
                        detail(format_args!(
                            "cannot join through {through}: {reason}; trying on"
                        ));
                    },
                    () = self.is_connected() => return,
                }
            }
            sleep(DIAL_AGAIN).await;
        }
    }

    fn is_alone(&self) -> bool {
        self.transport.connected().is_empty()
    }

    async fn is_connected(&self) {
        while self.is_alone() {
            sleep(DIAL_AGAIN).await;
        }
    }
}
