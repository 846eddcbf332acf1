//! rqlite's `-cdc-config`: a URL, `stdout`, or a file of JSON.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::database::capture::{IS_BUILT, Wanted};
use crate::fetch::{FetchError, Target, Trust};
use crate::files;
use crate::security::without_values;

/// Why changes cannot be sent as is wanted.
#[derive(Debug, thiserror::Error)]
pub enum CdcError {
    /// A file that cannot be read, or is not in the format.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] FetchError),
    /// This program cannot tell of changes.
    #[error(
        "this program was built without SQLite's preupdate hook: build it in the folder of its workspace, or with LIBSQLITE3_FLAGS=-DSQLITE_ENABLE_PREUPDATE_HOOK"
    )]
    NotBuilt,
}

/// Where changes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// To a web hook.
    Http(Target),
    /// To this process's stdout, a line for each batch.
    Stdout,
}

impl fmt::Display for Sink {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Http(target) => target.fmt(formatter),
            Self::Stdout => formatter.write_str("stdout"),
        }
    }
}

/// How pauses between tries grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// They do not.
    Linear,
    /// Each is twice the one before.
    Exponential,
}

/// Sending of changes as an operator wants it.
#[derive(Debug, Clone)]
pub struct CdcConfig {
    /// To whom.
    pub sink: Sink,
    /// Told to him.
    pub service_id: Option<String>,
    /// Of what.
    pub wanted: Wanted,
    /// Entries that are sent together, at most.
    pub batch_size: usize,
    /// The first of a batch waits so long for more.
    pub batch_delay: Duration,
    /// How often all nodes are told how far changes have been sent.
    pub mark_interval: Duration,
    /// One try may take so long.
    pub timeout: Duration,
    /// After the first try there are so many more, and then what was to be sent is dropped; `None`: no end.
    pub max_retries: Option<u64>,
    /// How long to wait before the next one.
    pub backoff: Backoff,
    /// The first pause,
    pub min_backoff: Duration,
    /// and the longest.
    pub max_backoff: Duration,
    /// Whom to believe that it is who it says, in TLS.
    pub trust: Trust,
}

/// By default so many bytes of changes may wait.
const QUEUE_BYTES: u64 = 64 << 20;
/// It is in memory, on all nodes, and in snapshots.
const MOST_QUEUE_BYTES: u64 = 1 << 30;
/// Two batches or marks are no closer than this.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CdcFile {
    endpoint: String,
    service_id: Option<String>,
    row_ids_only: bool,
    table_filter: Option<String>,
    max_batch_size: Option<usize>,
    max_batch_delay: Option<u64>,
    high_watermark_interval: Option<u64>,
    transmit_timeout: Option<u64>,
    transmit_max_retries: Option<u64>,
    transmit_retry_policy: u64,
    transmit_min_backoff: Option<u64>,
    transmit_max_backoff: Option<u64>,
    tls: Option<TlsPart>,
    /// Not rqlite's.
    max_queue_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsPart {
    ca_cert_file: Option<PathBuf>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    insecure_skip_verify: bool,
    server_name: Option<String>,
}

impl CdcConfig {
    /// From what the flag was given. Files that it names are read when they are first needed.
    ///
    /// # Errors
    ///
    /// If it cannot be used.
    pub fn load(given: &str) -> Result<Self, CdcError> {
        if !IS_BUILT {
            return Err(CdcError::NotBuilt);
        }
        let path = Path::new(given);
        let bad = |what: String| CdcError::File {
            path: path.to_owned(),
            what,
        };
        if given == "stdout" || given.contains("://") {
            return CdcFile::default().check(sink(given)?).map_err(bad);
        }
        let text = files::read_text(path).map_err(|error| bad(error.to_string()))?;
        // The endpoint may hold a password: errors say where, and do not show it.
        let file: CdcFile =
            serde_json::from_str(&text).map_err(|error| bad(without_values(&error)))?;
        if file.endpoint.is_empty() {
            return Err(bad("there is no endpoint".to_owned()));
        }
        let sink = sink(&file.endpoint).map_err(|error| bad(format!("endpoint: {error}")))?;
        file.check(sink).map_err(bad)
    }
}

fn sink(endpoint: &str) -> Result<Sink, FetchError> {
    if endpoint == "stdout" {
        return Ok(Sink::Stdout);
    }
    Target::parse(endpoint).map(Sink::Http)
}

impl CdcFile {
    fn check(self, sink: Sink) -> Result<CdcConfig, String> {
        let time = |value: Option<u64>, usual| value.map_or(usual, Duration::from_nanos);
        let second = Duration::from_secs(1);
        let limit = self.max_queue_bytes.unwrap_or(QUEUE_BYTES);
        if !(1 << 16..=MOST_QUEUE_BYTES).contains(&limit) {
            return Err(format!(
                "max_queue_bytes has to be 65536 to {MOST_QUEUE_BYTES}"
            ));
        }
        let batch_size = self.max_batch_size.unwrap_or(10);
        if batch_size == 0 {
            return Err("max_batch_size has to be at least 1".to_owned());
        }
        let tls = self.tls.unwrap_or_default();
        let identity = match (tls.cert_file, tls.key_file) {
            (Some(cert), Some(key)) => Some((absolute(&cert)?, absolute(&key)?)),
            (None, None) => None,
            _ => return Err("tls: cert_file and key_file belong together".to_owned()),
        };
        let wanted = Wanted {
            row_ids_only: self.row_ids_only,
            table_filter: self.table_filter.filter(|filter| !filter.is_empty()),
            limit,
        };
        let filter = wanted.compile();
        filter.map_err(|error| format!("table_filter: {}", last_line(&error.to_string())))?;
        let min_backoff = time(self.transmit_min_backoff, second).max(LEAST_PAUSE);
        Ok(CdcConfig {
            sink,
            service_id: self.service_id.filter(|id| !id.is_empty()),
            wanted,
            batch_size,
            batch_delay: time(self.max_batch_delay, Duration::from_millis(200)),
            mark_interval: time(self.high_watermark_interval, second).max(LEAST_PAUSE),
            timeout: time(self.transmit_timeout, 5 * second).max(LEAST_PAUSE),
            max_retries: self.transmit_max_retries,
            backoff: match self.transmit_retry_policy {
                0 => Backoff::Linear,
                1 => Backoff::Exponential,
                other => {
                    return Err(format!(
                        "transmit_retry_policy is 0 (linear) or 1 (exponential), and not {other}"
                    ));
                }
            },
            min_backoff,
            max_backoff: time(self.transmit_max_backoff, 30 * second).max(min_backoff),
            trust: Trust {
                ca: tls.ca_cert_file.as_deref().map(absolute).transpose()?,
                identity,
                is_blind: tls.insecure_skip_verify,
                server_name: tls.server_name.filter(|name| !name.is_empty()),
            },
        })
    }
}

/// A path that stays right in another folder.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| error.to_string())
}

/// What is wrong with an expression comes last.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<CdcConfig, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        CdcConfig::load(&file.path().to_string_lossy()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_alone_is_enough() {
        let config = CdcConfig::load("http://user:secret@h:1/hook").unwrap();
        assert_eq!(config.sink.to_string(), "http://h:1/hook");
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!((config.batch_size, config.max_retries), (10, None));
        assert_eq!(config.batch_delay, Duration::from_millis(200));
        assert_eq!(CdcConfig::load("stdout").unwrap().sink, Sink::Stdout);
        assert!(CdcConfig::load("ftp://h").is_err());
    }

    #[test]
    fn files_of_rqlites_are_read() {
        let whole = r#"{"endpoint": "https://h/hook", "service_id": "s", "row_ids_only": true,
            "table_filter": "^(a|b)$", "max_batch_size": 3, "max_batch_delay": 1000000,
            "high_watermark_interval": 2000000, "transmit_timeout": 3000000, "transmit_max_retries": 4,
            "transmit_retry_policy": 1, "transmit_min_backoff": 5000000, "transmit_max_backoff": 6000000,
            "tls": {"ca_cert_file": "ca.pem", "cert_file": "c.pem", "key_file": "k.pem",
                    "insecure_skip_verify": false, "server_name": "n"}}"#;
        let config = file(whole).unwrap();
        assert_eq!(config.backoff, Backoff::Exponential);
        assert_eq!(config.batch_delay, Duration::from_millis(1));
        assert_eq!(config.max_backoff, Duration::from_millis(6));
        assert!(config.trust.ca.unwrap().is_absolute());
        assert_eq!(config.wanted.table_filter.as_deref(), Some("^(a|b)$"));
        let endless = whole.replace(
            "\"transmit_max_retries\": 4",
            "\"transmit_max_retries\": null",
        );
        assert_eq!(file(&endless).unwrap().max_retries, None);
        for (text, told) in [
            (
                whole.replace("service_id", "service"),
                "unknown field `service`",
            ),
            (
                whole.replace("^(a|b)$", "("),
                "table_filter: error: unclosed group",
            ),
            (whole.replace("policy\": 1", "policy\": 2"), "and not 2"),
            (
                whole.replace("\"cert_file\": \"c.pem\",", ""),
                "belong together",
            ),
            (whole.replace("https://h/hook", ""), "there is no endpoint"),
            (whole.replace("size\": 3", "size\": 0"), "at least 1"),
            (
                whole.replace("\"s\"", "\"s\", \"max_queue_bytes\": 1"),
                "65536",
            ),
        ] {
            let error = file(&text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
