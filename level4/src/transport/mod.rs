//! One long-lived connection to each other node, and a way round when it is down.
//!
//! Of two members, the one with the smaller id dials; the other waits two seconds before it tries as
//! well. Every node tells the others whom it is connected to, so that what cannot go directly goes through
//! a node that reaches both ends. Messages may be lost at any time: the cores send again. Who may talk is
//! decided in the greeting (`handshake.rs`, [`crate::security`]) and by `roster.rs`.

mod connection;
mod course;
mod greeting;
mod handshake;
mod meeting;
mod roster;
mod stream;
mod wire;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngCore as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

pub use greeting::{Greeting, Hello, MAGIC};
pub use meeting::{Meeting, Met};
pub use roster::Identity;
pub use stream::{Connected, FileId, Listener, Rewound, Socket, connect, is_path, remove_if_same};
pub use wire::{Frame, Packer, Unpacker};

use crate::consensus::Membership;
use crate::ids::{ClusterId, Index, NodeId};
use crate::message::PeerMessage;
use crate::name::MemberName;
use crate::notes::{detail, note};
use crate::security::Security;
use crate::trace::Tracer;
use connection::{Connection, Outgoing, Queued};
use course::{Course, Hop, Told};
use greeting::{NAME_LIMIT, Ticket};
use handshake::Greeted;
use roster::{Peer, Roster};

/// Longer messages are not relayed: they go whole, and a block is to stay within its limit. Bytes.
const RELAY_LIMIT: usize = wire::BLOCK_LIMIT / 2;
/// How long a greeting may take. On a slow network, some delays.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that refuses at once is dialled again after at most this long.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The member with the larger id lets the other dial for this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many connections of a peer are remembered, for relaying.
const LINKS: usize = 1024;

/// What the transport tells the core's thread.
#[derive(Debug)]
pub enum Event {
    /// A message came.
    Message(NodeId, PeerMessage),
    /// A connection is there.
    Found(NodeId),
    /// A connection broke.
    Lost(NodeId),
    /// Others know that this node is no member since this index; `None`: it is one again, or they do not.
    Removed(Option<Index>),
}

type OnEvent = Box<dyn Fn(Event) + Send + Sync>;
type OnCluster = Box<dyn Fn(ClusterId) + Send + Sync>;

/// The node's end of all connections.
pub struct Transport {
    roster: Mutex<Roster>,
    on_event: OnEvent,
    /// Called once, when the node learns which cluster it belongs to.
    on_cluster: OnCluster,
    /// Hears of every message.
    tracer: Option<Tracer>,
    connections_made: AtomicU64,
    started: Instant,
    /// Bytes written to and read from peers.
    pub traffic: (AtomicU64, AtomicU64),
    /// Greetings and messages refused.
    pub refusals: AtomicU64,
}

/// How a connection came about.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// This node dialled a member that it knows.
    Member,
    /// This node dialled an address that its operator gave.
    Given,
    /// The other end dialled.
    Accepted,
}

impl Transport {
    /// No connections yet.
    pub fn new(
        identity: Identity,
        security: Security,
        tracer: Option<Tracer>,
        on_event: OnEvent,
        on_cluster: OnCluster,
    ) -> Arc<Self> {
        Arc::new(Self {
            roster: Mutex::new(Roster::new(identity, security)),
            on_event,
            on_cluster,
            tracer,
            connections_made: AtomicU64::new(0),
            started: Instant::now(),
            traffic: (AtomicU64::new(0), AtomicU64::new(0)),
            refusals: AtomicU64::new(0),
        })
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        // Nothing panics while the lock is held; if it did, the state would still be usable.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the transport was made.
    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Connected peers.
    pub fn connected(&self) -> Vec<NodeId> {
        self.roster().peers.keys().copied().collect()
    }

    /// Which cluster this node belongs to; `None`: none yet.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.roster().identity.cluster
    }

    /// Whether whoever reaches this node can act as a member.
    pub fn is_open(&self) -> bool {
        self.roster().security.is_open()
    }

    /// Whether peers speak TLS.
    pub fn speaks_tls(&self) -> bool {
        self.roster().security.tls.is_some()
    }

    /// Other secrets and certificates are in force from now on.
    pub fn set_security(&self, security: Security) {
        self.roster().set_security(security);
    }

    /// Sends, directly or through a relay, or drops.
    pub fn send(&self, to: NodeId, message: &PeerMessage) {
        let (connection, hop) = {
            let roster = self.roster();
            let reaches = |(_, peer): &(&NodeId, &Peer)| peer.links.contains(&to);
            if let Some(peer) = roster.peers.get(&to) {
                (peer.connection.clone(), Hop::direct(to))
            } else if message.size() < RELAY_LIMIT
                && let Some((&id, relay)) = roster.peers.iter().find(reaches)
            {
                let beyond = Some(to);
                (
                    relay.connection.clone(),
                    Hop {
                        beyond,
                        ..Hop::direct(id)
                    },
                )
            } else {
                return;
            }
        };
        // What is to be dropped need not be encoded; and nobody waits for what takes long to encode.
        if !connection.has_room(message.size()) {
            return;
        }
        let told = self.tracer.is_some().then(|| {
            let message = message.clone();
            Box::new(Told { hop, message })
        });
        let message = message.encode();
        let outgoing = if hop.beyond.is_some() {
            Outgoing::Frame(Frame::Relay { to, message })
        } else {
            Outgoing::message(message)
        };
        connection.send_told(outgoing, told);
    }

    /// For whoever writes down what happens, if anybody does.
    fn tell(&self, tell: impl FnOnce(&Tracer)) {
        if let Some(tracer) = &self.tracer {
            tell(tracer);
        }
    }

    /// The membership is now this: dials newcomers, hangs up on who has left.
    pub fn set_members(self: &Arc<Self>, membership: Membership) {
        self.change_members(|roster| roster.set_own(membership));
    }

    /// Changes what is known of the members, and does what follows from it.
    fn change_members(self: &Arc<Self>, change: impl FnOnce(&mut Roster)) {
        let mut roster = self.roster();
        let before = roster.removed();
        change(&mut roster);
        let me = roster.identity.node;
        let members: Vec<NodeId> = roster.members().keys().copied().collect();
        for id in members {
            if id != me && roster.dialling.insert(id) {
                tokio::spawn(self.clone().keep_connected(id));
            }
        }
        let removed = roster.removed();
        drop(roster);
        if removed != before {
            (self.on_event)(Event::Removed(removed));
        }
    }

    /// Dials `id` whenever it is not connected, as long as it is a member.
    async fn keep_connected(self: Arc<Self>, id: NodeId) {
        let mut pause = Duration::from_millis(5);
        let mut apart_since = Instant::now();
        loop {
            let (patient, name) = {
                let mut roster = self.roster();
                // It may have moved.
                let Some(name) = roster.members().get(&id) else {
                    roster.dialling.remove(&id);
                    return;
                };
                let name = MemberName::parse(name).address.to_owned();
                let connected = roster.peers.contains_key(&id);
                if connected {
                    apart_since = Instant::now();
                }
                let waits = roster.identity.node > id && apart_since.elapsed() < PATIENCE;
                (connected || waits, name)
            };
            if patient {
                sleep(Duration::from_millis(5)).await;
                continue;
            }
            let start = Instant::now();
            if let Err(reason) = self.dial(&name, Some(id)).await {
                detail(format_args!("cannot reach {name}: {reason}"));
            }
            // A refusal by the far end of a slow link has taken its time; one by this machine comes at
            // once and would come again.
            pause = if start.elapsed() > pause {
                Duration::from_millis(5)
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
            sleep(pause).await;
        }
    }

    /// Connects to `address`, where the member `expected` should be, or any, and runs the connection to its
    /// end.
    ///
    /// # Errors
    ///
    /// In words, if there will be no connection.
    pub async fn dial(
        self: &Arc<Self>,
        address: &str,
        expected: Option<NodeId>,
    ) -> Result<(), String> {
        let greeted = timeout(HELLO_TIMEOUT, self.greet(address, expected))
            .await
            .map_err(|_| "no greeting".to_owned())??;
        let origin = if expected.is_some() {
            Origin::Member
        } else {
            Origin::Given
        };
        self.run(greeted, origin).await;
        Ok(())
    }

    /// Takes a connection that somebody else dialled, whose first bytes were [`MAGIC`]'s first, or those
    /// of TLS.
    pub async fn accept(self: Arc<Self>, connected: Connected) {
        let from = connected.from.clone();
        match timeout(HELLO_TIMEOUT, self.welcome(connected)).await {
            Ok(Ok(greeted)) => self.run(greeted, Origin::Accepted).await,
            Ok(Err(reason)) => detail(format_args!("no peer from {from}: {reason}")),
            Err(_) => detail(format_args!("a peer from {from} did not greet in time")),
        }
    }

    /// Counts a refusal and tells it to the operator, once; gives it back.
    fn refuse(&self, reason: String) -> String {
        self.refusals.fetch_add(1, Relaxed);
        let is_news = self.roster().is_news(&reason, self.now());
        if is_news {
            note(format_args!("{reason}"));
        }
        reason
    }

    /// Tells everybody connected that this node wants to be a member.
    pub fn ask_to_join(&self, name: &str) {
        let node = self.me();
        let join = PeerMessage::Join {
            node,
            name: name.to_owned(),
        };
        for peer in self.connected() {
            self.send(peer, &join);
        }
    }

    /// Registers a greeted connection and runs it to its end.
    async fn run(self: &Arc<Self>, greeted: Greeted, origin: Origin) {
        let Greeted {
            socket,
            course,
            hello,
            secret,
            security,
            told,
        } = greeted;
        let serial = self.connections_made.fetch_add(1, Relaxed);
        let id = hello.node;
        let (connection, outgoing) = Connection::new();
        let heard = Arc::new(AtomicU64::new(self.now()));
        let mut ticket = Ticket::default();
        rand::rng().fill_bytes(&mut ticket);
        connection.send(Outgoing::Frame(Frame::Ticket(ticket)));
        {
            let mut roster = self.roster();
            if !Arc::ptr_eq(&security, &roster.security) {
                // What it proved itself by may be in force no more: it greets again.
                return;
            }
            let newest = roster.newest();
            if newest.as_of > told {
                let frame = Frame::Membership(newest.clone());
                connection.send(Outgoing::Frame(frame));
            }
            let peer = Peer {
                connection,
                serial,
                links: HashSet::new(),
                ticket,
                heard: heard.clone(),
                secret,
                vouches: roster.vouches(&hello, matches!(origin, Origin::Given)),
            };
            // Dropping an old connection ends it.
            roster.peers.insert(id, peer);
        }
        // A newcomer connects to everybody before it belongs to them.
        self.change_members(|roster| roster.learn(id, hello.membership));
        self.tell_links();
        (self.on_event)(Event::Found(id));
        connection::run(self.clone(), id, (socket, course), outgoing, heard).await;
        let lost = {
            let mut roster = self.roster();
            let current = roster
                .peers
                .get(&id)
                .is_some_and(|peer| peer.serial == serial);
            if current {
                roster.peers.remove(&id);
            }
            current
        };
        if lost {
            self.tell_links();
            (self.on_event)(Event::Lost(id));
        }
    }

    fn me(&self) -> NodeId {
        self.roster().identity.node
    }

    fn tell_links(&self) {
        let roster = self.roster();
        let links: Vec<NodeId> = roster.peers.keys().copied().collect();
        for peer in roster.peers.values() {
            peer.connection
                .send(Outgoing::Frame(Frame::Links(links.clone())));
        }
    }

    /// A frame came from `from`.
    fn receive(
        self: &Arc<Self>,
        from: NodeId,
        frame: Frame,
        parts: &mut Vec<u8>,
        course: &Course,
    ) -> Result<(), String> {
        match frame {
            Frame::Message(bytes) => self.deliver(from, &bytes, Hop::direct(from), course),
            Frame::Part(_) | Frame::LastPart(_) if !self.roster().belongs(from) => {
                Err(self.refuse(stranger(from)))
            }
            Frame::Part(bytes) => {
                parts.extend_from_slice(&bytes);
                Ok(())
            }
            Frame::LastPart(bytes) => {
                parts.extend_from_slice(&bytes);
                self.deliver(from, &std::mem::take(parts), Hop::direct(from), course)
            }
            Frame::Links(nodes) => {
                if let Some(peer) = self.roster().peers.get_mut(&from) {
                    peer.links = nodes.into_iter().take(LINKS).collect();
                }
                Ok(())
            }
            Frame::Relay { to, message } => {
                let roster = self.roster();
                if roster.belongs(from)
                    && let Some(peer) = roster.peers.get(&to)
                {
                    let told = self.passed_on(from, to, &message, course);
                    let frame = Frame::Relayed { from, message };
                    peer.connection.send_told(Outgoing::Frame(frame), told);
                }
                Ok(())
            }
            Frame::Relayed {
                from: author,
                message,
            } => {
                let known = self.roster().belongs(from);
                if known && author != self.me() {
                    let hop = Hop {
                        author: Some(author),
                        ..Hop::direct(from)
                    };
                    self.deliver(author, &message, hop, course)
                } else {
                    self.refuse(stranger(from));
                    Ok(())
                }
            }
            Frame::Ticket(ticket) => {
                self.roster().keep_ticket(from, ticket);
                Ok(())
            }
            Frame::Membership(told) => {
                self.change_members(|roster| roster.learn(from, told));
                Ok(())
            }
        }
    }

    /// Tells that a message came that goes on to another node; gives what is to be told then.
    fn passed_on(
        &self,
        from: NodeId,
        to: NodeId,
        bytes: &[u8],
        course: &Course,
    ) -> Option<Box<Told>> {
        let tracer = self.tracer.as_ref()?;
        let message = PeerMessage::decode(bytes, from, to).ok()?;
        let came = Hop {
            beyond: Some(to),
            ..Hop::direct(from)
        };
        course::delivered(tracer, course, &came, &message);
        let hop = Hop {
            author: Some(from),
            ..Hop::direct(to)
        };
        Some(Box::new(Told { hop, message }))
    }

    /// A message that `from` wrote. Who is no member may only ask to become one.
    fn deliver(&self, from: NodeId, bytes: &[u8], hop: Hop, course: &Course) -> Result<(), String> {
        let (me, belongs) = {
            let roster = self.roster();
            (roster.identity.node, roster.belongs(from))
        };
        let message = PeerMessage::decode(bytes, from, me).map_err(text)?;
        let welcome = match &message {
            PeerMessage::Join { name, .. } if name.len() > NAME_LIMIT => false,
            PeerMessage::Join { node, .. } => belongs || *node == from,
            _ => belongs,
        };
        if welcome {
            self.tell(|tracer| course::delivered(tracer, course, &hop, &message));
            (self.on_event)(Event::Message(from, message));
        } else {
            self.refuse(stranger(from));
        }
        Ok(())
    }
}

fn stranger(from: NodeId) -> String {
    format!("{from} is no member: what it says is not heard")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Sending half of a connection's queue.
type Queue = mpsc::UnboundedSender<Queued>;
