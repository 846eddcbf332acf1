//! Addresses, over TCP or unix sockets alike.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// Where to listen or whom to call: `HOST:PORT`, or `unix:PATH`, or a path that begins with `/` or
/// `.`; to listen on all addresses, `:PORT` or `*:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// A TCP address. A host name is resolved when the address is read.
    Tcp(SocketAddr),
    /// All addresses of this machine, of IPv6 and IPv4 alike: only to listen on.
    Any(u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path by itself is one too, so that all programs here are called alike.
        let bare = text.starts_with(['/', '.']).then_some(text);
        if let Some(path) = text.strip_prefix("unix:").or(bare) {
            if path.is_empty() {
                return Err("`unix:` needs a path".into());
            }
            return Ok(Self::Unix(path.into()));
        }
        let bad =
            |why: &dyn fmt::Display| format!("`{text}` is not HOST:PORT or unix:PATH ({why})");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad(&"no port"))?;
        let number: u16 = port
            .parse()
            .map_err(|_| bad(&"a port is a number from 0 to 65535"))?;
        if host.is_empty() || host == "*" {
            return Ok(Self::Any(number));
        }
        let mut found = text.to_socket_addrs().map_err(|error| bad(&error))?;
        found
            .next()
            .map(Self::Tcp)
            .ok_or_else(|| format!("`{text}` has no address"))
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Any(port) => write!(f, "*:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A backend's address, and whether HTTP/2 is spoken there without asking: `h2:` in front says so.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct BackendAddress {
    /// The address.
    pub address: Address,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
}

impl FromStr for BackendAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix("h2:");
        Ok(Self {
            address: bare.unwrap_or(text).parse()?,
            http2: bare.is_some(),
        })
    }
}

impl TryFrom<String> for BackendAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Address> for BackendAddress {
    /// For HTTP/1.1.
    fn from(address: Address) -> Self {
        Self {
            address,
            http2: false,
        }
    }
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.http2 { "h2:" } else { "" };
        write!(f, "{mark}{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_may_speak_http_2() {
        for (text, http2) in [
            ("h2:127.0.0.1:80", true),
            ("h2:unix:/s", true),
            ("127.0.0.1:80", false),
        ] {
            let backend: BackendAddress = text.parse().unwrap();
            assert_eq!((backend.http2, backend.to_string()), (http2, text.into()));
        }
    }

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["127.0.0.1:80", "[::1]:8080", "unix:/tmp/socket", "*:80"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(":80".parse(), Ok(Address::Any(80)));
        assert_eq!("./x".parse(), Ok(Address::Unix("./x".into())));
        for bad in [
            "",
            "80",
            "host",
            "unix:",
            "1.2.3.4:99999",
            ":",
            "*",
            "*:http",
            "::1:80:x",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
