//! One GET over a connection of its own: all that the command-line client needs of HTTP.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use level3::Endpoint;
use level3::wire::Stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

/// A server that says nothing for this long is given up. Searches have shorter limits of their own.
const PATIENCE: Duration = Duration::from_mins(2);

/// Answers above this are refused, in bytes: a page of hits has a few megabytes.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// Where the master is.
pub(super) struct Server {
    endpoint: Endpoint,
}

impl Server {
    /// The server at `http://HOST:PORT`, `HOST:PORT` or `unix:PATH`.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let address = match url.strip_prefix("http://") {
            Some(authority) => authority.trim_end_matches('/'),
            None if url.starts_with("unix:") => url,
            None => url.trim_end_matches('/'),
        };
        match address.parse() {
            Ok(Endpoint::Tcp(host)) if host.contains(|c: char| c == '/' || c.is_whitespace()) => {}
            Ok(Endpoint::Unix(_)) if address.len() < url.len() => {}
            Ok(endpoint) => return Ok(Self { endpoint }),
            Err(_) => {}
        }
        bail!("--server {url}: expected http://HOST:PORT or unix:PATH");
    }

    /// The body of an answer, whatever its status.
    pub(super) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Vec<u8>> {
        let endpoint = &self.endpoint;
        let answer = self.exchange(path, parameters).with_context(|| {
            format!("cannot ask {endpoint}; is `level3 start-servers` running?")
        })?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end.filter(|_| answer.starts_with(b"HTTP/1.")) else {
            bail!("{endpoint} does not speak HTTP");
        };
        Ok(answer[end + 4..].to_vec())
    }

    fn exchange(&self, path: &str, parameters: &[(&str, &str)]) -> std::io::Result<Vec<u8>> {
        let mut stream = Stream::connect(&self.endpoint)?;
        stream.set_read_timeout(PATIENCE)?;
        stream.set_write_timeout(PATIENCE)?;
        let host = match &self.endpoint {
            Endpoint::Tcp(authority) => authority,
            Endpoint::Unix(_) => "localhost",
        };
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", encode(value));
        let query: Vec<String> = parameters.iter().map(pair).collect();
        // HTTP/1.0, so that the answer ends with the connection.
        let head = format!(
            "GET {path}?{} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n",
            query.join("&"),
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// All but the marks that mean nothing in a URL (RFC 3986, 2.3).
const RESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, &RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts_with_ports() {
        for url in [
            "http://127.0.0.1:9090",
            "localhost:1/",
            "http://[::1]:9090/",
            "unix:/run/level3",
            "./level3.socket",
        ] {
            assert!(Server::new(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "localhost",
            "https://a:1",
            "http://a:1/b",
            ":1",
            "a:99999",
            "unix:",
            "http://unix:/a",
        ] {
            assert!(Server::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn any_text_can_be_asked_for() {
        assert_eq!(encode("a b&c=\u{e9}%").to_string(), "a%20b%26c%3D%C3%A9%25");
    }
}
