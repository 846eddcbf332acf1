//! The translation of heads and bodies beside a second, slow reading written from RFC 9112, over random
//! bytes and over mutated messages. The fuzz targets call the same functions.

mod oracle;

use proptest::prelude::*;

/// Pieces of which heads are made, right and wrong.
const PIECES: [&str; 46] = [
    "GET",
    "POST",
    " ",
    "  ",
    "/",
    "/a?b",
    "*",
    "http://a",
    "http://u@a/",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/1.2",
    "\r\n",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "Host: h",
    "Host: a b",
    "Content-Length: 3",
    "Content-Length: 03",
    "Content-Length: +3",
    "Content-Length: 3, 3",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding : chunked",
    "Connection: close, x-a, host",
    "Connection: keep-alive",
    "X-A: 1",
    "X-Forwarded-For: a, b",
    "X_Forwarded_For: a",
    "Forwarded: for=a",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "TE: trailers",
    "Trailer: x-a, X-Sum, Host",
    "Trailer: X_Forwarded_For, a b,,x-sum",
    "Max-Forwards: 0",
    ": x",
    " folded",
    "\t",
    "\0",
    "\u{7f}",
    "é",
    "OPTIONS",
    "TRACE",
];

const ANSWERS: [&str; 26] = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 103 x\r\n",
    "HTTP/1.1 304\r\n",
    "HTTP/1.1 200\r\n",
    "\r\n",
    "\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 4\r\n",
    "Content-Length: 3, 3\r\n",
    "Content-Length: 3, 4\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "foo : x\r\n",
    "foo: a\r\n b\r\n",
    "foo: a\n\tb\r\n",
    "Connection: close\r\n",
    "Connection: x\r\n",
    "X: 1\r\n",
    "Date: d\r\n",
    "Via: v\r\n",
    "Upgrade: x\r\n",
    "\n",
    " ",
    "\0",
];

const CHUNKS: [&str; 18] = [
    "3\r\nabc\r\n",
    "3;x=y\r\nabc\r\n",
    "3 ;x\r\nabc\r\n",
    "0003\r\nabc\r\n",
    "0\r\n",
    "\r\n",
    "X: 1\r\n",
    "a\r\n0123456789\r\n",
    "A\r\n0123456789\r\n",
    "3 \r\nabc\r\n",
    "ffffffffffffffff\r\n",
    "10000000000000000\r\n",
    "g\r\n",
    ";\r\n",
    "\n",
    "\r",
    "abc",
    "\0",
];

const SOURCES: [&str; 18] = [
    "PROXY ",
    "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n",
    "PROXY TCP6 2001:db8::1 ::1 5 80\r\n",
    "PROXY TCP4 192.0.2.1 10.0.0.1 ",
    "PROXY UNKNOWN",
    "\r\n\r\n\0\r\nQUIT\n",
    "TCP4 ",
    "192.0.2.1 ",
    "192.0.2.01 ",
    "::1 ",
    "5 80\r\n",
    "+5 80\r\n",
    "5 080\r\n",
    "5 65536\r\n",
    "\r\n",
    " ",
    "\n",
    "a line that grows too long for a header of any kind, ",
];

const TRAILERS: [&str; 16] = [
    "\r\n",
    "\r\n",
    "X-Sum: 1\r\n",
    "x-sum:2 \r\n",
    "Host: evil\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X_Forwarded_For: 1\r\n",
    "X-Forwarded-For: 1\r\n",
    "A : b\r\n",
    " folded\r\n",
    "A: b\n",
    ":",
    "\r",
    "\0",
    "GET / HTTP/1.1\r\n",
];

fn made_of(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let made = prop::collection::vec(prop::sample::select(pieces), 0..24);
    let noise = (
        any::<prop::sample::Index>(),
        any::<u8>(),
        prop::bool::weighted(0.2),
    );
    (made, noise).prop_map(|(parts, (place, byte, mutate))| {
        let mut bytes = parts.concat().into_bytes();
        if mutate && !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

/// Headers of the PROXY protocol's version 2, right and wrong, with something behind them.
fn binary_headers() -> impl Strategy<Value = Vec<u8>> {
    let family = prop::sample::select(&[0x00, 0x10, 0x11, 0x12, 0x21, 0x22, 0x31, 0x13, 0x41][..]);
    let command = prop::sample::select(&[0x20, 0x21, 0x22, 0x11][..]);
    let length = prop_oneof![0..50_u16, 210..220_u16, 4_090..4_100_u16];
    let body = prop::collection::vec(any::<u8>(), 0..50);
    (command, family, length, body, -3..3_isize).prop_map(|(command, family, length, body, off)| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([command, family]);
        header.extend(length.to_be_bytes());
        header.extend(
            body.iter()
                .cycle()
                .take(usize::from(length) * usize::from(!body.is_empty())),
        );
        header.resize(header.len().saturating_add_signed(off), 0);
        header
    })
}

/// Requests that are right but for what their fields say.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(
        &[
            "GET / HTTP/1.1",
            "POST /x HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET http://a?b HTTP/1.0",
        ][..],
    );
    let fields = prop::collection::vec(prop::sample::select(&PIECES[17..]), 0..8);
    (line, fields).prop_map(|(line, fields)| {
        format!("{line}\r\nHost: h\r\n{}\r\n\r\n", fields.join("\r\n")).into_bytes()
    })
}

/// Found by the fuzz target: only blanks and tabs are space around a value.
#[test]
fn carriage_returns_around_a_value_are_refused() {
    oracle::check_request(b"GET / HTTP/1.0\nA: b\r\r\t\n\n", true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn requests_mean_the_same_to_both_readings(
        input in prop_oneof![made_of(&PIECES), requests(), prop::collection::vec(any::<u8>(), 0..60)],
        trusted in any::<bool>(),
    ) {
        oracle::check_request(&input, trusted);
    }

    #[test]
    fn answers_go_out_framed_once(
        input in prop_oneof![made_of(&ANSWERS), prop::collection::vec(any::<u8>(), 0..60)],
        is_head in any::<bool>(),
        http11 in any::<bool>(),
    ) {
        oracle::check_response(&input, is_head, http11);
    }

    #[test]
    fn fields_after_a_body_mean_nothing_but_themselves(
        input in prop_oneof![made_of(&TRAILERS), prop::collection::vec(any::<u8>(), 0..60)],
    ) {
        oracle::check_trailers(&input);
    }

    #[test]
    fn a_connections_source_is_the_same_to_both_readings_wherever_it_is_cut(
        input in prop_oneof![made_of(&SOURCES), binary_headers(), prop::collection::vec(any::<u8>(), 0..60)],
    ) {
        oracle::source::check_source(&input);
    }

    #[test]
    fn chunks_have_one_content_wherever_they_are_cut(
        input in prop_oneof![made_of(&CHUNKS), prop::collection::vec(any::<u8>(), 0..60)],
        cut in 1usize..20,
    ) {
        oracle::check_chunks(&input, cut);
    }
}
