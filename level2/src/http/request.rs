//! Request heads: what a client asks for, checked, and translated for a backend.

use std::mem::MaybeUninit;

use httparse::Status;

use super::body::Framing;
use super::{ConnectionOptions, MAX_FIELDS, decimal, for_each_element, push_decimal, push_field};
use crate::trust::{Peer, Trust};

/// What is wrong with a request: the status to refuse it with, and one line saying why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// HTTP status.
    pub status: u16,
    /// For the client.
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> BadRequest {
    BadRequest {
        status: 400,
        reason,
    }
}

/// What one needs to know about a request once its head is on its way.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not states"
)]
pub struct Request {
    /// Bytes of the head in the input.
    pub head_length: usize,
    /// Where in the input the method and the target lie.
    pub method: (usize, usize),
    /// See `method`.
    pub target: (usize, usize),
    /// Whether the method is HEAD: the answer has no body.
    pub is_head: bool,
    /// Whether asking twice is as good as asking once (RFC 9110, 9.2.2).
    pub idempotent: bool,
    /// Whether the client speaks HTTP/1.1 rather than 1.0.
    pub http11: bool,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Who sends the request, and what is done with its word for others.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The connection's other end.
    pub peer: Peer,
    /// The same as text.
    pub name: &'a str,
    /// Whether its `X-Forwarded-For` is believed.
    pub trusted: bool,
    /// Who else is.
    pub trust: &'a Trust,
}

/// Reads a head from the start of `input` and appends its translation to `out`. The client's name is
/// handed to `client`. `None`: the head is not complete.
pub fn translate<C>(
    input: &[u8],
    sender: Sender<'_>,
    out: &mut Vec<u8>,
    client: impl FnOnce(&[u8]) -> C,
) -> Result<Option<(Request, C)>, BadRequest> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let head_length = match parsed.parse_with_uninit_headers(input, &mut fields) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(BadRequest {
                status: 431,
                reason: "too many header fields",
            });
        }
        Err(httparse::Error::Version) => {
            return Err(BadRequest {
                status: 505,
                reason: "only HTTP/1.0 and HTTP/1.1 are spoken here",
            });
        }
        Err(_) => return Err(bad("malformed request head")),
    };
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad("malformed request line"));
    };
    let facts = read_fields(parsed.headers, minor == 1)?;
    let path = origin_form(method, target)?;
    write_head(out, method, path, parsed.headers, &facts, sender);

    let named = if sender.trusted {
        sender.trust.client(facts.forwarded())
    } else {
        None
    };
    let client = client(named.unwrap_or(sender.name.as_bytes()));
    let request = Request {
        head_length,
        method: span(input, method),
        target: span(input, target),
        is_head: method == "HEAD",
        idempotent: matches!(
            method,
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        ),
        http11: minor == 1,
        keep_alive: if minor == 1 {
            !facts.connection.close
        } else {
            facts.connection.keep_alive && !facts.connection.close
        },
        framing: facts.framing,
        expects_continue: facts.expects_continue && minor == 1 && facts.framing != Framing::Empty,
    };
    Ok(Some((request, client)))
}

/// Where `part`, which was parsed out of `input`, lies in it.
fn span(input: &[u8], part: &str) -> (usize, usize) {
    let start = part.as_ptr() as usize - input.as_ptr() as usize;
    (start, start + part.len())
}

/// What the fields say that the proxy itself must know.
struct Facts<'a> {
    connection: ConnectionOptions<'a>,
    framing: Framing,
    /// Whether the body's length was given, even if it is 0.
    sized: bool,
    has_host: bool,
    expects_continue: bool,
    forwarded: [&'a [u8]; 8],
    forwarded_count: usize,
}

impl<'a> Facts<'a> {
    fn forwarded(&self) -> &[&'a [u8]] {
        &self.forwarded[..self.forwarded_count]
    }
}

fn read_fields<'a>(fields: &[httparse::Header<'a>], http11: bool) -> Result<Facts<'a>, BadRequest> {
    let mut facts = Facts {
        connection: ConnectionOptions::default(),
        framing: Framing::Empty,
        sized: false,
        has_host: false,
        expects_continue: false,
        forwarded: [&[]; 8],
        forwarded_count: 0,
    };
    let (mut length, mut chunked, mut upgrade, mut hosts) = (None, false, false, 0);
    for field in fields {
        // Sorted by length first: most fields differ from all of these by that alone.
        match field.name.len() {
            4 if field.name.eq_ignore_ascii_case("host") => {
                hosts += 1;
            }
            6 if field.name.eq_ignore_ascii_case("expect") => {
                if !field.value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(BadRequest {
                        status: 417,
                        reason: "unknown expectation",
                    });
                }
                facts.expects_continue = true;
            }
            7 if field.name.eq_ignore_ascii_case("upgrade") => {
                for_each_element(field.value, |protocol| {
                    // An offer of HTTP/2 may be passed over in silence; for any other protocol the
                    // answer would be of no use to whoever asks.
                    upgrade |= !protocol.eq_ignore_ascii_case(b"h2c");
                });
            }
            10 if field.name.eq_ignore_ascii_case("connection") => {
                facts.connection.add(field.value);
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let value = decimal(field.value).ok_or(bad("Content-Length is not a number"))?;
                if length
                    .replace(value)
                    .is_some_and(|earlier| earlier != value)
                {
                    return Err(bad("conflicting Content-Length"));
                }
            }
            15 if field.name.eq_ignore_ascii_case("x-forwarded-for") => {
                let Some(place) = facts.forwarded.get_mut(facts.forwarded_count) else {
                    return Err(bad("too many X-Forwarded-For fields"));
                };
                *place = field.value;
                facts.forwarded_count += 1;
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked {
                    return Err(bad("more than one Transfer-Encoding"));
                }
                if !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadRequest {
                        status: 501,
                        reason: "unknown Transfer-Encoding",
                    });
                }
                chunked = true;
            }
            _ => {}
        }
    }
    if hosts > 1 {
        return Err(bad("more than one Host"));
    }
    facts.has_host = hosts == 1;
    if facts.connection.too_many {
        return Err(bad("too many Connection options"));
    }
    if upgrade && facts.connection.upgrade {
        return Err(BadRequest {
            status: 501,
            reason: "protocol upgrades are not supported",
        });
    }
    if http11 && !facts.has_host {
        return Err(bad("no Host"));
    }
    if chunked && (length.is_some() || !http11) {
        return Err(bad("Transfer-Encoding where it must not be"));
    }
    facts.sized = length.is_some();
    facts.framing = match length {
        _ if chunked => Framing::Chunked,
        None | Some(0) => Framing::Empty,
        Some(length) => Framing::Sized(length),
    };
    Ok(facts)
}

/// The target as an origin server wants it: a path, or `*` for OPTIONS (RFC 9112, 3.2).
fn origin_form<'a>(method: &str, target: &'a str) -> Result<&'a str, BadRequest> {
    if method == "CONNECT" {
        return Err(BadRequest {
            status: 501,
            reason: "CONNECT is not supported",
        });
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(target);
    }
    let rest = target
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("http://"))
        .map(|_| &target[7..])
        .ok_or(bad("the target is not a path"))?;
    match rest.find(['/', '?']) {
        Some(0) => Err(bad("the target names no host")),
        Some(path) if rest[path..].starts_with('/') => Ok(&rest[path..]),
        Some(_) => Err(bad("the target is not a path")),
        None => Ok("/"),
    }
}

fn write_head(
    out: &mut Vec<u8>,
    method: &str,
    path: &str,
    fields: &[httparse::Header<'_>],
    facts: &Facts<'_>,
    sender: Sender<'_>,
) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if !facts.has_host {
        out.extend_from_slice(b"Host: localhost\r\n");
    }
    for field in fields {
        if !is_ours(field.name) && !facts.connection.names(field.name) {
            push_field(out, field.name.as_bytes(), field.value);
        }
    }
    out.extend_from_slice(b"X-Forwarded-For: ");
    if sender.trusted {
        for value in facts.forwarded() {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(sender.name.as_bytes());
    out.extend_from_slice(b"\r\n");
    match facts.framing {
        Framing::Sized(length) => {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        _ if facts.sized => out.extend_from_slice(b"Content-Length: 0\r\n"),
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether the proxy writes this field itself, or nobody beyond this hop should see it.
fn is_ours(name: &str) -> bool {
    const OURS: [&str; 11] = [
        "te",
        "expect",
        "upgrade",
        "trailer",
        "connection",
        "keep-alive",
        "content-length",
        "x-forwarded-for",
        "proxy-connection",
        "transfer-encoding",
        "proxy-authorization",
    ];
    OURS.iter()
        .any(|ours| ours.len() == name.len() && ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &str) -> Result<Option<(Request, String, String)>, BadRequest> {
        run_as(input, true)
    }

    fn run_as(input: &str, trusted: bool) -> Result<Option<(Request, String, String)>, BadRequest> {
        let trust = Trust::default();
        let peer = Peer::Ip([127, 0, 0, 1].into());
        let sender = Sender {
            peer,
            name: "127.0.0.1",
            trusted,
            trust: &trust,
        };
        let mut out = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let found = translate(input.as_bytes(), sender, &mut out, text)?;
        Ok(found.map(|(request, client)| (request, client, text(&out))))
    }

    fn refused(input: &str) -> u16 {
        run(input).expect_err(input).status
    }

    #[test]
    fn hop_by_hop_fields_stay_behind() {
        let (request, client, out) = run(
            "GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\nTE: gzip\r\n\
             Keep-Alive: 5\r\nUpgrade: h2c\r\nAccept: */*\r\nX-Forwarded-For: me\r\n\r\n",
        )
        .unwrap()
        .unwrap();
        assert_eq!(
            out,
            "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX-Forwarded-For: me, 127.0.0.1\r\n\r\n"
        );
        assert_eq!(client, "me");
        assert!(request.keep_alive && request.http11 && request.idempotent);
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let (_, client, out) = run_as(
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: forged\r\n\r\n",
            false,
        )
        .unwrap()
        .unwrap();
        assert_eq!(client, "127.0.0.1");
        assert!(out.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{out}");
    }

    #[test]
    fn bodies_are_framed_afresh() {
        let (request, _, out) =
            run("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!(request.framing, Framing::Chunked);
        assert!(request.expects_continue && out.ends_with("Transfer-Encoding: chunked\r\n\r\n"));
        let (request, _, out) = run("POST / HTTP/1.0\r\nContent-Length: 007\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(request.framing, Framing::Sized(7));
        assert!(
            !request.keep_alive
                && out.contains("Content-Length: 7\r\n")
                && out.contains("Host: localhost")
        );
        let (request, _, out) =
            run("POST http://other:8080/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!(request.framing, Framing::Empty);
        assert!(out.starts_with("POST /x HTTP/1.1\r\n") && out.contains("Content-Length: 0\r\n"));
    }

    #[test]
    fn what_can_be_read_two_ways_is_refused() {
        let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
        for fields in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length:",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding : chunked",
            "X: 1\r\n folded: 2",
            "Host: h2",
            "X\u{0}: 1",
        ] {
            assert_eq!(refused(&post(fields)), 400, "{fields}");
        }
        for fields in [
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: xchunked",
        ] {
            assert_eq!(refused(&post(fields)), 501, "{fields}");
        }
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(
            refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400
        );
        assert_eq!(refused("GET nonsense HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
        assert_eq!(refused("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
        let websocket =
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(refused(websocket), 501);
    }

    #[test]
    fn a_head_in_parts_is_waited_for() {
        assert!(run("GET / HTTP/1.1\r\nHost: h\r\n").unwrap().is_none());
        assert!(run("").unwrap().is_none());
    }
}
