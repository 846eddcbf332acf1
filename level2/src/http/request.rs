//! Request heads: what a client asks for, checked, and written afresh for a backend.
//!
//! [`parse`] knows nothing of who sent the request: the caller says with [`Hop`] what its sender is called
//! and whether its word about others is taken.

use httparse::Status;

use super::body::Framing;
use super::claims::{is_claim, is_disguised, is_secret};
use super::fields::{
    FieldError, Fields, Storage, decimal, for_each_element, push_decimal, push_field, push_via,
};
use super::target::{Target, TargetError, is_host};
use super::trailers;

/// What is wrong with a request: the status to refuse it with, and one line saying why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// HTTP status.
    pub status: u16,
    /// For the client.
    pub reason: &'static str,
}

impl BadRequest {
    /// A refusal with this status.
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }
}

const fn bad(reason: &'static str) -> BadRequest {
    BadRequest::new(400, reason)
}

impl From<FieldError> for BadRequest {
    fn from(error: FieldError) -> Self {
        match error {
            FieldError::LengthMalformed => bad("Content-Length is not a number"),
            FieldError::LengthConflict => bad("conflicting Content-Length"),
            FieldError::CodingRepeated => bad("more than one Transfer-Encoding"),
            FieldError::CodingUnknown => Self::new(501, "unknown Transfer-Encoding"),
            FieldError::ConnectionTooLong => bad("too many Connection options"),
        }
    }
}

impl From<TargetError> for BadRequest {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::NotAPath => bad("the target is not a path"),
            TargetError::BadAuthority => bad("the target names no valid host"),
            TargetError::Fragment => bad("the target has a fragment"),
        }
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
    /// Whether its body may be one side of a conversation, the answer's the other: gRPC.
    pub converses: bool,
    /// Whether `Max-Forwards` says that the proxy itself shall answer (TRACE and OPTIONS only).
    pub ends_here: bool,
}

/// How a request's sender is passed on.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// What the sender is called in `X-Forwarded-For`.
    pub sender: &'a str,
    /// Whether its word about whom it forwards for is passed on.
    pub trusted: bool,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Whether it came by HTTP/2.
    pub http2: bool,
}

/// A head that was understood. Its parts lie in the input it was parsed from.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a, 'b> {
    /// The method.
    pub method: &'a str,
    /// The target as it came.
    pub target: &'a str,
    /// What becomes of it.
    pub request: Request,
    parsed: Target<'a>,
    fields: Fields<'a, 'b>,
    host: Option<&'a [u8]>,
    /// What is left of `Max-Forwards` after this hop, where it has a meaning.
    forwards: Option<u64>,
}

/// Reads a head from the start of `input`. `None`: it is not complete.
pub fn parse<'a, 'b>(
    input: &'a [u8],
    storage: &'b mut Storage<'a>,
) -> Result<Option<Head<'a, 'b>>, BadRequest> {
    let mut parsed = httparse::Request::new(&mut []);
    let head_length = match parsed.parse_with_uninit_headers(input, storage) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(BadRequest::new(431, "too many header fields"));
        }
        Err(httparse::Error::Version) => return Err(bad_version(input)),
        Err(_) => return Err(bad("malformed request head")),
    };
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad("malformed request line"));
    };
    let http11 = minor == 1;
    let fields = Fields::read(parsed.headers, decimal)?;
    let found = Found::read(&fields)?;
    if http11 && found.host.is_none() {
        return Err(bad("no Host"));
    }
    if fields.chunked && (fields.length.is_some() || !http11) {
        return Err(bad("Transfer-Encoding where it must not be"));
    }
    if method == "CONNECT" {
        return Err(BadRequest::new(501, "CONNECT is not supported"));
    }
    let framing = match fields.length {
        _ if fields.chunked => Framing::Chunked,
        None | Some(0) => Framing::Empty,
        Some(length) => Framing::Sized(length),
    };
    if method == "TRACE" && framing != Framing::Empty {
        return Err(bad("TRACE with a body"));
    }
    let counted = found
        .max_forwards
        .filter(|_| matches!(method, "TRACE" | "OPTIONS"));
    let request = Request {
        head_length,
        is_head: method == "HEAD",
        idempotent: is_idempotent(method),
        http11,
        keep_alive: fields.keeps_alive(http11),
        framing,
        expects_continue: found.expects_continue && http11 && framing != Framing::Empty,
        converses: found.is_grpc,
        ends_here: counted == Some(0),
    };
    Ok(Some(Head {
        method,
        target,
        request,
        parsed: Target::parse(method, target)?,
        fields,
        host: found.host,
        forwards: counted.map(|count| count.saturating_sub(1)),
    }))
}

fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
    )
}

/// What is wrong with a head whose version was not understood.
fn bad_version(input: &[u8]) -> BadRequest {
    let line = input.split(|&byte| byte == b'\n').next().unwrap_or(input);
    let mut words = line.trim_ascii().split(|&byte| byte == b' ').skip(2);
    let version = words.next().unwrap_or_default();
    match version.strip_prefix(b"HTTP/") {
        Some([major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() && words.next().is_none() =>
        {
            BadRequest::new(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        }
        _ => bad("malformed request line"),
    }
}

/// Where in a head the minor version stands, if it is one beyond 1.1: such a message is read as one of
/// 1.1, the highest version spoken here (RFC 9110, 2.5).
pub fn later_minor_version(input: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b'\n', input)?;
    let line = input[..end].trim_ascii_end();
    match line {
        [
            ..,
            b' ',
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'2'..=b'9',
        ] => Some(line.len() - 1),
        _ => None,
    }
}

/// What the type of gRPC's bodies begins with.
const GRPC: &[u8] = b"application/grpc";

/// What only requests have to say.
struct Found<'a> {
    host: Option<&'a [u8]>,
    expects_continue: bool,
    is_grpc: bool,
    max_forwards: Option<u64>,
}

impl<'a> Found<'a> {
    fn read(fields: &Fields<'a, '_>) -> Result<Self, BadRequest> {
        let mut found = Self {
            host: None,
            expects_continue: false,
            is_grpc: false,
            max_forwards: None,
        };
        let mut upgrade = false;
        for (name, value) in fields.iter() {
            match name.len() {
                4 if name.eq_ignore_ascii_case("host") => {
                    if found.host.replace(value).is_some() {
                        return Err(bad("more than one Host"));
                    }
                    if !is_host(value) {
                        return Err(bad("malformed Host"));
                    }
                }
                6 if name.eq_ignore_ascii_case("expect") => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(BadRequest::new(417, "unknown expectation"));
                    }
                    found.expects_continue = true;
                }
                7 if name.eq_ignore_ascii_case("upgrade") => for_each_element(value, |protocol| {
                    // An offer of HTTP/2 may be passed over in silence; for any other protocol the
                    // answer would be of no use to whoever asks.
                    upgrade |= !protocol.eq_ignore_ascii_case(b"h2c");
                }),
                12 if name.eq_ignore_ascii_case("content-type") => {
                    let start = value.get(..GRPC.len());
                    found.is_grpc = start.is_some_and(|start| start.eq_ignore_ascii_case(GRPC));
                }
                12 if name.eq_ignore_ascii_case("max-forwards") => {
                    found.max_forwards = decimal(value);
                }
                _ => {}
            }
        }
        if upgrade && fields.connection.upgrade {
            return Err(BadRequest::new(501, "protocol upgrades are not supported"));
        }
        Ok(found)
    }
}

impl<'a> Head<'a, '_> {
    /// The values of `X-Forwarded-For`, in order.
    pub fn forwarded(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone {
        self.fields.values("x-forwarded-for")
    }

    /// Whom the request is for: the target's authority, or else `Host`, with a port if one was given.
    pub fn host(&self) -> Option<&'a [u8]> {
        self.parsed.authority.map(str::as_bytes).or(self.host)
    }

    /// The target's path with its query; empty where a URI had none.
    pub fn path(&self) -> &'a str {
        self.parsed.path
    }

    /// Whether `X-Forwarded-Proto` says that a client reached a proxy in front of this one over TLS.
    pub fn came_by_https(&self) -> bool {
        let mut values = self.fields.values("x-forwarded-proto");
        values.any(|value| value.eq_ignore_ascii_case(b"https"))
    }

    /// Appends the head as a backend gets it.
    pub fn write(&self, hop: Hop<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        self.parsed.write(out);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if let Some(authority) = self.parsed.authority {
            push_field(out, "Host", authority.as_bytes());
        } else if self.host.is_none() {
            out.extend_from_slice(b"Host: localhost\r\n");
        }
        for (name, value) in self.fields.iter() {
            if !self.stays_here(name, hop) {
                push_field(out, name, value);
            }
        }
        if let Some(count) = self.forwards {
            push_number(out, "Max-Forwards", count);
        }
        self.write_forwarded(hop, out);
        if hop.secure && !(hop.trusted && self.fields.values("x-forwarded-proto").next().is_some())
        {
            out.extend_from_slice(b"X-Forwarded-Proto: https\r\n");
        }
        if hop.http2 {
            out.extend_from_slice(b"Via: 2.0 level2\r\n");
        } else {
            push_via(out, self.request.http11);
        }
        match self.request.framing {
            Framing::Sized(length) => push_number(out, "Content-Length", length),
            Framing::Chunked => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                trailers::push_announcement(&self.fields, out);
            }
            _ if self.fields.length.is_some() => out.extend_from_slice(b"Content-Length: 0\r\n"),
            _ => {}
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends the head as TRACE shows it to whoever asked, without secrets (RFC 9110, 9.3.8).
    pub fn write_trace(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in self.fields.iter() {
            if !is_secret(name) {
                push_field(out, name, value);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends `X-Forwarded-For`: the chain as far as it is believed, then the sender.
    fn write_forwarded(&self, hop: Hop<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"X-Forwarded-For: ");
        if hop.trusted {
            for value in self.forwarded() {
                for_each_element(value, |element| {
                    out.extend_from_slice(element);
                    out.extend_from_slice(b", ");
                });
            }
        }
        out.extend_from_slice(hop.sender.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// Whether a field is not passed on: the proxy writes it itself, it is of this hop only, or it
    /// claims what its sender is not believed.
    fn stays_here(&self, name: &str, hop: Hop<'_>) -> bool {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => return self.parsed.authority.is_some(),
            6 if name.eq_ignore_ascii_case("expect") => return true,
            12 if name.eq_ignore_ascii_case("max-forwards") => return self.forwards.is_some(),
            15 if name.eq_ignore_ascii_case("x-forwarded-for") => return true,
            _ => {}
        }
        self.fields.is_hop_by_hop(name)
            || is_disguised(name)
            || (!hop.trusted && is_claim(name))
            || (self.method == "TRACE" && is_secret(name))
    }
}

fn push_number(out: &mut Vec<u8>, name: &str, number: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    push_decimal(out, number);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::fields::storage;
    use super::*;

    fn run(input: &str) -> Result<Option<(Request, String)>, BadRequest> {
        run_as(input, true)
    }

    fn run_as(input: &str, trusted: bool) -> Result<Option<(Request, String)>, BadRequest> {
        let hop = Hop {
            sender: "127.0.0.1",
            trusted,
            secure: false,
            http2: false,
        };
        let mut storage = storage();
        let found = parse(input.as_bytes(), &mut storage)?;
        Ok(found.map(|head| {
            let mut out = Vec::new();
            head.write(hop, &mut out);
            (head.request, String::from_utf8(out).unwrap())
        }))
    }

    fn refused(input: &str) -> u16 {
        run(input).expect_err(input).status
    }

    fn get(fields: &str) -> String {
        format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n")
    }

    #[test]
    fn hop_by_hop_fields_stay_behind() {
        let (request, out) = run(
            "GET /a?b HTTP/1.1\r\nHost: h\r\nConnection: X-Mine, keep-alive\r\nX-Mine: 1\r\nTE: gzip\r\n\
             Keep-Alive: 5\r\nUpgrade: h2c\r\nAccept: */*\r\nX-Forwarded-For: me\r\n\r\n",
        )
        .unwrap()
        .unwrap();
        assert_eq!(
            out,
            "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX-Forwarded-For: me, 127.0.0.1\r\nVia: 1.1 level2\r\n\r\n"
        );
        assert!(request.keep_alive && request.http11 && request.idempotent);
    }

    #[test]
    fn many_connection_options_are_followed_and_host_is_never_one() {
        let names: Vec<String> = (0..40).map(|n| format!("X-{n}")).collect();
        let fields = names.join(": 1\r\n") + ": 1\r\n";
        let (_, out) = run(&get(&format!(
            "{fields}Accept: a\r\nConnection: Host, {}",
            names.join(", ")
        )))
        .unwrap()
        .unwrap();
        assert!(out.contains("Host: h\r\n") && out.contains("Accept: a\r\n"));
        assert!(!out.contains("X-0") && !out.contains("X-39"), "{out}");
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let claims = "X-Forwarded-For: a\r\nForwarded: for=a\r\nX-Real-IP: a\r\nX-Forwarded-Proto: https\r\nx-forwarded-host: a";
        let (_, out) = run_as(&get(claims), false).unwrap().unwrap();
        assert_eq!(
            out,
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 127.0.0.1\r\nVia: 1.1 level2\r\n\r\n"
        );
        let (_, out) = run_as(&get(claims), true).unwrap().unwrap();
        assert!(out.contains("X-Real-IP: a\r\n") && out.contains("Forwarded: for=a\r\n"));
    }

    #[test]
    fn nobody_passes_a_field_in_disguise() {
        for name in [
            "X_Forwarded_For",
            "x-forwarded_for",
            "X.Forwarded.For",
            "X_Real_IP",
            "Content_Length",
            "Transfer_Encoding",
            "Proxy",
        ] {
            let (_, out) = run(&get(&format!("{name}: 6"))).unwrap().unwrap();
            assert!(!out.contains(name), "{out}");
        }
        let (_, out) = run(&get("my_field: 1")).unwrap().unwrap();
        assert!(out.contains("my_field: 1\r\n"));
    }

    #[test]
    fn empty_chains_leave_no_comma() {
        for value in ["", " ", ",", " , ,"] {
            let (_, out) = run(&get(&format!("X-Forwarded-For: {value}")))
                .unwrap()
                .unwrap();
            assert!(out.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{out}");
        }
        let many = "X-Forwarded-For: a\r\n".repeat(20);
        let (_, out) = run(&get(&format!("{many}Accept: b"))).unwrap().unwrap();
        assert_eq!(out.matches("a, ").count(), 20);
    }

    #[test]
    fn bodies_are_framed_afresh() {
        let (request, out) =
            run("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!(request.framing, Framing::Chunked);
        assert!(request.expects_continue && out.ends_with("Transfer-Encoding: chunked\r\n\r\n"));
        let (request, out) = run("POST / HTTP/1.0\r\nContent-Length: 007\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(request.framing, Framing::Sized(7));
        assert!(
            !request.keep_alive
                && out.contains("Content-Length: 7\r\n")
                && out.contains("Via: 1.0 level2\r\n")
                && out.contains("Host: localhost")
        );
    }

    #[test]
    fn a_whole_uri_replaces_host() {
        let (request, out) =
            run("POST http://other:8080/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
                .unwrap()
                .unwrap();
        assert_eq!(request.framing, Framing::Empty);
        assert!(out.starts_with("POST /x HTTP/1.1\r\nHost: other:8080\r\n"));
        assert!(out.contains("Content-Length: 0\r\n") && !out.contains("Host: h\r\n"));
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
        for host in ["a b", "a/b", "u@b", "a:99999x"] {
            assert_eq!(
                refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")),
                400
            );
        }
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(
            refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400
        );
        assert_eq!(refused("GET nonsense HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
        assert_eq!(refused("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
        let websocket =
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(refused(websocket), 501);
    }

    #[test]
    fn versions_are_told_apart() {
        for (line, status) in [
            ("GET / HTTP/2.0", 505),
            ("GET / HTTP/0.9", 505),
            ("GET /x y HTTP/1.1", 400),
            ("GET / HTTP/1.x", 400),
            ("GET / FTP/1.1", 400),
            ("GET /", 400),
        ] {
            assert_eq!(
                refused(&format!("{line}\r\nHost: h\r\n\r\n")),
                status,
                "{line}"
            );
        }
        assert_eq!(later_minor_version(b"GET / HTTP/1.2\r\nHost"), Some(13));
        assert_eq!(later_minor_version(b"GET / HTTP/1.1\r\nHost"), None);
        assert_eq!(later_minor_version(b"GET / HTTP/1.22\r\nHost"), None);
    }

    #[test]
    fn max_forwards_counts_down_for_the_two_methods_that_know_it() {
        let ask = |method: &str, count: &str| {
            run(&format!(
                "{method} / HTTP/1.1\r\nHost: h\r\nMax-Forwards: {count}\r\n\r\n"
            ))
            .unwrap()
            .unwrap()
        };
        assert!(ask("TRACE", "0").0.ends_here && ask("OPTIONS", "0").0.ends_here);
        let (request, out) = ask("OPTIONS", "3");
        assert!(!request.ends_here && out.contains("Max-Forwards: 2\r\n"));
        let (request, out) = ask("GET", "0");
        assert!(!request.ends_here && out.contains("Max-Forwards: 0\r\n"));
        let (_, out) = run(
            "TRACE / HTTP/1.1\r\nHost: h\r\nCookie: c\r\nAuthorization: a\r\nAccept: x\r\n\r\n",
        )
        .unwrap()
        .unwrap();
        assert!(!out.contains("Cookie") && !out.contains("Authorization"));
        assert!(out.contains("Accept: x"));
    }

    #[test]
    fn a_head_in_parts_is_waited_for() {
        assert!(run("GET / HTTP/1.1\r\nHost: h\r\n").unwrap().is_none());
        assert!(run("").unwrap().is_none());
    }
}
