//! One connection that the network carries: two sockets, a pipe for each direction, and the rules
//! by which data and the ends of streams move. It has no clock and its sockets are a trait, so that
//! tests run it in virtual time.
//!
//! The directions are independent. What ends one (a close, a half-close, a reset) is the last thing
//! in its pipe and never overtakes data. A node that cannot be written to any more may still have
//! said something: it is read to its end, and only then does the other node find its own writes
//! refused. A monkey's close drops both pipes, and each node sees it after a delay of its own.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;

use super::counters::{Counters, LiveTally};
use super::end::{End, PerEnd};
use super::link::{Direction, LinkState, Moment, NodeId, Pair, PerDirection};
use super::passage::Log;
use super::pipe::{CHUNK_BYTES, Deliverable, Pipe};

/// How many turns of reading and delivering one connection gets before the others are served.
const TURNS: usize = 4;

/// A link as the network's thread keeps it.
#[derive(Debug)]
pub(super) struct Link {
    pub pair: Pair,
    pub state: LinkState,
    pub rng: ChaCha12Rng,
    /// Until when a limited bandwidth is taken.
    pub busy_until: PerDirection<Moment>,
}

impl Link {
    pub fn draw_delay(&mut self) -> Duration {
        self.state.draw_delay(&mut self.rng)
    }

    /// The time that a chunk read at `now` travels: its delay, and before it, if the bandwidth
    /// is limited, its turn on the wire.
    fn travel(&mut self, now: Moment, direction: Direction, bytes: usize) -> Duration {
        let delay = self.draw_delay();
        let Some(rate) = self.state.bandwidth() else {
            return delay;
        };
        let on_the_wire = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let sent = self.busy_until[direction].max(now) + on_the_wire;
        self.busy_until[direction] = sent;
        sent.saturating_sub(now) + delay
    }
}

/// A connected, non-blocking socket to a node.
pub(super) trait Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Tells the node that nothing more comes. One that is gone already is no error.
    fn end_of_stream(&mut self);
    /// Takes nothing more from the node. Whether that makes its writes fail; over TCP only a close
    /// does.
    fn refuse_more(&mut self) -> bool;
    /// Closes it so that what was written to it stays readable.
    fn close(self);
}

/// The socket at one end, and what is known of it. Readiness is remembered, as the poll reports
/// edges.
#[derive(Debug)]
pub(super) struct Side<S> {
    pub stream: Option<S>,
    pub readable: bool,
    pub writable: bool,
    /// It takes nothing more: the node has closed it.
    pub deaf: bool,
}

impl<S> Default for Side<S> {
    fn default() -> Self {
        Self {
            stream: None,
            readable: false,
            writable: false,
            deaf: false,
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
    /// Closed by a monkey; the ends see it when their delays are over.
    Closing,
}

#[derive(Debug)]
pub(super) struct Connection<S> {
    pub from: NodeId,
    pub to: NodeId,
    pub stage: Stage,
    pub sides: PerEnd<Side<S>>,
    /// Each carries what its end sends.
    pub pipes: PerEnd<Pipe>,
    /// When each end sees a monkey's close.
    closes: PerEnd<Option<Moment>>,
    /// The wake-up that is set, so that it is set once.
    pub armed: Option<Moment>,
    /// What passes, for whoever wants it.
    pub log: Option<Log>,
}

impl<S: Socket> Connection<S> {
    pub fn new(from: NodeId, to: NodeId, near: S) -> Self {
        // Until it is set up nothing is read; the readiness of a fresh socket is assumed.
        let near = Side {
            stream: Some(near),
            readable: true,
            writable: true,
            deaf: false,
        };
        Self {
            from,
            to,
            stage: Stage::Accepted,
            sides: PerEnd {
                near,
                far: Side::default(),
            },
            pipes: PerEnd::default(),
            closes: PerEnd::default(),
            armed: None,
            log: None,
        }
    }

    /// The node at an end.
    pub fn node(&self, end: End) -> NodeId {
        match end {
            End::Near => self.from,
            End::Far => self.to,
        }
    }

    /// The pair of nodes that it joins.
    pub fn pair(&self) -> Pair {
        Pair::new(self.from, self.to)
    }

    /// Whether nothing can happen on it any more.
    pub fn is_over(&self) -> bool {
        match self.stage {
            Stage::Closing => End::BOTH
                .iter()
                .all(|&end| self.sides[end].stream.is_none()),
            Stage::Open => End::BOTH.iter().all(|&end| self.pipes[end].is_finished()),
            _ => false,
        }
    }

    /// The next moment at which something happens by itself.
    pub fn next_change(&self, now: Moment) -> Option<Moment> {
        let pipes = End::BOTH.map(|end| self.pipes[end].next_change(now));
        let closes = End::BOTH.map(|end| self.closes[end]);
        pipes.into_iter().chain(closes).flatten().min()
    }

    /// Moves what can be moved. Whether there is more to do at once, after others had their turn.
    pub fn advance(
        &mut self,
        link: &mut Link,
        counters: &Counters,
        clock: impl Fn() -> Moment,
    ) -> bool {
        self.see_closes(clock());
        let mut more = false;
        for sender in End::BOTH {
            let tally = counters.direction(self.node(sender), self.node(sender.other()));
            let mut turns = 0;
            loop {
                let delivered = self.deliver(sender, tally, &clock);
                let read = self.take_in(sender, link, tally, &clock);
                if !delivered && !read {
                    break;
                }
                turns += 1;
                if turns == TURNS {
                    more = true;
                    break;
                }
            }
        }
        for sender in End::BOTH {
            self.refuse_to_the_deaf(sender, clock());
        }
        more
    }

    /// A monkey closes the connection: what is on its way is lost, and each end sees the close
    /// after a delay of its own.
    pub fn break_off(&mut self, now: Moment, link: &mut Link) {
        if self.stage == Stage::Closing {
            return;
        }
        self.stage = Stage::Closing;
        if let Some(log) = &mut self.log {
            log.broken_off();
        }
        for end in End::BOTH {
            self.pipes[end].sever();
            if self.sides[end].stream.is_some() {
                self.closes[end] = Some(now + link.draw_delay());
            }
        }
    }

    /// Puts the losses of the link into force.
    pub fn apply_losses(&mut self, now: Moment, link: &mut Link) {
        for end in End::BOTH {
            let direction = link.pair.direction_from(self.node(end));
            let loses = link.state.loses(direction);
            let delay = link.draw_delay();
            self.pipes[end].set_lossy(loses, now, delay);
        }
    }

    /// The far side is connected.
    pub fn open(&mut self, now: Moment, link: &Link) {
        self.stage = Stage::Open;
        // A loss that began meanwhile holds this connection's pipes as any other's.
        for end in End::BOTH {
            let direction = link.pair.direction_from(self.node(end));
            self.pipes[end].set_lossy(link.state.loses(direction), now, Duration::ZERO);
        }
    }

    /// Closes both sockets.
    pub fn close(mut self) {
        if let Some(log) = &mut self.log {
            log.closed();
        }
        for end in End::BOTH {
            if let Some(stream) = self.sides[end].stream.take() {
                stream.close();
            }
        }
    }

    fn see_closes(&mut self, now: Moment) {
        for end in End::BOTH {
            if self.closes[end].is_some_and(|at| at <= now) {
                self.closes[end] = None;
                if let Some(stream) = self.sides[end].stream.take() {
                    stream.close();
                }
            }
        }
    }

    fn deliver(&mut self, sender: End, tally: &LiveTally, clock: &impl Fn() -> Moment) -> bool {
        let receiver = &mut self.sides[sender.other()];
        let pipe = &mut self.pipes[sender];
        if self.stage != Stage::Open {
            return false;
        }
        let Some(stream) = receiver.stream.as_mut() else {
            return false;
        };
        let now = clock();
        let mut any = false;
        while receiver.writable && !receiver.deaf {
            match pipe.deliverable(now) {
                Deliverable::NotBefore(_) => break,
                Deliverable::EndOfStream => {
                    stream.end_of_stream();
                    pipe.took_end();
                    break;
                }
                Deliverable::Bytes(bytes) => match stream.write(bytes) {
                    Ok(written) => {
                        add(&tally.bytes_written, written as u64);
                        if let Some(log) = &mut self.log {
                            log.written(sender, written);
                        }
                        if pipe.took(written) {
                            add(&tally.chunks, 1);
                        }
                        any = true;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        receiver.writable = false;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_broken) => receiver.deaf = true,
                },
            }
        }
        if receiver.deaf {
            pipe.discard();
        }
        any
    }

    fn take_in(
        &mut self,
        sender: End,
        link: &mut Link,
        tally: &LiveTally,
        clock: &impl Fn() -> Moment,
    ) -> bool {
        let may_read = match self.stage {
            Stage::Accepted | Stage::Closing => false,
            Stage::Open => true,
            Stage::SetUp | Stage::DialLost | Stage::Dialling => sender == End::Near,
        };
        let direction = link.pair.direction_from(self.node(sender));
        let side = &mut self.sides[sender];
        let pipe = &mut self.pipes[sender];
        let Some(stream) = side.stream.as_mut().filter(|_| may_read) else {
            return false;
        };
        let mut buffer = [0; CHUNK_BYTES];
        let mut any = false;
        while side.readable && pipe.has_room(clock()) {
            match stream.read(&mut buffer) {
                Ok(0) => {
                    pipe.push_end(clock(), link.draw_delay());
                    any = true;
                }
                Ok(bytes) => {
                    add(&tally.bytes_read, bytes as u64);
                    if let Some(log) = &mut self.log {
                        log.read(sender, bytes);
                    }
                    let now = clock();
                    let travel = link.travel(now, direction, bytes);
                    pipe.push(now, travel, &buffer[..bytes]);
                    any = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => side.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A reset comes after everything that was said before it.
                Err(_reset) => {
                    side.deaf = true;
                    pipe.push_end(clock(), link.draw_delay());
                    any = true;
                }
            }
        }
        any
    }

    /// The node that `sender` talks to has closed its end. The sender learns it when all that the
    /// other had said is due; until then what it sends goes nowhere.
    fn refuse_to_the_deaf(&mut self, sender: End, now: Moment) {
        let receiver = sender.other();
        let hears_nothing = self.stage == Stage::Open && self.sides[receiver].deaf;
        if !hears_nothing || self.pipes[sender].is_finished() {
            return;
        }
        self.pipes[sender].discard();
        if !self.pipes[receiver].is_all_due(now) {
            return;
        }
        let stream = self.sides[sender].stream.as_mut();
        // Where its writes cannot be made to fail yet they are read, so that they never block.
        if stream.is_none_or(Socket::refuse_more) || self.pipes[receiver].is_finished() {
            self.pipes[sender].sever();
        }
    }
}

/// Adds to a counter that only this thread writes.
pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
