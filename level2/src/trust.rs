//! Whose word is taken for who the client is.
//!
//! `X-Forwarded-For` grows at its end: each proxy appends the address it was called from. So the list
//! is read from its end, for as long as trusted hands wrote it: the client is the last element that
//! no trusted peer added by its own address. Everything further left is hearsay.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A range of addresses, or all unix socket peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Addresses of this network; a single one is a network of its own.
    Net(IpNet),
    /// Peers on unix sockets.
    Unix,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self::Net)
            .map_err(|_| {
                format!(
                    "`{text}` is neither an address, nor a range such as 10.0.0.0/8, nor `unix`"
                )
            })
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Ip(IpAddr),
    /// Over a unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// The trusted ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust(Vec<Range>);

impl Default for Trust {
    /// Loopback and unix sockets: what only this machine can reach.
    fn default() -> Self {
        Self(vec![
            Range::Net(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).into()),
            Range::Net(IpAddr::from(Ipv6Addr::LOCALHOST).into()),
            Range::Unix,
        ])
    }
}

impl Trust {
    /// Trusts exactly these.
    pub fn new(ranges: Vec<Range>) -> Self {
        Self(ranges)
    }

    /// Whether the peer's word is taken.
    pub fn trusts(&self, peer: Peer) -> bool {
        self.0.iter().any(|range| match (range, peer) {
            (Range::Unix, Peer::Unix) => true,
            (Range::Net(net), Peer::Ip(address)) => net.contains(&address.to_canonical()),
            _ => false,
        })
    }

    /// The client's name within the values of `X-Forwarded-For`, in order of appearance, sent by a
    /// trusted peer. `None`: the list is empty, and the peer itself is the client.
    pub fn client<'a>(
        &self,
        values: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> Option<&'a [u8]> {
        let mut leftmost = None;
        for element in values
            .rev()
            .flat_map(|value| value.rsplit(|&byte| byte == b','))
        {
            let element = element.trim_ascii();
            if element.is_empty() {
                continue;
            }
            leftmost = Some(element);
            let address = std::str::from_utf8(element)
                .ok()
                .and_then(|text| text.parse().ok());
            if !address.is_some_and(|address| self.trusts(Peer::Ip(address))) {
                return Some(element);
            }
        }
        leftmost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    #[test]
    fn ranges_cover_what_they_say() {
        let trust = Trust::new(vec![
            "10.0.0.0/8".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ]);
        assert!(trust.trusts(ip("10.255.0.1")) && trust.trusts(ip("::ffff:10.1.2.3")));
        assert!(trust.trusts(ip("2001:db8:1::5")));
        assert!(
            !trust.trusts(ip("11.0.0.1")) && !trust.trusts(ip("::1")) && !trust.trusts(Peer::Unix)
        );
        assert!(Trust::default().trusts(ip("127.8.9.1")) && Trust::default().trusts(Peer::Unix));
        for bad in ["10.0.0.0/33", "10.0.0/8", "all", "::/129", "1.2.3.4/-1"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_client_is_the_last_element_no_trusted_peer_added() {
        let trust = Trust::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let client = |values: &[&'static str]| {
            trust
                .client(values.iter().map(|value| value.as_bytes()))
                .map(|name| String::from_utf8(name.to_vec()).unwrap())
        };
        assert_eq!(
            client(&["forged, 1.2.3.4, 10.0.0.7"]).as_deref(),
            Some("1.2.3.4")
        );
        assert_eq!(
            client(&["forged", "opaque-name"]).as_deref(),
            Some("opaque-name")
        );
        assert_eq!(client(&["10.0.0.1, 10.0.0.2"]).as_deref(), Some("10.0.0.1"));
        assert_eq!(client(&[" , "]), None);
        assert_eq!(client(&[]), None);
    }
}
