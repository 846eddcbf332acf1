//! Where clients and peers come in: one port for both, or one for each.
//!
//! At a port for both, a connection whose first byte is zero is a peer's, or one that begins as TLS does,
//! where peers speak it and clients do not. Where both do, peers say in their first message what they are
//! (ALPN). Every other connection speaks HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::BytesMut;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
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

/// What is behind the doors.
#[derive(Clone)]
pub struct House {
    /// For clients.
    pub router: Router,
    /// For peers.
    pub transport: Arc<Transport>,
    /// TLS towards clients.
    pub https: watch::Receiver<Option<Https>>,
    /// Connections end when its sender is gone, once their request is answered.
    pub end: watch::Receiver<()>,
    /// Closed when the last connection has been.
    pub open: mpsc::Sender<()>,
}

/// Takes connections as long as it is polled.
pub async fn accept(listener: Listener, door: Door, house: House) {
    loop {
        match listener.accept().await {
            Ok(connected) => {
                let open = house.open.clone();
                let serving = house.clone().serve(door, connected);
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
    /// Serves a connection to its end.
    async fn serve(mut self, door: Door, connected: Connected) {
        let Connected {
            mut socket,
            local,
            from,
        } = connected;
        let mut first = BytesMut::with_capacity(4096);
        // An end or an error before the first byte is a connection that nobody needs.
        let begun = tokio::select! {
            read = socket.read_buf(&mut first) => matches!(read, Ok(1..)),
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
            Door::Both if is_tls && self.transport.speaks_tls() => {
                https.is_none() || is_peers(&mut socket, &mut first).await
            }
            Door::Both => first[0] == MAGIC[0],
        };
        let mut stream = Rewound::new(first.freeze(), socket);
        if is_peer {
            let connected = Connected {
                socket: Box::new(stream),
                local,
                from,
            };
            tokio::select! {
                () = self.transport.accept(connected) => {}
                _ = self.end.changed() => {}
            }
            return;
        }
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
