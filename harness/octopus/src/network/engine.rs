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
use super::connection::{Connection, End, FAR, Link, Moved, NEAR, Stage, add};
use super::counters::Counters;
use super::link::{Change, Moment, NodeId, Pair, pairs};
use super::socket::{Endpoint, Listener, Stream};
use super::timer::{Timers, Waiter};

const WAKER: Token = Token(0);
const ALARM: Token = Token(1);
/// Tokens from here on are listeners, then connection ends.
const FIRST_LISTENER: usize = 2;

/// How long to wait before trying again what the system had no room for (descriptors, backlog).
const PAUSE: Duration = Duration::from_millis(2);

/// Streams of the seed from here on belong to the links.
const LINK_STREAMS: u64 = 1 << 32;

/// What the users of a network ask of its thread.
#[derive(Debug)]
pub(super) enum Order {
    Change(Pair, Change),
    Stop,
}

type ConnectionId = usize;

#[derive(Clone, Copy, Debug)]
enum Timer {
    /// The connect in hand at this listener, its so-and-so-many-th, has waited its delay.
    Turn(usize, u64),
    /// Look for connects again.
    Accept(usize),
    Dial(ConnectionId),
    /// Something came due in the pipe from this end.
    Pipe(ConnectionId, usize),
    Close(ConnectionId, usize),
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
    connections: HashMap<ConnectionId, Connection>,
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
                busy_until: [Moment::ZERO; 2],
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
        let (id, end) = (end_number / 2, end_number % 2);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.ends[end].readable |= event.is_readable() || event.is_read_closed();
        connection.ends[end].writable |= event.is_writable() || event.is_write_closed();
        if event.is_error() {
            connection.ends[end].readable = true;
            connection.ends[end].writable = true;
        }
        if connection.stage == Stage::Dialling {
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
            Timer::Pipe(id, end) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.armed[end] = None;
                    self.advance(id);
                }
            }
            Timer::Close(id, end) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.ends[end].stream = None;
                    self.forget_if_over(id);
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
            self.connections
                .insert(id, Connection::new(from, to, stream));
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
                if link.state.loses(0) || link.state.loses(1) {
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
        let token = self.end_token(id, NEAR);
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        if connection.stage != Stage::Accepted {
            return Ok(());
        }
        if let Some(stream) = &mut connection.ends[NEAR].stream {
            stream.register(self.waiter.registry(), token)?;
        }
        let dial_at = self.waiter.now() + delay;
        connection.stage = Stage::SetUp;
        connection.pipes[NEAR].hold_until(dial_at);
        self.timers.at(dial_at, Timer::Dial(id));
        self.advance(id);
        Ok(())
    }

    fn dial(&mut self, id: ConnectionId) {
        let token = self.end_token(id, FAR);
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
                    self.connections.remove(&id);
                    return;
                }
                let ready = matches!(stream, Stream::Unix(_));
                connection.ends[FAR] = End {
                    stream: Some(stream),
                    readable: ready,
                    writable: ready,
                };
                connection.stage = Stage::Dialling;
                self.finish_dial(id);
            }
            // The backlog of a unix socket is full: its node does not accept at the moment.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.timers.at(self.waiter.now() + PAUSE, Timer::Dial(id));
            }
            Err(_nobody_listens) => {
                self.connections.remove(&id);
            }
        }
    }

    fn finish_dial(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.ends[FAR]
            .stream
            .as_ref()
            .map(Stream::is_connected)
        {
            Some(Ok(true)) => {
                connection.stage = Stage::Open;
                // A loss that began meanwhile holds this connection's pipes as any other's.
                let pair = Pair::new(connection.from, connection.to);
                let link = &self.links[pair.index(self.nodes)];
                let now = self.waiter.now();
                for end in [NEAR, FAR] {
                    let loses = link.state.loses(pair.direction_from(connection.node(end)));
                    connection.pipes[end].set_lossy(loses, now, Duration::ZERO);
                }
                self.advance(id);
            }
            Some(Ok(false)) => {}
            Some(Err(_)) | None => {
                self.connections.remove(&id);
            }
        }
    }

    /// Moves what can be moved on a connection and sets the wake-ups for the rest.
    fn advance(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let pair = Pair::new(connection.from, connection.to);
        let link = &mut self.links[pair.index(self.nodes)];
        let mut more = false;
        let mut broken = None;
        for sender in [NEAR, FAR] {
            let count = self
                .counters
                .direction(connection.node(sender), connection.node(1 - sender));
            let clock = || self.waiter.now();
            match connection.advance(sender, link, count, clock) {
                Moved::Settled => {}
                Moved::More => more = true,
                Moved::Broken(end) => {
                    broken = Some(end);
                    break;
                }
            }
        }
        if let Some(end) = broken {
            let delay = link.draw_delay();
            self.break_off(id, end, delay);
            return;
        }
        let now = self.waiter.now();
        for sender in [NEAR, FAR] {
            let next = connection.pipes[sender].next_change(now);
            if connection.armed[sender].is_none()
                && let Some(moment) = next
            {
                connection.armed[sender] = next;
                self.timers.at(moment, Timer::Pipe(id, sender));
            }
        }
        if more && !self.unfinished.contains(&id) {
            self.unfinished.push_back(id);
        }
        self.forget_if_over(id);
    }

    /// One end is gone. The other sees it after a delay, and after what is on its way to it.
    fn break_off(&mut self, id: ConnectionId, end: usize, delay: Duration) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.stage != Stage::Open {
            if connection.stage != Stage::Closing {
                self.connections.remove(&id);
            }
            return;
        }
        connection.stage = Stage::Closing;
        connection.ends[end].stream = None;
        connection.pipes[1 - end].sever();
        let at = connection.pipes[end]
            .last_due()
            .max(self.waiter.now() + delay);
        connection.pipes[end].hold_until(at);
        self.timers.at(at, Timer::Close(id, 1 - end));
    }

    fn forget_if_over(&mut self, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(Connection::is_over) {
            self.connections.remove(&id);
        }
    }

    fn change(&mut self, pair: Pair, change: Change) {
        let was_up = self.links[pair.index(self.nodes)].state.is_up();
        self.links[pair.index(self.nodes)].state.apply(pair, change);
        match change {
            Change::Down if was_up => self.close_all(pair),
            Change::DropConnections => self.close_all(pair),
            Change::Loss(_) | Change::LossEnd(_) => self.apply_losses(pair),
            Change::Bandwidth(None) => {
                self.links[pair.index(self.nodes)].busy_until = [Moment::ZERO; 2];
            }
            _ => {}
        }
    }

    /// Closes every connection of a link: what is on its way is lost, and each end sees the close
    /// after a delay of its own.
    fn close_all(&mut self, pair: Pair) {
        let now = self.waiter.now();
        let link = &mut self.links[pair.index(self.nodes)];
        for (&id, connection) in &mut self.connections {
            if !joins(connection, pair) || connection.stage == Stage::Closing {
                continue;
            }
            connection.stage = Stage::Closing;
            for end in [NEAR, FAR] {
                connection.pipes[end].sever();
                if connection.ends[end].stream.is_some() {
                    self.timers
                        .at(now + link.draw_delay(), Timer::Close(id, end));
                }
            }
        }
    }

    /// Puts the losses of a link into force for its connections, and lets go on what waited for
    /// the end of one.
    fn apply_losses(&mut self, pair: Pair) {
        let now = self.waiter.now();
        let link = &mut self.links[pair.index(self.nodes)];
        let mut touched = Vec::new();
        for (&id, connection) in &mut self.connections {
            if !joins(connection, pair) {
                continue;
            }
            touched.push(id);
            for end in [NEAR, FAR] {
                let loses = link.state.loses(pair.direction_from(connection.node(end)));
                connection.pipes[end].set_lossy(loses, now, link.draw_delay());
            }
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

    fn end_token(&self, id: ConnectionId, end: usize) -> Token {
        Token(FIRST_LISTENER + self.gates.len() + id * 2 + end)
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

fn joins(connection: &Connection, pair: Pair) -> bool {
    pair.touches(connection.from) && pair.touches(connection.to)
}

fn far_endpoint<'a>(gates: &'a [Gate], connection: &Connection) -> Option<&'a Endpoint> {
    let ends: (NodeId, NodeId) = (connection.from, connection.to);
    gates
        .iter()
        .find(|gate| (gate.route.from, gate.route.to) == ends)
        .map(|gate| &gate.route.dial)
}
