//! Octopus: a flaky network with nodes on it and monkeys at work, put together.
//!
//! This is what `harness network` and `harness level4` share. It lays out the folders and
//! sockets, starts network and nodes, lets the monkeys loose when told, and takes everything down
//! again. Neither this module nor those below it know what the nodes say to each other.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::{
    events::EventLog,
    monkeys::{Act, MonkeySettings, Performer, Progress, Schedule, Stage},
    network::{Change, Endpoint, Network, NetworkConfig, NodeId, Pair, Route, Traffic, pairs},
    nodes::{NodeSpec, NodeState, Nodes, SmallDisk},
};

/// The longest path of a unix socket, in bytes.
const SOCKET_PATH_BYTES: usize = 107;

/// How often the spof monkey looks whether there is progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(2);

/// What the nodes' links are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Unix sockets in the nodes' folders.
    Unix,
    /// TCP on the loopback interface.
    Tcp,
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many nodes.
    pub nodes: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// How long the schedule of the monkeys is.
    pub duration: Duration,
    /// Which monkeys act, and how.
    pub monkeys: MonkeySettings,
    /// What the links are made of.
    pub transport: Transport,
    /// Size of each node's own file system, if it has one.
    pub disk_bytes: Option<u64>,
    /// Whether the nodes' output is echoed to stderr.
    pub echo: bool,
}

/// Where a node lives, and where it finds the others.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// Its folder.
    pub folder: PathBuf,
    /// Where it has to listen.
    pub listen: Endpoint,
    /// Where the network listens for it on behalf of each other node.
    pub peers: Vec<(NodeId, Endpoint)>,
}

/// A simulation: network, nodes, monkeys. Dropping it kills the nodes and closes the network.
#[derive(Debug)]
pub struct Octopus {
    network: Arc<Network>,
    nodes: Arc<Nodes>,
    log: Arc<EventLog>,
    schedule: Schedule,
    monkeys: Option<Monkeys>,
    trouble: Trouble,
}

/// The first error that a monkey met, for whoever watches the run.
type Trouble = Arc<Mutex<Option<io::Error>>>;

#[derive(Debug)]
struct Monkeys {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Undo everything and end.
    Heal,
    /// End.
    Leave,
}

impl Octopus {
    /// Lays out the folders below `root`, starts the network, and prepares the nodes; `spec` says
    /// how to start the one at a place.
    pub fn new(config: &Config, root: &Path, spec: impl Fn(&Place) -> NodeSpec) -> Result<Self> {
        ensure!(config.nodes > 0, "a simulation needs at least one node");
        let mut folders = Vec::new();
        let mut disks = Vec::new();
        for node in 0..config.nodes {
            let folder = root.join(format!("node{node}"));
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            if let Some(bytes) = config.disk_bytes {
                disks.push(SmallDisk::mount(&folder, bytes)?);
            }
            folders.push(folder);
        }
        let listens = match config.transport {
            Transport::Unix => unix_endpoints(&folders)?,
            Transport::Tcp => free_ports(config.nodes)?,
        };
        let duration_us = config.duration.as_micros() as u64;
        let schedule = Schedule::new(config.seed, config.nodes, duration_us, &config.monkeys);
        let network = Network::start(NetworkConfig {
            nodes: config.nodes,
            seed: config.seed,
            links: schedule.links.clone(),
            routes: routes(config, &folders, &listens),
        })
        .context("cannot set up the network")?;
        let place = |node: NodeId| Place {
            node,
            folder: folders[node].clone(),
            listen: listens[node].clone(),
            peers: network
                .routes()
                .iter()
                .filter(|route| route.from == node)
                .map(|route| (route.to, route.listen.clone()))
                .collect(),
        };
        let specs = (0..config.nodes).map(|node| spec(&place(node))).collect();
        let nodes = Nodes::new(specs, root, config.echo);
        for (node, disk) in disks.into_iter().enumerate() {
            nodes.give_disk(node, disk);
        }
        Ok(Self {
            network: Arc::new(network),
            nodes: Arc::new(nodes),
            log: Arc::new(EventLog::default()),
            schedule,
            monkeys: None,
            trouble: Trouble::default(),
        })
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The nodes.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// The event log, whose time starts with this value.
    pub fn log(&self) -> &Arc<EventLog> {
        &self.log
    }

    /// What the monkeys will do.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Lets the monkeys loose; their time starts now.
    pub fn start_monkeys<P>(&mut self, progress: P) -> Result<()>
    where
        P: Fn() -> Progress + Send + 'static,
    {
        self.log.record("monkeys_start", json!({}));
        let (orders, inbox) = mpsc::channel();
        let performer = Performer::new(&self.schedule, self.nodes.count());
        let stage = LiveStage {
            network: Arc::clone(&self.network),
            nodes: Arc::clone(&self.nodes),
            log: Arc::clone(&self.log),
            trouble: Arc::clone(&self.trouble),
            progress,
        };
        let thread = thread::Builder::new()
            .name("monkeys".to_owned())
            .spawn(move || perform(performer, stage, &inbox))?;
        self.monkeys = Some(Monkeys { orders, thread });
        Ok(())
    }

    /// Stops the monkeys and undoes what they did: all links up, all nodes running.
    pub fn heal(&mut self) {
        self.end_monkeys(Order::Heal);
    }

    /// Fails if network or monkeys have met an error of the system's.
    pub fn check(&self) -> Result<()> {
        if let Some(error) = lock(&self.trouble).take() {
            return Err(error).context("a monkey could not act");
        }
        if !self.network.is_running() {
            self.network.stop().context("the network ended early")?;
        }
        Ok(())
    }

    /// Ends everything, and returns what the network carried until then.
    pub fn stop(mut self) -> Result<Traffic> {
        self.end_monkeys(Order::Leave);
        let traffic = self.network.traffic();
        self.nodes.stop();
        self.network.stop().context("the network ended early")?;
        Ok(traffic)
    }

    /// Records what network and nodes are doing now, with `more` fields.
    pub fn sample(&self, more: serde_json::Value) {
        let total = self.network.traffic().total();
        let states: Vec<NodeState> = (0..self.nodes.count())
            .map(|n| self.nodes.state(n))
            .collect();
        let links: Vec<_> = pairs(self.network.nodes())
            .iter()
            .zip(self.network.links())
            .map(|(pair, link)| {
                json!({
                    "link": [pair.low(), pair.high()],
                    "delay_ms": link.latency_ms + link.spike_ms,
                    "jitter_ms": link.jitter_ms,
                    "up": link.is_up(),
                    "loses": [link.loses(0), link.loses(1)],
                })
            })
            .collect();
        let mut fields = json!({
            "bytes_read": total.bytes_read,
            "bytes_written": total.bytes_written,
            "connections": total.connections,
            "nodes": states,
            "links": links,
        });
        if let (Some(fields), serde_json::Value::Object(more)) = (fields.as_object_mut(), more) {
            fields.extend(more);
        }
        self.log.record("sample", fields);
    }

    fn end_monkeys(&mut self, order: Order) {
        if let Some(monkeys) = self.monkeys.take() {
            // The thread is there until it is told to end.
            let _told = monkeys.orders.send(order);
            let _panicked = monkeys.thread.join();
        }
    }
}

impl Drop for Octopus {
    fn drop(&mut self) {
        self.end_monkeys(Order::Leave);
        self.nodes.stop();
    }
}

fn unix_endpoints(folders: &[PathBuf]) -> Result<Vec<Endpoint>> {
    let endpoint = |(node, folder): (usize, &PathBuf)| {
        let path = folder.join(format!("node{node}.sock"));
        let bytes = path.as_os_str().len();
        ensure!(
            bytes <= SOCKET_PATH_BYTES,
            "{} has {bytes} bytes, a socket's path at most {SOCKET_PATH_BYTES}: use a shorter --root",
            path.display()
        );
        Ok(Endpoint::Unix(path))
    };
    folders.iter().enumerate().map(endpoint).collect()
}

/// Ports that are free now. All are taken at once and given back together, so that they differ.
fn free_ports(nodes: usize) -> Result<Vec<Endpoint>> {
    let listeners: Vec<TcpListener> = (0..nodes)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()
        .context("cannot find free ports")?;
    let address = |listener: &TcpListener| Ok(Endpoint::Tcp(listener.local_addr()?));
    listeners.iter().map(address).collect()
}

fn routes(config: &Config, folders: &[PathBuf], listens: &[Endpoint]) -> Vec<Route> {
    let mut routes = Vec::new();
    for (from, folder) in folders.iter().enumerate() {
        for to in (0..config.nodes).filter(|&to| to != from) {
            let listen = match config.transport {
                Transport::Unix => Endpoint::Unix(folder.join(format!("node{to}.sock"))),
                Transport::Tcp => Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            };
            routes.push(Route {
                from,
                to,
                listen,
                dial: listens[to].clone(),
            });
        }
    }
    routes
}

/// Carries out the schedule in real time until told to end.
fn perform<P: Fn() -> Progress>(
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

/// The running network and nodes, as the monkeys see them.
struct LiveStage<P> {
    network: Arc<Network>,
    nodes: Arc<Nodes>,
    log: Arc<EventLog>,
    trouble: Trouble,
    progress: P,
}

impl<P> LiveStage<P> {
    fn note(&self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            lock(&self.trouble).get_or_insert(error);
        }
    }
}

impl<P: Fn() -> Progress> Stage for LiveStage<P> {
    fn change(&mut self, link: Pair, change: Change) {
        self.network.change(link, change);
    }

    fn freeze(&mut self, node: NodeId) {
        self.note(self.nodes.freeze(node));
    }

    fn thaw(&mut self, node: NodeId) {
        self.note(self.nodes.thaw(node));
    }

    fn kill(&mut self, node: NodeId) {
        self.note(self.nodes.kill(node));
    }

    fn revive(&mut self, node: NodeId) {
        self.note(self.nodes.revive(node));
    }

    fn set_disk_full(&mut self, node: NodeId, full: bool) {
        self.note(self.nodes.set_disk_full(node, full));
    }

    fn begins(&mut self, act: &Act) {
        let mut fields = serde_json::to_value(act).unwrap_or_default();
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("text".to_owned(), act.what.to_string().into());
        }
        self.log.record("act", fields);
    }

    fn tells(&mut self, what: String) {
        self.log.record("act", json!({ "text": what }));
    }

    fn progress(&self) -> Progress {
        (self.progress)()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
