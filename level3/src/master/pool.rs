//! Kept connections to one node, and what is known of its speed and health.
//!
//! A node that says nothing for the time it has is *down* from then on: whoever asks it later is
//! told so at once. A prober asks it in the background until it answers.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::error::Cause;
use crate::wire::{self, Endpoint, Kind};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections kept for later.
const MAX_IDLE: usize = 64;

/// How long a prober rests between two attempts.
const PROBE_REST: Duration = Duration::from_millis(100);

/// How much is read at once, in bytes. Large, since common needles have answers of megabytes.
const READ_BYTES: usize = 256 << 10;

/// Either kind of socket.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A connection to a node.
pub(crate) struct Connection {
    socket: Box<dyn Socket>,
    received: BytesMut,
    /// Whether it has answered before. The node may have closed such a connection since, which
    /// shows only when it is used: then a fresh one is worth a try.
    pub kept: bool,
}

impl Connection {
    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.socket.write_all(frame).await
    }

    /// Receives a frame.
    pub(crate) async fn receive(&mut self) -> io::Result<(Kind, Bytes)> {
        loop {
            if let Some(&header) = self.received.first_chunk() {
                let (kind, bytes) = wire::parse_header(header)?;
                if self.received.len() >= wire::HEADER_BYTES + bytes {
                    self.received.advance(wire::HEADER_BYTES);
                    return Ok((kind, self.received.split_to(bytes).freeze()));
                }
            }
            self.received.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// One node, as the master sees it.
pub(crate) struct Pool {
    pub endpoint: Endpoint,
    idle: Mutex<Vec<Connection>>,
    /// Smoothed time to the first frame of an answer, in microseconds.
    latency_us: AtomicU64,
    /// Failures since the last success.
    failures: AtomicU32,
    /// Whether it is only asked by the prober.
    is_down: AtomicBool,
    /// Told when the node goes down.
    went_down: Notify,
}

impl Pool {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            idle: Mutex::default(),
            latency_us: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            is_down: AtomicBool::new(false),
            went_down: Notify::new(),
        }
    }

    /// A kept connection, or else a new one.
    pub(crate) async fn take(&self) -> io::Result<Connection> {
        let kept = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        match kept {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        let connect = async {
            Ok::<Box<dyn Socket>, io::Error>(match &self.endpoint {
                Endpoint::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        };
        let socket = timeout(CONNECT_TIMEOUT, connect).await??;
        Ok(Connection {
            socket,
            received: BytesMut::new(),
            kept: false,
        })
    }

    /// Takes back a connection whose answer has been received to its end.
    pub(crate) fn give_back(&self, mut connection: Connection) {
        connection.kept = true;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // Bytes beyond the answer would be taken for the next one.
        if idle.len() < MAX_IDLE && connection.received.is_empty() {
            idle.push(connection);
        }
    }

    /// Sends a request and receives its first frame. A kept connection that turns out to be dead
    /// is replaced once. A node that is down is not asked.
    pub(crate) async fn request(
        &self,
        frame: &[u8],
        patience: Duration,
    ) -> Result<(Connection, Kind, Bytes), Cause> {
        if self.is_down() {
            return Err(Cause::Down);
        }
        let started = Instant::now();
        let outcome = match self.take().await {
            Ok(connection) => self.request_on(connection, frame, patience).await,
            Err(error) => Err(error),
        };
        self.note(started, outcome.is_ok());
        outcome.map_err(|error| {
            let cause = Cause::from(error);
            if matches!(cause, Cause::Silent) {
                self.mark_down();
            }
            cause
        })
    }

    /// Has the node do something, by a request in JSON that is answered when it is done.
    pub(crate) async fn order(
        &self,
        kind: Kind,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<(), Cause> {
        let json = serde_json::to_vec(request).map_err(|_| Cause::Unexpected)?;
        match self.request(&wire::frame(kind, &json), patience).await? {
            (connection, Kind::Last, _) => {
                self.give_back(connection);
                Ok(())
            }
            (_, Kind::Error, message) => Err(Cause::of_error(&message)),
            _ => Err(Cause::Unexpected),
        }
    }

    /// Whether the node was silent and has not been heard of since.
    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// Remembers that the node says nothing.
    pub(crate) fn mark_down(&self) {
        if !self.is_down.swap(true, Ordering::Relaxed) {
            crate::note!("node {} does not answer", self.endpoint);
        }
        self.went_down.notify_one();
    }

    /// Asks the node whenever it is down, until it answers again. Never ends.
    pub(crate) async fn probe(&self, patience: Duration) {
        let question = wire::frame(Kind::Status, &[]);
        loop {
            self.went_down.notified().await;
            while self.is_down() {
                let ask = async {
                    let mut connection = self.connect().await?;
                    let answer = exchange(&mut connection, &question, patience).await?;
                    Ok::<_, io::Error>((connection, answer))
                };
                match ask.await {
                    Ok((connection, (Kind::Last, _))) => {
                        self.give_back(connection);
                        self.failures.store(0, Ordering::Relaxed);
                        self.is_down.store(false, Ordering::Relaxed);
                        crate::note!("node {} answers again", self.endpoint);
                    }
                    _ => sleep(PROBE_REST).await,
                }
            }
        }
    }

    async fn request_on(
        &self,
        mut connection: Connection,
        frame: &[u8],
        patience: Duration,
    ) -> io::Result<(Connection, Kind, Bytes)> {
        let kept = connection.kept;
        match exchange(&mut connection, frame, patience).await {
            Ok((kind, payload)) => Ok((connection, kind, payload)),
            Err(error) if kept && error.kind() != io::ErrorKind::TimedOut => {
                // The others are most likely as dead: the node was restarted.
                self.idle
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clear();
                let mut fresh = self.connect().await?;
                let (kind, payload) = exchange(&mut fresh, frame, patience).await?;
                Ok((fresh, kind, payload))
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers how a request went.
    pub(crate) fn note(&self, started: Instant, success: bool) {
        // Relaxed throughout: these are hints for picking a replica.
        if success {
            let sample = started.elapsed().as_micros() as u64;
            let before = self.latency_us.load(Ordering::Relaxed);
            let smoothed = if before == 0 {
                sample
            } else {
                (before * 7 + sample) / 8
            };
            self.latency_us.store(smoothed, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Smoothed time to the first frame.
    pub(crate) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.load(Ordering::Relaxed))
    }

    /// What to sort replicas by: healthy ones first, then fast ones.
    pub(crate) fn rank(&self) -> (u32, Duration) {
        (self.failures.load(Ordering::Relaxed), self.latency())
    }
}

async fn exchange(
    connection: &mut Connection,
    frame: &[u8],
    patience: Duration,
) -> io::Result<(Kind, Bytes)> {
    timeout(patience, async {
        connection.send(frame).await?;
        connection.receive().await
    })
    .await?
}
