//! A TUN device: whatever the network namespace in which it was opened sends out comes here as IP
//! packets, and what is written here arrives there.

use std::{io, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    ioctl::{IntegerSetter, Updater, ioctl},
};

use super::address::{BITS_V4, BITS_V6, MachineAddress};
use crate::netlink;

/// The name of each machine's device.
pub(super) const NAME: &str = "node";

const DRIVER: &str = "/dev/net/tun";

/// `TUNSETIFF`.
const SET_DEVICE: u32 = 0x4004_54ca;
/// `TUNSETOFFLOAD`.
const SET_OFFLOAD: u32 = 0x4004_54d0;
/// `IFF_TUN | IFF_NO_PI`: packets, with nothing in front of them.
const PACKETS: u16 = 0x1001;
/// `IFF_VNET_HDR`: a header that tells what is left to be done to a packet.
const WITH_HEADER: u16 = 0x4000;
/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6`: checksums and segments may be left to whoever is last.
const OFFLOAD: usize = 1 | 2 | 4;
/// Packets that wait for the switch, before the kernel drops more of them.
const QUEUE: u32 = 4096;

/// `ifreq` as `TUNSETIFF` reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Whether devices can be had at all.
///
/// # Errors
/// `/dev/net/tun` is missing or closed to us.
pub(super) fn check() -> io::Result<()> {
    open_driver().map(|_| ())
}

fn open_driver() -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(DRIVER, flags, Mode::empty())?)
}

/// Opens the only device of this thread's network namespace, and gives it its addresses. Without IPv6 in
/// the kernel there is only the first.
///
/// # Errors
/// `/dev/net/tun` is missing or closed to us, or the namespace is not ours.
pub(super) fn open(address: &MachineAddress, mtu: u32, offload: bool) -> io::Result<OwnedFd> {
    let device = open_driver()?;
    let mut request = Request {
        name: [0; 16],
        flags: PACKETS | if offload { WITH_HEADER } else { 0 },
        rest: [0; 22],
    };
    request.name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    set_device(&device, &mut request)?;
    if offload {
        set_offload(&device)?;
    }
    let kind = rustix::net::SocketType::DGRAM;
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, kind, None)?;
    let index = rustix::net::netdevice::name_to_index(&socket, NAME)?;
    netlink::raise_with(index, mtu, QUEUE)?;
    give_addresses(index, address)?;
    Ok(device)
}

/// Gives a device both addresses of its machine.
pub(super) fn give_addresses(index: u32, address: &MachineAddress) -> io::Result<()> {
    netlink::add_address(index, address.v4.into(), BITS_V4)?;
    // Smaller packets than IPv6 has, or a kernel without it.
    let _no_ipv6 = netlink::add_address(index, address.v6.into(), BITS_V6);
    Ok(())
}

#[expect(unsafe_code, reason = "an ioctl is as safe as its types are right")]
fn set_device(device: &OwnedFd, request: &mut Request) -> io::Result<()> {
    // SAFETY: TUNSETIFF reads and writes an `ifreq`, which has 40 bytes, as `Request` has.
    unsafe { ioctl(device, Updater::<SET_DEVICE, Request>::new(request)) }.map_err(io::Error::from)
}

#[expect(unsafe_code, reason = "an ioctl is as safe as its types are right")]
fn set_offload(device: &OwnedFd) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a number and no pointer.
    unsafe { ioctl(device, IntegerSetter::<SET_OFFLOAD>::new_usize(OFFLOAD)) }
        .map_err(io::Error::from)
}

const _: () = assert!(size_of::<Request>() == 40);
