//! How many connections each peer has, so that nobody takes all of them.
//!
//! Each worker counts for itself, as it does for all connections together: then it can also make room
//! by closing idle ones, which are its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use crate::trust::Peer;

/// One worker's connections by peer.
#[derive(Debug, Default)]
pub struct Peers {
    by_peer: RefCell<HashMap<IpAddr, usize>>,
    total: Cell<usize>,
}

/// One counted connection.
#[derive(Debug)]
#[must_use = "the connection is no longer counted once this is dropped"]
pub struct Counted {
    peers: Rc<Peers>,
    key: Option<IpAddr>,
    connections: usize,
}

impl Peers {
    /// Connections of all peers together.
    pub fn total(&self) -> usize {
        self.total.get()
    }

    /// Counts a connection in, unless its peer has `most` already.
    pub fn count(self: &Rc<Self>, peer: Peer, most: usize) -> Option<Counted> {
        let mut counted = self.count_of(peer, most)?;
        counted.connections = 1;
        self.total.set(self.total.get() + 1);
        Some(counted)
    }

    /// Counts a connection that is counted already for somebody else, too: for whom it is passed on.
    pub fn count_of(self: &Rc<Self>, peer: Peer, most: usize) -> Option<Counted> {
        let key = key(peer);
        if let Some(key) = key {
            let mut counts = self.by_peer.borrow_mut();
            let count = counts.entry(key).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        Some(Counted {
            peers: self.clone(),
            connections: 0,
            key,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.peers
            .total
            .set(self.peers.total.get() - self.connections);
        let Some(key) = self.key else { return };
        let mut counts = self.peers.by_peer.borrow_mut();
        if let Some(count) = counts.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&key);
            }
        }
    }
}

/// Whom connections are counted by: addresses, and of IPv6 the network of 64 bits that one customer gets.
/// Unix peers are of this machine and are not told apart.
pub fn key(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Unix => None,
        Peer::Ip(IpAddr::V6(address)) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Some(Ipv6Addr::from(network).into())
        }
        Peer::Ip(address) => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_share_and_gives_it_back() {
        let peers = Rc::new(Peers::default());
        let peer = |text: &str| Peer::Ip(text.parse().unwrap());
        let first = peers.count(peer("2001:db8::1"), 2).unwrap();
        assert_eq!(peers.total(), 1);
        drop(peers.count_of(peer("10.0.0.1"), 1));
        assert_eq!(peers.total(), 1);
        let _second = peers.count(peer("2001:db8::2"), 2).unwrap();
        assert!(peers.count(peer("2001:db8::3"), 2).is_none());
        assert!(peers.count(peer("2001:db8:0:1::3"), 2).is_some());
        drop(first);
        assert!(peers.count(peer("2001:db8::3"), 2).is_some());
        assert!(peers.count(Peer::Unix, 0).is_some());
    }
}
