//! What the proxy is told to do: flags and the configuration file, and what they come to together.

mod classes;
mod diff;
mod options;
mod settle;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::net::{Address, BackendAddress, Bound, ListenAddress};
use crate::policy::Settings;
use crate::tls::{ClientNaming, TlsFiles};
use crate::trust::Trust;

pub use options::Flags;
use options::Options;

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no such TOML.
    #[error("{}:{line}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Two settings that exclude each other.
    #[error("`{0}` and `{1}` contradict each other: give one of them")]
    Contradiction(&'static str, &'static str),
    /// A number beyond what makes sense.
    #[error("--{name} must be from {least} to {most}, not {value}")]
    Range {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
    /// A value that is wrong by itself.
    #[error("--{name}: {message}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

/// What is written for each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// Nothing.
    #[default]
    Off,
    /// One line of text.
    Text,
    /// One JSON object.
    Json,
}

/// All that the proxy needs to know.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent settings, not states"
)]
pub struct Config {
    /// The file it came from, to be read again.
    pub file: Option<PathBuf>,
    /// Where to listen: all of these must work.
    pub listen: Vec<ListenAddress>,
    /// Addresses to listen on if that is possible (IPv6 loopback, with the classic flags).
    pub listen_if_possible: Vec<ListenAddress>,
    /// Certificates and keys.
    pub tls: TlsFiles,
    /// What names a client that has shown a certificate.
    pub client_naming: ClientNaming,
    /// Most handshakes of TLS under way.
    pub max_handshakes: usize,
    /// Whether trusted peers say whom a connection comes from.
    pub proxy_protocol: bool,
    /// Whether HTTP/2 is taken without TLS.
    pub h2c: bool,
    /// Most streams that may be open on a connection of HTTP/2.
    pub max_streams: usize,
    /// Whether clients without TLS are sent to https, and at which port.
    pub redirect_to_https: Option<u16>,
    /// Where the answers to ACME's challenges are.
    pub acme_webroot: Option<PathBuf>,
    /// The backends. One that was removed since the start keeps its number, and is [`retired`](Self::retired).
    pub backends: Vec<BackendAddress>,
    /// Numbers of the backends that are used no more.
    pub retired: Vec<usize>,
    /// Where to serve metrics.
    pub admin: Option<Address>,
    /// Whether HEAD asks all backends.
    pub head_fan_out: bool,
    /// Worker threads.
    pub threads: usize,
    /// The policy's settings.
    pub policy: Settings,
    /// Whose `X-Forwarded-For` is believed.
    pub trust: Trust,
    /// Whether answers say what their clients may ask for.
    pub rate_limit_fields: bool,
    /// The path by which backends are checked, if a connection is not enough.
    pub health: Option<String>,
    /// Whether closing a backend's connection ends its work.
    pub cancel: bool,
    /// What is logged per request.
    pub access_log: AccessLog,
    /// Time for a head to be complete.
    pub header_timeout: Duration,
    /// Silence of a client after which its connection is closed.
    pub idle_timeout: Duration,
    /// Time for a backend to be reached.
    pub connect_timeout: Duration,
    /// Time for a backend to begin its answer.
    pub response_timeout: Duration,
    /// Silence of a backend within an answer.
    pub backend_idle_timeout: Duration,
    /// Time for requests in flight after SIGTERM.
    pub drain_timeout: Duration,
    /// Least rate of a client that is waited for, in bytes a second.
    pub min_rate: u64,
    /// How long a client may be slower.
    pub grace: Duration,
    /// Bytes of a request's body that are read before it is admitted.
    pub buffer_request: usize,
    /// Bytes of an answer that may wait for a slow client.
    pub buffer_response: usize,
    /// Bytes for both, for all requests together.
    pub buffer_total: usize,
    /// Largest head, in bytes.
    pub max_head: usize,
    /// Largest request body, in bytes.
    pub max_body: u64,
    /// Most client connections.
    pub max_connections: usize,
    /// Most connections of one peer.
    pub max_connections_per_peer: usize,
}

impl Config {
    /// Most connections, if nobody says otherwise.
    pub const MAX_CONNECTIONS: usize = 16_384;
}

/// Listening sockets that another process has passed to this one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inherited {
    /// How many there are.
    pub sockets: usize,
    /// Whether TLS is to be spoken on one of them.
    pub secure: bool,
}

impl Inherited {
    /// What is to be known of these sockets.
    pub fn of(sockets: &[Bound]) -> Self {
        Self {
            sockets: sockets.len(),
            secure: sockets.iter().any(|socket| socket.secure),
        }
    }
}

impl Flags {
    /// Reads the file, if one is named, and settles everything. Such listening sockets were inherited,
    /// and need not be named.
    pub fn resolve(self, inherited: Inherited) -> Result<Config, ConfigError> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Options::default(),
        };
        let mut config = self.options.over(file).settle(inherited)?;
        config.file = self.config;
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Options, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.into(),
        error,
    })?;
    let wrong = |line, message: String| ConfigError::Parse {
        path: path.into(),
        line,
        message,
    };
    // The parser's message spans lines to point at the place; errors here are one line.
    let options: Options = toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        wrong(line, error.message().replace('\n', "; "))
    })?;
    if let Err(ConfigError::Contradiction(first, second)) = options.check() {
        let of = |key: &str| {
            let line = text
                .lines()
                .position(|line| line.trim_start().starts_with(key));
            line.map_or(1, |line| line + 1)
        };
        let message = ConfigError::Contradiction(first, second).to_string();
        return Err(wrong(of(first).max(of(second)), message));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn flags(flags: &[&str]) -> Result<Flags, clap::Error> {
        Flags::try_parse_from(std::iter::once(&"level2").chain(flags))
    }

    fn resolve(given: &[&str]) -> Result<Config, String> {
        flags(given)
            .map_err(|error| error.to_string())?
            .resolve(Inherited::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn classic_flags_mean_localhost_and_fan_out() {
        let config = resolve(&["--in-port", "4000", "--out-ports", "4001,4002"]).unwrap();
        assert_eq!(config.listen[0].to_string(), "127.0.0.1:4000");
        assert_eq!(config.backends.len(), 2);
        assert!(config.head_fan_out);
        let config = resolve(&[]).unwrap();
        assert_eq!(config.backends[0].to_string(), "127.0.0.1:3001");
        let config = resolve(&["--listen", "127.0.0.1:0", "--backend", "unix:/x"]).unwrap();
        assert!(!config.head_fan_out);
    }

    #[test]
    fn inherited_sockets_need_no_address() {
        let config = flags(&["--backend", "unix:/x"])
            .unwrap()
            .resolve(Inherited {
                sockets: 1,
                secure: false,
            })
            .unwrap();
        assert!(config.listen.is_empty() && !config.head_fan_out);
        assert!(
            flags(&[])
                .unwrap()
                .resolve(Inherited {
                    sockets: 1,
                    secure: true
                })
                .is_err()
        );
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "in-port = 1\nout-ports = [2]\nmax-wait = \"1s\"\nmax-queue = 7\nbuffer-request = \"8k\"\nmax-body = 5\n",
        )
        .unwrap();
        let path = file.path().to_str().unwrap();
        let config = resolve(&[
            "--config",
            path,
            "--max-queue",
            "9",
            "--backend",
            "1.2.3.4:5",
        ])
        .unwrap();
        assert!((config.policy.max_wait - 1.0).abs() < f64::EPSILON);
        assert_eq!(config.policy.max_queue, 9);
        assert_eq!((config.buffer_request, config.max_body), (8192, 5));
        assert_eq!(config.backends[0].to_string(), "1.2.3.4:5");
    }

    #[test]
    fn the_readmes_file_is_one() {
        let text = include_str!("../../README.md");
        let block = text.split("```toml\n").nth(2).expect("it is the second");
        let (block, _) = block.split_once("```").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), block).unwrap();
        let config = resolve(&["--config", file.path().to_str().unwrap()]).unwrap();
        assert_eq!(
            (config.tls.pairs.len(), config.redirect_to_https),
            (1, Some(443))
        );
        assert_eq!(config.policy.naming.classes.len(), 1);
    }

    #[test]
    fn mistakes_in_the_file_are_shown_with_their_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for (text, wanted) in [
            ("in-port = 1\nmax-wiat = \"1s\"\n", ":2: unknown field"),
            (
                "in-port = 1\n\nlisten = [\":2\"]\n",
                ":3: `in-port` and `listen`",
            ),
            ("out-ports = [1]\nbackend = [\"a.b:2\"]\n", ":2: "),
            ("max-clients = 4000000000\n", "--max-clients must be from 1"),
            ("max-queue = -1\n", ":1: "),
            ("backend = [\n", ":1"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let error = resolve(&["--config", path]).unwrap_err();
            assert!(error.contains(wanted) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            &["--max-wait", "5"][..],
            &["--max-wait", "0s"],
            &["--listen", "127.0.0.1:0"],
            &["--trust", "everybody"],
            &["--threads", "0"],
            &["--threads", "100000"],
            &["--max-clients", "4000000000"],
            &["--max-connections", "99999999999"],
            &["--max-in-flight", "4000000000"],
            &["--max-head", "1g"],
            &["--buffer-request", "99g"],
            &["--listen", "tls:127.0.0.1:0", "--backend", "127.0.0.1:2"],
            &["--cert", "a", "--backend", "127.0.0.1:2"],
            &["--cert", "a", "--key", "b"],
            &["--client-ca", "a"],
            &["--client-naming", "san"],
            &["--redirect-to-https=x"],
            &[
                "--listen",
                ":1",
                "--backend",
                "127.0.0.1:2",
                "--redirect-to-https=0",
            ],
            &["--health", "healthz"],
            &["--health", "/a b"],
            &["--in-port", "70000"],
            &["--in-port", "1", "--listen", "127.0.0.1:2"],
            &["--listen", ":1", "--backend", ":2"],
            &[
                "--listen",
                ":1",
                "--backend",
                "127.0.0.1:2",
                "--backend",
                "127.0.0.1:2",
            ],
            &["--listen", "127.0.0.1:2", "--backend", "127.0.0.1:2"],
        ] {
            assert!(resolve(flags).is_err(), "{flags:?}");
        }
    }
}
