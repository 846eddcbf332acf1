//! Response heads: what a backend answers, checked, and translated for the client.

use std::mem::MaybeUninit;

use httparse::Status;

use super::body::{Encoder, Framing};
use super::{ConnectionOptions, MAX_FIELDS, decimal, push_decimal, push_field};

/// A backend's answer that is none: malformed, or a switch of protocols nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResponse;

/// What the client is like, as far as its answer depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Whether the request was HEAD.
    pub is_head: bool,
    /// Whether it speaks HTTP/1.1.
    pub http11: bool,
    /// Whether its connection shall be kept.
    pub keep_alive: bool,
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
    /// Whether the backend's connection may be used again.
    pub reusable: bool,
}

/// Reads a head from the start of `input`, skipping interim answers (1xx), and appends its
/// translation to `out`. `None`: the head is not complete.
pub fn translate(
    input: &[u8],
    asker: Asker,
    out: &mut Vec<u8>,
) -> Result<Option<Response>, BadResponse> {
    let mut skipped = 0;
    loop {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let rest = &input[skipped..];
        let length = match parser.parse_response_with_uninit_headers(&mut parsed, rest, &mut fields)
        {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(_) => return Err(BadResponse),
        };
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(BadResponse);
        };
        match status {
            101 | 0..=99 => return Err(BadResponse),
            100..=199 => skipped += length,
            _ => {
                let reason = parsed.reason.unwrap_or_default();
                let head = Head {
                    status,
                    reason,
                    minor,
                    fields: parsed.headers,
                };
                return write_head(&head, asker, skipped + length, out).map(Some);
            }
        }
    }
}

struct Head<'a, 'b> {
    status: u16,
    reason: &'a str,
    minor: u8,
    fields: &'b [httparse::Header<'a>],
}

fn write_head(
    head: &Head<'_, '_>,
    asker: Asker,
    head_length: usize,
    out: &mut Vec<u8>,
) -> Result<Response, BadResponse> {
    let mut connection = ConnectionOptions::default();
    let (mut length, mut chunked) = (None, false);
    for field in head.fields {
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => connection.add(field.value),
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let value = decimal(field.value).ok_or(BadResponse)?;
                if length
                    .replace(value)
                    .is_some_and(|earlier| earlier != value)
                {
                    return Err(BadResponse);
                }
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadResponse);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    if connection.too_many {
        return Err(BadResponse);
    }
    let bodiless = asker.is_head || matches!(head.status, 204 | 304);
    let framing = match length {
        _ if bodiless => Framing::Empty,
        _ if chunked => Framing::Chunked,
        Some(length) => Framing::Sized(length),
        None => Framing::UntilClose,
    };
    // A body of unknown length goes in chunks to whoever knows them; else the close has to tell.
    let unknown = matches!(framing, Framing::Chunked | Framing::UntilClose);
    let encoder = if unknown && asker.http11 {
        Encoder::Chunked
    } else {
        Encoder::Plain
    };
    let ends_by_close = unknown && !asker.http11;
    let kept = if head.minor == 1 {
        !connection.close
    } else {
        connection.keep_alive
    };
    let response = Response {
        head_length,
        status: head.status,
        framing,
        encoder,
        ends_by_close,
        // With both a length and chunks the backend is confused about where this answer ends.
        reusable: kept && framing != Framing::UntilClose && !(chunked && length.is_some()),
    };

    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(head.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    for field in head.fields {
        if !is_ours(field.name) && !connection.names(field.name) {
            push_field(out, field.name.as_bytes(), field.value);
        }
    }
    match (length, encoder) {
        (_, Encoder::Chunked) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // Also where there is no body: what HEAD and 304 say of the length is about another answer.
        (Some(length), _) if !chunked && head.status != 204 => {
            out.extend_from_slice(b"Content-Length: ");
            push_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        _ => {}
    }
    write_connection(out, asker, ends_by_close);
    out.extend_from_slice(b"\r\n");
    Ok(response)
}

/// Appends the `Connection` field, where what it says is not understood anyway.
pub fn write_connection(out: &mut Vec<u8>, asker: Asker, ends_by_close: bool) {
    if !asker.keep_alive || ends_by_close {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if !asker.http11 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
}

fn is_ours(name: &str) -> bool {
    const OURS: [&str; 7] = [
        "upgrade",
        "trailer",
        "connection",
        "keep-alive",
        "content-length",
        "proxy-connection",
        "transfer-encoding",
    ];
    OURS.iter()
        .any(|ours| ours.len() == name.len() && ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: Asker = Asker {
        is_head: false,
        http11: true,
        keep_alive: true,
    };
    const OLD: Asker = Asker {
        is_head: false,
        http11: false,
        keep_alive: true,
    };

    fn run(input: &str, asker: Asker) -> Result<Option<(Response, String)>, BadResponse> {
        let mut out = Vec::new();
        let found = translate(input.as_bytes(), asker, &mut out)?;
        Ok(found.map(|response| (response, String::from_utf8(out).unwrap())))
    }

    #[test]
    fn a_sized_answer_passes_as_it_is() {
        let input = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nETag: e\r\n\r\n";
        let (response, out) = run(input, MODERN).unwrap().unwrap();
        assert_eq!(
            out,
            "HTTP/1.1 200 OK\r\nETag: e\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(response.framing, Framing::Sized(3));
        assert!(response.reusable && !response.ends_by_close);
    }

    #[test]
    fn unknown_lengths_become_chunks_or_a_close() {
        for input in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n",
        ] {
            let (response, out) = run(input, MODERN).unwrap().unwrap();
            assert!(
                out.contains("Transfer-Encoding: chunked") && response.encoder == Encoder::Chunked
            );
            let (response, out) = run(input, OLD).unwrap().unwrap();
            assert!(
                !out.contains("chunked")
                    && out.contains("Connection: close")
                    && response.ends_by_close
            );
        }
    }

    #[test]
    fn answers_without_body_keep_their_length() {
        let head = Asker {
            is_head: true,
            ..MODERN
        };
        let (response, out) = run("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", head)
            .unwrap()
            .unwrap();
        assert!(out.contains("Content-Length: 9") && response.framing == Framing::Empty);
        let (response, out) = run("HTTP/1.1 204 No Content\r\n\r\n", MODERN)
            .unwrap()
            .unwrap();
        assert!(!out.contains("Content-Length") && response.framing == Framing::Empty);
    }

    #[test]
    fn interim_answers_are_skipped() {
        let input = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let (response, _) = run(input, MODERN).unwrap().unwrap();
        assert_eq!((response.status, response.head_length), (200, input.len()));
    }

    #[test]
    fn confused_answers_are_refused_or_not_reused() {
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "SMTP ready\r\n\r\n",
        ] {
            assert!(run(bad, MODERN).is_err(), "{bad}");
        }
        let both = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (response, out) = run(both, MODERN).unwrap().unwrap();
        assert!(!response.reusable && !out.contains("Content-Length"));
    }
}
