//! Which address and name each machine has: nodes from 10.77.0.10 and fd77::10 on, so that the last
//! digits tell the node, and the clients' machine at 10.77.0.100 and fd77::100.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::network::NodeId;

/// The last part of node 0's address; node I has I more.
const FIRST: u8 = 10;

/// The last part of the address of the clients' machine.
const CLIENT: u8 = 100;

/// The most nodes that have an address.
pub const MOST_MACHINES: usize = (CLIENT - FIRST) as usize;

/// Leading bits of the network in which all IPv4 addresses are.
pub(super) const BITS_V4: u8 = 24;

/// The same of IPv6.
pub(super) const BITS_V6: u8 = 64;

/// Where a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineAddress {
    /// Its name, which all machines know: `node0`, or `client`.
    pub name: String,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl MachineAddress {
    /// The address of a node, which is one of the first [`MOST_MACHINES`].
    pub fn of_node(node: NodeId) -> Self {
        Self::at(format!("node{node}"), FIRST + node as u8)
    }

    /// The address of the machine on which clients run.
    pub fn of_client() -> Self {
        Self::at("client".to_owned(), CLIENT)
    }

    /// Both addresses.
    pub fn all(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// The digits of the last part are the same in both kinds of address, read as people read them.
    fn at(name: String, last: u8) -> Self {
        let digits =
            u16::from(last / 100) << 8 | u16::from(last / 10 % 10) << 4 | u16::from(last % 10);
        Self {
            name,
            v4: Ipv4Addr::new(10, 77, 0, last),
            v6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, digits),
        }
    }
}

/// What `/etc/hosts` says on every machine.
pub(super) fn hosts(nodes: usize) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    let machines = (0..nodes).map(MachineAddress::of_node);
    for machine in machines.chain([MachineAddress::of_client()]) {
        let MachineAddress { name, v4, v6 } = machine;
        text.extend([format!("{v4} {name}\n{v6} {name}\n")]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digits_tell_the_node() {
        let shown =
            |address: MachineAddress| format!("{} {} {}", address.name, address.v4, address.v6);
        assert_eq!(
            shown(MachineAddress::of_node(3)),
            "node3 10.77.0.13 fd77::13"
        );
        let last = MachineAddress::of_node(MOST_MACHINES - 1);
        assert_eq!(shown(last), "node89 10.77.0.99 fd77::99");
        assert_eq!(
            shown(MachineAddress::of_client()),
            "client 10.77.0.100 fd77::100"
        );
    }

    #[test]
    fn everybody_knows_everybody_by_name() {
        let hosts = hosts(2);
        for line in [
            "10.77.0.11 node1\n",
            "fd77::10 node0\n",
            "10.77.0.100 client\n",
        ] {
            assert!(hosts.contains(line), "{hosts}");
        }
    }
}
