//! Where everything is: the endpoints of nodes and network, and the network between them.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use super::{Config, Place, Transport};
use crate::{
    error::{Doing, Error},
    events::{LinkNow, NodeAddress, PeerAddress},
    machines::{MachineAddress, MachineSettings},
    monkeys::Schedule,
    network::{Device, Endpoint, Network, NetworkConfig, NodeId, Route, SwitchConfig, pairs},
    nodes::NodePlan,
};

/// The longest path of a unix socket, in bytes.
const SOCKET_PATH_BYTES: usize = 107;

/// The port at which a node on a machine of its own is said to listen: it may listen at any others.
const MACHINE_PORT: u16 = 7700;

/// The place of a node. Machines find each other directly, without anybody who listens on their behalf.
pub(super) fn place(node: NodeId, network: &Network, folder: &Path, listens: &[Endpoint]) -> Place {
    let routes = network.routes().iter().filter(|route| route.from == node);
    let mut peers: Vec<(NodeId, Endpoint)> = routes
        .map(|route| (route.to, route.listen.clone()))
        .collect();
    if network.routes().is_empty() {
        let others = listens.iter().cloned().enumerate();
        peers = others.filter(|(peer, _)| *peer != node).collect();
    }
    Place {
        node,
        folder: folder.to_owned(),
        listen: listens[node].clone(),
        peers,
    }
}

pub(super) fn sockets(
    config: &Config,
    schedule: &Schedule,
    folders: &[PathBuf],
    listens: &[Endpoint],
) -> io::Result<Network> {
    Network::start(NetworkConfig {
        nodes: config.nodes,
        seed: config.seed,
        links: schedule.links.clone(),
        routes: routes(config, folders, listens),
    })
}

pub(super) fn switch(
    config: &Config,
    settings: &MachineSettings,
    schedule: &Schedule,
    devices: Vec<Device>,
) -> io::Result<Network> {
    Network::start_switch(SwitchConfig {
        nodes: config.monkeys.places(config.nodes),
        seed: config.seed,
        links: schedule.links.clone(),
        rules: settings.rules,
        devices,
    })
}

pub(super) fn machine_endpoints(nodes: usize) -> Vec<Endpoint> {
    let address = |node| SocketAddr::from((MachineAddress::of_node(node).v4, MACHINE_PORT));
    (0..nodes)
        .map(|node| Endpoint::Tcp(address(node)))
        .collect()
}

pub(super) fn address(place: &Place, plan: &NodePlan, root: &Path) -> NodeAddress {
    let peers = place.peers.iter().map(|(node, endpoint)| PeerAddress {
        node: *node,
        address: endpoint.to_string(),
    });
    // Of several processes the first stands for the node.
    let command = plan.processes.first().into_iter().flat_map(|spec| {
        let program = spec.program.as_os_str();
        std::iter::once(program).chain(spec.arguments.iter().map(OsString::as_os_str))
    });
    NodeAddress {
        node: place.node,
        listen: place.listen.to_string(),
        peers: peers.collect(),
        folder: place.folder.clone(),
        log: root.join(format!("node{}.log", place.node)),
        command: command
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
    }
}

pub(super) fn links_now(network: &Network) -> Vec<LinkNow> {
    let links = network.links();
    let all = pairs(network.nodes()).into_iter().zip(&links);
    all.map(|(pair, state)| LinkNow::new(pair, state)).collect()
}

pub(super) fn unix_endpoints(folders: &[PathBuf]) -> Result<Vec<Endpoint>, Error> {
    let endpoint = |(node, folder): (usize, &PathBuf)| {
        let path = folder.join(format!("node{node}.sock"));
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES {
            return Err(Error::LongPath {
                path,
                bytes,
                most: SOCKET_PATH_BYTES,
            });
        }
        Ok(Endpoint::Unix(path))
    };
    folders.iter().enumerate().map(endpoint).collect()
}

/// Ports that are free now, all different. They stay taken until `reserved` goes.
pub(super) fn free_ports(
    nodes: usize,
    reserved: &mut Vec<TcpListener>,
) -> Result<Vec<Endpoint>, Error> {
    let mut free = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        reserved.push(listener);
        Ok(Endpoint::Tcp(address))
    };
    let ports: io::Result<Vec<Endpoint>> = (0..nodes).map(|_| free()).collect();
    ports.doing(|| "cannot find free ports".to_owned())
}

fn routes(config: &Config, folders: &[PathBuf], listens: &[Endpoint]) -> Vec<Route> {
    let mut routes = Vec::new();
    for (from, folder) in folders.iter().enumerate() {
        for to in (0..config.nodes).filter(|&to| to != from) {
            let listen = match config.transport {
                Transport::Unix => Endpoint::Unix(folder.join(format!("node{to}.sock"))),
                _ => Endpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            };
            routes.push(Route {
                from,
                to,
                listen,
                dial: listens[to].clone(),
            });
        }
    }
    routes
}
