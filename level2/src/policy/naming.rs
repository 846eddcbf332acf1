//! Who counts as one client, and what its class is worth.
//!
//! A client is named by text: an address, or whatever a trusted front end says. Addresses are taken by
//! network, since whoever has one IPv6 address has 2^64 of them; other names are taken whole. The first
//! class whose pattern matches the name gives the client its weight and its fixed limit.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// How clients are told apart and classed.
#[derive(Clone, Debug, PartialEq)]
pub struct Naming {
    /// Leading bits of an IPv4 address that name a client (0 to 32).
    pub ipv4_bits: u8,
    /// Leading bits of an IPv6 address that name a client (0 to 128): 64, what one subscriber has.
    pub ipv6_bits: u8,
    /// Classes of clients; the first that matches counts.
    pub classes: Vec<ClientClass>,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            ipv4_bits: 32,
            ipv6_bits: 64,
            classes: Vec::new(),
        }
    }
}

/// What an operator grants to a kind of clients.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientClass {
    /// Whose class it is.
    pub pattern: Pattern,
    /// Share of the capacity, relative to a client of weight 1.
    pub weight: f64,
    /// A limit that holds for each client even if there is capacity; `None` for none.
    pub limit: Option<FixedLimit>,
}

/// A limit of requests that each client of a class has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedLimit {
    /// Requests a second.
    pub rate: f64,
    /// Requests that may come at once after a silence; at least 1.
    pub burst: f64,
}

/// Which names a class is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Addresses of a network.
    Network(IpNet),
    /// Names; `*` stands for any text.
    Text(String),
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty pattern matches nobody".into());
        }
        if let Ok(net) = text.parse() {
            return Ok(Self::Network(net));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        match text.split_once('/') {
            Some((net, _)) if net.parse::<IpAddr>().is_ok() => {
                Err(format!("`{text}` is not a network such as 10.0.0.0/8"))
            }
            _ => Ok(Self::Text(text.into())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(net) => net.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Pattern {
    fn matches(&self, name: &[u8], address: Option<IpAddr>) -> bool {
        match self {
            Self::Network(net) => address.is_some_and(|address| net.contains(&address)),
            Self::Text(text) => glob(text.as_bytes(), name),
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any text. Takes time linear in their product.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on when a guess at the length of the latest `*` was wrong.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, start)) => {
                    retry = Some((after, start + 1));
                    p = after;
                    n = start + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// A client's identity: the keyed hash of its name, and its class.
///
/// Names are not stored; two names of one table share a hash with a chance of about
/// (clients / 2^32)^2, and the key is drawn at start so that nobody can aim for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// Never 0.
    pub(super) hash: u64,
    /// Index of its class; `u16::MAX` for none.
    pub(super) class: u16,
}

/// Turns names into [`ClientKey`]s, with a secret drawn when it is made.
#[derive(Clone, Debug, Default)]
pub struct ClientHasher(RandomState);

impl ClientHasher {
    /// The key of a client's name, which may be any bytes, by the usual naming.
    pub fn key(&self, name: &[u8]) -> ClientKey {
        self.key_in(&Naming::default(), name)
    }

    /// The key of a client's name, which may be any bytes.
    pub fn key_in(&self, naming: &Naming, name: &[u8]) -> ClientKey {
        let address = address(name);
        let class = naming
            .classes
            .iter()
            .take(usize::from(u16::MAX))
            .position(|class| class.pattern.matches(name, address));
        let hash = match address {
            Some(IpAddr::V4(four)) => {
                let bits =
                    u32::from(four) & mask(u128::from(u32::MAX), 32, naming.ipv4_bits) as u32;
                self.0.hash_one((4u8, bits))
            }
            Some(IpAddr::V6(six)) => {
                let bits = u128::from(six) & mask(u128::MAX, 128, naming.ipv6_bits);
                self.0.hash_one((6u8, bits))
            }
            None => self.0.hash_one(name),
        };
        ClientKey {
            hash: hash.max(1),
            class: class.map_or(u16::MAX, |index| index as u16),
        }
    }
}

/// The leading `bits` of `width`.
fn mask(all: u128, width: u32, bits: u8) -> u128 {
    let free = width.saturating_sub(u32::from(bits));
    all.checked_shl(free).unwrap_or(0) & all
}

/// The address that a name is, if it is one: bare, or with a port as some front ends write it.
fn address(name: &[u8]) -> Option<IpAddr> {
    // The longest form of an address with a port; anything longer is no address.
    let plausible = |byte: &u8| byte.is_ascii_hexdigit() || b":.[]".contains(byte);
    if name.len() > 56 || !name.iter().all(plausible) {
        return None;
    }
    let text = std::str::from_utf8(name).ok()?;
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let parsed = bare.parse::<IpAddr>().ok();
    let with_port = || Some(text.parse::<std::net::SocketAddr>().ok()?.ip());
    Some(parsed.or_else(with_port)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(naming: &Naming, a: &str, b: &str) -> bool {
        let hasher = ClientHasher::default();
        hasher.key_in(naming, a.as_bytes()).hash == hasher.key_in(naming, b.as_bytes()).hash
    }

    #[test]
    fn addresses_are_one_client_by_network() {
        let naming = Naming::default();
        assert!(same(&naming, "2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same(&naming, "2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same(&naming, "10.0.0.1", "10.0.0.2"));
        assert!(same(&naming, "10.0.0.1", "10.0.0.1:4711"));
        assert!(same(&naming, "::ffff:10.0.0.1", "10.0.0.1"));
        assert!(same(&naming, "[2001:db8::1]:80", "2001:db8::2"));
        assert!(!same(&naming, "2001:db8::x1", "2001:db8::x2"));
        let wide = Naming {
            ipv4_bits: 24,
            ipv6_bits: 48,
            ..Naming::default()
        };
        assert!(same(&wide, "10.0.0.1", "10.0.0.2") && !same(&wide, "10.0.0.1", "10.0.1.1"));
        assert!(same(&wide, "2001:db8:1:2::1", "2001:db8:1:3::1"));
        let all = Naming {
            ipv4_bits: 0,
            ipv6_bits: 0,
            ..Naming::default()
        };
        assert!(same(&all, "10.0.0.1", "11.0.1.2") && same(&all, "1::", "2::"));
    }

    #[test]
    fn the_first_class_that_matches_counts() {
        let class = |pattern: &str| ClientClass {
            pattern: pattern.parse().unwrap(),
            weight: 1.0,
            limit: None,
        };
        let naming = Naming {
            classes: vec![class("10.0.0.0/8"), class("partner-*"), class("*")],
            ..Naming::default()
        };
        let hasher = ClientHasher::default();
        let of = |name: &str| hasher.key_in(&naming, name.as_bytes()).class;
        assert_eq!((of("10.1.2.3"), of("partner-7"), of("11.1.1.1")), (0, 1, 2));
        assert_eq!(hasher.key(b"x").class, u16::MAX);
        for bad in ["", "10.0.0.0/33", "::1/200"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*b*b*", "abab", true),
            ("ab", "abc", false),
            ("a**", "a", true),
        ] {
            assert_eq!(
                glob(pattern.as_bytes(), name.as_bytes()),
                fits,
                "{pattern} {name}"
            );
        }
    }
}
