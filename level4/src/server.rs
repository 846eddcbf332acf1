//! Puts a node, its transport and its HTTP interface on one socket.
//!
//! A connection whose first byte is zero is a peer's; every other one speaks HTTP.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use bytes::BytesMut;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::{Api, router};
use crate::consensus::Timing;
use crate::identity::Identity;
use crate::node::{self, Fault, Node, RecoverError};
use crate::notes::{detail, note};
use crate::transport::{self, FileId, Listener, MAGIC, Rewound, Socket, Transport};

/// How a node is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens, for clients and peers: `host:port` or a socket's path.
    pub listen: String,
    /// Its address for its peers, if that differs.
    pub advertise: Option<String>,
    /// A member to join through.
    pub join: Option<String>,
    /// The longest request body, bytes.
    pub body_limit: usize,
    /// The leader's heartbeat.
    pub heartbeat: Duration,
    /// Silence after which the leader is doubted.
    pub election: Duration,
}

/// Length of the core's tick. Short, because election timeouts are counted in them.
const TICK: Duration = Duration::from_millis(10);
/// At the end, requests under way get this long.
const GRACE: Duration = Duration::from_secs(5);
/// Of these, for another node to take leadership over. It takes two round trips, where there is anybody.
const HANDOVER: Duration = Duration::from_secs(1);
/// A newcomer asks again this often.
const JOIN_PAUSE: Duration = Duration::from_millis(200);

impl Settings {
    /// A founder's settings, all others as the program has them by default. `listen` is `host:port` or
    /// the path of a socket.
    pub fn listening_at(listen: &str) -> Self {
        Self {
            listen: listen.to_owned(),
            advertise: None,
            join: None,
            body_limit: 64 * 1024 * 1024,
            heartbeat: Duration::from_millis(50),
            election: Duration::from_millis(400),
        }
    }

    fn timing(&self) -> Timing {
        let ticks = |time: Duration| ((time.as_millis() / TICK.as_millis()) as usize).max(1);
        let heartbeat = ticks(self.heartbeat);
        let election = ticks(self.election).max(heartbeat + 1);
        Timing {
            heartbeat,
            election,
            election_step: (election / 4).max(2),
            resend: 2 * election as u64,
            snapshot: 3_000,
            piece: 64 * 1024,
            compare: 150,
        }
    }
}

/// Why a node did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address is taken, or none of this machine's.
    #[error("cannot listen at {address}: {cause}")]
    Listen {
        /// As given.
        address: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// The folder is not whole, or cannot be used.
    #[error("cannot start from {}: {cause}", folder.display())]
    Recover {
        /// As given.
        folder: PathBuf,
        /// What is wrong with it.
        cause: RecoverError,
    },
    /// It was running.
    #[error(transparent)]
    Fault(#[from] Fault),
}

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
    let listener = Listener::bind(&settings.listen)
        .await
        .map_err(|cause| RunError::Listen {
            address: settings.listen.clone(),
            cause,
        })?;
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
    let prepared = node::prepare(folder, &name, settings.join.is_some(), settings.timing())
        .map_err(|cause| RunError::Recover {
            folder: folder.to_owned(),
            cause,
        })?;
    let identity = prepared.identity.clone();
    // Nobody may be reading.
    let _ = writeln!(
        io::stdout(),
        "level4: node {:016x} listens at {address}",
        identity.node
    );
    let (node, transport, mut faults) = Node::start(prepared, TICK, |on_event| {
        let who = transport::Identity {
            node: identity.node,
            name: name.clone(),
            cluster: identity.cluster,
        };
        let (identity, folder) = (identity.clone(), folder.to_owned());
        let on_cluster = move |cluster| {
            let joined = Identity {
                cluster,
                ..identity.clone()
            };
            if let Err(error) = joined.save(&folder) {
                note(format_args!("the cluster's id cannot be saved: {error}"));
            }
        };
        Transport::new(who, on_event, Box::new(on_cluster))
    });
    if let Some(through) = settings.join.clone() {
        tokio::spawn(join(
            node.clone(),
            transport.clone(),
            identity.node,
            name,
            through,
        ));
    }
    let ending = Arc::new(AtomicBool::new(false));
    let api = Api {
        node: node.clone(),
        transport: transport.clone(),
        ending: ending.clone(),
    };
    let router = router(api, settings.body_limit);
    let (ended, end) = watch::channel(());
    // Closed when the last connection of a client has been.
    let (client, mut clients) = mpsc::channel::<()>(1);
    let serving = tokio::spawn(accept(listener, router, transport, end, client));
    tokio::select! {
        () = shutdown => {}
        // At once: nothing that is under way can end well.
        fault = faults.next() => return Err(fault.into()),
    }
    // Requests under way are answered by their results; no new ones are taken.
    ending.store(true, Relaxed);
    node.step_down();
    let deadline = Instant::now() + GRACE;
    hand_over(&node).await;
    while node.waiting() > 0 && Instant::now() < deadline {
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
    Ok(())
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

/// Asks to be taken in, through a member given by the user, until it has happened. The connection made
/// for that stays as the connection to that member.
async fn join(node: Arc<Node>, transport: Arc<Transport>, id: u64, name: String, through: String) {
    let asking = async {
        loop {
            if node
                .status()
                .await
                .is_ok_and(|status| status.members.contains_key(&id))
            {
                return;
            }
            node.join(id, name.clone());
            transport.ask_to_join(&name);
            sleep(JOIN_PAUSE).await;
        }
    };
    let dialling = async {
        loop {
            if transport.connected().is_empty() {
                // A task of its own: the connection outlives the joining.
                let (transport, address) = (transport.clone(), through.clone());
                let dial = tokio::spawn(async move { transport.dial(&address, None).await });
                if let Ok(Err(reason)) = dial.await {
                    detail(format_args!(
                        "cannot join through {through}: {reason}; trying on"
                    ));
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = dialling => {}
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
    mut socket: Box<dyn Socket>,
    router: Router,
    transport: Arc<Transport>,
    mut end: watch::Receiver<()>,
) {
    let mut first = BytesMut::with_capacity(4096);
    // An end or an error before the first byte is a connection that nobody needs.
    let begun = tokio::select! {
        read = socket.read_buf(&mut first) => matches!(read, Ok(1..)),
        _ = end.changed() => false,
    };
    if !begun {
        return;
    }
    let is_peer = first[0] == MAGIC[0];
    let stream = Rewound::new(first.freeze(), socket);
    if is_peer {
        tokio::select! {
            () = transport.accept(Box::new(stream)) => {}
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
