//! A pair of virtual Ethernet devices, where there is no TUN device: one end is the machine's, the other is in a
//! network namespace that only we see, and a packet socket there reads and writes frames.
//!
//! Nobody asks who has an address: the machine's device does without neighbours, and sends to its own hardware
//! address, which is the same on all machines. So a frame that one has sent is one for each of the others.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::{
    ioctl::{Setter, ioctl},
    net::{
        AddressFamily, SocketFlags, SocketType,
        addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque},
        bind, eth,
        netdevice::name_to_index,
        socket, socket_with, sockopt,
    },
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use super::{address::MachineAddress, machine::unshare, tun};
use crate::netlink::{self, VirtualPair};

/// The far end's name. Its namespace holds nothing else but a loopback device.
const WIRE: &str = "wire";

/// Hardware addresses, of the kind that anybody may make up.
const NODE_ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const WIRE_ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Bytes of frames that wait for the switch, before the kernel drops more of them.
const QUEUE_BYTES: usize = 8 << 20;

/// `SIOCETHTOOL`.
const FEATURE: u32 = 0x8946;

/// `ETHTOOL_STXCSUM`, `ETHTOOL_SSG`, `ETHTOOL_STSO`, `ETHTOOL_SGSO` and `ETHTOOL_SGRO`: what a kernel leaves to its
/// device, which is nobody here. Checksums are to be there, and packets to be cut.
const LEFT_TO_DEVICES: [u32; 5] = [0x17, 0x19, 0x1f, 0x24, 0x2c];

/// `ifreq` as `SIOCETHTOOL` reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    feature: *const Feature,
    rest: [u8; 24 - size_of::<usize>()],
}

/// `ethtool_value`.
#[repr(C)]
struct Feature {
    command: u32,
    on: u32,
}

/// `sockaddr_ll`.
#[repr(C)]
struct PlaceOfPackets {
    family: u16,
    protocol: u16,
    device: u32,
    rest: [u8; 12],
}

/// Makes the only device of this thread's network namespace, and gives it its addresses; the socket at its far end.
///
/// # Errors
/// No right to make devices or to read packets, or a kernel without either.
pub(super) fn open(address: &MachineAddress, mtu: u32) -> io::Result<OwnedFd> {
    let here = fs::File::open("/proc/thread-self/ns/net")?;
    unshare(UnshareFlags::NEWNET)?;
    let wire = far_end(here.as_fd(), mtu);
    move_into_link_name_space(here.as_fd(), Some(LinkNameSpaceType::Network))?;
    let wire = wire?;
    let asking = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    for command in LEFT_TO_DEVICES {
        switch_off(&asking, command)?;
    }
    let index = name_to_index(&asking, tun::NAME)?;
    netlink::raise_alone(index, mtu)?;
    tun::give_addresses(index, address)?;
    Ok(wire)
}

/// Makes both devices, of which the other is in the namespace `there`.
fn far_end(there: std::os::fd::BorrowedFd<'_>, mtu: u32) -> io::Result<OwnedFd> {
    // The kernel would make itself heard there. Without IPv6 there is nothing to switch off.
    let _silent = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    netlink::add_pair(&VirtualPair {
        here: (WIRE, WIRE_ADDRESS),
        there: (tun::NAME, NODE_ADDRESS),
        namespace: there.as_raw_fd(),
    })?;
    let asking = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let device = name_to_index(&asking, WIRE)?;
    // A socket at a device that is not up says so once, as an error.
    netlink::raise_alone(device, mtu)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let wire = socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        flags,
        Some(eth::ALL),
    )?;
    bind(
        &wire,
        &PlaceOfPackets {
            family: AddressFamily::PACKET.as_raw(),
            protocol: eth::ALL.as_raw().get() as u16,
            device,
            rest: [0; 12],
        },
    )?;
    let set = sockopt::set_socket_recv_buffer_size_force(&wire, QUEUE_BYTES)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&wire, QUEUE_BYTES));
    set?;
    Ok(wire)
}

#[expect(unsafe_code, reason = "an ioctl is as safe as its types are right")]
fn switch_off(socket: &OwnedFd, command: u32) -> io::Result<()> {
    let feature = Feature { command, on: 0 };
    let mut request = Request {
        name: [0; 16],
        feature: &raw const feature,
        rest: [0; 24 - size_of::<usize>()],
    };
    request.name[..tun::NAME.len()].copy_from_slice(tun::NAME.as_bytes());
    // SAFETY: SIOCETHTOOL reads an `ifreq`, which has 40 bytes, as `Request` has, and through it an `ethtool_value`,
    // which outlives the call.
    unsafe { ioctl(socket, Setter::<FEATURE, Request>::new(request)) }.map_err(io::Error::from)
}

// SAFETY: the pointer is to a `sockaddr_ll`, whole, and lives as long as the call.
#[expect(unsafe_code, reason = "an address that rustix does not have")]
unsafe impl SocketAddrArg for PlaceOfPackets {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        f(
            std::ptr::from_ref(self).cast(),
            size_of::<Self>() as SocketAddrLen,
        )
    }
}

const _: () = assert!(size_of::<Request>() == 40 && size_of::<PlaceOfPackets>() == 20);
