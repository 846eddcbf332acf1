//! What given settings come to: defaults where nothing was given, and refusals of what makes no sense.

use std::net::SocketAddr;
use std::time::Duration;

use super::options::Options;
use super::values::{Size, Time};
use super::{Config, ConfigError, Inherited};
use crate::net::{Address, BackendAddress, ListenAddress};
use crate::policy::{Naming, Settings};
use crate::tls::{ClientNaming, Pair, TlsFiles};
use crate::trust::{Range, Trust};

impl Options {
    /// Everything that was given, with what is usual where nothing was.
    pub fn settle(self, inherited: Inherited) -> Result<Config, ConfigError> {
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
        if self.redirect_to_https == Some(0) {
            let message = "a port is a number from 1 to 65535".into();
            return Err(value("redirect-to-https", message));
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
