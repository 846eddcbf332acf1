//! What must not bring the proxy down or through it: the spec's list of bad input, on the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Backend, GET, Gated, Proxy, Reserved, read_all, split, status};

#[test]
fn a_malformed_request_gets_400_and_never_reaches_a_backend() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let requests: [&[u8]; 9] = [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nBad Name: 1\r\n\r\n",
        b"GET relative HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for request in requests {
        // The last one is an attempt at TLS: it is no HTTP from its first byte on.
        assert_eq!(
            status(&proxy.talk(request)),
            400,
            "{}",
            String::from_utf8_lossy(request)
        );
    }
    // The proxy's own call at its start is the only one the backend may have seen.
    assert!(backend.connections.load(Ordering::SeqCst) <= 1);
    proxy.wait_for("/totals/bad_requests", |count| count == 9);
}

#[test]
fn malformed_chunks_get_400_and_no_more() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let answer = proxy
        .talk(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(status(&answer), 400);
    assert_eq!(
        String::from_utf8_lossy(&answer).matches("HTTP/1.1").count(),
        1
    );
    assert_eq!(proxy.status("/totals/answers_2xx"), 0);
}

#[test]
fn a_head_of_100_mb_is_refused_and_not_gathered() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    assert_eq!(status(&proxy.talk(GET)), 200);
    let before = proxy.peak_memory();
    let mut stream = proxy.connect();
    let mut reader = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX-Large: ");
        let part = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            if stream.write_all(&part).is_err() {
                return;
            }
        }
    });
    assert_eq!(status(&read_all(&mut reader)), 431);
    sender.join().unwrap();
    assert!(
        proxy.peak_memory() < before + 8 * 1024,
        "{before} KiB, then {} KiB",
        proxy.peak_memory()
    );
    assert_eq!(status(&proxy.talk(GET)), 200);
}

#[test]
fn five_hundred_slow_loris_connections_are_closed_and_hold_nobody_up() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &["--header-timeout", "2s"]);
    let mut slow: Vec<_> = (0..500)
        .map(|_| {
            let mut stream = proxy.connect();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX-")
                .unwrap();
            stream
        })
        .collect();
    assert_eq!(status(&proxy.talk(GET)), 200);
    for stream in &mut slow {
        assert_eq!(status(&read_all(stream)), 408);
    }
    assert_eq!(status(&proxy.talk(GET)), 200);
}

#[test]
fn a_backend_that_dies_before_it_answers_means_502() {
    let backend = Backend::new(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
    });
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let answer = proxy
        .talk(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab");
    assert_eq!(status(&answer), 502);
}

#[test]
fn a_backend_that_dies_in_mid_answer_never_looks_like_a_whole_answer() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    ] {
        let backend = Backend::new(move |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        });
        let proxy = Proxy::start(&[&backend.name()], &[]);
        let (head, body) = split(&proxy.talk(GET));
        let whole = match common::field(&head, "content-length") {
            Some(length) => body.len() == length.parse::<usize>().unwrap(),
            None => body.ends_with(b"0\r\n\r\n"),
        };
        assert!(!whole && !head.contains(" 502"), "{head}");
        // An old client knows the end by the close alone: for it the close is a reset.
        let mut old = proxy.connect();
        old.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        let end = old.read_to_end(&mut rest);
        let (head, _) = split(&rest);
        assert!(
            end.is_err() || head.contains("Content-Length: 100") || status(&rest) >= 500,
            "{head}"
        );
    }
}

#[test]
fn a_backend_that_is_down_is_left_alone_until_it_is_back() {
    let down = Reserved::new();
    let up = Backend::echo();
    let proxy = Proxy::start(&[&down.name(), &up.name()], &[]);
    for _ in 0..20 {
        assert_eq!(status(&proxy.talk(GET)), 200);
    }
    proxy.wait_for("/backends/0/healthy", |healthy| healthy == false);
    let _back = down.serve(|mut stream| {
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback");
        }
    });
    proxy.wait_for("/backends/0/healthy", |healthy| healthy == true);
    let mut bodies = (0..20).map(|_| split(&proxy.talk(GET)).1);
    assert!(bodies.any(|body| body == b"back"));
}

#[test]
fn without_any_backend_the_answer_is_503() {
    let down = Reserved::new();
    let proxy = Proxy::start(&[&down.name()], &[]);
    proxy.wait_for("/backends/0/healthy", |healthy| healthy == false);
    let answer = proxy.talk(GET);
    assert_eq!(status(&answer), 503);
    assert!(split(&answer).0.contains("Retry-After: "));
}

#[test]
fn sigterm_loses_no_request_in_flight() {
    let gated = Gated::new();
    let mut proxy = Proxy::start(&[&gated.backend.name()], &["--max-in-flight", "8"]);
    let mut streams: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = proxy.connect();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    let idle = proxy.connect();
    for _ in 0..8 {
        gated.started();
    }
    proxy.terminate();
    // An idle connection is closed as soon as the signal is heard.
    assert_eq!(read_all(&mut { idle }), b"");
    for _ in 0..8 {
        gated.release();
    }
    for stream in &mut streams {
        let (head, body) = split(&read_all(stream));
        assert_eq!(body, b"done", "{head}");
    }
    assert!(proxy.child.wait().unwrap().success());
}

#[test]
fn a_flood_is_answered_429_and_a_dry_run_lets_it_through() {
    for dry in [false, true] {
        let backend = Backend::answering(|_, _| {
            std::thread::sleep(Duration::from_millis(60));
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
        });
        let flags: &[&str] = if dry { &["--dry-run"] } else { &[] };
        let proxy = Proxy::start(
            &[&backend.name()],
            &[flags, &["--max-in-flight", "1"]].concat(),
        );
        let answers: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| (0..6).map(|_| proxy.talk(GET)).collect::<Vec<_>>()))
                .collect();
            callers
                .into_iter()
                .flat_map(|caller| caller.join().unwrap())
                .collect()
        });
        let refused = answers
            .iter()
            .filter(|answer| matches!(status(answer), 429 | 503))
            .count();
        if dry {
            assert_eq!(refused, 0);
            assert!(proxy.status("/policy/rejected/heavy").as_u64().unwrap() > 0);
        } else {
            assert!(refused > 0 && answers.iter().any(|answer| status(answer) == 429));
        }
    }
}

#[test]
fn mistakes_at_the_start_are_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "listen = [\"nowhere\"]\n").unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--in-port", &port], "in use"),
        (&["--listen", "127.0.0.1:0"], "--backend"),
        (&["--config", "/does/not/exist"], "/does/not/exist"),
        (&["--config", file.path().to_str().unwrap()], ":1: "),
        (&["--max-wait", "soon"], "not a time"),
    ];
    for (flags, wanted) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_level2"))
            .args(flags)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{flags:?}");
        assert!(text.contains(wanted), "{flags:?}: {text}");
    }
}
