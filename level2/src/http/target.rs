//! Whom and what a request asks for: the target's forms and `Host` (RFC 9112, 3.2; RFC 3986, 3.2).

/// Why a target or a host is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// Neither a path, nor `*` with OPTIONS, nor an `http` or `https` URI.
    NotAPath,
    /// A URI whose authority is empty, has a user part or is malformed.
    BadAuthority,
    /// A `#`: fragments are never sent.
    Fragment,
}

/// A target, as an origin server wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// What replaces `Host`, if the target was a whole URI (RFC 9112, 3.2.2).
    pub authority: Option<&'a str>,
    /// The path with its query; empty where the URI had no path.
    pub path: &'a str,
    /// Whether `OPTIONS` asks about the server as a whole, `*`.
    pub is_asterisk: bool,
}

impl<'a> Target<'a> {
    /// Takes a target apart.
    pub fn parse(method: &str, target: &'a str) -> Result<Self, TargetError> {
        if target.contains('#') {
            return Err(TargetError::Fragment);
        }
        let options = method == "OPTIONS";
        if target.starts_with('/') || (target == "*" && options) {
            return Ok(Self {
                authority: None,
                path: target,
                is_asterisk: target == "*",
            });
        }
        let (scheme, rest) = target.split_once("://").ok_or(TargetError::NotAPath)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(TargetError::NotAPath);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || !is_host(authority.as_bytes()) {
            return Err(TargetError::BadAuthority);
        }
        Ok(Self {
            authority: Some(authority),
            path,
            is_asterisk: options && path.is_empty(),
        })
    }

    /// Appends the target in origin form or asterisk form.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.is_asterisk {
            out.push(b'*');
            return;
        }
        if !self.path.starts_with('/') {
            out.push(b'/');
        }
        out.extend_from_slice(self.path.as_bytes());
    }
}

/// Whether this is a host with or without a port, as `Host` has it: a name, an IPv4 address, or an
/// IPv6 address in brackets. An empty one is valid (the target has no authority).
pub fn is_host(value: &[u8]) -> bool {
    let (host, port) = if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let address = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        if address.parse::<std::net::Ipv6Addr>().is_err() {
            return false;
        }
        (&b""[..], &rest[end + 1..])
    } else {
        let colon = value.iter().position(|&byte| byte == b':');
        value.split_at(colon.unwrap_or(value.len()))
    };
    is_name(host) && is_port(port)
}

/// `reg-name` of RFC 3986: letters, digits, some marks, and percent-encoded bytes.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'%' => match tail {
                [a, b, tail @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => tail,
                _ => return false,
            },
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => tail,
            _ => return false,
        };
    }
    true
}

/// Nothing, or a colon with at most a port's digits.
fn is_port(port: &[u8]) -> bool {
    match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => {
            super::fields::decimal(digits).is_some_and(|port| u16::try_from(port).is_ok())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(method: &str, target: &str) -> Result<(Option<String>, String), TargetError> {
        let parsed = Target::parse(method, target)?;
        let mut out = Vec::new();
        parsed.write(&mut out);
        Ok((
            parsed.authority.map(String::from),
            String::from_utf8(out).unwrap(),
        ))
    }

    #[test]
    fn every_form_becomes_a_path() {
        for (method, target, authority, path) in [
            ("GET", "/a?b", None, "/a?b"),
            ("OPTIONS", "*", None, "*"),
            ("GET", "http://a", Some("a"), "/"),
            ("GET", "HTTP://a:80/x?y", Some("a:80"), "/x?y"),
            ("GET", "https://a/x", Some("a"), "/x"),
            ("GET", "http://a?x=1", Some("a"), "/?x=1"),
            ("OPTIONS", "http://a", Some("a"), "*"),
            ("OPTIONS", "http://a/", Some("a"), "/"),
            ("OPTIONS", "http://a?q", Some("a"), "/?q"),
            ("GET", "http://[::1]:8/", Some("[::1]:8"), "/"),
        ] {
            assert_eq!(
                sent(method, target),
                Ok((authority.map(String::from), path.into())),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn nonsense_is_told_apart() {
        use TargetError::{BadAuthority, Fragment, NotAPath};
        for (target, error) in [
            ("*", NotAPath),
            ("relative", NotAPath),
            ("ftp://a/", NotAPath),
            ("http:/a", NotAPath),
            ("/a#b", Fragment),
            ("http://a/#b", Fragment),
            ("http://", BadAuthority),
            ("http:///x", BadAuthority),
            ("http://u@a/", BadAuthority),
            ("http://u:p@a/", BadAuthority),
            ("http://a:99999/", BadAuthority),
            ("http://a b/", BadAuthority),
            ("http://[::1/", BadAuthority),
        ] {
            assert_eq!(sent("GET", target), Err(error), "{target}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for good in [
            "",
            "a",
            "a.b-c_d",
            "a:80",
            "a:",
            "1.2.3.4:5",
            "[::1]",
            "[::1]:443",
            "%41.b",
            "a!$&'",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            &b"a b"[..],
            b"a/b",
            b"u@b",
            b"a:99999x",
            b"a:99999",
            b"a:-1",
            b"\xff",
            b"[::1",
            b"[x]",
            b"[::1]x",
            b"::1",
            b"a%4",
            b"a%zz",
            b"a\\b",
            b"a?b",
            b"a#b",
            b"a\"b",
        ] {
            assert!(!is_host(bad), "{}", String::from_utf8_lossy(bad));
        }
    }
}
