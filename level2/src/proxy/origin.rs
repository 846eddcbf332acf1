//! Where a connection comes from, and over what.

use super::secure::Secured;
use crate::config::Config;
use crate::trust::Peer;

/// Where a connection comes from, and over what: the same for all its requests.
#[derive(Debug)]
pub struct Origin {
    /// Its other end, or whom that forwards for by the PROXY protocol.
    pub peer: Peer,
    /// Its name.
    pub name: String,
    /// Whether its word about others is taken.
    pub trusted: bool,
    /// What TLS says of it, where it is spoken.
    pub secured: Option<Secured>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

impl Origin {
    /// A connection from this peer.
    pub fn new(config: &Config, peer: Peer) -> Self {
        Self {
            name: peer.to_string(),
            trusted: config.trust.trusts(peer),
            peer,
            secured: None,
            http2: false,
        }
    }

    /// What the client's certificate calls it, if that is how clients are told apart.
    pub fn certified(&self) -> Option<&str> {
        self.secured.as_ref()?.client.as_deref()
    }
}
