//! Every setting as it can be given, on the command line or in the file: both have the same names and
//! meanings, and the command line wins.

use std::path::PathBuf;

use clap::{Args, Parser};
use serde::Deserialize;

use super::classes::Class;
use super::values::{Size, Time};
use super::{AccessLog, ConfigError};
use crate::net::{Address, BackendAddress, ListenAddress};
use crate::tls::ClientNaming;

/// A fair, self-tuning reverse proxy: under a flood, the quiet clients get through.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  level2 --in-port 3000 --out-ports 3001,3002
  level2 --listen :80 --backend 10.0.0.5:8080 --backend unix:/run/app.sock --admin 127.0.0.1:9100
  level2 --listen :80 --listen tls::443 --cert site.pem --key site.key --redirect-to-https \\\n    --backend 127.0.0.1:8080
  level2 --config shield.toml --dry-run --access-log json

Signals: TERM and INT finish the requests in flight and end (a second one ends at once); HUP reads the
file of --config and certificates again. Listening sockets are taken from systemd where it passes some (TLS is
spoken on those with FileDescriptorName=tls), and readiness is reported to it."
)]
pub struct Flags {
    /// TOML file with the same settings (long names without the dashes in front); SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) options: Options,
}

/// The settings that can be given.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Options {
    /// Listen on this port of localhost, as in 2014 [default: 3000]; turns on --head-fan-out
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    pub in_port: Option<u16>,
    /// Backends by their ports on localhost, as in 2014 [default: 3001]
    #[arg(
        long,
        value_name = "PORT,…",
        value_delimiter = ',',
        conflicts_with = "backend"
    )]
    pub out_ports: Vec<u16>,
    /// Listen here: HOST:PORT, :PORT for all addresses, or unix:PATH; with `tls:` in front of it for TLS
    /// (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<ListenAddress>,
    /// Certificate for TLS, with those up to its authority's, as PEM; read again when it changes (may be
    /// repeated, each with a --key: the one for the name that a client asks for is shown, or the first)
    #[arg(long, value_name = "FILE")]
    pub cert: Vec<PathBuf>,
    /// The certificate's private key, as PEM (as many as --cert, in the same order)
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// Let only clients in over TLS that have a certificate of one of these authorities, as PEM
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// What names a client with a certificate [default: address]
    #[arg(long, value_name = "PART")]
    pub client_naming: Option<ClientNaming>,
    /// Most handshakes of TLS under way at once; one address (of IPv6, one /64) may have half of them
    /// [default: 1024]
    #[arg(long, value_name = "N")]
    pub max_handshakes: Option<usize>,
    /// Peers that are trusted say by the PROXY protocol (version 1 or 2) whom a connection comes from; from
    /// them, what does not begin with it is closed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub proxy_protocol: Option<bool>,
    /// Where TLS is not spoken, take HTTP/2 from clients that know that it is (over TLS it is agreed on)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub h2c: Option<bool>,
    /// Most streams that a client of HTTP/2 may have open on a connection; fewer once it has been turned
    /// away [default: 100]
    #[arg(long, value_name = "N")]
    pub max_streams: Option<usize>,
    /// Where TLS is not spoken, send clients to https, at this port [default: 443 if there is no number]
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "443")]
    pub redirect_to_https: Option<u16>,
    /// Answer ACME's HTTP-01 challenges out of this folder's .well-known/acme-challenge
    #[arg(long, value_name = "FOLDER")]
    pub acme_webroot: Option<PathBuf>,
    /// Pass requests to this server: HOST:PORT or unix:PATH; with `h2:` in front of it where it speaks HTTP/2
    /// without TLS, as gRPC needs it (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    pub backend: Vec<BackendAddress>,
    /// Serve /metrics (Prometheus) and /status (JSON) here
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<Address>,
    /// Answer HEAD by asking all backends: 200 if all say 200, else 500
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub head_fan_out: Option<bool>,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Requests in flight per backend [default: found by measuring]
    #[arg(long, value_name = "N")]
    pub max_in_flight: Option<u32>,
    /// Longest time a request may wait for a place at a backend [default: 750ms]
    #[arg(long, value_name = "TIME")]
    pub max_wait: Option<Time>,
    /// Most requests that may wait at once [default: 1024]
    #[arg(long, value_name = "N")]
    pub max_queue: Option<usize>,
    /// Clients remembered, 72 bytes each; the quietest newcomers are forgotten first [default: 65536]
    #[arg(long, value_name = "N")]
    pub max_clients: Option<usize>,
    /// Believe X-Forwarded-For from these peers: ADDRESS, ADDRESS/BITS or `unix` (may be repeated)
    /// [default: loopback and unix]
    #[arg(long, value_name = "RANGE")]
    pub trust: Vec<String>,
    /// Leading bits of an IPv4 address that make one client [default: 32]
    #[arg(long, value_name = "BITS")]
    pub ipv4_prefix: Option<usize>,
    /// Leading bits of an IPv6 address that make one client [default: 64]
    #[arg(long, value_name = "BITS")]
    pub ipv6_prefix: Option<usize>,
    /// Classes of clients, in the file only: [[class]] tables with match, weight, rate and burst
    #[arg(skip)]
    pub class: Vec<Class>,
    /// Decide and count, but turn nobody away
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub dry_run: Option<bool>,
    /// Tell clients what they may ask for, in RateLimit and RateLimit-Policy fields of every answer
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub rate_limit_fields: Option<bool>,
    /// Check backends with GET of this path, every second; an answer of 200 to 399 is good
    /// [default: a connection is enough, tried when a backend fails]
    #[arg(long, value_name = "PATH")]
    pub health: Option<String>,
    /// Closing its connection ends a backend's work: do so when the client has left, and use its place
    /// at once. Without this the place waits for the answer
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cancel: Option<bool>,
    /// Write a line per request to standard output [default: off]
    #[arg(long, value_name = "FORMAT")]
    pub access_log: Option<AccessLog>,
    /// Time in which a request's head must be complete [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub header_timeout: Option<Time>,
    /// Silence after which a client's connection is closed, between requests or within [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub idle_timeout: Option<Time>,
    /// Time in which a backend must be reached [default: 1s]
    #[arg(long, value_name = "TIME")]
    pub connect_timeout: Option<Time>,
    /// Time in which a backend must begin to answer [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub response_timeout: Option<Time>,
    /// Silence of a backend within its answer after which the answer is cut short [default: 5m]
    #[arg(long, value_name = "TIME")]
    pub backend_idle_timeout: Option<Time>,
    /// Time in which requests in flight may end after SIGTERM [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub drain_timeout: Option<Time>,
    /// Slowest clients allowed while the proxy waits for them, in bytes a second; 0 allows any
    /// [default: 500]
    #[arg(long, value_name = "BYTES")]
    pub min_rate: Option<Size>,
    /// Time for which a client may be slower than that [default: 5s]
    #[arg(long, value_name = "TIME")]
    pub grace: Option<Time>,
    /// Read bodies of requests up to this size before a place at a backend is taken [default: 64k]
    #[arg(long, value_name = "BYTES")]
    pub buffer_request: Option<Size>,
    /// Take so much of an answer off its backend when the client is slower [default: 1m]
    #[arg(long, value_name = "BYTES")]
    pub buffer_response: Option<Size>,
    /// Most memory for both, for all requests together [default: 256m]
    #[arg(long, value_name = "BYTES")]
    pub buffer_total: Option<Size>,
    /// Largest head of a request or response [default: 32k]
    #[arg(long, value_name = "BYTES")]
    pub max_head: Option<Size>,
    /// Largest body of a request [default: no limit]
    #[arg(long, value_name = "BYTES")]
    pub max_body: Option<Size>,
    /// Most connections of clients at once [default: 16384, or what the limit on descriptors allows]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<usize>,
    /// Most connections of one address (of IPv6, one /64) [default: half of --max-connections]
    #[arg(long, value_name = "N")]
    pub max_connections_per_peer: Option<usize>,
}

impl Options {
    /// Whether these options contradict one another. (On the command line, clap has seen to that.)
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.in_port.is_some() && !self.listen.is_empty() {
            return Err(ConfigError::Contradiction("in-port", "listen"));
        }
        if !self.out_ports.is_empty() && !self.backend.is_empty() {
            return Err(ConfigError::Contradiction("out-ports", "backend"));
        }
        Ok(())
    }

    /// These options, and another's where these are silent.
    pub fn over(self, other: Self) -> Self {
        // One style of addresses on the command line replaces the other style in the file.
        let listens = !self.listen.is_empty() || self.in_port.is_some();
        let calls = !self.backend.is_empty() || !self.out_ports.is_empty();
        let own_pairs = !self.cert.is_empty() || !self.key.is_empty();
        Self {
            in_port: if listens { self.in_port } else { other.in_port },
            listen: if listens { self.listen } else { other.listen },
            out_ports: if calls {
                self.out_ports
            } else {
                other.out_ports
            },
            backend: if calls { self.backend } else { other.backend },
            // Certificates and keys belong together.
            cert: if own_pairs { self.cert } else { other.cert },
            key: if own_pairs { self.key } else { other.key },
            client_ca: self.client_ca.or(other.client_ca),
            client_naming: self.client_naming.or(other.client_naming),
            max_handshakes: self.max_handshakes.or(other.max_handshakes),
            proxy_protocol: self.proxy_protocol.or(other.proxy_protocol),
            h2c: self.h2c.or(other.h2c),
            max_streams: self.max_streams.or(other.max_streams),
            redirect_to_https: self.redirect_to_https.or(other.redirect_to_https),
            acme_webroot: self.acme_webroot.or(other.acme_webroot),
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
            ipv4_prefix: self.ipv4_prefix.or(other.ipv4_prefix),
            ipv6_prefix: self.ipv6_prefix.or(other.ipv6_prefix),
            class: other.class,
            dry_run: self.dry_run.or(other.dry_run),
            rate_limit_fields: self.rate_limit_fields.or(other.rate_limit_fields),
            health: self.health.or(other.health),
            cancel: self.cancel.or(other.cancel),
            access_log: self.access_log.or(other.access_log),
            header_timeout: self.header_timeout.or(other.header_timeout),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
            response_timeout: self.response_timeout.or(other.response_timeout),
            backend_idle_timeout: self.backend_idle_timeout.or(other.backend_idle_timeout),
            drain_timeout: self.drain_timeout.or(other.drain_timeout),
            min_rate: self.min_rate.or(other.min_rate),
            grace: self.grace.or(other.grace),
            buffer_request: self.buffer_request.or(other.buffer_request),
            buffer_response: self.buffer_response.or(other.buffer_response),
            buffer_total: self.buffer_total.or(other.buffer_total),
            max_head: self.max_head.or(other.max_head),
            max_body: self.max_body.or(other.max_body),
            max_connections: self.max_connections.or(other.max_connections),
            max_connections_per_peer: self
                .max_connections_per_peer
                .or(other.max_connections_per_peer),
        }
    }
}
