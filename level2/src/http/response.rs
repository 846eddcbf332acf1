//! Response heads: what a backend answers, checked, and written afresh for the client.
//!
//! More is mended here than in requests, as RFC 9112 asks of proxies: space before a field's colon (5.1),
//! folded lines (5.2) and a length that is given several times (6.3) are read for what they mean, and
//! never passed on as they are.

use std::time::SystemTime;

use httparse::Status;
use memchr::memchr2;

use super::body::{Encoder, Framing};
use super::fields::{FieldError, Fields, push_decimal, push_field, push_via, repeated, storage};
use super::trailers;

/// A backend's answer that is none: malformed, or a switch of protocols nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResponse;

impl From<FieldError> for BadResponse {
    fn from(_: FieldError) -> Self {
        Self
    }
}

/// A moment as `Date` has it (RFC 9110, 5.6.7): made once a second and used many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date([u8; 29]);

impl Date {
    /// This moment's text.
    pub fn new(moment: SystemTime) -> Self {
        let mut text = [0; 29];
        let written = httpdate::fmt_http_date(moment);
        // The format has a fixed width, up to the year 9999.
        let length = written.len().min(text.len());
        text[..length].copy_from_slice(&written.as_bytes()[..length]);
        Self(text)
    }

    /// Appends a `Date` field.
    pub fn write(&self, out: &mut Vec<u8>) {
        push_field(out, "Date", &self.0);
    }
}

/// What a client may ask for, as the `RateLimit` fields have it (draft-ietf-httpapi-ratelimit-headers-10):
/// whole requests and whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The policy's name.
    pub policy: &'static str,
    /// Requests in a window.
    pub quota: u64,
    /// Length of the window.
    pub window: u64,
    /// Requests that may be made now.
    pub remaining: u64,
    /// Time until the quota is whole again.
    pub reset: u64,
}

impl RateLimit {
    /// Appends both fields.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (text, value) in [
            (["RateLimit-Policy: \"", self.policy, "\";q="], self.quota),
            (["", "", ";w="], self.window),
            (["\r\nRateLimit: \"", self.policy, "\";r="], self.remaining),
            (["", "", ";t="], self.reset),
        ] {
            for part in text {
                out.extend_from_slice(part.as_bytes());
            }
            push_decimal(out, value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Whoever gets the answer, as far as its form depends on it.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not states"
)]
pub struct Recipient {
    /// Whether the request was HEAD.
    pub is_head: bool,
    /// Whether it speaks HTTP/1.1.
    pub http11: bool,
    /// Whether its connection shall be kept.
    pub keep_alive: bool,
    /// Whether a body of unknown length is collected first, where only the connection's close could
    /// mark its end, and the recipient could not tell that close from a failure.
    pub collects: bool,
    /// The time.
    pub date: Date,
    /// What the client may ask for, if it is to be told.
    pub allowance: Option<RateLimit>,
}

/// What one needs to know about a response once its head is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// Bytes of the head in the input.
    pub head_length: usize,
    /// HTTP status.
    pub status: u16,
    /// How the backend delimits the body.
    pub framing: Framing,
    /// How it is passed on.
    pub encoder: Encoder,
    /// Whether the end of the body is only known by the close of the client's connection.
    pub ends_by_close: bool,
    /// Whether the head waits for the body's length: see [`finish_collected`].
    pub collected: bool,
    /// Whether the backend's connection may be used again.
    pub reusable: bool,
}

/// What stood at the start of the input.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// An interim answer (1xx) of so many bytes; others follow.
    Interim(usize),
    /// The answer itself.
    Final(Response),
}

/// Reads one head from the start of `input`, and appends its translation to `out`. `None`: the head is
/// not complete. Of interim answers, `100 Continue` is not passed on (the proxy has said it), nor any to
/// clients of HTTP/1.0.
pub fn translate(
    input: &[u8],
    to: Recipient,
    out: &mut Vec<u8>,
) -> Result<Option<Answer>, BadResponse> {
    let mut storage = storage();
    let mut parsed = httparse::Response::new(&mut []);
    let mut parser = httparse::ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let length = match parser.parse_response_with_uninit_headers(&mut parsed, input, &mut storage) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(BadResponse),
    };
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(BadResponse);
    };
    let head = Head {
        status,
        reason: parsed.reason.unwrap_or_default(),
        http11: minor == 1,
        fields: Fields::read(parsed.headers, repeated)?,
    };
    match status {
        101 | 0..=99 => Err(BadResponse),
        100..=199 => {
            if status != 100 && to.http11 {
                head.write_start(out);
                out.extend_from_slice(b"\r\n");
            }
            Ok(Some(Answer::Interim(length)))
        }
        _ => Ok(Some(Answer::Final(head.write(to, length, out)))),
    }
}

/// Reads a head of a later minor version as one of 1.1, the highest spoken here (RFC 9110, 2.5).
pub fn lower_version(input: &mut [u8]) {
    if let [
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        b'1',
        b'.',
        minor @ b'2'..=b'9',
        b' ',
        ..,
    ] = input
    {
        *minor = b'1';
    }
}

struct Head<'a, 'b> {
    status: u16,
    reason: &'a str,
    http11: bool,
    fields: Fields<'a, 'b>,
}

impl Head<'_, '_> {
    fn write(&self, to: Recipient, head_length: usize, out: &mut Vec<u8>) -> Response {
        let (length, chunked) = (self.fields.length, self.fields.chunked);
        let bodiless = to.is_head || matches!(self.status, 204 | 304);
        let framing = match length {
            _ if bodiless => Framing::Empty,
            _ if chunked => Framing::Chunked,
            Some(length) => Framing::Sized(length),
            None => Framing::UntilClose,
        };
        // A body of unknown length goes in chunks to whoever knows them; else the close has to tell.
        let unknown = matches!(framing, Framing::Chunked | Framing::UntilClose);
        let encoder = if unknown && to.http11 {
            Encoder::Chunked
        } else {
            Encoder::Plain
        };
        let collected = unknown && !to.http11 && to.collects;
        let response = Response {
            head_length,
            status: self.status,
            framing,
            encoder,
            ends_by_close: unknown && !to.http11 && !collected,
            collected,
            // With both a length and chunks, or chunks in HTTP/1.0, the backend may be confused about
            // where this answer ends (RFC 9112, 6.1 and 6.3).
            reusable: self.fields.keeps_alive(self.http11)
                && framing != Framing::UntilClose
                && !(chunked && (length.is_some() || !self.http11)),
        };
        self.write_start(out);
        if !self
            .fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("date"))
        {
            to.date.write(out);
        }
        push_via(out, self.http11);
        match (length, encoder) {
            _ if collected => return response,
            (_, Encoder::Chunked) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                if framing == Framing::Chunked {
                    trailers::push_announcement(&self.fields, out);
                }
            }
            // Also where there is no body: what HEAD and 304 say of the length is about another answer.
            (Some(length), _) if !chunked && self.status != 204 => push_length(out, length),
            _ => {}
        }
        write_end(out, to, response.ends_by_close);
        response
    }

    /// Appends the status line and the fields that are passed on.
    fn write_start(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(self.reason.as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in self.fields.iter() {
            if self.fields.is_hop_by_hop(name) {
                continue;
            }
            if memchr2(b'\r', b'\n', value).is_some() {
                push_field(out, name, &unfolded(value));
            } else {
                push_field(out, name, value);
            }
        }
    }
}

/// A folded value on one line.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let lines = value.split(|byte| matches!(byte, b'\r' | b'\n'));
    let parts: Vec<&[u8]> = lines
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(&b' ')
}

/// Completes a head whose body was collected, now that its length is known.
pub fn finish_collected(out: &mut Vec<u8>, to: Recipient, length: u64) {
    push_length(out, length);
    write_end(out, to, false);
}

fn push_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Appends the `RateLimit` fields, where they are wanted, the `Connection` field, where what it says is not understood anyway, and the empty line.
pub fn write_end(out: &mut Vec<u8>, to: Recipient, ends_by_close: bool) {
    if let Some(allowance) = to.allowance {
        allowance.write(out);
    }
    if !to.keep_alive || ends_by_close {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if !to.http11 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn recipient(http11: bool) -> Recipient {
        Recipient {
            is_head: false,
            http11,
            keep_alive: true,
            collects: false,
            date: Date::new(UNIX_EPOCH + Duration::from_secs(784_111_777)),
            allowance: None,
        }
    }

    #[test]
    fn an_allowance_is_two_fields_on_every_answer() {
        let to = Recipient {
            allowance: Some(RateLimit {
                policy: "fair",
                quota: 53,
                window: 10,
                remaining: 0,
                reset: 4,
            }),
            ..recipient(true)
        };
        let text = "HTTP/1.1 204 No Content\r\n\r\n";
        let (_, out) = run(text, to).unwrap().unwrap();
        let fields = "RateLimit-Policy: \"fair\";q=53;w=10\r\nRateLimit: \"fair\";r=0;t=4\r\n";
        assert_eq!(out.matches(fields).count(), 1, "{out}");
        // Interim answers are no answers.
        let text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let (_, out) = run(text, to).unwrap().unwrap();
        assert_eq!(out.matches(fields).count(), 1, "{out}");
    }

    /// The final answer, and all that was written.
    fn run(input: &str, to: Recipient) -> Result<Option<(Response, String)>, BadResponse> {
        let (mut out, mut from) = (Vec::new(), 0);
        loop {
            match translate(&input.as_bytes()[from..], to, &mut out)? {
                None => return Ok(None),
                Some(Answer::Interim(length)) => from += length,
                Some(Answer::Final(response)) => {
                    return Ok(Some((response, String::from_utf8(out).unwrap())));
                }
            }
        }
    }

    fn modern(input: &str) -> (Response, String) {
        run(input, recipient(true)).unwrap().unwrap()
    }

    fn old(input: &str) -> (Response, String) {
        run(input, recipient(false)).unwrap().unwrap()
    }

    #[test]
    fn a_sized_answer_passes_with_via_and_date() {
        let input = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nETag: e\r\n\r\n";
        let (response, out) = modern(input);
        assert_eq!(
            out,
            "HTTP/1.1 200 OK\r\nETag: e\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nVia: 1.1 level2\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(response.framing, Framing::Sized(3));
        assert!(response.reusable && !response.ends_by_close);
        let (_, out) = modern("HTTP/1.1 200 OK\r\nDate: yesterday\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(out.matches("Date: ").count(), 1);
    }

    #[test]
    fn unknown_lengths_become_chunks_or_a_close_or_are_collected() {
        for input in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n",
        ] {
            let (response, out) = modern(input);
            assert!(
                out.contains("Transfer-Encoding: chunked") && response.encoder == Encoder::Chunked
            );
            let (response, out) = old(input);
            assert!(
                !out.contains("chunked")
                    && out.contains("Connection: close")
                    && response.ends_by_close
            );
            let to = Recipient {
                collects: true,
                ..recipient(false)
            };
            let (response, out) = run(input, to).unwrap().unwrap();
            assert!(response.collected && !response.ends_by_close);
            let mut out = out.into_bytes();
            finish_collected(&mut out, to, 7);
            let out = String::from_utf8(out).unwrap();
            assert!(
                out.ends_with("Content-Length: 7\r\nConnection: keep-alive\r\n\r\n"),
                "{out}"
            );
        }
    }

    #[test]
    fn answers_without_body_keep_their_length() {
        let head = Recipient {
            is_head: true,
            ..recipient(true)
        };
        let (response, out) = run("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", head)
            .unwrap()
            .unwrap();
        assert!(out.contains("Content-Length: 9") && response.framing == Framing::Empty);
        let (response, out) = modern("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(!out.contains("Content-Length") && response.framing == Framing::Empty);
    }

    #[test]
    fn interim_answers_pass_to_whoever_knows_them() {
        let input = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let (response, out) = modern(input);
        assert_eq!(response.status, 200);
        assert!(
            out.starts_with("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"),
            "{out}"
        );
        assert!(old(input).1.starts_with("HTTP/1.1 200 OK\r\n"));
    }

    #[test]
    fn confused_answers_are_refused_or_not_reused() {
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1,\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "SMTP ready\r\n\r\n",
        ] {
            assert!(run(bad, recipient(true)).is_err(), "{bad}");
        }
        for confused in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let (response, out) = modern(confused);
            assert!(!response.reusable && !out.contains("Content-Length"));
            assert_eq!(response.framing, Framing::Chunked);
        }
    }

    #[test]
    fn a_length_that_is_repeated_is_one() {
        for repeated in [
            "Content-Length: 2, 2",
            "Content-Length: 2\r\nContent-Length: 2",
            "Content-Length: 2,2\r\nContent-Length: 02",
            "Content-Length: 2,\r\n 2",
        ] {
            let (response, out) = modern(&format!("HTTP/1.1 200 OK\r\n{repeated}\r\n\r\n"));
            assert_eq!(response.framing, Framing::Sized(2));
            assert!(out.ends_with("\r\nContent-Length: 2\r\n\r\n"), "{out}");
            assert_eq!(out.matches("Content-Length").count(), 1, "{out}");
        }
    }

    #[test]
    fn old_ways_of_writing_fields_are_mended() {
        let (_, out) = modern(
            "HTTP/1.1 200 OK\r\nfoo : x\r\nbar: a\r\n  b\r\n\tc\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(out.contains("foo: x\r\nbar: a b c\r\n"), "{out}");
    }

    #[test]
    fn many_fields_are_no_mistake() {
        let cookies = "Set-Cookie: n=1\r\n".repeat(500);
        let (_, out) = modern(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{cookies}\r\n"
        ));
        assert_eq!(out.matches("Set-Cookie").count(), 500);
    }

    #[test]
    fn later_minor_versions_are_read_as_1_1() {
        let mut input = *b"HTTP/1.3 200 OK\r\n";
        lower_version(&mut input);
        assert!(input.starts_with(b"HTTP/1.1 "));
    }
}
