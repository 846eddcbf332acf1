//! How a node is run, and why it may not be.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::backup::{BackupConfig, RestoreConfig, RestoreError};
use crate::cdc::CdcConfig;
use crate::consensus::Timing;
use crate::founding::{Discovery, Founders, NotAllCame};
use crate::node::{Fault, Form, RecoverError};
use crate::security::{HttpsFiles, SecurityError, SecurityFiles};
use crate::trace::TraceError;
use crate::transport::is_path;

/// How a node is run.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what an operator switches on, each on its own"
)]
pub struct Settings {
    /// Where it listens, for clients and peers: `host:port` or a socket's path.
    pub listen: String,
    /// Its address for its peers, if that differs.
    pub advertise: Option<String>,
    /// Where it listens for peers, if not at the same address.
    pub peers: Option<String>,
    /// Its address for clients, if that differs.
    pub advertise_api: Option<String>,
    /// Members to join through, any of them; without one, a node without state founds a cluster.
    pub join: Vec<String>,
    /// It ends when it is removed from its cluster,
    pub ends_if_removed: bool,
    /// and leaves its cluster when it ends.
    pub leaves_at_end: bool,
    /// Where more members' addresses come from.
    pub discovery: Option<Discovery>,
    /// How many nodes found the cluster together, instead of the one that is to join nobody.
    pub founders: Option<Founders>,
    /// What the node is called besides its number; without it, that.
    pub label: Option<String>,
    /// It is a member that never votes.
    pub nonvoter: bool,
    /// The longest request body, bytes.
    pub body_limit: usize,
    /// The leader's heartbeat.
    pub heartbeat: Duration,
    /// Silence after which the leader is doubted.
    pub election: Duration,
    /// What peers prove themselves with.
    pub security: SecurityFiles,
    /// Whenever it changes, secrets and certificates are read again.
    pub reload: Option<watch::Receiver<()>>,
    /// How queued writes are put together.
    pub queue: QueueSettings,
    /// TLS towards clients; without it, they speak plain HTTP.
    pub https: Option<HttpsFiles>,
    /// Web pages of this origin may ask (CORS).
    pub allow_origin: Option<String>,
    /// Who may ask for what (rqlite's format); without it, everybody for everything.
    pub auth: Option<PathBuf>,
    /// Backups that the cluster makes by itself.
    pub auto_backup: Option<BackupConfig>,
    /// The backup that a new cluster begins with.
    pub auto_restore: Option<RestoreConfig>,
    /// Others are told what changes in the database.
    pub cdc: Option<CdcConfig>,
    /// What happens at the node is written there, for `harness trace`.
    pub trace: Option<PathBuf>,
    /// The database is kept in the node's folder, and not in memory.
    pub on_disk: bool,
    /// When the node saves its state, besides its own rule.
    pub snapshots: Option<SnapshotSettings>,
    /// rqlite's endpoints check foreign keys; otherwise requests that ask for it do.
    pub foreign_keys: bool,
    /// It was started by rqlite's command line.
    pub is_rqlited: bool,
}

/// When a node saves its state, besides its own rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Once there are so many entries since the last time.
    pub entries: u64,
    /// How often that is looked at.
    pub look_every: Duration,
}

/// How queued writes are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSettings {
    /// Requests that wait, at most; whoever comes then has to wait for room.
    pub capacity: usize,
    /// Requests that are executed together, at most.
    pub batch: usize,
    /// The first of a batch waits so long for more.
    pub flush_after: Duration,
    /// A batch is executed as a whole or not at all.
    pub transaction: bool,
    /// Foreign keys are checked.
    pub foreign_keys: bool,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            capacity: 1024,
            batch: 128,
            flush_after: Duration::from_millis(50),
            transaction: false,
            foreign_keys: true,
        }
    }
}

/// Length of the core's tick. Short, because election timeouts are counted in them.
pub(crate) const TICK: Duration = Duration::from_millis(10);

impl Settings {
    /// A founder's settings, all others as the program has them by default. `listen` is `host:port` or
    /// the path of a socket.
    pub fn listening_at(listen: &str) -> Self {
        Self {
            listen: listen.to_owned(),
            advertise: None,
            peers: None,
            advertise_api: None,
            join: Vec::new(),
            ends_if_removed: false,
            leaves_at_end: false,
            discovery: None,
            founders: None,
            label: None,
            nonvoter: false,
            body_limit: 64 * 1024 * 1024,
            heartbeat: Duration::from_millis(50),
            election: Duration::from_millis(400),
            security: SecurityFiles::default(),
            reload: None,
            queue: QueueSettings::default(),
            https: None,
            allow_origin: None,
            auth: None,
            auto_backup: None,
            auto_restore: None,
            cdc: None,
            trace: None,
            on_disk: false,
            snapshots: None,
            foreign_keys: true,
            is_rqlited: false,
        }
    }

    pub(crate) fn form(&self) -> Form {
        if self.on_disk {
            Form::Disk
        } else {
            Form::Memory
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        let ticks = |time: Duration| ((time.as_millis() / TICK.as_millis()) as usize).max(1);
        let heartbeat = ticks(self.heartbeat);
        let election = ticks(self.election).max(heartbeat + 1);
        Timing {
            heartbeat,
            election,
            election_step: (election / 4).max(2),
            resend: 2 * election as u64,
            snapshot: 3_000,
            piece: 64 * 1024,
            compare: 150,
            apply_limit: 256 * 1024 * 1024,
        }
    }
}

/// Why peers cannot reach a node by this address, if they cannot.
pub(crate) fn unreachable(address: &str) -> Option<&'static str> {
    if is_path(address) {
        return None;
    }
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let everywhere = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    if everywhere || host.is_empty() || host == "*" {
        return Some("stands for all addresses of this machine, and is none of another's");
    }
    (port.parse() == Ok(0u16)).then_some("has no port")
}

/// Why a node did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address is taken, or none of this machine's.
    #[error("cannot listen at {address}: {cause}")]
    Listen {
        /// As given.
        address: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// Peers or clients are to reach the node by an address that leads nowhere.
    #[error(
        "{who} cannot reach this node by {address}, which {what}: say by which address they can, with {flag} HOST:PORT"
    )]
    Advertise {
        /// Peers or clients.
        who: &'static str,
        /// The flag that helps.
        flag: &'static str,
        /// As given.
        address: String,
        /// Why not.
        what: &'static str,
    },
    /// What peers prove themselves with cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// What happens cannot be written down.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The folder is not whole, or cannot be used.
    #[error("cannot start from {}: {cause}", folder.display())]
    Recover {
        /// As given.
        folder: PathBuf,
        /// What is wrong with it.
        cause: RecoverError,
    },
    /// Those did not come with whom it was to found a cluster.
    #[error(transparent)]
    Founding(#[from] NotAllCame),
    /// A new cluster was to begin with a backup.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The system gives no threads, or does not tell of signals.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// It was running.
    #[error(transparent)]
    Fault(#[from] Fault),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_nowhere() {
        for address in [
            "0.0.0.0:4000",
            "[::]:4000",
            ":::4000",
            ":4000",
            "*:4000",
            "db1:0",
        ] {
            assert!(unreachable(address).is_some(), "{address}");
        }
        for address in [
            "10.0.0.1:4000",
            "[::1]:4000",
            "db1:4000",
            "./0.sock",
            "/0.0.0.0:1",
        ] {
            assert_eq!(unreachable(address), None, "{address}");
        }
    }
}
