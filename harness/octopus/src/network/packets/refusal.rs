//! What a sender is told of a packet that is refused: a reset of its TCP connection, or that its host cannot
//! be reached (RFC 9293, 792, 4443). As whoever it wanted to reach.

use std::net::IpAddr;

use super::packet::{ACK, ICMP, ICMP_V6, Packet, RST, TCP};

/// "Communication administratively prohibited" of ICMP and of ICMPv6: type and code. Unlike "host unreachable",
/// which may pass, this is told to whoever uses a socket of UDP.
const UNREACHABLE_V4: [u8; 2] = [3, 13];
const UNREACHABLE_V6: [u8; 2] = [1, 1];

/// How much of the refused packet the sender is shown, in bytes: enough for its ports.
const SHOWN: usize = 128;

const HOPS: u8 = 64;

/// The answer to a packet; none to what is itself a refusal.
pub(super) fn refusal(packet: &Packet<'_>) -> Option<Vec<u8>> {
    if packet.protocol == TCP {
        return reset(packet);
    }
    let is_error = match packet.protocol {
        ICMP => packet
            .payload
            .first()
            .is_none_or(|&kind| !matches!(kind, 0 | 8)),
        ICMP_V6 => packet.payload.first().is_none_or(|&kind| kind < 128),
        _ => packet.payload.is_empty(),
    };
    (!is_error).then(|| unreachable(packet))
}

/// A reset that the sender believes: at the sequence number that it expects next.
pub(super) fn reset(packet: &Packet<'_>) -> Option<Vec<u8>> {
    let tcp = packet.tcp()?;
    if tcp.flags & RST != 0 {
        return None;
    }
    let (sequence, acknowledged, flags) = if tcp.flags & ACK != 0 {
        (tcp.acknowledged, 0, RST)
    } else {
        (0, tcp.sequence.wrapping_add(tcp.length), RST | ACK)
    };
    let mut segment = Vec::with_capacity(20);
    segment.extend(packet.ports.1.to_be_bytes());
    segment.extend(packet.ports.0.to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    Some(answer(packet, TCP, segment, 16))
}

fn unreachable(packet: &Packet<'_>) -> Vec<u8> {
    let (protocol, kind) = match packet.to {
        IpAddr::V4(_) => (ICMP, UNREACHABLE_V4),
        IpAddr::V6(_) => (ICMP_V6, UNREACHABLE_V6),
    };
    let mut message = kind.to_vec();
    message.extend([0; 6]);
    message.extend(&packet.bytes[..packet.bytes.len().min(SHOWN)]);
    answer(packet, protocol, message, 2)
}

/// A packet back to the sender, whose payload has its checksum at a place.
fn answer(packet: &Packet<'_>, protocol: u8, mut payload: Vec<u8>, checksum_at: usize) -> Vec<u8> {
    let length = payload.len();
    let (mut head, pseudo) = match (packet.to, packet.from) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (20 + length) as u16;
            let mut head = vec![0x45, 0];
            head.extend(total.to_be_bytes());
            head.extend([0, 0, 0, 0, HOPS, protocol, 0, 0]);
            head.extend(from.octets());
            head.extend(to.octets());
            let sum = checksum(&[&head]);
            head[10..12].copy_from_slice(&sum.to_be_bytes());
            let mut pseudo = head[12..20].to_vec();
            pseudo.extend([0, protocol]);
            pseudo.extend((length as u16).to_be_bytes());
            // ICMP of IPv4 sums up its own bytes only.
            let pseudo = if protocol == ICMP { Vec::new() } else { pseudo };
            (head, pseudo)
        }
        (from, to) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            };
            let mut head = vec![0x60, 0, 0, 0];
            head.extend((length as u16).to_be_bytes());
            head.extend([protocol, HOPS]);
            head.extend(octets(from));
            head.extend(octets(to));
            let mut pseudo = head[8..40].to_vec();
            pseudo.extend((length as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, protocol]);
            (head, pseudo)
        }
    };
    let sum = checksum(&[&pseudo, &payload]);
    payload[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    head.extend(payload);
    head
}

/// The checksum of the internet (RFC 1071). Only the last part may have an odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::{
        super::packet::{
            SYN, UDP,
            tests::{segment, v4, v6},
        },
        *,
    };

    /// A right checksum makes the sum of everything zero.
    fn sums_up(bytes: &[u8]) -> bool {
        let packet = Packet::read(bytes).unwrap();
        let length = packet.payload.len();
        let pseudo = match (packet.from, packet.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) if packet.protocol != ICMP => {
                let ends = [from.octets(), to.octets()].concat();
                [ends, vec![0, packet.protocol, 0, length as u8]].concat()
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ends = [from.octets(), to.octets()].concat();
                [ends, vec![0, 0, 0, length as u8, 0, 0, 0, packet.protocol]].concat()
            }
            _ => Vec::new(),
        };
        let head = bytes[0] >> 4 == 6 || checksum(&[&bytes[..20]]) == 0;
        head && checksum(&[&pseudo, packet.payload]) == 0
    }

    #[test]
    fn tcp_is_reset_where_the_sender_believes_it() {
        for (flags, wanted) in [(SYN, (0, 1001, RST | ACK)), (ACK, (5000, 0, RST))] {
            let segment = segment((40_000, 80), flags, 0);
            for bytes in [v4(TCP, 10, 11, &segment), v6(TCP, 10, 11, &segment)] {
                let answer = refusal(&Packet::read(&bytes).unwrap()).unwrap();
                assert!(sums_up(&answer), "{answer:?}");
                let read = Packet::read(&answer).unwrap();
                let tcp = read.tcp().unwrap();
                assert_eq!((tcp.sequence, tcp.acknowledged, tcp.flags), wanted);
                assert_eq!(read.ports, (80, 40_000));
                assert!(refusal(&read).is_none(), "no reset of a reset");
            }
        }
    }

    #[test]
    fn all_else_is_told_that_its_host_cannot_be_reached() {
        let datagram = [0, 1, 0, 2, 0, 9, 0, 0, 1];
        for bytes in [v4(UDP, 10, 11, &datagram), v6(UDP, 10, 11, &datagram)] {
            let answer = refusal(&Packet::read(&bytes).unwrap()).unwrap();
            assert!(sums_up(&answer), "{answer:?}");
            let read = Packet::read(&answer).unwrap();
            assert_eq!(&read.payload[8..], &bytes);
            assert!(refusal(&read).is_none(), "no error about an error");
        }
        let ping = v4(ICMP, 10, 11, &[8, 0, 0, 0, 0, 0, 0, 0]);
        assert!(refusal(&Packet::read(&ping).unwrap()).is_some());
    }
}
