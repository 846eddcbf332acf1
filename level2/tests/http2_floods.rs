//! Floods of HTTP/2: each shows that memory and work are bounded, and that a polite client is served meanwhile.
//! On the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "common/h2.rs"]
mod client;
mod common;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, ask, fields, frame, get, get_fields, literal, run,
};
use common::{Backend, Proxy, STRICT};

/// ENHANCE_YOUR_CALM.
const CALM: u32 = 11;

/// Memory that a flood may cost beyond what an idle proxy has, in KiB.
const MEMORY: usize = 24 * 1024;

fn start(backend: &str, flags: &[&str]) -> Proxy {
    Proxy::start(&[backend], &[&["--h2c", "--threads", "1"], flags].concat())
}

/// A polite client has its answer.
fn is_served(address: SocketAddr) {
    let answer = run(async { ask(&mut client::client(address).await, get("/")).await });
    assert_eq!(answer.unwrap().status(), 200);
}

/// Sends something over and over until the proxy has had enough, at the latest after so many bytes. Returns
/// how often.
fn flood(raw: &mut Raw, most: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> usize {
    let mut reader = Raw(raw.0.try_clone().unwrap());
    // What is answered is read, so that nobody waits for anybody.
    let reading = std::thread::spawn(move || reader.ended());
    let (mut sent, mut count) = (0, 0);
    while sent < most {
        let mut batch = Vec::new();
        for _ in 0..50 {
            batch.extend(next(count));
            count += 1;
        }
        sent += batch.len();
        if !raw.send(&batch) {
            break;
        }
    }
    let _ = raw.0.shutdown(std::net::Shutdown::Write);
    let code = reading.join().unwrap();
    // A reset may overtake what the proxy has to say.
    assert!(code.is_none() || code == Some(CALM), "{code:?}");
    count
}

/// Plays a flood of frames that must be cut off, with a polite client beside it.
fn is_cut_off(next: impl FnMut(usize) -> Vec<u8>) {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &[]);
    is_served(proxy.address);
    let before = proxy.peak_memory();
    let mut raw = Raw::new(proxy.address, b"");
    let count = flood(&mut raw, 40_000_000, next);
    proxy.wait_for("/totals/connections_closed", |closed| {
        closed.as_u64().unwrap() >= 2
    });
    is_served(proxy.address);
    assert!(count < 400_000, "{count} frames were taken");
    let grown = proxy.peak_memory() - before;
    assert!(grown < MEMORY, "{grown} KiB more");
}

#[test]
fn settings() {
    is_cut_off(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
}

#[test]
fn pings() {
    is_cut_off(|n| frame(PING, 0, 0, &(n as u64).to_be_bytes()));
}

#[test]
fn windows_that_open_by_one_byte() {
    is_cut_off(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
}

#[test]
fn unknown_frames() {
    is_cut_off(|_| frame(99, 0, 0, b""));
}

#[test]
fn data_that_is_empty() {
    let mut opened = false;
    is_cut_off(move |_| {
        let mut bytes = Vec::new();
        if !opened {
            opened = true;
            bytes = frame(HEADERS, END_HEADERS, 1, &post_fields());
        }
        bytes.extend(frame(DATA, 0, 1, b""));
        bytes
    });
}

fn post_fields() -> Vec<u8> {
    fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "h"),
    ])
}

#[test]
fn rapid_reset() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &[]);
    is_served(proxy.address);
    let before = proxy.peak_memory();
    let mut raw = Raw::new(proxy.address, b"");
    let count = flood(&mut raw, 40_000_000, |n| {
        let stream = 1 + 2 * n as u32;
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get_fields());
        [request, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    proxy.wait_for("/totals/connections_closed", |closed| {
        closed.as_u64().unwrap() >= 2
    });
    is_served(proxy.address);
    assert!(count < 100_000, "{count} streams were taken");
    // Neither does it become a flood of the backend.
    let asked = proxy
        .status("/policy/admitted")
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum::<u64>();
    assert!(asked < 3_000, "{asked} requests were admitted");
    assert!(backend.connections.load(Ordering::SeqCst) < 200);
    let grown = proxy.peak_memory() - before;
    assert!(grown < MEMORY, "{grown} KiB more");
}

#[test]
fn continuation_without_end() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &[]);
    is_served(proxy.address);
    let before = proxy.peak_memory();
    let mut raw = Raw::new(proxy.address, b"");
    raw.send(&frame(HEADERS, END_STREAM, 1, &get_fields()));
    let value = "x".repeat(100);
    let count = flood(&mut raw, 40_000_000, |n| {
        frame(CONTINUATION, 0, 1, &literal(&format!("x-{n}"), &value))
    });
    proxy.wait_for("/totals/connections_closed", |closed| {
        closed.as_u64().unwrap() >= 2
    });
    is_served(proxy.address);
    assert!(count < 100_000, "{count} frames were taken");
    let grown = proxy.peak_memory() - before;
    assert!(grown < MEMORY, "{grown} KiB more");
}

/// A field of 4 KB in the dynamic table, named by one byte a thousand times, many times over.
#[test]
fn header_bombs() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &[]);
    is_served(proxy.address);
    let before = proxy.peak_memory();
    let mut raw = Raw::new(proxy.address, b"");
    let mut first = get_fields();
    // With an index, a name of one letter, a value of 4,000: 127, and 3,873 in two bytes (RFC 7541, 5.1).
    first.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    first.extend([b'y'; 4_000]);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &first));
    for n in 1..100 {
        let mut bomb = get_fields();
        bomb.extend(std::iter::repeat_n(0xbe, 10_000)); // The first of the dynamic table.
        if !raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * n, &bomb)) {
            break;
        }
    }
    is_served(proxy.address);
    let grown = proxy.peak_memory() - before;
    assert!(grown < MEMORY, "{grown} KiB more");
}

/// Streams whose windows never open: what was taken off the backend is bounded, and they end.
#[test]
fn windows_that_stay_shut() {
    let body = vec![b'x'; 4_000_000];
    let backend = Backend::answering(move |_, _| {
        let mut out =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        out.extend(&body);
        out
    });
    let proxy = start(
        &backend.name(),
        &[&STRICT[..], &["--buffer-total", "4m", "--dry-run"]].concat(),
    );
    let before = proxy.peak_memory();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0, then 1.
    for window in [0, 1] {
        let mut raw = Raw::new(proxy.address, &[0, 4, 0, 0, 0, window]);
        for n in 0..40 {
            raw.send(&frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1 + 2 * n,
                &get_fields(),
            ));
        }
        let mut reset = 0;
        while reset < 40 {
            assert!(
                raw.until(RST_STREAM).is_some(),
                "after {reset} streams the connection ended"
            );
            reset += 1;
        }
    }
    proxy.wait_for("/totals/timeouts", |count| count == 80);
    let grown = proxy.peak_memory() - before;
    assert!(grown < 2 * MEMORY, "{grown} KiB more");
}

/// Whoever opens a window byte by byte makes progress, but not at the least rate.
#[test]
fn an_answer_taken_byte_by_byte_is_cut_off() {
    let backend = Backend::answering(|_, _| {
        let mut out = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
        out.extend(std::iter::repeat_n(b'x', 100_000));
        out
    });
    let proxy = start(&backend.name(), &STRICT);
    let mut raw = Raw::new(proxy.address, &[0, 4, 0, 0, 0, 1]);
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_fields()));
    let mut taken = 0;
    loop {
        let frame_of = raw.next().expect("the connection goes on");
        match frame_of.kind {
            DATA => {
                taken += frame_of.payload.len();
                std::thread::sleep(std::time::Duration::from_millis(5));
                raw.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
            }
            RST_STREAM => break,
            _ => {}
        }
    }
    assert!(taken < 50_000, "{taken}");
    proxy.wait_for("/totals/timeouts", |count| count == 1);
}

/// A body that trickles in holds nobody up and ends.
#[test]
fn bodies_that_do_not_come() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &STRICT);
    let mut raw = Raw::new(proxy.address, b"");
    for n in 0..40 {
        raw.send(&frame(HEADERS, END_HEADERS, 1 + 2 * n, &post_fields()));
    }
    is_served(proxy.address);
    for _ in 0..40 {
        // 408.
        assert!(raw.until(HEADERS).is_some());
    }
    proxy.wait_for("/totals/timeouts", |count| count == 40);
}
