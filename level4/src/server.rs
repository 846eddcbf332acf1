//! Puts a node, its transport and its HTTP interface on one socket.
//!
//! A connection whose first byte is zero is a peer's, or one that begins as TLS does, where peers speak
//! it; every other one speaks HTTP.

use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use axum::Router;
use bytes::BytesMut;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::{self, Api, Counters, Queue, router};
use crate::identity::Identity;
use crate::joining::Candidate;
use crate::node::{self, Form, Node, Prepared};
use crate::notes::note;
use crate::security::{Security, SecurityFiles};
use crate::settings::{RunError, Settings, TICK, unreachable};
use crate::trace::Tracer;
use crate::transport::{self, Connected, FileId, Listener, MAGIC, Rewound, Transport};

/// The first byte of a connection in TLS (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// At the end, requests under way get this long.
const GRACE: Duration = Duration::from_secs(5);
/// Of these, for another node to take leadership over. It takes two round trips, where there is anybody.
const HANDOVER: Duration = Duration::from_secs(1);
/// How long to wait for an address that a process just killed may still hold, and how often to look: as
/// long as for its folder.
const BIND_PATIENCE: Duration = Duration::from_secs(2);
const BIND_PAUSE: Duration = Duration::from_millis(10);

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
    let listener = listen(&settings.listen).await?;
    let address = listener.address(&settings.listen);
    let socket = if transport::is_path(&settings.listen) {
        FileId::of(Path::new(&settings.listen)).unwrap_or_default()
    } else {
        None
    };
    let name = settings
        .advertise
        .clone()
        .unwrap_or_else(|| address.clone());
    if let Some(what) = unreachable(&name) {
        let address = name;
        return Err(RunError::Advertise { address, what });
    }
    let prepared = prepare(&settings, folder, &name, security.proves())?;
    let identity = prepared.identity.clone();
    let life = identity.incarnation;
    let tracer = settings.trace.as_deref();
    let tracer = tracer.map(|path| Tracer::open(path, identity.node, life));
    let tracer = tracer.transpose()?;
    if !transport::is_path(&settings.listen) || security.is_open() {
        note(format_args!("{}", security.describe()));
    }
    // Nobody may be reading.
    let _ = writeln!(
        io::stdout(),
        "level4: node {} listens at {address}",
        identity.node
    );
    let (node, transport, mut faults) = Node::start(prepared, TICK, tracer.clone(), |on_event| {
        let tracer = tracer.clone();
        connect(&identity, &name, folder, security, tracer, on_event)
    });
    let candidate = Candidate {
        node: node.clone(),
        transport: transport.clone(),
        id: identity.node,
        name: name.clone(),
        through: settings.join.clone(),
    };
    tokio::spawn(candidate.settle());
    if let Some(reload) = settings.reload.clone() {
        let (files, transport) = (settings.security.clone(), transport.clone());
        tokio::spawn(reread(files, reload, transport));
    }
    let ending = Arc::new(AtomicBool::new(false));
    let counters = Arc::new(Counters::default());
    let queue = Queue::start(node.clone(), counters.clone());
    let api = Api {
        node: node.clone(),
        transport: transport.clone(),
        ending: ending.clone(),
        backups: Arc::new(Semaphore::new(api::BACKUPS_AT_A_TIME)),
        address: name.into(),
        started: SystemTime::now(),
        counters,
        queue: queue.clone(),
    };
    let router = router(api, settings.body_limit);
    let (ended, end) = watch::channel(());
    // Closed when the last connection of a client has been.
    let (client, mut clients) = mpsc::channel::<()>(1);
    let serving = tokio::spawn(accept(listener, router, transport, end, client));
    tokio::select! {
        () = shutdown => {}
        // At once: nothing that is under way can end well.
        fault = faults.next() => {
            finish(tracer.as_ref());
            return Err(fault.into());
        }
    }
    // Requests under way are answered by their results; no new ones are taken.
    ending.store(true, Relaxed);
    node.step_down();
    let deadline = Instant::now() + GRACE;
    hand_over(&node).await;
    while node.waiting() + queue.pending() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(10)).await;
    }
    // The last answers are on their way through the connections' tasks.
    serving.abort();
    drop(ended);
    let _ = timeout_at(deadline, clients.recv()).await;
    if let Some(own) = socket {
        // Already gone, or another's, if somebody tidied up before.
        let _ = transport::remove_if_same(Path::new(&settings.listen), own);
    }
    finish(tracer.as_ref());
    Ok(())
}

/// The parts of the node in `folder`, which its peers know by `name`.
fn prepare(
    settings: &Settings,
    folder: &Path,
    name: &str,
    proved: bool,
) -> Result<Prepared, RunError> {
    let form = if settings.on_disk {
        Form::Disk
    } else {
        Form::Memory
    };
    let joins = settings.join.is_some();
    let timing = settings.timing();
    node::prepare(folder, name, joins, timing, proved, form).map_err(|cause| RunError::Recover {
        folder: folder.to_owned(),
        cause,
    })
}

/// The last lines of a trace are written.
fn finish(tracer: Option<&Tracer>) {
    if let Some(tracer) = tracer {
        tracer.finish();
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

/// Reads secrets and certificates again whenever it is told to. What cannot be used changes nothing.
async fn reread(files: SecurityFiles, mut reload: watch::Receiver<()>, transport: Arc<Transport>) {
    while reload.changed().await.is_ok() {
        match files.load() {
            Ok(security) => {
                let secrets = security.secrets.len();
                transport.set_security(security);
                note(format_args!(
                    "secrets and certificates were read again: {secrets} secrets are accepted"
                ));
            }
            Err(error) => note(format_args!("{error}; the earlier ones stay in force")),
        }
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

async fn accept(
    listener: Listener,
    router: Router,
    transport: Arc<Transport>,
    end: watch::Receiver<()>,
    client: mpsc::Sender<()>,
) {
    loop {
        match listener.accept().await {
            Ok(socket) => {
                let serving = serve(socket, router.clone(), transport.clone(), end.clone());
                let client = client.clone();
                tokio::spawn(async move {
                    serving.await;
                    drop(client);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: some connection will end.
                note(format_args!("cannot accept a connection: {error}"));
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a connection to its end, or until the sender of `end` is gone and its request is answered.
async fn serve(
    connected: Connected,
    router: Router,
    transport: Arc<Transport>,
    mut end: watch::Receiver<()>,
) {
    let Connected {
        mut socket,
        local,
        from,
    } = connected;
    let mut first = BytesMut::with_capacity(4096);
    // An end or an error before the first byte is a connection that nobody needs.
    let begun = tokio::select! {
        read = socket.read_buf(&mut first) => matches!(read, Ok(1..)),
        _ = end.changed() => false,
    };
    if !begun {
        return;
    }
    let is_peer = first[0] == MAGIC[0] || first[0] == TLS_HANDSHAKE && transport.speaks_tls();
    let stream = Rewound::new(first.freeze(), socket);
    if is_peer {
        let connected = Connected {
            socket: Box::new(stream),
            local,
            from,
        };
        tokio::select! {
            () = transport.accept(connected) => {}
            _ = end.changed() => {}
        }
        return;
    }
    let service = TowerToHyperService::new(router);
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // Errors are a client's doing: it hung up, or spoke no HTTP and was told so.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = end.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
