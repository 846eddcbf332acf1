//! One long-lived connection to each other node, and a way round when it is down.
//!
//! Of two members, the one with the smaller id dials; the other waits two seconds before it tries as
//! well. A new connection replaces an old one. Every node tells the others whom it is connected to, so
//! that what cannot go directly goes through a node that reaches both ends. Messages may be lost at any
//! time: the cores send again.

mod connection;
mod stream;
mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

pub use stream::{FileId, Listener, Rewound, Socket, is_path, remove_if_same};
pub use wire::{Hello, MAGIC, Packer, Unpacker};

use crate::consensus::Members;
use crate::message::{NodeId, PeerMessage};
use crate::notes::detail;
use connection::{Connection, Outgoing};
pub use wire::Frame;

/// Longer messages are not relayed: they go whole, and a block is to stay within its limit. Bytes.
const RELAY_LIMIT: usize = wire::BLOCK_LIMIT / 2;
/// How long a greeting may take. On a slow network, three delays.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that refuses at once is dialled again after at most this long.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The member with the larger id lets the other dial for this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the transport tells the core's thread.
#[derive(Debug)]
pub enum Event {
    /// A message came.
    Message(NodeId, PeerMessage),
    /// A connection is there.
    Found(NodeId),
    /// A connection broke.
    Lost(NodeId),
}

/// Who this node is, for greetings.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This node.
    pub node: NodeId,
    /// Its address for its peers.
    pub name: String,
    /// 0 until it has joined one.
    pub cluster: u64,
}

type OnEvent = Box<dyn Fn(Event) + Send + Sync>;
type OnCluster = Box<dyn Fn(u64) + Send + Sync>;

/// The node's end of all connections.
pub struct Transport {
    state: Mutex<State>,
    on_event: OnEvent,
    /// Called once, when the node learns which cluster it belongs to.
    on_cluster: OnCluster,
    connections_made: AtomicU64,
    /// Bytes written to and read from peers.
    pub traffic: (AtomicU64, AtomicU64),
}

struct State {
    identity: Identity,
    members: Members,
    peers: HashMap<NodeId, Peer>,
    dialling: HashSet<NodeId>,
}

struct Peer {
    connection: Connection,
    /// Tells it from a later one.
    serial: u64,
    links: HashSet<NodeId>,
}

impl Transport {
    /// No connections yet.
    pub fn new(identity: Identity, on_event: OnEvent, on_cluster: OnCluster) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                identity,
                members: Members::new(),
                peers: HashMap::new(),
                dialling: HashSet::new(),
            }),
            on_event,
            on_cluster,
            connections_made: AtomicU64::new(0),
            traffic: (AtomicU64::new(0), AtomicU64::new(0)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if it did, the state would still be usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connected peers.
    pub fn connected(&self) -> Vec<NodeId> {
        self.state().peers.keys().copied().collect()
    }

    /// Which cluster this node belongs to; 0: none yet.
    pub fn cluster(&self) -> u64 {
        self.state().identity.cluster
    }

    /// Sends, directly or through a relay, or drops.
    pub fn send(&self, to: NodeId, message: &PeerMessage) {
        let state = self.state();
        if let Some(peer) = state.peers.get(&to) {
            // Asked first, as what is to be dropped need not be encoded.
            if peer.connection.has_room(message.size()) {
                let outgoing = Outgoing::message(message.encode());
                peer.connection.send(outgoing);
            }
        } else if message.size() < RELAY_LIMIT
            && let Some(relay) = state.peers.values().find(|peer| peer.links.contains(&to))
        {
            let message = message.encode();
            relay
                .connection
                .send(Outgoing::Frame(Frame::Relay { to, message }));
        }
    }

    /// The membership is now this: dials newcomers, hangs up on who has left.
    pub fn set_members(self: &Arc<Self>, members: Members) {
        let mut state = self.state();
        let me = state.identity.node;
        if !state.members.is_empty() && members.contains_key(&me) {
            let known = std::mem::take(&mut state.members);
            state
                .peers
                .retain(|id, _| members.contains_key(id) || !known.contains_key(id));
        }
        for (&id, name) in &members {
            if id != me && state.dialling.insert(id) {
                tokio::spawn(self.clone().keep_connected(id, name.clone()));
            }
        }
        state.members = members;
    }

    /// Dials `id` whenever it is not connected, as long as it is a member.
    async fn keep_connected(self: Arc<Self>, id: NodeId, name: String) {
        let mut pause = Duration::from_millis(5);
        let mut apart_since = Instant::now();
        loop {
            let patient = {
                let mut state = self.state();
                if !state.members.contains_key(&id) {
                    state.dialling.remove(&id);
                    return;
                }
                if state.peers.contains_key(&id) {
                    apart_since = Instant::now();
                }
                state.peers.contains_key(&id)
                    || state.identity.node > id && apart_since.elapsed() < PATIENCE
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

    /// Connects to `address` and runs the connection to its end.
    pub async fn dial(
        self: &Arc<Self>,
        address: &str,
        expected: Option<NodeId>,
    ) -> Result<(), String> {
        let greeting = async {
            let mut socket = stream::connect(address)
                .await
                .map_err(|error| error.to_string())?;
            tokio::io::AsyncWriteExt::write_all(&mut socket, &self.hello())
                .await
                .map_err(|error| error.to_string())?;
            let hello = read_hello(&mut socket).await?;
            Ok::<_, String>((socket, hello))
        };
        let (socket, hello) = timeout(HELLO_TIMEOUT, greeting)
            .await
            .map_err(|_| "no greeting".to_owned())??;
        if expected.is_some_and(|id| id != hello.node) {
            return Err(format!("another node, {:x}, answers there", hello.node));
        }
        self.check(&hello)?;
        self.run(socket, hello).await;
        Ok(())
    }

    /// Takes a connection that somebody else dialled, whose first bytes were [`MAGIC`]'s first.
    pub async fn accept(self: Arc<Self>, mut socket: Box<dyn Socket>) {
        let hello = match timeout(HELLO_TIMEOUT, read_hello(&mut socket)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(reason)) => {
                return detail(format_args!("a peer's greeting was refused: {reason}"));
            }
            Err(_) => return detail(format_args!("a peer did not greet in time")),
        };
        let checked = self.check(&hello);
        // A refused peer gets the greeting too, and sees for itself why.
        let greeted = tokio::io::AsyncWriteExt::write_all(&mut socket, &self.hello()).await;
        match checked {
            Err(reason) => detail(format_args!("{} was refused: {reason}", hello.name)),
            Ok(()) if greeted.is_ok() => self.run(socket, hello).await,
            Ok(()) => {}
        }
    }

    fn hello(&self) -> Vec<u8> {
        let state = self.state();
        let Identity {
            node,
            name,
            cluster,
        } = state.identity.clone();
        Hello {
            cluster,
            node,
            name,
            members: state.members.clone(),
        }
        .encode()
    }

    /// Whether to talk to the author of this greeting.
    fn check(&self, hello: &Hello) -> Result<(), String> {
        let mut state = self.state();
        let mine = state.identity.cluster;
        if hello.node == state.identity.node {
            return Err("that is this node itself".to_owned());
        }
        if mine == 0 && hello.cluster != 0 {
            state.identity.cluster = hello.cluster;
            drop(state);
            (self.on_cluster)(hello.cluster);
        } else if mine != hello.cluster && hello.cluster != 0 {
            return Err(format!(
                "it belongs to cluster {:016x}, this node to {mine:016x}; empty its folder and use --join",
                hello.cluster
            ));
        }
        Ok(())
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
    async fn run(self: &Arc<Self>, socket: Box<dyn Socket>, hello: Hello) {
        let serial = self.connections_made.fetch_add(1, Relaxed);
        let id = hello.node;
        let (connection, outgoing) = Connection::new();
        {
            let mut state = self.state();
            let peer = Peer {
                connection,
                serial,
                links: HashSet::new(),
            };
            // Dropping an old connection ends it.
            state.peers.insert(id, peer);
        }
        let me = self.me();
        if !self.is_member(me) && !hello.members.is_empty() {
            // A newcomer connects to everybody before it belongs to them.
            let mut members = hello.members.clone();
            members.remove(&me);
            self.set_members(members);
        }
        self.tell_links();
        (self.on_event)(Event::Found(id));
        connection::run(self.clone(), id, socket, outgoing).await;
        let lost = {
            let mut state = self.state();
            let current = state
                .peers
                .get(&id)
                .is_some_and(|peer| peer.serial == serial);
            if current {
                state.peers.remove(&id);
            }
            current
        };
        if lost {
            self.tell_links();
            (self.on_event)(Event::Lost(id));
        }
    }

    fn me(&self) -> NodeId {
        self.state().identity.node
    }

    fn is_member(&self, node: NodeId) -> bool {
        self.state().members.contains_key(&node)
    }

    fn tell_links(&self) {
        let state = self.state();
        let links: Vec<NodeId> = state.peers.keys().copied().collect();
        for peer in state.peers.values() {
            peer.connection
                .send(Outgoing::Frame(Frame::Links(links.clone())));
        }
    }

    /// A frame came from `from`.
    fn receive(&self, from: NodeId, frame: Frame, parts: &mut Vec<u8>) -> Result<(), String> {
        match frame {
            Frame::Message(bytes) => self.deliver(from, &bytes),
            Frame::Part(bytes) => {
                parts.extend_from_slice(&bytes);
                Ok(())
            }
            Frame::LastPart(bytes) => {
                parts.extend_from_slice(&bytes);
                self.deliver(from, &std::mem::take(parts))
            }
            Frame::Links(nodes) => {
                if let Some(peer) = self.state().peers.get_mut(&from) {
                    peer.links = nodes.into_iter().collect();
                }
                Ok(())
            }
            Frame::Relay { to, message } => {
                if let Some(peer) = self.state().peers.get(&to) {
                    let frame = Frame::Relayed { from, message };
                    peer.connection.send(Outgoing::Frame(frame));
                }
                Ok(())
            }
            Frame::Relayed {
                from: author,
                message,
            } => self.deliver(author, &message),
        }
    }

    fn deliver(&self, from: NodeId, bytes: &[u8]) -> Result<(), String> {
        let me = self.me();
        let message = PeerMessage::decode(bytes, from, me).map_err(|error| error.to_string())?;
        (self.on_event)(Event::Message(from, message));
        Ok(())
    }
}

async fn read_hello(socket: &mut Box<dyn Socket>) -> Result<Hello, String> {
    let mut head = [0; MAGIC.len() + 4];
    socket
        .read_exact(&mut head)
        .await
        .map_err(|error| error.to_string())?;
    let (magic, length) = head.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("not a level4 node, or one of another version".to_owned());
    }
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    if length > wire::HELLO_LIMIT {
        return Err("a greeting too long".to_owned());
    }
    let mut body = vec![0; length];
    socket
        .read_exact(&mut body)
        .await
        .map_err(|error| error.to_string())?;
    Hello::decode(&body).map_err(|error| error.to_string())
}

/// Sending half of a connection's queue.
type Queue = mpsc::UnboundedSender<Outgoing>;
