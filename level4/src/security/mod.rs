//! Who may be a peer: a secret that the nodes of a cluster share, certificates, or this machine alone.
//!
//! A secret proves in the greeting that both ends belong to the cluster (`secret.rs`); it protects
//! nothing that is said afterwards, which anybody on the way can read and change. Certificates (`tls.rs`)
//! protect the whole connection. Without either, peers are accepted from loopback and unix sockets only,
//! unless an operator says otherwise. Secrets and certificates are read again on demand, so that they can
//! be changed without a stop.

mod blind;
mod credentials;
mod https;
mod secret;
mod tls;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use blind::Blind;
pub use credentials::{Credentials, Known, Permission};
pub use https::{Https, HttpsFiles};
pub use secret::{PROOF, Proof, Role, Secret, transcript};
pub use tls::{Tls, TlsFiles, authorities, identity, is_peers_hello};

/// What the nodes of this cluster prove themselves with, by file.
#[derive(Debug, Clone, Default)]
pub struct SecurityFiles {
    /// One secret, or two while it is being changed, each on a line of its own.
    pub secret: Option<PathBuf>,
    /// This node's certificate and key, and who signs those of the others.
    pub tls: Option<TlsFiles>,
    /// Peers that can prove nothing are accepted from anywhere.
    pub insecure: bool,
}

/// Why secrets or certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// It holds no secret, or none that is one.
    #[error("{}: {what}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It is no list of users.
    #[error("{}: {what}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It holds no certificate or key, or they do not belong together.
    #[error("{}: {what}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// What a node knows about who may talk to it, as read from its files.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// Any of them proves that a peer belongs to the cluster.
    pub secrets: Vec<Secret>,
    /// Peers speak TLS, each with a certificate of its own.
    pub tls: Option<Tls>,
    /// See [`SecurityFiles::insecure`].
    pub insecure: bool,
}

impl SecurityFiles {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If one cannot be read, or does not hold what it should.
    pub fn load(&self) -> Result<Security, SecurityError> {
        let secrets = match &self.secret {
            Some(path) => secret::load(path)?,
            None => Vec::new(),
        };
        Ok(Security {
            secrets,
            tls: self.tls.as_ref().map(Tls::load).transpose()?,
            insecure: self.insecure,
        })
    }

    /// Whether there is anything to read again.
    pub fn is_empty(&self) -> bool {
        self.secret.is_none() && self.tls.is_none()
    }
}

impl Security {
    /// Whether a peer is known to belong to the cluster once it is greeted.
    pub fn proves(&self) -> bool {
        !self.secrets.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.proves)
    }

    /// Whether to talk to a peer at the other end of a connection that is `local` to this machine or not.
    pub fn admits(&self, local: bool) -> bool {
        local || self.insecure || self.proves()
    }

    /// Whether peers that can prove nothing come in from anywhere.
    pub fn is_open(&self) -> bool {
        self.insecure && !self.proves()
    }

    /// For the operator, at the start.
    pub fn describe(&self) -> &'static str {
        match (&self.tls, self.secrets.is_empty()) {
            (Some(tls), true) if !tls.proves => {
                "WARNING: -node-no-verify: peers speak TLS, but whoever reaches this address can act as a member of the cluster, read everything and change everything"
            }
            (Some(_), true) => "peers prove themselves by certificates (TLS)",
            (Some(_), false) => {
                "peers prove themselves by certificates (TLS) and the cluster's secret"
            }
            (None, false) => {
                "peers prove themselves by the cluster's secret; what they say afterwards can be read and changed on its way, which --tls-cert prevents"
            }
            (None, true) if self.insecure => {
                "WARNING: --insecure-peers: whoever reaches this address can act as a member of the cluster, read everything and change everything"
            }
            (None, true) => {
                "peers are accepted from this machine only (loopback and unix sockets): give all nodes a --secret-file or certificates to have others"
            }
        }
    }
}

/// What is wrong with a file of JSON that holds secrets: names and places, and never a value.
pub(crate) fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names_only = [
        "unknown field",
        "unknown variant",
        "missing field",
        "duplicate field",
    ];
    if names_only.iter().any(|begin| text.starts_with(begin)) {
        return text;
    }
    let what = if error.is_data() {
        "a value is not of the kind that belongs there"
    } else {
        "no JSON"
    };
    match error.line() {
        // A part that was read before.
        0 => what.to_owned(),
        line => format!("{what}, at line {line} column {}", error.column()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SecurityError> {
    crate::files::read(path).map_err(|cause| SecurityError::File {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_come_in_from_this_machine_or_with_proof_or_when_told_so() {
        let nothing = Security::default();
        assert!(nothing.admits(true) && !nothing.admits(false) && !nothing.is_open());
        let open = Security {
            insecure: true,
            ..Security::default()
        };
        assert!(open.admits(false) && open.is_open() && !open.proves());
        let secret = Security {
            secrets: vec![Secret::new(b"a secret that is long enough")],
            insecure: true,
            ..Security::default()
        };
        assert!(secret.admits(false) && !secret.is_open());
    }
}
