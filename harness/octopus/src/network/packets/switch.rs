//! The thread of a network of machines: it reads packets from the devices, asks the links what becomes of
//! them, and writes them where they go when their time has come.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    os::fd::AsRawFd,
    sync::{Arc, mpsc},
    time::Instant,
};

use mio::{Events, Interest, Token, Waker, unix::SourceFd};
use rustix::io::{Errno, read, write};

use super::{
    link::{Fate, PacketLink},
    packet::{ACK, Packet, SYN},
    refusal,
    rules::{Device, PacketRules, SwitchConfig},
};
use crate::network::{
    connection::add,
    counters::Counters,
    engine::{LINK_STREAMS, Order},
    link::{Direction, Moment, Pair, pairs},
    timer::{Timers, Waiter},
};

const WAKER: Token = Token(0);
const ALARM: Token = Token(1);
const FIRST_DEVICE: usize = 2;

/// Packets read from one device before the others have their turn.
const TURN: usize = 64;

/// The largest packet with its header, in bytes.
const MOST_BYTES: usize = 65_536 + 64;

/// A packet under way.
#[derive(Debug)]
struct UnderWay {
    bytes: Vec<u8>,
    to: usize,
    /// The link and direction that count it, and the era in which it was sent; refusals have none.
    sent: Option<(usize, Direction, u64)>,
}

pub(in crate::network) struct Switch {
    waiter: Waiter,
    timers: Timers<UnderWay>,
    nodes: usize,
    links: Vec<PacketLink>,
    rules: PacketRules,
    devices: Vec<Device>,
    /// Whether more may be to be read.
    ready: Vec<bool>,
    routes: HashMap<IpAddr, usize>,
    orders: mpsc::Receiver<Order>,
    counters: Arc<Counters>,
}

impl Switch {
    /// Also returns the waker to call after sending an order.
    pub fn new(
        config: SwitchConfig,
        counters: Arc<Counters>,
        orders: mpsc::Receiver<Order>,
    ) -> io::Result<(Self, Waker)> {
        let waiter = Waiter::new(Instant::now(), ALARM)?;
        let waker = Waker::new(waiter.registry(), WAKER)?;
        let states = pairs(config.nodes).into_iter().zip(config.links);
        let links = states.enumerate().map(|(number, (pair, state))| {
            let rng = crate::random::stream(config.seed, LINK_STREAMS + number as u64);
            PacketLink::new(pair, state, rng)
        });
        let mut routes = HashMap::new();
        for (number, device) in config.devices.iter().enumerate() {
            let token = Token(FIRST_DEVICE + number);
            let mut source = SourceFd(&device.packets.as_raw_fd());
            waiter
                .registry()
                .register(&mut source, token, Interest::READABLE)?;
            routes.extend(device.addresses.iter().map(|&address| (address, number)));
        }
        let switch = Self {
            waiter,
            timers: Timers::new(),
            nodes: config.nodes,
            links: links.collect(),
            rules: config.rules,
            ready: vec![true; config.devices.len()],
            devices: config.devices,
            routes,
            orders,
            counters,
        };
        Ok((switch, waker))
    }

    /// Works until told to stop.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; MOST_BYTES];
        loop {
            let until = if self.ready.iter().any(|&ready| ready) {
                Some(Moment::ZERO)
            } else {
                self.timers.first()
            };
            self.waiter.wait(&mut events, until)?;
            // Before the packets: what was sent after a change must meet it.
            while let Ok(order) = self.orders.try_recv() {
                match order {
                    Order::Change(pair, change) => {
                        self.links[pair.index(self.nodes)].change(change);
                    }
                    Order::Stop => return Ok(()),
                }
            }
            for event in &events {
                if let Some(number) = event.token().0.checked_sub(FIRST_DEVICE) {
                    self.ready[number] = true;
                }
            }
            self.deliver_due();
            for from in 0..self.devices.len() {
                if self.ready[from] {
                    self.take_turn(from, &mut buffer)?;
                }
            }
        }
    }

    fn deliver_due(&mut self) {
        while let Some(packet) = self.timers.pop(self.waiter.now()) {
            if let Some((link, direction, era)) = packet.sent {
                if self.links[link].era() != era {
                    continue;
                }
                let bytes = packet.bytes.len() - self.devices[packet.to].framing.header_bytes();
                self.links[link].arrived(direction, bytes as u64);
                self.count_arrival(link, direction, bytes);
            }
            hand_over(&self.devices[packet.to], &packet.bytes);
        }
    }

    /// Reads what a device has, up to a turn.
    fn take_turn(&mut self, from: usize, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..TURN {
            match read(&self.devices[from].packets, &mut *buffer) {
                Ok(length @ 1..) => self.take(from, &buffer[..length]),
                // A device goes down with its machine, and says so once.
                Ok(0) | Err(Errno::AGAIN | Errno::NETDOWN) => {
                    self.ready[from] = false;
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes a packet, with its header, from a device.
    fn take(&mut self, from: usize, bytes: &[u8]) {
        let framing = self.devices[from].framing;
        let parts = bytes.split_at_checked(framing.header_bytes());
        let Some((header, packet)) =
            parts.and_then(|(header, packet)| Some((header, Packet::read(packet)?)))
        else {
            return;
        };
        // Neighbours are greeted by multicast, which goes nowhere.
        let Some(&to) = self.routes.get(&packet.to).filter(|&&to| to != from) else {
            return;
        };
        if from >= self.nodes || to >= self.nodes {
            return hand_over(&self.devices[to], bytes);
        }
        let pair = Pair::new(from, to);
        let direction = pair.direction_from(from);
        let number = pair.index(self.nodes);
        let link = &mut self.links[number];
        let count = self.counters.direction(from, to);
        add(&count.bytes_read, packet.bytes.len() as u64);
        if packet
            .tcp()
            .is_some_and(|tcp| tcp.flags & (SYN | ACK) == SYN)
        {
            let tally = if link.state.is_up() {
                &count.connections
            } else {
                &count.refused
            };
            add(tally, 1);
        }
        let now = self.waiter.now();
        let refused = |answer: Option<Vec<u8>>, at, timers: &mut Timers<UnderWay>| {
            if let Some(answer) = answer {
                let mut bytes = framing.answers(header);
                bytes.extend(answer);
                timers.at(
                    at,
                    UnderWay {
                        bytes,
                        to: from,
                        sent: None,
                    },
                );
            }
        };
        match link.send(now, direction, &packet, &self.rules) {
            Fate::Lost => {}
            Fate::Refused(at) => refused(refusal::refusal(&packet), at, &mut self.timers),
            Fate::Reset(at) => refused(refusal::reset(&packet), at, &mut self.timers),
            Fate::Arrives { at, again: None } if at <= now => {
                link.arrived(direction, packet.bytes.len() as u64);
                hand_over(&self.devices[to], bytes);
                self.count_arrival(number, direction, packet.bytes.len());
            }
            Fate::Arrives { at, again } => {
                let sent = Some((number, direction, link.era()));
                for at in [Some(at), again].into_iter().flatten() {
                    let bytes = bytes.to_vec();
                    self.timers.at(at, UnderWay { bytes, to, sent });
                }
            }
        }
    }

    fn count_arrival(&self, link: usize, direction: Direction, bytes: usize) {
        let pair = self.links[link].pair;
        let (from, to) = match direction {
            Direction::FromLow => (pair.low(), pair.high()),
            Direction::FromHigh => (pair.high(), pair.low()),
        };
        let count = self.counters.direction(from, to);
        add(&count.bytes_written, bytes as u64);
        add(&count.chunks, 1);
    }
}

/// Gives a packet to a machine. One that it has no room for is lost, as anywhere.
fn hand_over(device: &Device, bytes: &[u8]) {
    while write(&device.packets, bytes) == Err(Errno::INTR) {}
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch")
            .field("nodes", &self.nodes)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}
