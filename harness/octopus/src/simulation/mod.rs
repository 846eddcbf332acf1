//! Octopus: a flaky network with nodes on it and monkeys at work, put together.
//!
//! It lays out the folders and sockets, starts network and nodes, lets the monkeys loose when told,
//! writes everything down, and takes everything down again. Neither this module nor those below it
//! know what the nodes say to each other.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

mod layout;
mod stage;

use layout::{
    address, free_ports, links_now, machine_endpoints, place, sockets, switch, unix_endpoints,
};
use stage::{LiveStage, perform};

use crate::{
    error::{Doing, Error},
    events::{EVENTS_SCHEMA, Event, EventLog, Sample, Start, object},
    machines::{Machine, MachineSettings, Machines},
    monkeys::{MonkeySettings, Performer, Progress, Schedule, Stage},
    network::{Endpoint, Network, NodeId, Traffic},
    nodes::{Echo, NodeLimits, NodePlan, NodeState, Nodes, SmallDisk},
    scripts::{Script, Scripts},
};

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

/// How often it is looked whether nodes have ended that were asked to.
const END_INTERVAL: Duration = Duration::from_millis(5);

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
    /// What the schedule's acts run by name, on the clients' machine if there are machines.
    pub scripts: Vec<Script>,
    /// How much each node may use.
    pub limits: NodeLimits,
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
    scripts: Arc<Scripts>,
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

/// Lets nodes that run as other users reach their folders: a temporary one is its maker's alone.
fn let_others_through(root: &Path) -> Result<(), Error> {
    let open = || {
        let mut permissions = fs::metadata(root)?.permissions();
        permissions.set_mode(permissions.mode() | 0o011);
        fs::set_permissions(root, permissions)
    };
    open().doing(|| format!("cannot let other users through {}", root.display()))
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
        config.limits.check()?;
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
            plan.limits = config.limits;
            plan.machine = machines
                .as_ref()
                .map(|machines| Arc::clone(&machines.nodes[node]));
        }
        if plans.iter().any(|plan| plan.owner.is_some()) {
            let_others_through(root)?;
        }
        let addresses = places.iter().zip(&plans);
        log.note(Event::Start(Box::new(Start {
            schema: EVENTS_SCHEMA,
            seed: config.seed,
            nodes: config.nodes,
            places: network.nodes(),
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
        let machine = machines
            .as_ref()
            .map(|machines| Arc::clone(&machines.client));
        let scripts = Scripts::new(&config.scripts, root, config.nodes, machine, &log);
        Ok(Self {
            scripts: Arc::new(scripts),
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
        self.stage_with(Progress::default)
    }

    fn stage_with<P>(&self, progress: P) -> LiveStage<P> {
        LiveStage {
            network: Arc::clone(&self.network),
            nodes: Arc::clone(&self.nodes),
            scripts: Arc::clone(&self.scripts),
            log: Arc::clone(&self.log),
            fault: Arc::clone(&self.fault),
            progress,
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
        let stage = self.stage_with(progress);
        let thread = thread::Builder::new()
            .name("monkeys".to_owned())
            .spawn(move || perform(performer, stage, &inbox))
            .doing(|| "cannot start the monkeys' thread".to_owned())?;
        self.monkeys = Some(Monkeys { orders, thread });
        Ok(())
    }

    /// Stops the monkeys and undoes what they did: all links up, all nodes running but those that were killed for
    /// good. Waits for scripts under way.
    pub fn heal(&mut self) {
        self.end_monkeys(Order::Heal);
        self.scripts.finish();
    }

    /// What became of the scripts that failed so far, a line for each.
    pub fn failed_scripts(&self) -> Vec<String> {
        self.scripts.failed()
    }

    /// Asks all nodes to end, and waits for that; those that have not within a time.
    pub fn shut_down(&self, within: Duration) -> Result<Vec<NodeId>, Error> {
        let all = 0..self.nodes.count();
        let running = |node: &NodeId| self.nodes.state(*node) == NodeState::Running;
        let asked: Vec<NodeId> = all.filter(running).collect();
        for &node in &asked {
            let done = self.nodes.shut_down(node);
            done.doing(|| format!("cannot ask node {node} to end"))?;
        }
        let start = Instant::now();
        loop {
            self.exited()?;
            let left = asked.iter().copied();
            let left: Vec<NodeId> = left.filter(|&node| self.nodes.is_ending(node)).collect();
            if left.is_empty() || start.elapsed() >= within {
                return Ok(left);
            }
            thread::sleep(END_INTERVAL);
        }
    }

    /// The nodes that have ended by themselves, with their status. Looks afresh.
    pub fn exited(&self) -> Result<Vec<(NodeId, ExitStatus)>, Error> {
        let exited = self.nodes.exited();
        let exited = exited.doing(|| "cannot watch the nodes".to_owned())?;
        for node in self.nodes.ended_as_asked() {
            self.log.note(Event::Node(self.nodes.now(node)));
        }
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
        self.scripts.finish();
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

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
