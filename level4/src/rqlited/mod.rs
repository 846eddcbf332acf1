//! rqlite's command line as settings of a node, for the program `rqlited`: scripts and charts that start
//! rqlite 10 start this.

mod flags;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::backup::{BackupConfig, ConfigError, RestoreConfig};
use crate::cdc::CdcConfig;
use crate::founding::{Discovery, Founders};
use crate::security::{HttpsFiles, SecurityFiles, TlsFiles};
use crate::settings::{QueueSettings, Settings, SnapshotSettings, unreachable};
use flags::Given;

pub use flags::{FLAGS, Use};

/// How it is used.
pub const USAGE: &str = "rqlited: level4, started by the command line of rqlite 10

Usage: rqlited [flags] DATADIR

Examples:
  rqlited -node-id 1 ~/node.1
  rqlited -node-id 2 -http-addr localhost:4003 -raft-addr localhost:4004 -join localhost:4002 ~/node.2

Which flags do what they do in rqlite, and which do nothing here or are refused, is in docs/rqlite.md.
Without node certificates whoever reaches -raft-addr can act as a member, as with rqlite.
";

/// Nothing is looked at more often.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
/// The most requests that a queue may hold.
const QUEUE_LIMIT: usize = 1_000_000;

/// A flag that cannot be what it says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{name}: {reason}", if name.starts_with(char::is_uppercase) { "" } else { "-" })]
pub struct RefusedFlag {
    name: String,
    reason: String,
}

impl RefusedFlag {
    fn new(name: &str, reason: impl fmt::Display) -> Self {
        Self {
            name: name.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Launch {
    /// A node in this folder.
    Node {
        /// How it is run.
        settings: Box<Settings>,
        /// Where.
        folder: PathBuf,
        /// It says what happens between nodes.
        is_verbose: bool,
    },
    /// The version.
    Version,
    /// [`USAGE`].
    Help,
}

/// Translates a command line (without the program's name).
///
/// # Errors
///
/// If a flag is unknown, refused, or not what it should be.
pub fn translate(arguments: impl IntoIterator<Item = String>) -> Result<Launch, RefusedFlag> {
    let given = Given::parse(arguments)?;
    if given.is_on("version") {
        return Ok(Launch::Version);
    }
    if given.is_on("help") || given.is_on("h") {
        return Ok(Launch::Help);
    }
    let [folder] = given.rest.as_slice() else {
        return Err(RefusedFlag::new(
            "DATADIR",
            "name one folder for the node's data, after the flags",
        ));
    };
    Ok(Launch::Node {
        settings: Box::new(settings(&given)?),
        folder: folder.into(),
        is_verbose: matches!(given.get("raft-log-level"), Some("DEBUG" | "INFO")),
    })
}

fn settings(given: &Given) -> Result<Settings, RefusedFlag> {
    let text = |name: &str| given.get(name).map(str::to_owned);
    let listen = text("http-addr").unwrap_or_else(|| "localhost:4001".to_owned());
    let usual = Settings::listening_at(&listen);
    let (heartbeat, election) = timing(given, &usual)?;
    let peers = text("raft-addr").unwrap_or_else(|| "localhost:4002".to_owned());
    Ok(Settings {
        advertise: advertised(given, "raft-adv-addr", &peers)?,
        advertise_api: advertised(given, "http-adv-addr", &listen)?,
        label: label(given, &peers)?,
        peers: Some(peers),
        join: list(given.get("join")),
        ends_if_removed: given.is_on("raft-remove-shutdown"),
        leaves_at_end: given.is_on("raft-cluster-remove-shutdown"),
        discovery: discovery(given)?,
        founders: founders(given)?,
        nonvoter: given.is_on("raft-non-voter"),
        heartbeat,
        election,
        security: security(given)?,
        https: https(given)?,
        allow_origin: text("http-allow-origin"),
        auth: path(given, "auth")?,
        auto_backup: config(given, "auto-backup", BackupConfig::load)?,
        auto_restore: config(given, "auto-restore", RestoreConfig::load)?,
        cdc: cdc(given)?,
        queue: queue(given)?,
        // As there.
        on_disk: true,
        snapshots: snapshots(given)?,
        foreign_keys: given.is_on_or_unsaid("fk"),
        is_rqlited: true,
        ..usual
    })
}

/// How others reach an address: as it was given, name and all, unless its port is for the system to choose.
fn advertised(given: &Given, name: &str, bound: &str) -> Result<Option<String>, RefusedFlag> {
    let is_chosen = bound.ends_with(":0");
    let address = given.get(name).or((!is_chosen).then_some(bound));
    let reason = address.and_then(|address| Some((address, unreachable(address)?)));
    match reason {
        Some((address, what)) => {
            let reason = format!("is needed: {address} {what}");
            Err(RefusedFlag::new(name, reason))
        }
        None => Ok(address.map(str::to_owned)),
    }
}

fn label(given: &Given, peers: &str) -> Result<Option<String>, RefusedFlag> {
    let usual = given.get("raft-adv-addr").unwrap_or(peers);
    let label = given.get("node-id").unwrap_or(usual);
    if label.len() > 64 || !label.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = "has to be at most 64 visible ASCII characters here";
        return Err(RefusedFlag::new("node-id", reason));
    }
    Ok(Some(label.to_owned()))
}

fn list(value: Option<&str>) -> Vec<String> {
    let parts = value.unwrap_or_default().split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A file, by a path that stays right in another folder.
fn path(given: &Given, name: &str) -> Result<Option<PathBuf>, RefusedFlag> {
    let path = given.get(name).map(std::path::absolute);
    path.transpose()
        .map_err(|error| RefusedFlag::new(name, error))
}

fn config<T>(
    given: &Given,
    name: &str,
    load: impl Fn(&Path) -> Result<T, ConfigError>,
) -> Result<Option<T>, RefusedFlag> {
    let config = given.get(name).map(|path| load(Path::new(path)));
    config
        .transpose()
        .map_err(|error| RefusedFlag::new(name, error))
}

fn cdc(given: &Given) -> Result<Option<CdcConfig>, RefusedFlag> {
    let config = given.get("cdc-config").map(CdcConfig::load);
    config
        .transpose()
        .map_err(|error| RefusedFlag::new("cdc-config", error))
}

fn duration(given: &Given, name: &str) -> Result<Option<Duration>, RefusedFlag> {
    let Some(text) = given.get(name) else {
        return Ok(None);
    };
    crate::duration::parse(text).map(Some).ok_or_else(|| {
        RefusedFlag::new(
            name,
            format!("{text} is not a duration such as 500ms or 5s"),
        )
    })
}

fn number(given: &Given, name: &str) -> Result<Option<usize>, RefusedFlag> {
    let Some(text) = given.get(name) else {
        return Ok(None);
    };
    let number = text.parse();
    number
        .map(Some)
        .map_err(|_| RefusedFlag::new(name, format!("{text} is not a whole number")))
}

/// Heartbeat and silence: rqlite's heartbeat timeout is a follower's patience, too.
fn timing(given: &Given, usual: &Settings) -> Result<(Duration, Duration), RefusedFlag> {
    let patience = [
        duration(given, "raft-heartbeat-timeout")?,
        duration(given, "raft-election-timeout")?,
    ];
    Ok(match patience.into_iter().flatten().max() {
        Some(longest) if !longest.is_zero() => (longest / 8, longest),
        _ => (usual.heartbeat, usual.election),
    })
}

fn security(given: &Given) -> Result<SecurityFiles, RefusedFlag> {
    let files = ["node-cert", "node-key", "node-ca-cert"];
    let [cert, key, ca] = files.map(|name| path(given, name));
    let verifies = !given.is_on("node-no-verify");
    let tls = match (cert?, key?, ca?.filter(|_| verifies)) {
        (Some(cert), Some(key), ca) if ca.is_some() || !verifies => {
            Some(TlsFiles { cert, key, ca })
        }
        // Those who only check others' need none of their own there.
        (None, None, _) => None,
        (_, None, _) => return Err(RefusedFlag::new("node-key", "is missing beside -node-cert")),
        (None, ..) => return Err(RefusedFlag::new("node-cert", "is missing beside -node-key")),
        (Some(_), Some(_), _) => {
            let reason = "is missing beside -node-cert: nodes check each other's certificates by an authority of their own, unless there is -node-no-verify";
            return Err(RefusedFlag::new("node-ca-cert", reason));
        }
    };
    Ok(SecurityFiles {
        secret: None,
        insecure: tls.as_ref().is_none_or(|tls| tls.ca.is_none()),
        tls,
    })
}

fn https(given: &Given) -> Result<Option<HttpsFiles>, RefusedFlag> {
    let verifies = given.is_on("http-verify-client");
    let (cert, key) = match (path(given, "http-cert")?, path(given, "http-key")?) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) if !verifies => return Ok(None),
        (_, None) => return Err(RefusedFlag::new("http-key", "is missing")),
        (None, _) => return Err(RefusedFlag::new("http-cert", "is missing")),
    };
    let ca = path(given, "http-ca-cert")?;
    if verifies && ca.is_none() {
        let reason = "is missing beside -http-verify-client: certificates of the system's authorities would let in anybody";
        return Err(RefusedFlag::new("http-ca-cert", reason));
    }
    Ok(Some(HttpsFiles {
        cert,
        key,
        client_ca: ca.filter(|_| verifies),
    }))
}

fn founders(given: &Given) -> Result<Option<Founders>, RefusedFlag> {
    let patience = duration(given, "bootstrap-expect-timeout")?;
    let count = number(given, "bootstrap-expect")?.filter(|count| *count > 0);
    if count.is_some() && given.is_on("raft-non-voter") {
        let reason = "is for those who vote, not for a -raft-non-voter";
        return Err(RefusedFlag::new("bootstrap-expect", reason));
    }
    Ok(count.map(|count| Founders {
        count,
        patience: patience.unwrap_or(Duration::from_secs(120)),
    }))
}

/// What `-disco-config` holds, or the file that it names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DnsConfig {
    name: String,
    #[serde(default)]
    port: Option<u16>,
}

fn discovery(given: &Given) -> Result<Option<Discovery>, RefusedFlag> {
    match given.get("disco-mode") {
        None => return Ok(None),
        Some("dns") => {}
        Some(other) => {
            let reason = format!("{other} is not to be had here: dns is, and -join takes a list");
            return Err(RefusedFlag::new("disco-mode", reason));
        }
    }
    let refused = |reason: String| RefusedFlag::new("disco-config", reason);
    let config = given
        .get("disco-config")
        .ok_or_else(|| refused(r#"is missing: {"name": "HOST", "port": 4002}"#.to_owned()))?;
    let text = if config.trim_start().starts_with('{') {
        config.to_owned()
    } else {
        crate::files::read_text(Path::new(config))
            .map_err(|error| refused(format!("cannot read {config}: {error}")))?
    };
    let config: DnsConfig =
        serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Ok(Some(Discovery {
        name: config.name,
        port: config.port.unwrap_or(4002),
    }))
}

/// Without `-raft-snap`, a node's own rule is enough.
fn snapshots(given: &Given) -> Result<Option<SnapshotSettings>, RefusedFlag> {
    let entries = number(given, "raft-snap")?.filter(|entries| *entries > 0);
    let every = duration(given, "raft-snap-int")?.unwrap_or(Duration::from_secs(10));
    Ok(entries.map(|entries| SnapshotSettings {
        entries: entries as u64,
        look_every: every.max(LEAST_PAUSE),
    }))
}

fn queue(given: &Given) -> Result<QueueSettings, RefusedFlag> {
    let usual = QueueSettings::default();
    let least_one = |name: &str, usual: usize| match number(given, name)? {
        None => Ok(usual),
        Some(found @ 1..=QUEUE_LIMIT) => Ok(found),
        Some(_) => {
            let reason = format!("has to be 1 to {QUEUE_LIMIT}");
            Err(RefusedFlag::new(name, reason))
        }
    };
    Ok(QueueSettings {
        capacity: least_one("write-queue-capacity", usual.capacity)?,
        batch: least_one("write-queue-batch-size", usual.batch)?,
        flush_after: duration(given, "write-queue-timeout")?.unwrap_or(usual.flush_after),
        transaction: given.is_on("write-queue-tx"),
        foreign_keys: given.is_on_or_unsaid("fk"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Launch, String> {
        let words = line.split_whitespace().map(str::to_owned);
        translate(words).map_err(|error| error.to_string())
    }

    fn of(line: &str) -> (Settings, PathBuf) {
        match words(line) {
            Ok(Launch::Node {
                settings, folder, ..
            }) => (*settings, folder),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_node_has_rqlites_ports_and_its_peers_prove_nothing() {
        let (settings, folder) = of("data");
        assert_eq!(settings.listen, "localhost:4001");
        assert_eq!(settings.peers.as_deref(), Some("localhost:4002"));
        assert_eq!(settings.label.as_deref(), Some("localhost:4002"));
        // Others dial the name, which certificates are for.
        assert_eq!(settings.advertise.as_deref(), Some("localhost:4002"));
        assert_eq!(settings.advertise_api.as_deref(), Some("localhost:4001"));
        let (chosen, _) = of("-http-addr 127.0.0.1:0 -raft-addr 127.0.0.1:0 d");
        assert!(chosen.advertise.is_none() && chosen.advertise_api.is_none());
        assert!(settings.security.insecure && settings.join.is_empty());
        assert!(settings.snapshots.is_none());
        assert_eq!(folder, PathBuf::from("data"));
    }

    #[test]
    fn flags_become_settings() {
        let (settings, _) = of(
            "-node-id n1 -http-addr 0.0.0.0:1 -http-adv-addr db1:1 -raft-addr=0.0.0.0:2 \
             -raft-adv-addr db1:2 -join a:2,b:2 -raft-non-voter -auth users.json -http-cert c -http-key k \
             -node-cert nc -node-key nk -node-ca-cert na -raft-election-timeout 2s -write-queue-tx \
             -write-queue-batch-size 7 -raft-snap 100 -fk data",
        );
        assert_eq!(settings.label.as_deref(), Some("n1"));
        assert_eq!(settings.advertise.as_deref(), Some("db1:2"));
        assert_eq!(settings.advertise_api.as_deref(), Some("db1:1"));
        assert_eq!(settings.join, ["a:2", "b:2"]);
        assert!(settings.nonvoter && settings.auth.unwrap().is_absolute());
        assert!(settings.https.unwrap().client_ca.is_none());
        assert!(settings.security.tls.is_some() && !settings.security.insecure);
        assert_eq!(settings.election, Duration::from_secs(2));
        assert!(settings.queue.transaction && settings.queue.batch == 7);
        assert!(settings.foreign_keys && settings.queue.foreign_keys);
        let snapshots = settings.snapshots.unwrap();
        assert_eq!(
            (snapshots.entries, snapshots.look_every.as_secs()),
            (100, 10)
        );
        let (blind, _) = of("-node-cert c -node-key k -node-ca-cert a -node-no-verify d");
        assert!(blind.security.insecure && blind.security.tls.unwrap().ca.is_none());
        let (settings, _) =
            of("-bootstrap-expect 3 -disco-mode dns -disco-config {\"name\":\"h\"} d");
        assert_eq!(settings.founders.unwrap().count, 3);
        let discovery = settings.discovery.unwrap();
        assert_eq!((discovery.name.as_str(), discovery.port), ("h", 4002));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_name() {
        for (line, told) in [
            ("", "DATADIR: name one folder"),
            ("a b", "DATADIR: name one folder"),
            ("-http-cert c d", "-http-key: is missing"),
            (
                "-http-cert c -http-key k -http-verify-client d",
                "-http-ca-cert: is missing",
            ),
            ("-node-cert c -node-key k d", "-node-ca-cert: is missing"),
            (
                "-disco-mode consul-kv d",
                "-disco-mode: consul-kv is not to be had",
            ),
            ("-disco-mode dns d", "-disco-config: is missing"),
            (
                "-bootstrap-expect x d",
                "-bootstrap-expect: x is not a whole number",
            ),
            (
                "-write-queue-timeout soon d",
                "-write-queue-timeout: soon is not a duration",
            ),
            (
                "-write-queue-capacity 0 d",
                "-write-queue-capacity: has to be 1",
            ),
            (
                "-http-addr 0.0.0.0:4001 d",
                "-http-adv-addr: is needed: 0.0.0.0:4001 stands for all addresses",
            ),
        ] {
            let error = words(line).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
        assert!(matches!(words("-version"), Ok(Launch::Version)));
        assert!(matches!(words("-h"), Ok(Launch::Help)));
    }
}
