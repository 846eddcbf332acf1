//! Where clients and peers come in: one port for both, or one for each.
//!
//! At a port for both, a connection whose first byte is zero is a peer's, or one that begins as TLS does,
//! where peers speak it and clients do not. Where both do, peers say in their first message what they are
//! (ALPN). Every other connection speaks HTTP.
//!
//! Whoever connects and says nothing, or says it a byte a minute, has a budget of time, and there is a limit of
//! such and of clients, so that none of them takes the descriptors that the log and other nodes need.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::BytesMut;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::notes::{detail, note};
use crate::security::{Https, is_peers_hello};
use crate::transport::{Connected, Listener, MAGIC, Rewound, Socket, Transport};

/// The first byte of a connection in TLS (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// The first message of TLS has to be shorter, bytes.
const HELLO_LIMIT: usize = 64 * 1024;
/// A client that speaks TLS has to be done with greeting by then.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// The first byte has to be there by then,
const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(30);
/// or by then, while many are waited for.
const CROWDED_LIMIT: Duration = Duration::from_secs(1);
/// A request's head has to be there by then; as long a client may keep a connection open between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(180);
/// So many clients may be connected, as far as the process may open so many files,
const MOST_CLIENTS: usize = 16_384;
/// and so many connections that have not said what they are.
const MOST_NEWCOMERS: usize = 1_024;
/// Files that the process may open and connections do not get: the log's, the database's, those of peers.
const KEPT_FILES: usize = 128;
/// What a client hears for whom there is no place.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 44\r\n\r\ntoo many clients are connected to this node\n";
/// What a client hears that speaks no TLS where it should.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-Type: text/plain\r\nContent-Length: 31\r\n\r\nthis node speaks HTTPS, no HTTP";

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Clients and peers.
    Both,
    /// Clients: peers have a port of their own.
    Clients,
    /// Peers.
    Peers,
}

/// How many may be connected.
#[derive(Debug, Clone)]
pub struct Places {
    clients: Arc<Semaphore>,
    newcomers: Arc<Semaphore>,
    newcomers_limit: usize,
}

impl Places {
    /// As many as the process may open files for.
    pub fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile).current;
        let files = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let rest = files.saturating_sub(KEPT_FILES).max(8);
        let newcomers_limit = MOST_NEWCOMERS.min(rest / 4);
        Self {
            clients: Arc::new(Semaphore::new(MOST_CLIENTS.min(rest / 2))),
            newcomers: Arc::new(Semaphore::new(newcomers_limit)),
            newcomers_limit,
        }
    }

    /// How long the first byte is waited for.
    fn patience(&self) -> Duration {
        if self.newcomers.available_permits() < self.newcomers_limit / 2 {
            CROWDED_LIMIT
        } else {
            FIRST_BYTE_LIMIT
        }
    }
}

/// What is behind the doors.
#[derive(Clone)]
pub struct House {
    /// For clients.
    pub router: Router,
    /// For peers; without it, none are let in.
    pub transport: Option<Arc<Transport>>,
    /// TLS towards clients.
    pub https: watch::Receiver<Option<Https>>,
    /// For how many.
    pub places: Places,
    /// Connections end when its sender is gone, once their request is answered.
    pub end: watch::Receiver<()>,
    /// Closed when the last connection has been.
    pub open: mpsc::Sender<()>,
}

/// Takes connections as long as it is polled.
pub async fn accept(listener: &Listener, door: Door, house: House) {
    loop {
        match listener.accept().await {
            Ok(connected) => {
                // One more that says nothing has no place: most of those before it are gone in a second.
                let Ok(place) = house.places.newcomers.clone().try_acquire_owned() else {
                    continue;
                };
                let open = house.open.clone();
                let serving = house.clone().serve(door, connected, place);
                tokio::spawn(async move {
                    serving.await;
                    drop(open);
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

impl House {
    fn do_peers_speak_tls(&self) -> bool {
        self.transport
            .as_ref()
            .is_some_and(|transport| transport.speaks_tls())
    }

    /// Serves a connection to its end.
    async fn serve(mut self, door: Door, connected: Connected, newcomer: OwnedSemaphorePermit) {
        let Connected {
            mut socket,
            local,
            from,
        } = connected;
        let mut first = BytesMut::with_capacity(4096);
        // An end or an error before the first byte is a connection that nobody needs.
        let begun = tokio::select! {
            read = timeout(self.places.patience(), socket.read_buf(&mut first)) => {
                matches!(read, Ok(Ok(1..)))
            }
            _ = self.end.changed() => false,
        };
        if !begun {
            return;
        }
        let is_tls = first[0] == TLS_HANDSHAKE;
        let https = self.https.borrow().clone();
        let is_peer = match door {
            Door::Peers => true,
            Door::Clients => false,
            Door::Both if is_tls && self.do_peers_speak_tls() => {
                https.is_none() || is_peers(&mut socket, &mut first).await
            }
            Door::Both => first[0] == MAGIC[0],
        };
        let mut stream = Rewound::new(first.freeze(), socket);
        drop(newcomer);
        if is_peer {
            let connected = Connected {
                socket: Box::new(stream),
                local,
                from,
            };
            let Some(transport) = self.transport else {
                return;
            };
            tokio::select! {
                () = transport.accept(connected) => {}
                _ = self.end.changed() => {}
            }
            return;
        }
        let Ok(_place) = self.places.clients.clone().try_acquire_owned() else {
            if !is_tls {
                // Gone already, perhaps.
                let _ = timeout(CROWDED_LIMIT, stream.write_all(NO_PLACE)).await;
            }
            return;
        };
        match https {
            None => http(stream, self.router, self.end).await,
            Some(https) if is_tls => {
                match timeout(HANDSHAKE_LIMIT, https.accept(Box::new(stream))).await {
                    Ok(Ok(stream)) => http(stream, self.router, self.end).await,
                    Ok(Err(error)) => {
                        detail(format_args!("no client from {from}, by TLS: {error}"));
                    }
                    Err(_) => detail(format_args!("a client from {from} did not greet in time")),
                }
            }
            Some(_) => {
                // Gone already, perhaps.
                let _ = timeout(HANDSHAKE_LIMIT, stream.write_all(SPEAK_TLS)).await;
            }
        }
    }
}

/// Whether a connection that has begun as TLS does is a peer's. Reads more of it, if need be.
async fn is_peers(socket: &mut Box<dyn Socket>, first: &mut BytesMut) -> bool {
    let look = async {
        loop {
            if let Some(is_peer) = is_peers_hello(first) {
                return is_peer;
            }
            if first.len() > HELLO_LIMIT || !matches!(socket.read_buf(first).await, Ok(1..)) {
                return false;
            }
        }
    };
    timeout(HANDSHAKE_LIMIT, look).await.unwrap_or(false)
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    router: Router,
    mut end: watch::Receiver<()>,
) {
    let service = TowerToHyperService::new(router);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
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
