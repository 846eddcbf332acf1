//! What the switch reads of an IP packet: from where, to where, and of which flow. Whatever is no whole
//! packet is none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMP_V6: u8 = 58;

/// `FIN`, `SYN`, `RST` and `ACK`.
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;

const V4_BYTES: usize = 20;
const V6_BYTES: usize = 40;
const TCP_BYTES: usize = 20;

/// An IP packet, read as far as is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    pub from: IpAddr,
    pub to: IpAddr,
    /// The protocol above IP.
    pub protocol: u8,
    /// What the protocol has; empty in a fragment that is not the first.
    pub payload: &'a [u8],
    /// Ports of sender and receiver, 0 where there are none.
    pub ports: (u16, u16),
}

/// The head of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tcp {
    pub sequence: u32,
    pub acknowledged: u32,
    pub flags: u8,
    /// How far the segment moves the sequence: its data, and one for SYN and FIN.
    pub length: u32,
}

impl<'a> Packet<'a> {
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::read_v4(bytes),
            6 => Self::read_v6(bytes),
            _ => None,
        }
    }

    fn read_v4(bytes: &'a [u8]) -> Option<Self> {
        let head: &[u8; V4_BYTES] = bytes.first_chunk()?;
        let head_bytes = usize::from(head[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
        // A segment that is yet to be cut may be longer than the field can say.
        let total = if total == 0 { bytes.len() } else { total };
        if head_bytes < V4_BYTES || total < head_bytes {
            return None;
        }
        let offset = u16::from_be_bytes([head[6], head[7]]) & 0x1fff;
        let body = bytes.get(head_bytes..total)?;
        let address = |at: usize| Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);
        let payload = if offset == 0 { body } else { &[] };
        Some(Self::new(
            bytes,
            address(12).into(),
            address(16).into(),
            head[9],
            payload,
        ))
    }

    fn read_v6(bytes: &'a [u8]) -> Option<Self> {
        let head: &[u8; V6_BYTES] = bytes.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let end = if length == 0 {
            bytes.len()
        } else {
            V6_BYTES + length
        };
        let payload = bytes.get(V6_BYTES..end)?;
        let address = |at: usize| {
            let octets: Option<[u8; 16]> = head.get(at..at + 16)?.try_into().ok();
            octets.map(Ipv6Addr::from)
        };
        Some(Self::new(
            bytes,
            address(8)?.into(),
            address(24)?.into(),
            head[6],
            payload,
        ))
    }

    fn new(bytes: &'a [u8], from: IpAddr, to: IpAddr, protocol: u8, payload: &'a [u8]) -> Self {
        let ports = match (protocol, payload) {
            (TCP | UDP, &[a, b, c, d, ..]) => {
                (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
            }
            _ => (0, 0),
        };
        Self {
            bytes,
            from,
            to,
            protocol,
            payload,
            ports,
        }
    }

    /// Its head of TCP, if it has one.
    pub fn tcp(&self) -> Option<Tcp> {
        if self.protocol != TCP {
            return None;
        }
        let head: &[u8; TCP_BYTES] = self.payload.first_chunk()?;
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let head_bytes = usize::from(head[12] >> 4) * 4;
        let data = self.payload.len().checked_sub(head_bytes.max(TCP_BYTES))?;
        let flags = head[13];
        let counted = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        Some(Tcp {
            sequence: word(4),
            acknowledged: word(8),
            flags,
            length: data as u32 + counted,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet of IPv4 between two hosts, whose checksums nobody looks at.
    pub fn v4(protocol: u8, from: u8, to: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        bytes.extend([10, 77, 0, from, 10, 77, 0, to]);
        bytes.extend(payload);
        let total = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
        bytes
    }

    /// The same of IPv6.
    pub fn v6(protocol: u8, from: u8, to: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        for last in [from, to] {
            let address = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last.into());
            bytes.extend(address.octets());
        }
        bytes.extend(payload);
        bytes[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        bytes
    }

    /// A segment with so much data.
    pub fn segment(ports: (u16, u16), flags: u8, data: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(ports.0.to_be_bytes());
        bytes.extend(ports.1.to_be_bytes());
        bytes.extend(1000_u32.to_be_bytes());
        bytes.extend(5000_u32.to_be_bytes());
        bytes.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + data, 7);
        bytes
    }

    #[test]
    fn addresses_ports_and_segments_are_read() {
        let segment = segment((1234, 80), SYN | ACK, 5);
        for bytes in [v4(TCP, 10, 11, &segment), v6(TCP, 10, 11, &segment)] {
            let packet = Packet::read(&bytes).unwrap();
            assert_eq!(packet.ports, (1234, 80));
            let tcp = packet.tcp().unwrap();
            assert_eq!(
                (tcp.sequence, tcp.acknowledged, tcp.length),
                (1000, 5000, 6)
            );
            assert!(
                packet
                    .to
                    .to_string()
                    .ends_with(if packet.to.is_ipv4() { "11" } else { "b" })
            );
        }
        let mut fragment = v4(UDP, 10, 11, &[0, 1, 0, 2]);
        fragment[7] = 1;
        assert_eq!(Packet::read(&fragment).unwrap().ports, (0, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_none(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), six: bool) {
            if let Some(first) = bytes.first_mut() {
                *first = *first & 15 | if six { 0x60 } else { 0x40 };
            }
            if let Some(packet) = Packet::read(&bytes) {
                prop_assert!(packet.payload.len() < bytes.len());
                let _read_or_not = packet.tcp();
            }
        }
    }
}
