//! Whom a node knows: members, connected peers, newcomers; and who of them may say what.
//!
//! A peer may speak as a member if it is one here, or by a newer membership that somebody who may know
//! has told. Anybody else may only ask to become one. A connection that claims the id of a peer that is
//! connected and alive has to show the ticket that was given to that peer.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rand::RngCore as _;

use super::connection::{Connection, Outgoing};
use super::greeting::{Hello, NAME_LIMIT, Nonce, Ticket, printable};
use super::wire::Frame;
use crate::consensus::{Members, Membership};
use crate::ids::{ClusterId, Index, NodeId};
use crate::security::{Secret, Security};

/// So many who are no members may be connected.
const STRANGERS: usize = 64;
/// A peer that has been silent for longer may have lost its connection without this end knowing, ms. One
/// with nothing to say shows signs of life each second.
const LIVELY: u64 = 2_500;
/// So many different refusals are told; a stranger shall not fill the log.
const TOLD: usize = 200;
/// After this long, ms, they are told again.
const TOLD_AGAIN: u64 = 3_600_000;

/// What is said of one that seems to be connected already.
pub const CONNECTED: &str = "is connected already";
/// A node that restarts, or whose connection broke, may come before its old connection is known to have
/// ended. If it is still so after this long, ms, there are two.
const TWICE: u64 = 4 * LIVELY;

/// Why there will be no connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// In words.
    pub reason: String,
    /// That happens, and passes: no operator need know.
    pub passes: bool,
}

impl Refused {
    /// An operator should know.
    pub fn told(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            passes: false,
        }
    }
}

/// Who this node is, for greetings.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This node.
    pub node: NodeId,
    /// Its address for its peers.
    pub name: String,
    /// `None` until it has joined one.
    pub cluster: Option<ClusterId>,
}

/// A connected peer.
pub struct Peer {
    pub connection: Connection,
    /// Tells it from a later one.
    pub serial: u64,
    /// Whom it is connected to.
    pub links: HashSet<NodeId>,
    /// Given to it on this connection.
    pub ticket: Ticket,
    /// When something came from it, milliseconds since the transport was made.
    pub heard: Arc<AtomicU64>,
    /// By which it proved that it belongs to the cluster.
    pub secret: Option<Secret>,
    /// It is trusted to know the members.
    pub vouches: bool,
}

/// See the module's header.
pub struct Roster {
    pub identity: Identity,
    pub security: Arc<Security>,
    pub peers: HashMap<NodeId, Peer>,
    /// Tasks that keep a connection to these are running.
    pub dialling: HashSet<NodeId>,
    /// As this node's own log tells.
    own: Membership,
    /// As others told, if that is newer.
    news: Membership,
    /// What this node was given, to be shown when it connects again.
    tickets: HashMap<NodeId, Ticket>,
    told: BTreeSet<String>,
    told_since: u64,
    /// Since when the id of a connected peer has been claimed by others.
    claimed: HashMap<NodeId, u64>,
}

impl Roster {
    pub fn new(identity: Identity, security: Security) -> Self {
        Self {
            identity,
            security: Arc::new(security),
            peers: HashMap::new(),
            dialling: HashSet::new(),
            own: Membership::default(),
            news: Membership::default(),
            tickets: HashMap::new(),
            told: BTreeSet::new(),
            told_since: 0,
            claimed: HashMap::new(),
        }
    }

    /// The newest members that are known.
    pub fn members(&self) -> &Members {
        &self.newest().members
    }

    pub fn newest(&self) -> &Membership {
        if self.news.as_of > self.own.as_of {
            &self.news
        } else {
            &self.own
        }
    }

    /// Whether `id` is, or was lately, a member.
    pub fn belongs(&self, id: NodeId) -> bool {
        self.own.members.contains_key(&id) || self.members().contains_key(&id)
    }

    /// Others know that this node, which takes itself for a member, is none since this index.
    pub fn removed(&self) -> Option<Index> {
        let me = &self.identity.node;
        let gone = self.own.members.contains_key(me) && !self.members().contains_key(me);
        gone.then_some(self.newest().as_of)
    }

    /// What is said first on a connection to `to`, where that is known.
    pub fn hello(&self, to: Option<NodeId>) -> Hello {
        let mut nonce = Nonce::default();
        rand::rng().fill_bytes(&mut nonce);
        let ticket = to.and_then(|to| self.tickets.get(&to).copied());
        Hello {
            cluster: self.identity.cluster,
            node: self.identity.node,
            name: self.identity.name.clone(),
            nonce,
            proves: !self.security.secrets.is_empty(),
            ticket: ticket.unwrap_or_default(),
            membership: self.newest().clone(),
        }
    }

    /// Whether to talk to the author of this greeting, whom this node `dialled` or not; and the cluster, if
    /// this node has learned by it which one it belongs to. `now` as in [`Peer::heard`].
    ///
    /// # Errors
    ///
    /// In words.
    pub fn check(
        &mut self,
        hello: &Hello,
        dialled: bool,
        now: u64,
    ) -> Result<Option<ClusterId>, Refused> {
        self.check_kinship(hello, dialled).map_err(Refused::told)?;
        self.check_claim(hello, dialled, now)?;
        if self.identity.cluster.is_some() {
            return Ok(None);
        }
        self.identity.cluster = hello.cluster;
        Ok(hello.cluster)
    }

    /// Whether both belong to one cluster, as far as they say.
    fn check_kinship(&self, hello: &Hello, dialled: bool) -> Result<(), String> {
        let id = hello.node;
        if id == self.identity.node {
            return Err("that is this node itself, or a copy of its folder".to_owned());
        }
        if hello.name.len() > NAME_LIMIT {
            return Err("its address is too long".to_owned());
        }
        let (theirs, own) = (printable(&hello.name), &self.identity.name);
        if hello.proves == self.security.secrets.is_empty() {
            let (with, without) = if hello.proves {
                (&theirs, own)
            } else {
                (own, &theirs)
            };
            return Err(format!(
                "{with} has a cluster secret, and {without} none: start that one with the same --secret-file"
            ));
        }
        match (self.identity.cluster, hello.cluster) {
            (None, None) => Err("neither belongs to a cluster yet".to_owned()),
            (None, _) if !dialled => Err("the node belongs to no cluster yet".to_owned()),
            (_, None) if self.belongs(id) => Err(format!(
                "it claims to be the member {id}, and belongs to no cluster"
            )),
            (Some(own_id), Some(other)) if own_id != other => Err(format!(
                "{theirs} belongs to cluster {other}, and {own} to {own_id}: empty the folder of the one that is to join the other, and start it with --join"
            )),
            _ => Ok(()),
        }
    }

    /// Whether the id that it claims can be its own, and there is room for it.
    fn check_claim(&mut self, hello: &Hello, dialled: bool, now: u64) -> Result<(), Refused> {
        let id = hello.node;
        let lively = |peer: &&Peer| now.saturating_sub(peer.heard.load(Relaxed)) < LIVELY;
        if let Some(peer) = self.peers.get(&id).filter(lively) {
            if !dialled && hello.ticket != peer.ticket {
                let since = *self.claimed.entry(id).or_insert(now);
                return Err(Refused {
                    reason: format!(
                        "the node {id} {CONNECTED}, and this is not it: does a copy of its folder run?"
                    ),
                    passes: now.saturating_sub(since) < TWICE,
                });
            }
            if dialled && self.identity.node > id {
                // Both dialled at once, and agree on which connection stays.
                return Err(Refused {
                    reason: format!("it {CONNECTED}"),
                    passes: true,
                });
            }
        }
        self.claimed.remove(&id);
        let strangers = self.peers.keys().filter(|&&peer| !self.belongs(peer));
        if !self.belongs(id) && strangers.count() >= STRANGERS {
            let reason = "too many who are no members are connected";
            return Err(Refused::told(reason));
        }
        Ok(())
    }

    /// Whether a peer can be trusted to know who the members are: it has proved that it belongs to the
    /// cluster, or is known, or this node knows nobody and was told to ask it.
    pub fn vouches(&self, hello: &Hello, asked: bool) -> bool {
        let nobody = !self.own.members.contains_key(&self.identity.node);
        hello.cluster.is_some()
            && (self.security.proves() || self.belongs(hello.node) || asked && nobody)
    }

    /// A connected peer told who the members are.
    pub fn learn(&mut self, from: NodeId, told: Membership) {
        let trusted = self.peers.get(&from).is_some_and(|peer| peer.vouches) || self.belongs(from);
        let is_member = told.members.contains_key(&from);
        if trusted && is_member && told.as_of > self.newest().as_of {
            self.news = told;
            self.let_go();
        }
    }

    /// This node's log says who the members are.
    pub fn set_own(&mut self, own: Membership) {
        let left: Vec<NodeId> = self.members().keys().copied().collect();
        self.own = own;
        let membership = self.newest().clone();
        let frame = Frame::Membership(membership);
        for peer in self.peers.values() {
            // Those who have left learn it, too.
            peer.connection.send(Outgoing::Frame(frame.clone()));
        }
        if self.members().contains_key(&self.identity.node) {
            let members = self.members().clone();
            self.peers
                .retain(|id, _| members.contains_key(id) || !left.contains(id));
        }
        self.let_go();
    }

    fn let_go(&mut self) {
        let members = self.newest().members.clone();
        self.tickets.retain(|id, _| members.contains_key(id));
    }

    /// A peer gave this node a ticket.
    pub fn keep_ticket(&mut self, from: NodeId, ticket: Ticket) {
        if self.peers.contains_key(&from) {
            self.tickets.insert(from, ticket);
        }
    }

    /// Other secrets and certificates are in force: hangs up on those who were let in by one that is not.
    pub fn set_security(&mut self, security: Security) {
        let secrets = &security.secrets;
        self.peers.retain(|_, peer| {
            let known = |secret: &Secret| secrets.contains(secret);
            // Certificates are shown in the greeting only: whose is good is back at once.
            security.tls.is_none()
                && (secrets.is_empty() || peer.secret.as_ref().is_some_and(known))
        });
        self.security = Arc::new(security);
    }

    /// Whether this was not told lately; `now` as in [`Peer::heard`].
    pub fn is_news(&mut self, text: &str, now: u64) -> bool {
        if now.saturating_sub(self.told_since) >= TOLD_AGAIN {
            self.told.clear();
            self.told_since = now;
        }
        self.told.len() < TOLD && self.told.insert(text.to_owned())
    }
}
