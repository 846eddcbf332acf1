//! One connection that the network carries: the two sockets, the two pipes between them, and the
//! moving of bytes. The sockets are non-blocking; readiness is remembered, as the poll reports
//! edges.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;

use super::counters::Direction;
use super::link::{LinkState, Moment, NodeId, Pair};
use super::pipe::{CHUNK_BYTES, Deliverable, Pipe};
use super::socket::Stream;

/// The end at the node that connected.
pub(super) const NEAR: usize = 0;
/// The end at the node that was connected to.
pub(super) const FAR: usize = 1;

/// How many turns of reading and delivering one connection gets before the others are served.
const TURNS: usize = 4;

/// A link as the network's thread keeps it.
#[derive(Debug)]
pub(super) struct Link {
    pub pair: Pair,
    pub state: LinkState,
    pub rng: ChaCha12Rng,
    /// Per direction: until when a limited bandwidth is taken.
    pub busy_until: [Moment; 2],
}

impl Link {
    pub fn draw_delay(&mut self) -> Duration {
        self.state.draw_delay(&mut self.rng)
    }

    /// The time that a chunk read at `now` travels: its delay, and before it, if the bandwidth
    /// is limited, its turn on the wire.
    fn travel(&mut self, now: Moment, direction: usize, bytes: usize) -> Duration {
        let delay = self.draw_delay();
        let Some(rate) = self.state.bandwidth else {
            return delay;
        };
        let on_the_wire = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let sent = self.busy_until[direction].max(now) + on_the_wire;
        self.busy_until[direction] = sent;
        sent.saturating_sub(now) + delay
    }
}

#[derive(Debug, Default)]
pub(super) struct End {
    pub stream: Option<Stream>,
    pub readable: bool,
    pub writable: bool,
}

impl End {
    pub fn connected(stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            readable: true,
            writable: true,
        }
    }
}

/// How far the making of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Accepted; not read from yet.
    Accepted,
    /// Read from; the far side is dialled later.
    SetUp,
    /// The dial met a direction that loses; it goes on when the loss ends.
    DialLost,
    /// The far side is dialled and not connected yet (TCP only).
    Dialling,
    /// Both sides are connected.
    Open,
    /// Being closed: nothing is made any more.
    Closing,
}

/// What moving bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Nothing more to do before the next event.
    Settled,
    /// There is more to do at once; others come first.
    More,
    /// This end is broken.
    Broken(usize),
}

#[derive(Debug)]
pub(super) struct Connection {
    pub from: NodeId,
    pub to: NodeId,
    pub stage: Stage,
    pub ends: [End; 2],
    /// `pipes[NEAR]` carries what the near end sends, `pipes[FAR]` what the far end sends.
    pub pipes: [Pipe; 2],
    /// The wake-up that is set for each pipe, so that it is set once.
    pub armed: [Option<Moment>; 2],
}

impl Connection {
    pub fn new(from: NodeId, to: NodeId, near: Stream) -> Self {
        // Until it is set up nothing is read; the readiness of a fresh socket is assumed.
        let near = End::connected(near);
        Self {
            from,
            to,
            stage: Stage::Accepted,
            ends: [near, End::default()],
            pipes: Default::default(),
            armed: [None; 2],
        }
    }

    /// The node at an end.
    pub fn node(&self, end: usize) -> NodeId {
        if end == NEAR { self.from } else { self.to }
    }

    /// Whether both directions have ended or both sockets are closed.
    pub fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.stream.is_none())
            || self.pipes.iter().all(Pipe::is_finished) && self.stage == Stage::Open
    }

    /// Reads what there is room for from the end `sender`, and delivers what is due to the other.
    pub fn advance(
        &mut self,
        sender: usize,
        link: &mut Link,
        count: &Direction,
        clock: impl Fn() -> Moment,
    ) -> Moved {
        for _ in 0..TURNS {
            let delivered = match self.deliver(sender, count, &clock) {
                Ok(any) => any,
                Err(_broken) => return Moved::Broken(1 - sender),
            };
            let read = match self.take_in(sender, link, count, &clock) {
                Ok(any) => any,
                Err(_broken) => return Moved::Broken(sender),
            };
            if !delivered && !read {
                return Moved::Settled;
            }
        }
        Moved::More
    }

    fn deliver(
        &mut self,
        sender: usize,
        count: &Direction,
        clock: &impl Fn() -> Moment,
    ) -> io::Result<bool> {
        let receiver = &mut self.ends[1 - sender];
        let pipe = &mut self.pipes[sender];
        let Some(stream) = receiver.stream.as_mut() else {
            return Ok(false);
        };
        if !matches!(self.stage, Stage::Open | Stage::Closing) {
            return Ok(false);
        }
        let now = clock();
        let mut any = false;
        while receiver.writable {
            match pipe.deliverable(now) {
                Deliverable::NotBefore(_) => break,
                Deliverable::EndOfStream => {
                    stream.end_of_stream();
                    pipe.took_end();
                }
                Deliverable::Bytes(bytes) => match stream.write(bytes) {
                    Ok(written) => {
                        add(&count.bytes_written, written as u64);
                        if pipe.took(written) {
                            add(&count.chunks, 1);
                        }
                        any = true;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        receiver.writable = false;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(any)
    }

    fn take_in(
        &mut self,
        sender: usize,
        link: &mut Link,
        count: &Direction,
        clock: &impl Fn() -> Moment,
    ) -> io::Result<bool> {
        let direction = link.pair.direction_from(self.node(sender));
        let end = &mut self.ends[sender];
        let pipe = &mut self.pipes[sender];
        let Some(stream) = end.stream.as_mut() else {
            return Ok(false);
        };
        if matches!(self.stage, Stage::Accepted) || sender == FAR && self.stage != Stage::Open {
            return Ok(false);
        }
        let mut buffer = [0; CHUNK_BYTES];
        let mut any = false;
        while end.readable && pipe.has_room(clock()) {
            match stream.read(&mut buffer) {
                Ok(0) => {
                    let delay = link.draw_delay();
                    pipe.push_end(clock(), delay);
                    any = true;
                }
                Ok(bytes) => {
                    add(&count.bytes_read, bytes as u64);
                    let now = clock();
                    pipe.push(now, link.travel(now, direction, bytes), &buffer[..bytes]);
                    any = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => end.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(any)
    }
}

/// Adds to a counter that only this thread writes.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
