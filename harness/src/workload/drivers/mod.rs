//! How systems are asked, each in its own protocol, over TCP from the clients' machine.

mod etcd;
mod http;
mod nats;
mod postgres;
mod redis;
mod rqlite;
mod zookeeper;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use octopus::{MachineAddress, NodeId};
use serde::Deserialize;

use super::{
    generate::Kind,
    operation::{Operation, Reply},
};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The operation was certainly not executed.
    NotDone(String),
    /// It may have been, or be yet.
    Unknown(String),
}

/// A client of a system, at home at one of its nodes.
pub(super) trait Driver: Send {
    /// Asks once.
    fn ask(&mut self, operation: &Operation) -> Result<Reply, Trouble>;

    /// Makes what a workload needs; done again and again until it works.
    fn prepare(&mut self, kind: Kind) -> Result<(), Trouble>;
}

/// The protocols that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverKind {
    /// etcd's JSON gateway.
    Etcd,
    /// Redis' RESP; the master is asked for at the sentinel at home.
    Redis,
    /// rqlite's JSON over HTTP.
    Rqlite,
    /// PostgreSQL's protocol; the server that takes writes is looked for.
    Postgres,
    /// NATS' text protocol, with JetStream.
    Nats,
    /// ZooKeeper's protocol.
    ZooKeeper,
}

/// How clients ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// The node at which the client is at home.
    pub home: NodeId,
    /// How many nodes there are.
    pub nodes: usize,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Reads may be answered by the node's own copy.
    pub stale_reads: bool,
}

impl DriverKind {
    /// Whether it can do what a workload asks.
    pub fn can(self, kind: Kind) -> bool {
        match self {
            Self::Etcd => matches!(kind, Kind::Register | Kind::Set | Kind::Bank),
            Self::Redis => !matches!(kind, Kind::Bank | Kind::Transactions),
            Self::Rqlite => kind != Kind::Queue,
            Self::Postgres => true,
            Self::Nats => kind == Kind::Queue,
            Self::ZooKeeper => !matches!(kind, Kind::Bank | Kind::Transactions),
        }
    }

    /// Whether there are reads that a node answers from its own copy, which may be old.
    pub fn has_stale_reads(self) -> bool {
        matches!(self, Self::Etcd | Self::Rqlite | Self::ZooKeeper)
    }

    pub(super) fn client(self, manner: Manner) -> Box<dyn Driver> {
        match self {
            Self::Etcd => Box::new(etcd::Etcd::new(manner)),
            Self::Redis => Box::new(redis::Redis::new(manner)),
            Self::Rqlite => Box::new(rqlite::Rqlite::new(manner)),
            Self::Postgres => Box::new(postgres::Postgres::new(manner)),
            Self::Nats => Box::new(nats::Nats::new(manner)),
            Self::ZooKeeper => Box::new(zookeeper::ZooKeeper::new(manner)),
        }
    }
}

impl Manner {
    fn home_at(&self, port: u16) -> SocketAddr {
        (MachineAddress::of_node(self.home).v4, port).into()
    }
}

/// Connects; what fails here was never sent.
fn connect(to: SocketAddr, timeout: Duration) -> Result<TcpStream, Trouble> {
    let connected = || -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&to, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    connected().map_err(|error| Trouble::NotDone(format!("cannot connect to {to}: {error}")))
}

/// An address that a system has told.
fn address(ip: &str, port: &str) -> Option<SocketAddr> {
    let ip: Ipv4Addr = ip.parse().ok()?;
    Some(SocketAddr::new(IpAddr::V4(ip), port.parse().ok()?))
}
