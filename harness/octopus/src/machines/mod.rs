//! Whole machines for the nodes: each has a network of its own with addresses and names, on which
//! unmodified programs use any ports and any protocol over IP, and whose only way out is the network's
//! switch.
//!
//! A machine is a set of Linux namespaces ([`machine`]), with a TUN device (`tun`), or where there is none one end of
//! a pair of virtual Ethernet devices (`veth`), whose other end [`Network`](crate::Network) holds. Nothing outside is
//! changed, nothing outside can be reached.

mod address;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod machine;
#[cfg(target_os = "linux")]
mod tun;
#[cfg(target_os = "linux")]
mod veth;

use std::{fs, path::Path, sync::Arc};

pub use address::{MOST_MACHINES, MachineAddress};
pub use machine::Machine;
#[cfg(target_os = "linux")]
pub(crate) use machine::unshare;

use crate::{
    error::{Doing, Error},
    network::{Device, PacketRules},
};

/// The smallest largest packet, in bytes: what IPv4 demands.
pub const LEAST_MTU: u32 = 576;

/// The largest, in bytes.
pub const MOST_MTU: u32 = 65_000;

/// How machines and the network between them are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachineSettings {
    /// What links do to packets besides what monkeys do.
    pub rules: PacketRules,
    /// The largest packet, in bytes, from [`LEAST_MTU`] to [`MOST_MTU`].
    pub mtu: u32,
    /// Whether the kernels may leave it to the receiving one to cut data into packets: many times as fast, but
    /// what is lost, delayed and limited are then up to 64 KiB at once.
    pub offload: bool,
}

impl Default for MachineSettings {
    fn default() -> Self {
        Self {
            rules: PacketRules::default(),
            mtu: 1500,
            offload: false,
        }
    }
}

/// The machines of a simulation.
#[derive(Debug)]
pub(crate) struct Machines {
    pub nodes: Vec<Arc<Machine>>,
    pub client: Arc<Machine>,
}

impl Machines {
    /// Makes machines for so many nodes and one for clients; what they need lies in `folder`. Also returns their
    /// devices, the clients' last.
    pub fn new(
        nodes: usize,
        folder: &Path,
        settings: &MachineSettings,
    ) -> Result<(Self, Vec<Device>), Error> {
        if nodes > MOST_MACHINES {
            return Err(Error::NoMachines(format!(
                "there are addresses for {MOST_MACHINES} nodes, not {nodes}"
            )));
        }
        let kind = machine::DeviceKind::find(settings)?;
        let hosts = folder.join("hosts");
        fs::write(&hosts, address::hosts(nodes))
            .doing(|| format!("cannot write {}", hosts.display()))?;
        let mut devices = Vec::new();
        let mut machine = |address| {
            let (machine, device) = Machine::new(address, &hosts, settings, kind)?;
            devices.push(device);
            Ok(Arc::new(machine))
        };
        let nodes = (0..nodes).map(|node| machine(MachineAddress::of_node(node)));
        let nodes = nodes.collect::<Result<Vec<_>, Error>>()?;
        let client = machine(MachineAddress::of_client())?;
        Ok((Self { nodes, client }, devices))
    }
}
