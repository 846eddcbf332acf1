//! What the proxy is told to do: flags and the configuration file, and what they come to together.

mod classes;
mod diff;
mod options;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::net::{Address, BackendAddress, Bound, ListenAddress};
use crate::policy::{Naming, Settings};
use crate::tls::{ClientNaming, Pair, TlsFiles};
use crate::trust::{Range, Trust};

pub use options::Flags;
use options::Options;
use values::{Size, Time};

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

impl Options {
    fn settle(self, inherited: Inherited) -> Result<Config, ConfigError> {
        let classic = self.listen.is_empty() && (inherited.sockets == 0 || self.in_port.is_some());
        let (listen, listen_if_possible) = self.listeners(classic);
        let backends = self.backends(classic)?;
        if let Some(same) = backends.iter().find(|backend| {
            listen
                .iter()
                .any(|listen| listen.address == backend.address)
        }) {
            let message = format!("{same} is where the proxy itself listens");
            return Err(value("backend", message));
        }
        let secure = inherited.secure || listen.iter().any(|listen| listen.secure);
        let tls = self.tls_files(secure)?;
        let trust = if self.trust.is_empty() {
            Trust::default()
        } else {
            let ranges: Result<Vec<Range>, String> =
                self.trust.iter().map(|text| text.parse()).collect();
            Trust::new(ranges.map_err(|message| value("trust", message))?)
        };
        let health = self.health.clone();
        if let Some(path) = &health
            && (!path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            let message = format!("`{path}` is not a path such as /healthz");
            return Err(value("health", message));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let max_connections = within(
            "max-connections",
            self.max_connections,
            Config::MAX_CONNECTIONS,
            1,
            1 << 20,
        )?;
        let per_peer = max_connections.div_ceil(2);
        Ok(Config {
            file: None,
            retired: Vec::new(),
            head_fan_out: self.head_fan_out.unwrap_or(classic),
            threads: within("threads", self.threads, cores, 1, 256)?,
            policy: self.policy(backends.len())?,
            tls,
            client_naming: self.client_naming.unwrap_or_default(),
            max_handshakes: within("max-handshakes", self.max_handshakes, 1024, 2, 1 << 20)?,
            proxy_protocol: self.proxy_protocol.unwrap_or(false),
            h2c: self.h2c.unwrap_or(false),
            max_streams: within("max-streams", self.max_streams, 100, 1, 10_000)?,
            redirect_to_https: self.redirect_to_https,
            acme_webroot: self.acme_webroot,
            listen,
            listen_if_possible,
            backends,
            trust,
            health,
            rate_limit_fields: self.rate_limit_fields.unwrap_or(false),
            cancel: self.cancel.unwrap_or(false),
            access_log: self.access_log.unwrap_or_default(),
            header_timeout: time(self.header_timeout, 10_000),
            idle_timeout: time(self.idle_timeout, 60_000),
            connect_timeout: time(self.connect_timeout, 1_000),
            response_timeout: time(self.response_timeout, 60_000),
            backend_idle_timeout: time(self.backend_idle_timeout, 300_000),
            drain_timeout: time(self.drain_timeout, 30_000),
            min_rate: size("min-rate", self.min_rate, 500, 0, 1 << 30)? as u64,
            grace: time(self.grace, 5_000),
            buffer_request: size("buffer-request", self.buffer_request, 64 << 10, 0, 1 << 30)?,
            buffer_response: size("buffer-response", self.buffer_response, 1 << 20, 0, 1 << 30)?,
            buffer_total: size("buffer-total", self.buffer_total, 256 << 20, 0, 1 << 40)?,
            max_head: size("max-head", self.max_head, 32 << 10, 256, 1 << 20)?,
            max_body: self.max_body.map_or(u64::MAX, |size| size.0),
            max_connections,
            max_connections_per_peer: within(
                "max-connections-per-peer",
                self.max_connections_per_peer,
                per_peer,
                1,
                1 << 20,
            )?,
            admin: self.admin,
        })
    }

    /// Where to listen: for certain, and if that is possible.
    fn listeners(&self, classic: bool) -> (Vec<ListenAddress>, Vec<ListenAddress>) {
        match self.in_port.unwrap_or(3000) {
            _ if !classic => (self.listen.clone(), Vec::new()),
            // `localhost` may come first as ::1; a port that the system picks can only be one of them.
            0 => (vec![v4(0).into()], Vec::new()),
            port => (vec![v4(port).into()], vec![v6(port).into()]),
        }
    }

    /// The files of TLS, which are needed where it is spoken and of no use elsewhere.
    fn tls_files(&self, secure: bool) -> Result<TlsFiles, ConfigError> {
        let (certs, keys) = (self.cert.len(), self.key.len());
        if certs != keys {
            let message =
                format!("there are {certs} certificates and {keys} keys: each needs its own");
            return Err(value("key", message));
        }
        if secure && certs == 0 {
            let message = "TLS needs a certificate, and its --key".into();
            return Err(value("cert", message));
        }
        let unused = match &self.client_ca {
            _ if secure => None,
            Some(_) => Some("client-ca"),
            None => (certs > 0).then_some("cert"),
        };
        if let Some(name) = unused {
            let message = "is for TLS, and no --listen begins with `tls:`".into();
            return Err(value(name, message));
        }
        if self
            .client_naming
            .is_some_and(|naming| naming != ClientNaming::Address)
            && self.client_ca.is_none()
        {
            let message = "clients have certificates only with --client-ca".into();
            return Err(value("client-naming", message));
        }
        let pairs = self.cert.iter().zip(&self.key).map(|(cert, key)| Pair {
            cert: cert.clone(),
            key: key.clone(),
        });
        Ok(TlsFiles {
            pairs: pairs.collect(),
            client_ca: self.client_ca.clone(),
        })
    }

    fn backends(&self, classic: bool) -> Result<Vec<BackendAddress>, ConfigError> {
        let backends: Vec<BackendAddress> = if !self.backend.is_empty() {
            self.backend.clone()
        } else if !self.out_ports.is_empty() {
            self.out_ports.iter().map(|port| v4(*port).into()).collect()
        } else if classic {
            vec![v4(3001).into()]
        } else {
            let message = "--listen needs at least one --backend".into();
            return Err(value("backend", message));
        };
        for (index, backend) in backends.iter().enumerate() {
            let same = |other: &BackendAddress| other.address == backend.address;
            if backends[..index].iter().any(same) {
                return Err(value("backend", format!("{backend} is given twice")));
            }
            if let Address::Any(_) = backend.address {
                let message = format!("{backend} names no host to call");
                return Err(value("backend", message));
            }
        }
        Ok(backends)
    }

    fn naming(&self) -> Result<Naming, ConfigError> {
        let bits = |name, given, usual, most| within(name, given, usual, 0, most);
        Ok(Naming {
            ipv4_bits: bits("ipv4-prefix", self.ipv4_prefix, 32, 32)? as u8,
            ipv6_bits: bits("ipv6-prefix", self.ipv6_prefix, 64, 128)? as u8,
            classes: self.class.iter().map(|class| class.0.clone()).collect(),
        })
    }

    fn policy(&self, backends: usize) -> Result<Settings, ConfigError> {
        let defaults = Settings::default();
        let max_in_flight = self
            .max_in_flight
            .map(|limit| within("max-in-flight", Some(limit as usize), 1, 1, 4096))
            .transpose()?;
        Ok(Settings {
            backends,
            max_in_flight: max_in_flight.map(|limit| limit as u32),
            max_wait: self
                .max_wait
                .map_or(defaults.max_wait, |time| time.0.as_secs_f64()),
            max_queue: within("max-queue", self.max_queue, defaults.max_queue, 0, 1 << 20)?,
            max_clients: within(
                "max-clients",
                self.max_clients,
                defaults.max_clients,
                1,
                100_000_000,
            )?,
            naming: self.naming()?,
            dry_run: self.dry_run.unwrap_or(false),
        })
    }
}

fn v4(port: u16) -> Address {
    Address::Tcp(([127, 0, 0, 1], port).into())
}

fn v6(port: u16) -> Address {
    Address::Tcp(SocketAddr::new([0, 0, 0, 0, 0, 0, 0, 1].into(), port))
}

fn value(name: &'static str, message: String) -> ConfigError {
    ConfigError::Value { name, message }
}

fn time(given: Option<Time>, default_ms: u64) -> Duration {
    given.map_or(Duration::from_millis(default_ms), |time| time.0)
}

fn size(
    name: &'static str,
    given: Option<Size>,
    default: usize,
    least: usize,
    most: usize,
) -> Result<usize, ConfigError> {
    let given = given.map(|size| usize::try_from(size.0).unwrap_or(usize::MAX));
    within(name, given, default, least, most)
}

fn within(
    name: &'static str,
    given: Option<usize>,
    default: usize,
    least: usize,
    most: usize,
) -> Result<usize, ConfigError> {
    match given {
        Some(value) if !(least..=most).contains(&value) => Err(ConfigError::Range {
            name,
            value: value as u64,
            least: least as u64,
            most: most as u64,
        }),
        given => Ok(given.unwrap_or(default)),
    }
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
