//! Octopus: a flaky network with nodes on it and monkeys at work, put together.
//!
//! It lays out the folders and sockets, starts network and nodes, lets the monkeys loose when told,
//! writes everything down, and takes everything down again. Neither this module nor those below it
//! know what the nodes say to each other.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    error::{Doing, Error},
    events::{
        ActEvent, EVENTS_SCHEMA, Event, EventLog, LinkNow, NodeAddress, PeerAddress, Sample, Start,
        object,
    },
    machines::{Machine, MachineAddress, MachineSettings, Machines},
    monkeys::{Monkey, MonkeySettings, News, Performer, Progress, Schedule, Stage},
    network::{
        Change, Device, Endpoint, LinkState, Network, NetworkConfig, NodeId, Pair, Route,
        SwitchConfig, Traffic, pairs,
    },
    nodes::{Echo, NodePlan, NodeState, Nodes, SmallDisk},
};

/// The longest path of a unix socket, in bytes.
const SOCKET_PATH_BYTES: usize = 107;

/// How often the spof monkey looks whether there is progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(2);

/// What the nodes' links are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transport {
    /// Unix sockets in the nodes' folders.
    Unix,
    /// TCP on the loopback interface.
    Tcp,
    /// IP packets: each node has a machine of its own, and so have the clients. Linux, as root.
    Machines(MachineSettings),
}

/// The port at which a node on a machine of its own is said to listen: it may listen at any others.
const MACHINE_PORT: u16 = 7700;

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
    /// Hears what the nodes print.
    pub echo: Option<Echo>,
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
    machines: Option<Machines>,
    log: Arc<EventLog>,
    schedule: Schedule,
    monkeys: Option<Monkeys>,
    fault: Fault,
    /// Nodes whose own ends are in the log.
    ended: Mutex<BTreeSet<NodeId>>,
}

/// How many lines of each node the event log has; the rest is in the node's own log.
const LOGGED_LINES: usize = 2000;

/// How much of such a line it has, in characters.
const LOGGED_CHARS: usize = 300;

/// Puts what the nodes print into the event log, and hands it on.
fn heard_by(log: &Arc<EventLog>, nodes: usize, next: Option<Echo>) -> Echo {
    let log = Arc::clone(log);
    let lines: Vec<AtomicUsize> = (0..nodes).map(|_| AtomicUsize::new(0)).collect();
    Echo::new(move |node, line| {
        if lines[node].fetch_add(1, Ordering::Relaxed) < LOGGED_LINES {
            let text: String = line.chars().take(LOGGED_CHARS).collect();
            log.note(Event::Said { node, text });
        }
        if let Some(next) = &next {
            next.hear(node, line);
        }
    })
}

/// The first error that a monkey met, for whoever watches the run.
type Fault = Arc<Mutex<Option<io::Error>>>;

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
    pub fn new<S: Into<NodePlan>>(
        config: &Config,
        root: &Path,
        spec: impl Fn(&Place) -> S,
    ) -> Result<Self, Error> {
        let duration_us = config.duration.as_micros() as u64;
        let schedule = Schedule::new(config.seed, config.nodes, duration_us, &config.monkeys);
        Self::with_schedule(config, schedule, root, spec)
    }

    /// The same with a schedule of one's own in place of the seed's; it is for the nodes of `config`.
    pub fn with_schedule<S: Into<NodePlan>>(
        config: &Config,
        schedule: Schedule,
        root: &Path,
        spec: impl Fn(&Place) -> S,
    ) -> Result<Self, Error> {
        if config.nodes == 0 {
            return Err(Error::NoNodes);
        }
        let log = Arc::new(EventLog::default());
        let mut folders = Vec::new();
        let mut disks = Vec::new();
        for node in 0..config.nodes {
            let folder = root.join(format!("node{node}"));
            fs::create_dir_all(&folder).doing(|| format!("cannot create {}", folder.display()))?;
            if let Some(bytes) = config.disk_bytes {
                disks.push(SmallDisk::mount(&folder, bytes)?);
            }
            folders.push(folder);
        }
        // Held until the network listens, so that it takes none of the nodes' ports.
        let mut reserved = Vec::new();
        let listens = match config.transport {
            Transport::Unix => unix_endpoints(&folders)?,
            Transport::Tcp => free_ports(config.nodes, &mut reserved)?,
            Transport::Machines(_) => machine_endpoints(config.nodes),
        };
        let (machines, network) = match &config.transport {
            Transport::Machines(settings) => {
                let (machines, devices) = Machines::new(config.nodes, root, settings)?;
                (Some(machines), switch(config, settings, &schedule, devices))
            }
            Transport::Unix | Transport::Tcp => {
                (None, sockets(config, &schedule, &folders, &listens))
            }
        };
        let network = network.doing(|| "cannot set up the network".to_owned())?;
        drop(reserved);
        let places: Vec<Place> = (0..config.nodes)
            .map(|node| place(node, &network, &folders[node], &listens))
            .collect();
        let mut plans: Vec<NodePlan> = places.iter().map(|place| spec(place).into()).collect();
        for (node, plan) in plans.iter_mut().enumerate() {
            plan.machine = machines
                .as_ref()
                .map(|machines| Arc::clone(&machines.nodes[node]));
        }
        let addresses = places.iter().zip(&plans);
        log.note(Event::Start(Box::new(Start {
            schema: EVENTS_SCHEMA,
            seed: config.seed,
            nodes: config.nodes,
            duration_us: config.duration.as_micros() as u64,
            monkeys: config.monkeys.clone(),
            addresses: addresses
                .map(|(place, plan)| address(place, plan, root))
                .collect(),
            links: links_now(&network),
            schedule: schedule.acts.clone(),
        })));
        let echo = heard_by(&log, config.nodes, config.echo.clone());
        let nodes = Nodes::new(plans, root, Some(echo));
        for (node, disk) in disks.into_iter().enumerate() {
            nodes.give_disk(node, disk);
        }
        Ok(Self {
            network: Arc::new(network),
            nodes: Arc::new(nodes),
            machines,
            log,
            schedule,
            monkeys: None,
            fault: Fault::default(),
            ended: Mutex::default(),
        })
    }

    /// Starts the nodes.
    pub fn start(&self) -> Result<(), Error> {
        (0..self.nodes.count()).try_for_each(|node| self.start_one(node))
    }

    /// Starts one of the nodes.
    pub fn start_one(&self, node: NodeId) -> Result<(), Error> {
        self.nodes.start_one(node)?;
        self.log.note(Event::Node(self.nodes.now(node)));
        Ok(())
    }

    /// The machine for clients, if nodes have machines: it is joined to each of theirs by a link without trouble.
    pub fn client_machine(&self) -> Option<&Arc<Machine>> {
        self.machines.as_ref().map(|machines| &machines.client)
    }

    /// The machine of a node, if nodes have machines.
    pub fn machine(&self, node: NodeId) -> Option<&Arc<Machine>> {
        self.machines.as_ref()?.nodes.get(node)
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

    /// Links and nodes, for whoever breaks them by hand; what changes is written down.
    pub fn stage(&self) -> impl Stage + Send + use<> {
        LiveStage {
            network: Arc::clone(&self.network),
            nodes: Arc::clone(&self.nodes),
            log: Arc::clone(&self.log),
            fault: Arc::clone(&self.fault),
            progress: Progress::default,
        }
    }

    /// Lets the monkeys loose; their time starts now.
    pub fn start_monkeys<P>(&mut self, progress: P) -> Result<(), Error>
    where
        P: Fn() -> Progress + Send + 'static,
    {
        self.log.note(Event::MonkeysStart);
        let (orders, inbox) = mpsc::channel();
        let performer = Performer::new(&self.schedule, self.nodes.count());
        let stage = LiveStage {
            network: Arc::clone(&self.network),
            nodes: Arc::clone(&self.nodes),
            log: Arc::clone(&self.log),
            fault: Arc::clone(&self.fault),
            progress,
        };
        let thread = thread::Builder::new()
            .name("monkeys".to_owned())
            .spawn(move || perform(performer, stage, &inbox))
            .doing(|| "cannot start the monkeys' thread".to_owned())?;
        self.monkeys = Some(Monkeys { orders, thread });
        Ok(())
    }

    /// Stops the monkeys and undoes what they did: all links up, all nodes running.
    pub fn heal(&mut self) {
        self.end_monkeys(Order::Heal);
    }

    /// The nodes that have ended by themselves, with their status. Looks afresh.
    pub fn exited(&self) -> Result<Vec<(NodeId, ExitStatus)>, Error> {
        let exited = self.nodes.exited();
        let exited = exited.doing(|| "cannot watch the nodes".to_owned())?;
        for (node, status) in &exited {
            if lock(&self.ended).insert(*node) {
                self.log.note(Event::Exit {
                    node: *node,
                    text: status.to_string(),
                });
                self.log.note(Event::Node(self.nodes.now(*node)));
            }
        }
        Ok(exited)
    }

    /// Fails if network or monkeys have met an error of the system's.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(error) = lock(&self.fault).take() {
            return Err(error).doing(|| "a monkey could not act".to_owned());
        }
        if !self.network.is_running() {
            self.stop_network()?;
        }
        Ok(())
    }

    /// Ends everything, and returns what the network carried until then.
    pub fn stop(mut self) -> Result<Traffic, Error> {
        self.end_monkeys(Order::Leave);
        let traffic = self.network.traffic();
        self.nodes.stop();
        self.stop_network()?;
        Ok(traffic)
    }

    /// Records what network and nodes are doing now, with `more` fields, a JSON object.
    pub fn sample(&self, more: serde_json::Value) {
        let traffic = self.network.traffic();
        let total = traffic.total();
        let nodes = (0..self.nodes.count()).map(|node| self.nodes.state(node));
        self.log.note(Event::Sample(Sample {
            bytes_read: total.bytes_read,
            bytes_written: total.bytes_written,
            connections: total.connections,
            nodes: nodes.collect(),
            links: links_now(&self.network),
            delivered: traffic
                .directions
                .iter()
                .map(|way| way.bytes_written)
                .collect(),
            more: object(more),
        }));
    }

    fn stop_network(&self) -> Result<Traffic, Error> {
        let stopped = self.network.stop();
        stopped.doing(|| "the network ended early".to_owned())
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

/// The place of a node. Machines find each other directly, without anybody who listens on their behalf.
fn place(node: NodeId, network: &Network, folder: &Path, listens: &[Endpoint]) -> Place {
    let routes = network.routes().iter().filter(|route| route.from == node);
    let mut peers: Vec<(NodeId, Endpoint)> = routes
        .map(|route| (route.to, route.listen.clone()))
        .collect();
    if network.routes().is_empty() {
        let others = listens.iter().cloned().enumerate();
        peers = others.filter(|(peer, _)| *peer != node).collect();
    }
    Place {
        node,
        folder: folder.to_owned(),
        listen: listens[node].clone(),
        peers,
    }
}

fn sockets(
    config: &Config,
    schedule: &Schedule,
    folders: &[PathBuf],
    listens: &[Endpoint],
) -> io::Result<Network> {
    Network::start(NetworkConfig {
        nodes: config.nodes,
        seed: config.seed,
        links: schedule.links.clone(),
        routes: routes(config, folders, listens),
    })
}

fn switch(
    config: &Config,
    settings: &MachineSettings,
    schedule: &Schedule,
    devices: Vec<Device>,
) -> io::Result<Network> {
    Network::start_switch(SwitchConfig {
        nodes: config.nodes,
        seed: config.seed,
        links: schedule.links.clone(),
        rules: settings.rules,
        devices,
    })
}

fn machine_endpoints(nodes: usize) -> Vec<Endpoint> {
    let address = |node| SocketAddr::from((MachineAddress::of_node(node).v4, MACHINE_PORT));
    (0..nodes)
        .map(|node| Endpoint::Tcp(address(node)))
        .collect()
}

fn address(place: &Place, plan: &NodePlan, root: &Path) -> NodeAddress {
    let peers = place.peers.iter().map(|(node, endpoint)| PeerAddress {
        node: *node,
        address: endpoint.to_string(),
    });
    // Of several processes the first stands for the node.
    let command = plan.processes.first().into_iter().flat_map(|spec| {
        let program = spec.program.as_os_str();
        std::iter::once(program).chain(spec.arguments.iter().map(OsString::as_os_str))
    });
    NodeAddress {
        node: place.node,
        listen: place.listen.to_string(),
        peers: peers.collect(),
        folder: place.folder.clone(),
        log: root.join(format!("node{}.log", place.node)),
        command: command
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
    }
}

fn links_now(network: &Network) -> Vec<LinkNow> {
    let links = network.links();
    let all = pairs(network.nodes()).into_iter().zip(&links);
    all.map(|(pair, state)| LinkNow::new(pair, state)).collect()
}

fn unix_endpoints(folders: &[PathBuf]) -> Result<Vec<Endpoint>, Error> {
    let endpoint = |(node, folder): (usize, &PathBuf)| {
        let path = folder.join(format!("node{node}.sock"));
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES {
            return Err(Error::LongPath {
                path,
                bytes,
                most: SOCKET_PATH_BYTES,
            });
        }
        Ok(Endpoint::Unix(path))
    };
    folders.iter().enumerate().map(endpoint).collect()
}

/// Ports that are free now, all different. They stay taken until `reserved` goes.
fn free_ports(nodes: usize, reserved: &mut Vec<TcpListener>) -> Result<Vec<Endpoint>, Error> {
    let mut free = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        reserved.push(listener);
        Ok(Endpoint::Tcp(address))
    };
    let ports: io::Result<Vec<Endpoint>> = (0..nodes).map(|_| free()).collect();
    ports.doing(|| "cannot find free ports".to_owned())
}

fn routes(config: &Config, folders: &[PathBuf], listens: &[Endpoint]) -> Vec<Route> {
    let mut routes = Vec::new();
    for (from, folder) in folders.iter().enumerate() {
        for to in (0..config.nodes).filter(|&to| to != from) {
            let listen = match config.transport {
                Transport::Unix => Endpoint::Unix(folder.join(format!("node{to}.sock"))),
                _ => Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
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

/// The running network and nodes, as the monkeys see them. Writes down what changes.
struct LiveStage<P> {
    network: Arc<Network>,
    nodes: Arc<Nodes>,
    log: Arc<EventLog>,
    fault: Fault,
    progress: P,
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
