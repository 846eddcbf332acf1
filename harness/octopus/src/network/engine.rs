//! The network's only thread: it owns every socket, every pipe and every timer, and turns
//! readiness, timers and orders into calls of the rules.
//!
//! How a connect goes (each listening socket handles one at a time, refusals too):
//!
//! 1. accept, look whether the link is up, wait one delay;
//! 2. refused: close. Otherwise begin to read from the near side;
//! 3. one more delay later dial the far side and carry both directions.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mio::{Events, Token, Waker};

use super::config::{NetworkConfig, Route};
use super::connection::{Connection, Link, Side, Stage, add};
use super::counters::Counters;
use super::end::End;
use super::link::{Change, Direction, Moment, NodeId, Pair, PerDirection, pairs};
use super::socket::{Endpoint, Listener, Stream};
use super::timer::{Timers, Waiter};

const WAKER: Token = Token(0);
const ALARM: Token = Token(1);
/// Tokens from here on are listeners, then connection ends.
const FIRST_LISTENER: usize = 2;

/// How long to wait before trying again what the system had no room for (descriptors, backlog).
const PAUSE: Duration = Duration::from_millis(2);

/// Streams of the seed from here on belong to the links.
pub(super) const LINK_STREAMS: u64 = 1 << 32;

/// What the users of a network ask of its thread.
#[derive(Debug)]
pub(super) enum Order {
    Change(Pair, Change),
    Stop,
}

type ConnectionId = usize;

#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The connect in hand at this listener, if it is still that number, has waited its delay.
    Turn(usize, u64),
    /// Look for connects again.
    Accept(usize),
    Dial(ConnectionId),
    /// Something comes due on this connection.
    Due(ConnectionId),
}

#[derive(Debug)]
struct Gate {
    listener: Listener,
    route: Route,
    /// More connects may be waiting in the kernel.
    ready: bool,
    hand: Hand,
    /// How many connects it has taken in hand: a timer of an earlier one means nothing.
    taken: u64,
}

/// The connect that a listener handles.
#[derive(Debug)]
enum Hand {
    Free,
    Refusing(Stream),
    SettingUp(ConnectionId),
    /// The delay is over, but the link loses in one direction; the turn ends with the loss.
    Lost(ConnectionId),
}

#[derive(Debug)]
pub(super) struct Engine {
    waiter: Waiter,
    timers: Timers<Timer>,
    nodes: usize,
    links: Vec<Link>,
    gates: Vec<Gate>,
    connections: HashMap<ConnectionId, Connection<Stream>>,
    next_connection: ConnectionId,
    /// Connections that have more to do at once.
    unfinished: VecDeque<ConnectionId>,
    orders: mpsc::Receiver<Order>,
    counters: Arc<Counters>,
}

impl Engine {
    /// Listens on every route. Also returns the routes with their real ports, and the waker to
    /// call after sending an order.
    pub fn new(
        config: NetworkConfig,
        counters: Arc<Counters>,
        orders: mpsc::Receiver<Order>,
    ) -> io::Result<(Self, Vec<Route>, Waker)> {
        let waiter = Waiter::new(Instant::now(), ALARM)?;
        let waker = Waker::new(waiter.registry(), WAKER)?;
        let links = pairs(config.nodes)
            .into_iter()
            .zip(config.links)
            .enumerate()
            .map(|(number, (pair, state))| Link {
                pair,
                state,
                rng: crate::random::stream(config.seed, LINK_STREAMS + number as u64),
                busy_until: PerDirection::default(),
            })
            .collect();
        let mut gates = Vec::new();
        for (number, mut route) in config.routes.into_iter().enumerate() {
            let mut listener = Listener::bind(&route.listen).map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("listening on {}: {error}", route.listen),
                )
            })?;
            listener.register(waiter.registry(), Token(FIRST_LISTENER + number))?;
            route.listen = listener.endpoint(&route.listen)?;
            gates.push(Gate {
                listener,
                route,
                ready: true,
                hand: Hand::Free,
                taken: 0,
            });
        }
        let routes = gates.iter().map(|gate| gate.route.clone()).collect();
        let engine = Self {
            waiter,
            timers: Timers::new(),
            nodes: config.nodes,
            links,
            gates,
            connections: HashMap::new(),
            next_connection: 0,
            unfinished: VecDeque::new(),
            orders,
            counters,
        };
        Ok((engine, routes, waker))
    }

    /// Works until told to stop.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            let until = if self.unfinished.is_empty() {
                self.timers.first()
            } else {
                Some(Moment::ZERO)
            };
            self.waiter.wait(&mut events, until)?;
            // Before the sockets: a connect that was made after a change must meet it.
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Change(pair, change) => self.change(pair, change),
                    Order::Stop => return Ok(()),
                }
            }
            for event in &events {
                self.note_readiness(event);
            }
            while let Some(timer) = self.timers.pop(self.waiter.now()) {
                self.fire(timer)?;
            }
            for _ in 0..self.unfinished.len() {
                if let Some(id) = self.unfinished.pop_front() {
                    self.advance(id);
                }
            }
        }
    }

    fn note_readiness(&mut self, event: &mio::event::Event) {
        let Some(number) = event.token().0.checked_sub(FIRST_LISTENER) else {
            return;
        };
        let Some(end_number) = number.checked_sub(self.gates.len()) else {
            self.gates[number].ready = true;
            self.accept(number);
            return;
        };
        let id = end_number / 2;
        let end = if end_number.is_multiple_of(2) {
            End::Near
        } else {
            End::Far
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let dialling = connection.stage == Stage::Dialling && end == End::Far;
        let side = &mut connection.sides[end];
        side.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        side.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        // While it is dialled a socket looks closed, too.
        side.deaf |= !dialling && event.is_write_closed();
        if dialling {
            self.finish_dial(id);
        } else {
            self.advance(id);
        }
    }

    fn fire(&mut self, timer: Timer) -> io::Result<()> {
        match timer {
            Timer::Turn(gate, taken) if self.gates[gate].taken == taken => self.end_turn(gate)?,
            Timer::Turn(..) => {}
            Timer::Accept(gate) => self.accept(gate),
            Timer::Dial(id) => self.dial(id),
            Timer::Due(id) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    if connection.armed.is_some_and(|at| at <= self.waiter.now()) {
                        connection.armed = None;
                    }
                    self.advance(id);
                }
            }
        }
        Ok(())
    }

    /// Takes the next connect in hand if the listener is free.
    fn accept(&mut self, number: usize) {
        let gate = &mut self.gates[number];
        if !gate.ready || !matches!(gate.hand, Hand::Free) {
            return;
        }
        let stream = loop {
            match gate.listener.accept() {
                Ok(stream) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    gate.ready = false;
                    return;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                // No descriptor left, most likely: others will be closed.
                Err(_) => {
                    self.timers
                        .at(self.waiter.now() + PAUSE, Timer::Accept(number));
                    return;
                }
            }
        };
        let (from, to) = (gate.route.from, gate.route.to);
        let link = &mut self.links[Pair::new(from, to).index(self.nodes)];
        let count = self.counters.direction(from, to);
        gate.taken += 1;
        self.timers.at(
            self.waiter.now() + link.draw_delay(),
            Timer::Turn(number, gate.taken),
        );
        if link.state.is_up() {
            let id = self.next_connection;
            self.next_connection += 1;
            add(&count.connections, 1);
            let mut connection = Connection::new(from, to, stream);
            let passages = self.counters.passages.get();
            connection.log = passages.map(|passages| passages.open(from, to));
            self.connections.insert(id, connection);
            gate.hand = Hand::SettingUp(id);
        } else {
            add(&count.refused, 1);
            gate.hand = Hand::Refusing(stream);
        }
    }

    /// The connect in hand has waited its delay: refuse it or set it up, and take the next.
    fn end_turn(&mut self, number: usize) -> io::Result<()> {
        let gate = &mut self.gates[number];
        match std::mem::replace(&mut gate.hand, Hand::Free) {
            Hand::Free => {}
            Hand::Refusing(stream) => drop(stream),
            Hand::SettingUp(id) | Hand::Lost(id) => {
                let pair = Pair::new(gate.route.from, gate.route.to);
                let link = &mut self.links[pair.index(self.nodes)];
                // A handshake needs both directions.
                if Direction::BOTH.iter().any(|&way| link.state.loses(way)) {
                    gate.hand = Hand::Lost(id);
                    return Ok(());
                }
                let delay = link.draw_delay();
                self.set_up(id, delay)?;
            }
        }
        self.accept(number);
        Ok(())
    }

    /// Begins to read from the near side; the far side is dialled after `delay`.
    fn set_up(&mut self, id: ConnectionId, delay: Duration) -> io::Result<()> {
        let token = self.end_token(id, End::Near);
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        if connection.stage != Stage::Accepted {
            return Ok(());
        }
        if let Some(stream) = &mut connection.sides.near.stream {
            stream.register(self.waiter.registry(), token)?;
        }
        let dial_at = self.waiter.now() + delay;
        connection.stage = Stage::SetUp;
        connection.pipes.near.hold_until(dial_at);
        self.timers.at(dial_at, Timer::Dial(id));
        self.advance(id);
        Ok(())
    }

    fn dial(&mut self, id: ConnectionId) {
        let token = self.end_token(id, End::Far);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !matches!(connection.stage, Stage::SetUp | Stage::DialLost) {
            return;
        }
        let pair = Pair::new(connection.from, connection.to);
        let link = &self.links[pair.index(self.nodes)];
        if link.state.loses(pair.direction_from(connection.from)) {
            connection.stage = Stage::DialLost;
            return;
        }
        let Some(endpoint) = far_endpoint(&self.gates, connection) else {
            return;
        };
        match Stream::connect(endpoint) {
            Ok(mut stream) => {
                if stream.register(self.waiter.registry(), token).is_err() {
                    self.close(id);
                    return;
                }
                let ready = matches!(stream, Stream::Unix(_));
                connection.sides.far = Side {
                    stream: Some(stream),
                    readable: ready,
                    writable: ready,
                    deaf: false,
                };
                connection.stage = Stage::Dialling;
                self.finish_dial(id);
            }
            // The backlog of a unix socket is full: its node does not accept at the moment.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.timers.at(self.waiter.now() + PAUSE, Timer::Dial(id));
            }
            Err(_nobody_listens) => self.close(id),
        }
    }

    fn finish_dial(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let stream = connection.sides.far.stream.as_ref();
        match stream.map(Stream::is_connected) {
            Some(Ok(true)) => {
                let link = &self.links[connection.pair().index(self.nodes)];
                connection.open(self.waiter.now(), link);
                self.advance(id);
            }
            Some(Ok(false)) => {}
            Some(Err(_)) | None => self.close(id),
        }
    }

    /// Moves what can be moved on a connection and sets the wake-up for the rest.
    fn advance(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let link = &mut self.links[connection.pair().index(self.nodes)];
        let more = connection.advance(link, &self.counters, || self.waiter.now());
        if connection.is_over() {
            self.close(id);
            return;
        }
        if let Some(next) = connection.next_change(self.waiter.now())
            && connection.armed.is_none_or(|armed| next < armed)
        {
            connection.armed = Some(next);
            self.timers.at(next, Timer::Due(id));
        }
        if more && !self.unfinished.contains(&id) {
            self.unfinished.push_back(id);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            connection.close();
        }
    }

    fn change(&mut self, pair: Pair, change: Change) {
        let was_up = self.links[pair.index(self.nodes)].state.is_up();
        self.links[pair.index(self.nodes)].state.apply(pair, change);
        match change {
            Change::Down if was_up => self.close_all(pair),
            Change::DropConnections => self.close_all(pair),
            Change::Loss(_) | Change::LossEnd(_) => self.apply_losses(pair),
            Change::LiftLimit(_) => {
                let link = &mut self.links[pair.index(self.nodes)];
                if link.state.bandwidth().is_none() {
                    link.busy_until = PerDirection::default();
                }
            }
            _ => {}
        }
    }

    /// Closes every connection of a link.
    fn close_all(&mut self, pair: Pair) {
        let now = self.waiter.now();
        let link = &mut self.links[pair.index(self.nodes)];
        let mut touched = Vec::new();
        for (&id, connection) in &mut self.connections {
            if connection.pair() == pair {
                connection.break_off(now, link);
                touched.push(id);
            }
        }
        for id in touched {
            self.advance(id);
        }
    }

    /// Puts the losses of a link into force for its connections, and lets go on what waited for
    /// the end of one.
    fn apply_losses(&mut self, pair: Pair) {
        let now = self.waiter.now();
        let link = &mut self.links[pair.index(self.nodes)];
        let mut touched = Vec::new();
        for (&id, connection) in &mut self.connections {
            if connection.pair() != pair {
                continue;
            }
            touched.push(id);
            connection.apply_losses(now, link);
            if connection.stage == Stage::DialLost {
                self.timers.at(now + link.draw_delay(), Timer::Dial(id));
            }
        }
        for (number, gate) in self.gates.iter().enumerate() {
            let here = Pair::new(gate.route.from, gate.route.to) == pair;
            if here && matches!(gate.hand, Hand::Lost(_)) {
                self.timers
                    .at(now + link.draw_delay(), Timer::Turn(number, gate.taken));
            }
        }
        for id in touched {
            self.advance(id);
        }
    }

    fn end_token(&self, id: ConnectionId, end: End) -> Token {
        let place = match end {
            End::Near => 0,
            End::Far => 1,
        };
        Token(FIRST_LISTENER + self.gates.len() + id * 2 + place)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for gate in &self.gates {
            if let Endpoint::Unix(path) = &gate.route.listen {
                // The whole folder may be gone already.
                let _gone = std::fs::remove_file(path);
            }
        }
    }
}

fn far_endpoint<'a>(gates: &'a [Gate], connection: &Connection<Stream>) -> Option<&'a Endpoint> {
    let ends: (NodeId, NodeId) = (connection.from, connection.to);
    gates
        .iter()
        .find(|gate| (gate.route.from, gate.route.to) == ends)
        .map(|gate| &gate.route.dial)
}
