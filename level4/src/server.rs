//! Puts a node, its transport and its HTTP interface on one socket, or on two.

use std::future::pending;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::addresses::Addresses;
use crate::api::{self, Api, Counters, Kept, Queue, keep_saving, router};
use crate::backup::{self, Backups};
use crate::cdc;
use crate::doors::{Door, House, Places, accept};
use crate::founding::{self, Part, agree};
use crate::identity::Identity;
use crate::ids::NodeId;
use crate::joining::Candidate;
use crate::node::{self, Node, Prepared};
use crate::notes::{note, program};
use crate::reload::{Reloaded, Users};
use crate::security::{Https, Security};
use crate::settings::{RunError, Settings, TICK};
use crate::trace::Tracer;
use crate::transport::{self, FileId, Listener, Meeting, Transport};

/// At the end, requests under way get this long.
const GRACE: Duration = Duration::from_secs(5);
/// Of these, for another node to take leadership over. It takes two round trips, where there is anybody.
const HANDOVER: Duration = Duration::from_secs(1);
/// How long to wait for an address that a process just killed may still hold, and how often to look: as
/// long as for its folder.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
const BIND_PAUSE: Duration = Duration::from_millis(10);
/// Other nodes are looked for this often,
const DISCOVER_AGAIN: Duration = Duration::from_millis(500);
/// and it is said this often that there are none.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How often a node looks whether it has been removed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Passwords alone keep nobody out.
const PEERS_WITHOUT_PROOF: &str = "WARNING: --auth asks clients for passwords, but peers prove nothing: a process that is taken for one may do everything. Give all nodes a --secret-file or certificates";

/// Runs the node in `folder` until `shutdown` is done.
///
/// # Errors
///
/// If the address cannot be listened at, the folder cannot be used, or the node cannot go on.
pub async fn run(
    settings: Settings,
    folder: &Path,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let security = settings.security.load()?;
    let reloaded = Reloaded {
        security: settings.security.clone(),
        https: settings.https.clone(),
        auth: settings.auth.clone(),
    };
    let current = reloaded.load()?;
    let (users, https) = (current.users.subscribe(), current.https.subscribe());
    tokio::pin!(shutdown);
    let (mut ports, addresses) = entrance(&settings).await?;
    let name = addresses.name.clone();
    let is_new = !has_state(folder);
    let through = tokio::select! {
        // A node that is told to end at once has begun, too, unless it has to wait for others.
        biased;
        through = members(&settings, is_new, &name, &security, &ports) => through?,
        () = serve_waiting(&ports, https.clone()) => unreachable!("it goes on for ever"),
        () = &mut shutdown => return Ok(()),
    };
    let joins = !through.is_empty();
    let restored = match &settings.auto_restore {
        Some(config) if !(is_new && joins) => backup::fetch(config, folder, is_new).await?,
        _ => {
            backup::forget(folder)?;
            None
        }
    };
    if let Some(restored) = restored {
        tokio::select! {
            placed = backup::put_in_place(restored, folder, &name, settings.form()) => placed?,
            () = &mut shutdown => return Ok(()),
        }
    }
    let prepared = prepare(&settings, folder, &name, joins, security.proves())?;
    let identity = prepared.identity.clone();
    let life = identity.incarnation;
    let tracer = settings.trace.as_deref();
    let tracer = tracer.map(|path| Tracer::open(path, identity.node, life));
    let tracer = tracer.transpose()?;
    announce(&settings, &security, identity.node, &ports[0].address);
    let (node, transport, mut faults) = Node::start(prepared, TICK, tracer.clone(), |on_event| {
        let tracer = tracer.clone();
        connect(&identity, &name, folder, security, tracer, on_event)
    });
    let candidate = Candidate {
        node: node.clone(),
        transport: transport.clone(),
        id: identity.node,
        name: name.clone(),
        through,
    };
    tokio::spawn(candidate.settle());
    if let Some(told) = settings.reload.clone() {
        tokio::spawn(reloaded.keep(told, current, transport.clone()));
    }
    let api = interface(&settings, addresses, &node, &transport, folder, users);
    let (ending, queue) = (api.ending.clone(), api.queue.clone());
    let router = router(api, settings.body_limit);
    let (ended, end) = watch::channel(());
    // Closed when the last connection has been.
    let (open, mut opened) = mpsc::channel::<()>(1);
    let house = House {
        router,
        transport: Some(transport),
        https,
        places: Places::of_process(),
        end,
        open,
    };
    let served = serve(&mut ports, &house);
    drop(house);
    tokio::select! {
        () = &mut shutdown => {}
        () = removed(&node), if settings.ends_if_removed => {
            note(format_args!("this node was removed from its cluster, and ends"));
        }
        // At once: nothing that is under way can end well.
        fault = faults.next() => {
            finish(tracer.as_ref());
            return Err(fault.into());
        }
    }
    // Requests under way are answered by their results; no new ones are taken.
    ending.store(true, Relaxed);
    let deadline = Instant::now() + GRACE;
    wind_down(&node, &queue, settings.leaves_at_end, deadline).await;
    // The last answers are on their way through the connections' tasks.
    for serving in served {
        serving.abort();
    }
    drop(ended);
    let _ = timeout_at(deadline, opened.recv()).await;
    for port in ports {
        port.tidy();
    }
    finish(tracer.as_ref());
    Ok(())
}

/// The parts of the node in `folder`, which its peers know by `name`.
fn prepare(
    settings: &Settings,
    folder: &Path,
    name: &str,
    joins: bool,
    proved: bool,
) -> Result<Prepared, RunError> {
    let (timing, form) = (settings.timing(), settings.form());
    node::prepare(folder, name, joins, timing, proved, form).map_err(|cause| RunError::Recover {
        folder: folder.to_owned(),
        cause,
    })
}

/// Where clients and peers come in, and how others reach that.
async fn entrance(settings: &Settings) -> Result<(Vec<Port>, Addresses), RunError> {
    let mut ports = vec![Port::open(&settings.listen).await?];
    if let Some(peers) = &settings.peers {
        ports.push(Port::open(peers).await?);
    }
    let peers = ports.get(1).map(|port| port.address.as_str());
    let addresses = Addresses::of(settings, &ports[0].address, peers)?;
    Ok((ports, addresses))
}

/// The members to join through: none for a node that founds its cluster. Those who found one together
/// agree first on who does.
async fn members(
    settings: &Settings,
    is_new: bool,
    name: &str,
    security: &Security,
    ports: &[Port],
) -> Result<Vec<String>, RunError> {
    let discovery = settings.discovery.as_ref();
    // The last port is that of peers.
    let listener = ports.last().and_then(|port| port.listener.as_ref());
    if is_new
        && let Some(founders) = &settings.founders
        && let Some(listener) = listener
    {
        let meeting = Meeting::new(name, security.clone());
        let part = agree(meeting, founders, &settings.join, discovery, listener).await?;
        return Ok(match part {
            Part::Found => Vec::new(),
            Part::Join(address) => vec![address],
        });
    }
    let mut said: Option<Instant> = None;
    loop {
        let found = founding::addresses(&settings.join, discovery).await;
        let Some(discovery) = discovery.filter(|_| is_new && found.is_empty()) else {
            return Ok(found);
        };
        // Nobody is known to be there; that nobody is there is something else.
        if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            let name = &discovery.name;
            note(format_args!(
                "{name} leads to no node yet: waiting, as a cluster that is to be found is not founded"
            ));
            said = Some(Instant::now());
        }
        sleep(DISCOVER_AGAIN).await;
    }
}

/// Tells the operator who this is, and who is let in.
fn announce(settings: &Settings, security: &Security, node: NodeId, address: &str) {
    if !transport::is_path(&settings.listen) || security.is_open() {
        note(format_args!("{}", security.describe()));
    }
    if settings.auth.is_some() && !security.proves() {
        note(format_args!("{PEERS_WITHOUT_PROOF}"));
    }
    // Nobody may be reading.
    let program = program();
    let _ = writeln!(io::stdout(), "{program}: node {node} listens at {address}");
}

/// What clients meet.
fn interface(
    settings: &Settings,
    addresses: Addresses,
    node: &Arc<Node>,
    transport: &Arc<Transport>,
    folder: &Path,
    users: watch::Receiver<Users>,
) -> Api {
    let counters = Arc::new(Counters::new(node.figures.saved.load(Relaxed)));
    if let Some(snapshots) = settings.snapshots {
        tokio::spawn(keep_saving(node.clone(), counters.clone(), snapshots));
    }
    Api {
        node: node.clone(),
        transport: transport.clone(),
        ending: Arc::new(AtomicBool::new(false)),
        backups: Arc::new(api::Downloads::new(api::BACKUPS_AT_A_TIME)),
        loads: Arc::new(Semaphore::new(1)),
        addresses: Arc::new(addresses),
        kept: Arc::new(Kept {
            folder: folder.display().to_string(),
            on_disk: settings.on_disk,
            heartbeat: settings.heartbeat,
            election: settings.election,
            foreign_keys: settings.foreign_keys,
            body_limit: settings.body_limit,
            is_rqlited: settings.is_rqlited,
            snapshots: settings.snapshots,
            compile_options: OnceLock::new(),
        }),
        started: SystemTime::now(),
        counters: counters.clone(),
        queue: Queue::start(node.clone(), counters, settings.queue),
        auto_backups: auto_backups(settings, node, folder),
        sender: sender(settings, node),
        users,
        hashing: api::Hashing::default(),
        allow_origin: settings.allow_origin.clone(),
    }
}

/// Begins to make backups, if they are wanted.
fn auto_backups(settings: &Settings, node: &Arc<Node>, folder: &Path) -> Option<Arc<Backups>> {
    let backups = Arc::new(Backups::new(settings.auto_backup.clone()?));
    tokio::spawn(backups.clone().keep(node.clone(), folder.to_owned()));
    Some(backups)
}

/// Begins to tell others of changes, if that is wanted.
fn sender(settings: &Settings, node: &Arc<Node>) -> Option<Arc<cdc::Sender>> {
    let Some(config) = settings.cdc.clone() else {
        tokio::spawn(cdc::forgo(node.clone()));
        return None;
    };
    let sender = Arc::new(cdc::Sender::new(config));
    tokio::spawn(sender.clone().keep(node.clone()));
    Some(sender)
}

/// Takes connections at all ports.
fn serve(ports: &mut [Port], house: &House) -> Vec<JoinHandle<()>> {
    let doors: &[Door] = if ports.len() > 1 {
        &[Door::Clients, Door::Peers]
    } else {
        &[Door::Both]
    };
    ports
        .iter_mut()
        .zip(doors)
        .filter_map(|(port, &door)| Some((port.listener.take()?, door)))
        .map(|(listener, door)| {
            let house = house.clone();
            tokio::spawn(async move { accept(&listener, door, house).await })
        })
        .collect()
}

/// Tells clients that the node is there, and waits for others. At a port that is also for peers, nobody hears
/// anything: those who wait for each other meet there.
async fn serve_waiting(ports: &[Port], https: watch::Receiver<Option<Https>>) {
    let [clients, _] = ports else {
        return pending().await;
    };
    let Some(listener) = &clients.listener else {
        return pending().await;
    };
    // Both ends go with this, and with them the connections.
    let (_ended, end) = watch::channel(());
    let (open, _opened) = mpsc::channel(1);
    let house = House {
        router: api::waiting(),
        transport: None,
        https,
        places: Places::of_process(),
        end,
        open,
    };
    accept(listener, Door::Clients, house).await;
}

/// Sees to it that others go on without this node, and that what is under way is answered.
async fn wind_down(node: &Node, queue: &Queue, leaves: bool, deadline: Instant) {
    node.step_down();
    hand_over(node).await;
    if leaves {
        leave(node, deadline).await;
    }
    while node.waiting() + queue.pending() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Whether the folder is that of a node which has run already. If it is damaged, recovering says so.
fn has_state(folder: &Path) -> bool {
    Identity::load(folder).is_ok_and(|identity| identity.is_some_and(|known| known.has_log))
}

/// The last lines of a trace are written.
fn finish(tracer: Option<&Tracer>) {
    if let Some(tracer) = tracer {
        tracer.finish();
    }
}

/// Where connections come in.
struct Port {
    given: String,
    /// In a form that reaches it.
    address: String,
    listener: Option<Listener>,
    /// The socket's file, if it has one.
    socket: Option<FileId>,
}

impl Port {
    async fn open(given: &str) -> Result<Self, RunError> {
        let listener = listen(given).await?;
        let socket = if transport::is_path(given) {
            FileId::of(Path::new(given)).unwrap_or_default()
        } else {
            None
        };
        Ok(Self {
            given: given.to_owned(),
            address: listener.address(given),
            listener: Some(listener),
            socket,
        })
    }

    /// Removes the socket's file.
    fn tidy(self) {
        if let Some(own) = self.socket {
            // Already gone, or another's, if somebody tidied up before.
            let _ = transport::remove_if_same(Path::new(&self.given), own);
        }
    }
}

/// Listens at `address`. A process that was killed just now may still hold it, and is waited for a little.
async fn listen(address: &str) -> Result<Listener, RunError> {
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match Listener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(cause) if cause.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(BIND_PAUSE).await;
            }
            Err(cause) => {
                let address = address.to_owned();
                return Err(RunError::Listen { address, cause });
            }
        }
    }
}

/// The transport of the node `identity`, whose peers know it by `name`.
fn connect(
    identity: &Identity,
    name: &str,
    folder: &Path,
    security: Security,
    tracer: Option<Tracer>,
    on_event: Box<dyn Fn(transport::Event) + Send + Sync>,
) -> Arc<Transport> {
    let who = transport::Identity {
        node: identity.node,
        name: name.to_owned(),
        cluster: identity.cluster,
    };
    let (identity, folder) = (identity.clone(), folder.to_owned());
    let on_cluster = move |cluster| {
        let joined = Identity {
            cluster: Some(cluster),
            ..identity.clone()
        };
        if let Err(error) = joined.save(&folder) {
            note(format_args!("the cluster's id cannot be saved: {error}"));
        }
    };
    Transport::new(who, security, tracer, on_event, Box::new(on_cluster))
}

/// Waits until this node is no member any more.
async fn removed(node: &Node) {
    while node
        .status()
        .await
        .is_ok_and(|status| status.removed.is_none())
    {
        sleep(LOOK_AGAIN).await;
    }
}

/// Has this node taken out of its cluster, if that goes on without it.
async fn leave(node: &Node, deadline: Instant) {
    while let Ok(status) = node.status().await
        && status.members.contains_key(&status.id)
        && status.members.len() > 1
        && status.removed.is_none()
        && Instant::now() < deadline
    {
        node.remove(status.id);
        sleep(LOOK_AGAIN).await;
    }
}

/// Waits until somebody else leads, so that the others need not find out by this node's silence.
async fn hand_over(node: &Node) {
    let deadline = Instant::now() + HANDOVER;
    while let Ok(status) = node.status().await
        && status.role == "leader"
        && status.voters.len() > 1
        && Instant::now() < deadline
    {
        sleep(Duration::from_millis(5)).await;
    }
}
