//! One connection: a task that writes what is queued, a task that reads.
//!
//! The writer sends everything that is queued as one block. Messages too long for a block go in parts
//! between the others, so that a long entry does not hold up heartbeats.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::course::{self, Course, Told};
use super::wire::{BLOCK_LIMIT, Frame, Packer, Unpacker};
use super::{Queue, Socket, Transport};
use crate::ids::NodeId;
use crate::notes::detail;

/// A block takes frames up to this length together, bytes.
const BLOCK_TARGET: usize = 64 * 1024;
/// Messages longer than this go in parts, bytes.
const WHOLE_LIMIT: usize = 256 * 1024;
/// Length of a part, bytes.
const PART: usize = 32 * 1024;
/// Messages are dropped beyond this backlog, bytes.
const BACKLOG_LIMIT: usize = 64 * 1024 * 1024;
/// The longest message that a member may send in parts, bytes: an entry holds less than the requests that
/// may wait at a node together.
const MESSAGE_LIMIT: usize = 1024 * 1024 * 1024 + 64 * 1024 * 1024;
/// A connection with nothing to say sends an empty block this often.
const QUIET: Duration = Duration::from_secs(1);
/// A connection that was silent for this long is dead.
const DEAD: Duration = Duration::from_secs(6);

/// Something to send.
#[derive(Debug)]
pub enum Outgoing {
    /// In order.
    Frame(Frame),
    /// In parts, beside the others.
    Bulk(Vec<u8>),
}

impl Outgoing {
    /// An encoded message, sent whole or in parts according to its length.
    pub fn message(bytes: Vec<u8>) -> Self {
        match bytes.len() {
            0..=WHOLE_LIMIT => Self::Frame(Frame::Message(bytes)),
            _ => Self::Bulk(bytes),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.size(),
            Self::Bulk(bytes) => bytes.len(),
        }
    }
}

/// Something to send, and what is to be told of it then.
pub type Queued = (Outgoing, Option<Box<Told>>);

/// The queue of a running connection; dropping it (and all clones) ends the connection.
#[derive(Debug, Clone)]
pub struct Connection {
    queue: Queue,
    backlog: Arc<Backlog>,
}

/// What is queued and not written yet.
#[derive(Debug, Default)]
struct Backlog {
    /// Of everything, bytes.
    bytes: AtomicUsize,
    /// Messages that go in parts.
    bulk: AtomicUsize,
}

/// The other end of the queue.
pub struct Outbox {
    queue: mpsc::UnboundedReceiver<Queued>,
    backlog: Arc<Backlog>,
}

impl Connection {
    /// A queue and its other end.
    pub fn new() -> (Self, Outbox) {
        let (sender, queue) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog::default());
        (
            Self {
                queue: sender,
                backlog: backlog.clone(),
            },
            Outbox { queue, backlog },
        )
    }

    /// Whether a message of about `size` bytes would be queued. One that goes in parts is not while
    /// another does: until that one has arrived, Raft tries again and again, as nothing is acknowledged.
    pub fn has_room(&self, size: usize) -> bool {
        self.backlog.bytes.load(Relaxed) < BACKLOG_LIMIT
            && (size <= WHOLE_LIMIT || self.backlog.bulk.load(Relaxed) == 0)
    }

    /// Queues, or drops if there is no room.
    pub fn send(&self, outgoing: Outgoing) {
        self.send_told(outgoing, None);
    }

    /// Likewise; when it is sent, that is told.
    pub fn send_told(&self, outgoing: Outgoing, told: Option<Box<Told>>) {
        let size = outgoing.size();
        if self.has_room(size) {
            self.backlog.bytes.fetch_add(size, Relaxed);
            if !matches!(outgoing, Outgoing::Frame(_)) {
                self.backlog.bulk.fetch_add(1, Relaxed);
            }
            // Fails when the connection has just ended, which counts as lost on the way.
            let _ = self.queue.send((outgoing, told));
        }
    }
}

/// Runs the connection until either side ends it. Notes when something came, see [`super::roster::Peer::heard`].
pub async fn run(
    transport: Arc<Transport>,
    id: NodeId,
    (socket, course): (Box<dyn Socket>, Course),
    outbox: Outbox,
    heard: Arc<AtomicU64>,
) {
    let (read, write) = tokio::io::split(socket);
    let ended = tokio::select! {
        result = write_loop(&transport, (write, course.clone()), outbox) => result,
        result = read_loop(&transport, id, (read, course), &heard) => result,
    };
    if let Err(error) = ended {
        detail(format_args!("connection to {id} ended: {error}"));
    }
}

async fn write_loop(
    transport: &Transport,
    (mut socket, mut course): (WriteHalf<Box<dyn Socket>>, Course),
    mut outbox: Outbox,
) -> io::Result<()> {
    let mut packer = Packer::default();
    let mut bulk: VecDeque<(Vec<u8>, Option<Box<Told>>)> = VecDeque::new();
    let mut told = Vec::new();
    let mut sent = 0;
    loop {
        let mut frames = Vec::new();
        let mut size = 0;
        let mut take = |(outgoing, tells): Queued, bulk: &mut VecDeque<_>| {
            size += outgoing.size();
            match outgoing {
                Outgoing::Frame(frame) => {
                    frames.push(frame);
                    told.extend(tells);
                }
                Outgoing::Bulk(bytes) => bulk.push_back((bytes, tells)),
            }
            size
        };
        if bulk.is_empty() {
            match timeout(QUIET, outbox.queue.recv()).await {
                Ok(Some(first)) => take(first, &mut bulk),
                Ok(None) => return Ok(()),
                Err(_) => 0,
            };
        }
        while let Ok(next) = outbox.queue.try_recv() {
            if take(next, &mut bulk) > BLOCK_TARGET {
                break;
            }
        }
        outbox.backlog.bytes.fetch_sub(size, Relaxed);
        if let Some((bytes, tells)) = bulk.front_mut() {
            let end = bytes.len().min(sent + PART);
            let part = bytes[sent..end].to_vec();
            if end == bytes.len() {
                frames.push(Frame::LastPart(part));
                told.extend(tells.take());
                bulk.pop_front();
                outbox.backlog.bulk.fetch_sub(1, Relaxed);
                sent = 0;
            } else {
                frames.push(Frame::Part(part));
                sent = end;
            }
        }
        let block = packer.pack(&frames);
        transport.traffic.0.fetch_add(block.len() as u64, Relaxed);
        course.written += block.len() as u64;
        for told in told.drain(..) {
            transport.tell(|tracer| course::sent(tracer, &course, &told));
        }
        socket.write_all(&block).await?;
        // TLS keeps what the socket would not take.
        socket.flush().await?;
    }
}

async fn read_loop(
    transport: &Arc<Transport>,
    id: NodeId,
    (socket, mut course): (ReadHalf<Box<dyn Socket>>, Course),
    heard: &AtomicU64,
) -> io::Result<()> {
    let malformed = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut socket = tokio::io::BufReader::with_capacity(32 * 1024, socket);
    let mut unpacker = Unpacker::default();
    let mut parts = Vec::new();
    let mut block = Vec::new();
    loop {
        let length = in_time(socket.read_u32_le()).await?;
        heard.store(transport.now(), Relaxed);
        if length as usize > BLOCK_LIMIT {
            return Err(malformed("a block too long".to_owned()));
        }
        block.clear();
        let mut rest = (&mut socket).take(u64::from(length));
        while block.len() < length as usize {
            // A slow link may take long for a block, but something has to come.
            if in_time(rest.read_buf(&mut block)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        transport
            .traffic
            .1
            .fetch_add(u64::from(length) + 4, Relaxed);
        course.read += u64::from(length) + 4;
        for frame in unpacker
            .unpack(&block)
            .map_err(|error| malformed(error.to_string()))?
        {
            if let Frame::Part(bytes) | Frame::LastPart(bytes) = &frame
                && parts.len() + bytes.len() > MESSAGE_LIMIT
            {
                return Err(malformed("a message too long".to_owned()));
            }
            transport
                .receive(id, frame, &mut parts, &course)
                .map_err(malformed)?;
        }
    }
}

async fn in_time<T>(reading: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "silent for too long");
    timeout(DEAD, reading).await.map_err(silent)?
}
