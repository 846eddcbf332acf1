//! Flags and the configuration file, and what they come to together.
//!
//! Both have the same names and meanings; what is given on the command line wins.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, ValueEnum};
use serde::Deserialize;

use crate::net::Address;
use crate::policy::Settings;
use crate::trust::{Range, Trust};

/// A fair, self-tuning HTTP/1.1 reverse proxy: under a flood, the quiet clients get through.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  level2 --in-port 3000 --out-ports 3001,3002
  level2 --listen 0.0.0.0:80 --backend 10.0.0.5:8080 --backend unix:/run/app.sock --admin 127.0.0.1:9100
  level2 --config shield.toml --dry-run --access-log json"
)]
pub struct Flags {
    /// TOML file with the same settings (long names without the dashes in front)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    options: Options,
}

/// A length of time: a number with `ms`, `s` or `m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Time(Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a time such as 250ms, 10s or 2m");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = text[..digits].parse().map_err(|_| bad())?;
        let unit = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            _ => return Err(bad()),
        };
        let ms = number
            .checked_mul(unit)
            .filter(|ms| *ms > 0 && *ms <= 86_400_000)
            .ok_or_else(bad)?;
        Ok(Self(Duration::from_millis(ms)))
    }
}

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
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

#[derive(Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Options {
    /// Listen on this port of localhost, as in 2014 [default: 3000]; turns on --head-fan-out
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    in_port: Option<u16>,
    /// Backends by their ports on localhost, as in 2014 [default: 3001]
    #[arg(
        long,
        value_name = "PORT,…",
        value_delimiter = ',',
        conflicts_with = "backend"
    )]
    out_ports: Vec<u16>,
    /// Listen here: HOST:PORT or unix:PATH (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<Address>,
    /// Pass requests to this server: HOST:PORT or unix:PATH (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    backend: Vec<Address>,
    /// Serve /metrics (Prometheus) and /status (JSON) here
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<SocketAddr>,
    /// Answer HEAD by asking all backends: 200 if all say 200, else 500
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    head_fan_out: Option<bool>,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Requests in flight per backend [default: found by measuring]
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// Longest time a request may wait for a place at a backend [default: 750ms]
    #[arg(long, value_name = "TIME")]
    max_wait: Option<Time>,
    /// Most requests that may wait at once [default: 1024]
    #[arg(long, value_name = "N")]
    max_queue: Option<usize>,
    /// Clients remembered, 32 bytes each; the quietest are forgotten first [default: 65536]
    #[arg(long, value_name = "N")]
    max_clients: Option<usize>,
    /// Believe X-Forwarded-For from these peers: ADDRESS, ADDRESS/BITS or `unix` (may be repeated)
    /// [default: loopback and unix]
    #[arg(long, value_name = "RANGE")]
    trust: Vec<String>,
    /// Decide and count, but turn nobody away
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    dry_run: Option<bool>,
    /// Write a line per request to standard output [default: off]
    #[arg(long, value_name = "FORMAT")]
    access_log: Option<AccessLog>,
    /// Time in which a request's head must be complete [default: 10s]
    #[arg(long, value_name = "TIME")]
    header_timeout: Option<Time>,
    /// Silence after which a kept or stalled connection is closed [default: 60s]
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<Time>,
    /// Time in which a backend must be reached [default: 1s]
    #[arg(long, value_name = "TIME")]
    connect_timeout: Option<Time>,
    /// Time in which a backend must begin to answer [default: 30s]
    #[arg(long, value_name = "TIME")]
    response_timeout: Option<Time>,
    /// Time in which requests in flight may end after SIGTERM [default: 30s]
    #[arg(long, value_name = "TIME")]
    drain_timeout: Option<Time>,
    /// Largest head of a request or response, in bytes [default: 32768]
    #[arg(long, value_name = "BYTES")]
    max_head: Option<usize>,
    /// Largest body of a request, in bytes [default: no limit]
    #[arg(long, value_name = "BYTES")]
    max_body: Option<u64>,
    /// Most connections of clients at once [default: 16384]
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
}

/// All that the proxy needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen: for each entry, the first address must work, the others may.
    pub listen: Vec<Address>,
    /// Addresses to listen on if that is possible (IPv6 loopback, with the classic flags).
    pub listen_if_possible: Vec<Address>,
    /// The backends.
    pub backends: Vec<Address>,
    /// Where to serve metrics.
    pub admin: Option<SocketAddr>,
    /// Whether HEAD asks all backends.
    pub head_fan_out: bool,
    /// Worker threads.
    pub threads: usize,
    /// The policy's settings.
    pub policy: Settings,
    /// Whose `X-Forwarded-For` is believed.
    pub trust: Trust,
    /// What is logged per request.
    pub access_log: AccessLog,
    /// Time for a head to be complete.
    pub header_timeout: Duration,
    /// Silence after which a connection is closed.
    pub idle_timeout: Duration,
    /// Time for a backend to be reached.
    pub connect_timeout: Duration,
    /// Time for a backend to begin its answer.
    pub response_timeout: Duration,
    /// Time for requests in flight after SIGTERM.
    pub drain_timeout: Duration,
    /// Largest head, in bytes.
    pub max_head: usize,
    /// Largest request body, in bytes.
    pub max_body: u64,
    /// Most client connections.
    pub max_connections: usize,
}

impl Flags {
    /// Reads the file, if one is named, and settles everything.
    pub fn resolve(self) -> Result<Config> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Options::default(),
        };
        self.options.over(file).settle()
    }
}

fn read(path: &Path) -> Result<Options> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    // The parser's message spans lines to point at the place; errors here are one line.
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        anyhow::anyhow!("{}:{line}: {}", path.display(), error.message())
    })
}

impl Options {
    /// These options, and another's where these are silent.
    fn over(self, other: Self) -> Self {
        let list = |mine: Vec<Address>, theirs| if mine.is_empty() { theirs } else { mine };
        // One style of addresses on the command line replaces the other style in the file.
        let listens = !self.listen.is_empty() || self.in_port.is_some();
        let calls = !self.backend.is_empty() || !self.out_ports.is_empty();
        Self {
            in_port: self.in_port.or(if listens { None } else { other.in_port }),
            listen: if listens {
                self.listen
            } else {
                list(self.listen, other.listen)
            },
            out_ports: if calls {
                self.out_ports
            } else {
                other.out_ports
            },
            backend: if calls { self.backend } else { other.backend },
            admin: self.admin.or(other.admin),
            head_fan_out: self.head_fan_out.or(other.head_fan_out),
            threads: self.threads.or(other.threads),
            max_in_flight: self.max_in_flight.or(other.max_in_flight),
            max_wait: self.max_wait.or(other.max_wait),
            max_queue: self.max_queue.or(other.max_queue),
            max_clients: self.max_clients.or(other.max_clients),
            trust: if self.trust.is_empty() {
                other.trust
            } else {
                self.trust
            },
            dry_run: self.dry_run.or(other.dry_run),
            access_log: self.access_log.or(other.access_log),
            header_timeout: self.header_timeout.or(other.header_timeout),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
            response_timeout: self.response_timeout.or(other.response_timeout),
            drain_timeout: self.drain_timeout.or(other.drain_timeout),
            max_head: self.max_head.or(other.max_head),
            max_body: self.max_body.or(other.max_body),
            max_connections: self.max_connections.or(other.max_connections),
        }
    }

    fn settle(self) -> Result<Config> {
        let classic = self.listen.is_empty();
        if !classic && self.backend.is_empty() && self.out_ports.is_empty() {
            bail!("--listen needs at least one --backend");
        }
        let v4 = |port: u16| Address::Tcp(([127, 0, 0, 1], port).into());
        let v6 = |port: u16| Address::Tcp(SocketAddr::new([0, 0, 0, 0, 0, 0, 0, 1].into(), port));
        let in_port = self.in_port.unwrap_or(3000);
        let (listen, listen_if_possible) = match classic {
            // `localhost` may come first as ::1; a port that the system picks can only be one of them.
            true if in_port == 0 => (vec![v4(0)], Vec::new()),
            true => (vec![v4(in_port)], vec![v6(in_port)]),
            false => (self.listen, Vec::new()),
        };
        let backends: Vec<Address> = if !self.backend.is_empty() {
            self.backend
        } else if self.out_ports.is_empty() {
            vec![v4(3001)]
        } else {
            self.out_ports.into_iter().map(v4).collect()
        };
        let trust = if self.trust.is_empty() {
            Trust::default()
        } else {
            let ranges: Result<Vec<Range>, String> =
                self.trust.iter().map(|text| text.parse()).collect();
            Trust::new(ranges.map_err(anyhow::Error::msg).context("--trust")?)
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let time = |given: Option<Time>, default_ms| {
            given.map_or(Duration::from_millis(default_ms), |time| time.0)
        };
        let defaults = Settings::default();
        let max_wait = time(self.max_wait, 750);
        Ok(Config {
            head_fan_out: self.head_fan_out.unwrap_or(classic),
            threads: at_least_one("--threads", self.threads.unwrap_or(cores))?,
            policy: Settings {
                backends: backends.len(),
                max_in_flight: match self.max_in_flight {
                    Some(0) => bail!("--max-in-flight must be at least 1"),
                    given => given,
                },
                max_wait: max_wait.as_secs_f64(),
                max_queue: self.max_queue.unwrap_or(defaults.max_queue),
                max_clients: at_least_one(
                    "--max-clients",
                    self.max_clients.unwrap_or(defaults.max_clients),
                )?,
                dry_run: self.dry_run.unwrap_or(false),
            },
            listen,
            listen_if_possible,
            backends,
            admin: self.admin,
            trust,
            access_log: self.access_log.unwrap_or_default(),
            header_timeout: time(self.header_timeout, 10_000),
            idle_timeout: time(self.idle_timeout, 60_000),
            connect_timeout: time(self.connect_timeout, 1_000),
            response_timeout: time(self.response_timeout, 30_000),
            drain_timeout: time(self.drain_timeout, 30_000),
            max_head: at_least_one("--max-head", self.max_head.unwrap_or(32_768))?,
            max_body: self.max_body.unwrap_or(u64::MAX),
            max_connections: at_least_one(
                "--max-connections",
                self.max_connections.unwrap_or(16_384),
            )?,
        })
    }
}

fn at_least_one(flag: &str, value: usize) -> Result<usize> {
    if value == 0 {
        bail!("{flag} must be at least 1");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: &[&str]) -> Result<Config> {
        Flags::try_parse_from(std::iter::once(&"level2").chain(flags))?.resolve()
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
    fn the_command_line_wins_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "in-port = 1\nout-ports = [2]\nmax-wait = \"1s\"\nmax-queue = 7\n",
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
        assert_eq!(config.backends[0].to_string(), "1.2.3.4:5");
        std::fs::write(file.path(), "in-port = 1\nmax-wiat = \"1s\"\n").unwrap();
        let error = resolve(&["--config", path]).unwrap_err().to_string();
        assert!(
            error.contains(":2: unknown field") && !error.contains('\n'),
            "{error}"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for flags in [
            &["--max-wait", "5"][..],
            &["--max-wait", "0s"],
            &["--listen", "127.0.0.1:0"],
            &["--trust", "everybody"],
            &["--threads", "0"],
            &["--in-port", "70000"],
            &["--in-port", "1", "--listen", "127.0.0.1:2"],
        ] {
            assert!(resolve(flags).is_err(), "{flags:?}");
        }
    }
}
