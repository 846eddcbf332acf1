//! The few messages of rtnetlink(7) by which a new network namespace gets its devices going: raise
//! one, give it an address, make a pair of them.

use std::{io, net::IpAddr, os::fd::RawFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// `RTM_NEWLINK`: set up a device.
const NEW_LINK: u16 = 16;
/// `RTM_NEWADDR`: give a device an address.
const NEW_ADDRESS: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const REQUEST_WITH_ANSWER: u16 = 1 | 4;
/// `NLM_F_CREATE`.
const CREATE: u16 = 0x400;
/// `NLMSG_ERROR`, which is the acknowledgement as well.
const ERROR: u16 = 2;
/// `IFF_UP`.
const UP: u32 = 1;
/// `IFF_NOARP`: neighbours are not asked for.
const WITHOUT_NEIGHBOURS: u32 = 0x80;
/// `NLM_F_EXCL`: not if it is there already.
const NEW_ONLY: u16 = 0x200;
/// `IFLA_ADDRESS` and `IFLA_IFNAME`.
const LINK_HARDWARE: u16 = 1;
const LINK_NAME: u16 = 3;
/// `IFLA_LINKINFO`, and in it `IFLA_INFO_KIND` and `IFLA_INFO_DATA`; in that `VETH_INFO_PEER`.
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_PEER: u16 = 1;
/// `IFLA_NET_NS_FD`.
const LINK_NAMESPACE: u16 = 28;
/// `IFLA_MTU`.
const LINK_MTU: u16 = 4;
/// `IFLA_TXQLEN`.
const LINK_QUEUE: u16 = 13;
/// `IFA_ADDRESS` and `IFA_LOCAL`, which differ only on links between two.
const ADDRESS_ATTRIBUTES: [u16; 2] = [1, 2];
/// `IFA_F_NODAD`: an IPv6 address that may be used at once, as nobody else can have it.
const NO_DUPLICATES: u8 = 2;
/// `AF_INET` and `AF_INET6`.
const FAMILIES: [u8; 2] = [2, 10];
/// Bytes of `nlmsghdr`.
const HEADER_BYTES: usize = 16;

/// The loopback device, which is the first of its namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// Two virtual Ethernet devices: what one sends, the other receives.
pub(crate) struct VirtualPair<'a> {
    /// Name and hardware address of the one in our network namespace.
    pub here: (&'a str, [u8; 6]),
    /// The same of the other.
    pub there: (&'a str, [u8; 6]),
    /// The descriptor of the other's network namespace.
    pub namespace: RawFd,
}

/// Raises a device.
pub(crate) fn raise(device: u32) -> io::Result<()> {
    request(&link_message(device, UP, &[]))
}

/// Raises a device that never asks for neighbours, with a largest packet, in bytes.
pub(crate) fn raise_alone(device: u32, mtu: u32) -> io::Result<()> {
    let flags = UP | WITHOUT_NEIGHBOURS;
    request(&link_message(device, flags, &[(LINK_MTU, mtu)]))
}

/// Makes a pair of devices.
pub(crate) fn add_pair(pair: &VirtualPair<'_>) -> io::Result<()> {
    request(&pair_message(pair))
}

/// Raises a device with a largest packet, in bytes, and a queue of so many packets.
pub(crate) fn raise_with(device: u32, mtu: u32, queue: u32) -> io::Result<()> {
    let attributes = [(LINK_MTU, mtu), (LINK_QUEUE, queue)];
    request(&link_message(device, UP, &attributes))
}

/// Gives a device an address in a network of so many leading bits; all of that network is then reached
/// through it.
pub(crate) fn add_address(device: u32, address: IpAddr, bits: u8) -> io::Result<()> {
    request(&address_message(device, address, bits))
}

fn request(message: &[u8]) -> io::Result<()> {
    let kind = SocketType::RAW;
    let socket = socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, None)?;
    send(&socket, message, SendFlags::empty())?;
    let mut answer = [0; 512];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    judge(&answer[..length])
}

fn link_message(device: u32, flags: u32, attributes: &[(u16, u32)]) -> Vec<u8> {
    let mut body = about_link(device, flags);
    for (name, value) in attributes {
        attribute(&mut body, *name, &value.to_ne_bytes());
    }
    message(NEW_LINK, 0, &body)
}

/// `ifinfomsg`: family and padding, type, index, flags, which flags are meant.
fn about_link(device: u32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [device, flags, flags] {
        body.extend(word.to_ne_bytes());
    }
    body
}

fn pair_message(pair: &VirtualPair<'_>) -> Vec<u8> {
    let named = |(name, hardware): (&str, [u8; 6])| {
        let mut body = about_link(0, 0);
        attribute(&mut body, LINK_NAME, &[name.as_bytes(), b"\0"].concat());
        attribute(&mut body, LINK_HARDWARE, &hardware);
        body
    };
    let mut peer = named(pair.there);
    attribute(&mut peer, LINK_NAMESPACE, &pair.namespace.to_ne_bytes());
    let mut data = Vec::new();
    attribute(&mut data, INFO_PEER, &peer);
    let mut info = Vec::new();
    attribute(&mut info, INFO_KIND, b"veth");
    attribute(&mut info, INFO_DATA, &data);
    let mut body = named(pair.here);
    attribute(&mut body, LINK_INFO, &info);
    message(NEW_LINK, CREATE | NEW_ONLY, &body)
}

fn address_message(device: u32, address: IpAddr, bits: u8) -> Vec<u8> {
    let (family, bytes) = match address {
        IpAddr::V4(address) => (FAMILIES[0], address.octets().to_vec()),
        IpAddr::V6(address) => (FAMILIES[1], address.octets().to_vec()),
    };
    // ifaddrmsg: family, length of the prefix, flags, scope, index.
    let mut body = vec![family, bits, NO_DUPLICATES, 0];
    if address.is_ipv4() {
        body[2] = 0;
    }
    body.extend(device.to_ne_bytes());
    for name in ADDRESS_ATTRIBUTES {
        attribute(&mut body, name, &bytes);
    }
    message(NEW_ADDRESS, CREATE, &body)
}

/// Lengths do not count the padding to four bytes.
fn attribute(body: &mut Vec<u8>, name: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(name.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // nlmsghdr: length, type, flags, sequence, port.
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST_WITH_ANSWER | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Whether the kernel did it: an error of 0.
fn judge(answer: &[u8]) -> io::Result<()> {
    let kind = answer
        .get(4..6)
        .map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    let error = answer.get(16..20);
    let error = error.map(|error| i32::from_ne_bytes([error[0], error[1], error[2], error[3]]));
    match (kind, error) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_length(message: &[u8]) -> usize {
        u32::from_ne_bytes(message[..4].try_into().unwrap()) as usize
    }

    #[test]
    fn messages_are_as_long_as_they_say() {
        let plain = link_message(LOOPBACK, UP, &[]);
        assert_eq!((told_length(&plain), plain.len()), (32, 32));
        let with = link_message(7, UP, &[(LINK_MTU, 1500), (LINK_QUEUE, 10)]);
        assert_eq!((told_length(&with), with.len()), (48, 48));
        let pair = pair_message(&VirtualPair {
            here: ("one", [2; 6]),
            there: ("other", [3; 6]),
            namespace: 5,
        });
        assert_eq!(told_length(&pair), pair.len());
        for address in ["10.77.0.10", "fd77::10"] {
            let message = address_message(2, address.parse().unwrap(), 24);
            assert_eq!(told_length(&message), message.len(), "{address}");
            assert_eq!(message.len() % 4, 0);
        }
    }

    #[test]
    fn errors_are_read() {
        let mut answer = vec![0; 36];
        answer[4] = ERROR as u8;
        judge(&answer).unwrap();
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(judge(&answer).unwrap_err().raw_os_error(), Some(1));
        assert!(judge(&answer[..10]).is_err());
    }
}
