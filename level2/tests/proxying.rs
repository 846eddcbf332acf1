//! What a proxy must get right: every way to frame a body, on every version, kept or closed.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::io::{BufReader, Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};

use common::{Backend, GET, LONG, Proxy, field, read_message, split, status};

/// How a body travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Sized,
    Chunked,
    UntilClose,
}

fn message(start: &str, fields: &str, way: Way, body: &[u8], piece: usize) -> Vec<u8> {
    let mut out = format!("{start}\r\n{fields}").into_bytes();
    match way {
        Way::Sized => write!(out, "Content-Length: {}\r\n\r\n", body.len()).unwrap(),
        Way::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
        Way::UntilClose => out.extend_from_slice(b"\r\n"),
    }
    if way == Way::Chunked {
        for chunk in body.chunks(piece) {
            write!(out, "{:X}\r\n", chunk.len()).unwrap();
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"0\r\n\r\n");
    } else {
        out.extend_from_slice(body);
    }
    out
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn every_framing_arrives_whole_in_every_version() {
    for answer_way in [Way::Sized, Way::Chunked, Way::UntilClose] {
        let backend = Backend::new(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Some((_, body)) = read_message(&mut reader, false) {
                let answer = message("HTTP/1.1 200 OK", "", answer_way, &body, 1000);
                if stream.write_all(&answer).is_err() || answer_way == Way::UntilClose {
                    return;
                }
            }
        });
        let proxy = Proxy::start(&[&backend.name()], &[]);
        for version in ["HTTP/1.0", "HTTP/1.1"] {
            for way in [Way::Sized, Way::Chunked] {
                if version == "HTTP/1.0" && way == Way::Chunked {
                    continue;
                }
                for keep in [false, true] {
                    let connection = if keep { "keep-alive" } else { "close" };
                    let fields = format!("Host: h\r\nConnection: {connection}\r\n");
                    let mut stream = proxy.connect();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    for size in [0, 1, 4095, 70_000, 1_000_000] {
                        let body = bytes(size);
                        let case = format!("{answer_way:?} {version} {way:?} {connection} {size}");
                        let request =
                            message(&format!("POST /x {version}"), &fields, way, &body, 777);
                        // Written beside the reading: neither side could hold all of it.
                        let mut writer = stream.try_clone().unwrap();
                        let sender = std::thread::spawn(move || writer.write_all(&request));
                        let (head, got) = read_message(&mut reader, false).expect(&case);
                        sender.join().unwrap().unwrap();
                        assert_eq!(status(head.as_bytes()), 200, "{case}");
                        assert!(got == body, "{case}: {} bytes", got.len());
                        let kept = field(&head, "connection").as_deref() != Some("close");
                        assert!(keep || !kept, "{case}: {head}");
                        if !kept {
                            let mut rest = Vec::new();
                            reader.read_to_end(&mut rest).unwrap();
                            assert!(rest.is_empty(), "{case}");
                            stream = proxy.connect();
                            reader = BufReader::new(stream.try_clone().unwrap());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let backend = Backend::answering(|head, _| {
        let path = head.split(' ').nth(1).unwrap();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}",
            path.len()
        )
        .into_bytes()
    });
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let mut all = Vec::new();
    for n in 0..50 {
        write!(all, "GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    let mut stream = proxy.connect();
    stream.write_all(&all).unwrap();
    let mut reader = BufReader::new(stream);
    for n in 0..50 {
        assert_eq!(
            read_message(&mut reader, false).unwrap().1,
            format!("/{n}").into_bytes()
        );
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_understood() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let mut stream = proxy.connect();
    stream.set_nodelay(true).unwrap();
    for byte in b"\r\nPOST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut reader = BufReader::new(stream);
    assert_eq!(read_message(&mut reader, false).unwrap().1, b"abc");
}

#[test]
fn head_options_and_unknown_methods_pass() {
    let backend = Backend::answering(|head, _| {
        let method = head.split(' ').next().unwrap();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Method: {method}\r\n\r\n{}",
            if method == "HEAD" { "" } else { "content" }
        )
        .into_bytes()
    });
    let proxy = Proxy::start(&[&backend.name()], &[]);
    for request in ["HEAD /", "OPTIONS *", "DELETE /x", "PURGE /x"] {
        let mut stream = proxy.connect();
        let head = request.starts_with("HEAD");
        // Two on one connection: the second shows that the first ended where it should.
        for _ in 0..2 {
            write!(stream, "{request} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (answer, body) = read_message(&mut reader, head).unwrap();
            assert_eq!(
                field(&answer, "x-method").as_deref(),
                request.split(' ').next()
            );
            assert_eq!(field(&answer, "content-length").as_deref(), Some("7"));
            assert_eq!(body.len(), if head { 0 } else { 7 });
        }
    }
}

#[test]
fn hundred_continue_is_sent_when_the_body_is_wanted_and_only_then() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &["--max-body", "10"]);
    let mut stream = proxy.connect();
    stream
        .write_all(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        )
        .unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(
        status(read_message(&mut reader, true).unwrap().0.as_bytes()),
        100
    );
    stream.write_all(b"abc").unwrap();
    assert_eq!(read_message(&mut reader, false).unwrap().1, b"abc");
    let answer = proxy
        .talk(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(status(&answer), 413);
    let chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nelevenbytes\r\n0\r\n\r\n";
    assert_eq!(status(&proxy.talk(chunked)), 413);
}

#[test]
fn a_large_body_streams_through_in_little_memory() {
    const SIZE: u64 = 64 << 20;
    let backend = Backend::new(|stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if std::io::BufRead::read_line(&mut reader, &mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let mut out = stream;
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").unwrap();
        std::io::copy(&mut reader.take(SIZE), &mut out).unwrap();
    });
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let mut stream = proxy.connect();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let before = proxy.peak_memory();
    let sender = std::thread::spawn(move || {
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n\r\n"
        )
        .unwrap();
        let part = bytes(1 << 20);
        for _ in 0..SIZE >> 20 {
            stream.write_all(&part).unwrap();
        }
    });
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        std::io::BufRead::read_line(&mut reader, &mut head).unwrap();
    }
    let expected = bytes(1 << 20);
    let mut part = vec![0; 1 << 20];
    for _ in 0..SIZE >> 20 {
        reader.read_exact(&mut part).unwrap();
        assert!(part == expected);
    }
    sender.join().unwrap();
    assert!(
        proxy.peak_memory() < before + 8 * 1024,
        "{before} KiB, then {}",
        proxy.peak_memory()
    );
}

#[test]
fn an_idempotent_request_is_tried_again_and_no_other() {
    // Every connection answers once and is then closed as soon as the next request comes.
    let backend = Backend::new(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if read_message(&mut reader, false).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let _ = read_message(&mut reader, false);
        }
    });
    let proxy = Proxy::start(&[&backend.name()], &["--threads", "1"]);
    for _ in 0..6 {
        assert_eq!(status(&proxy.talk(GET)), 200);
    }
    assert!(proxy.status("/totals/retries").as_u64().unwrap() > 0);
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    assert_eq!(status(&proxy.talk(post)), 502);
}

#[test]
fn the_classic_flags_fan_head_out_to_all_backends() {
    let ask = |codes: [&'static str; 2]| {
        let backends = codes.map(|code| {
            Backend::answering(move |head, _| {
                assert!(head.starts_with("HEAD /secret "));
                format!("HTTP/1.1 {code}\r\nContent-Length: 0\r\n\r\n").into_bytes()
            })
        });
        let ports = format!(
            "{},{}",
            backends[0].address.port(),
            backends[1].address.port()
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
        let proxy = Proxy::run(command.args([
            "--in-port",
            "0",
            "--out-ports",
            &ports,
            "--admin",
            "127.0.0.1:0",
        ]));
        status(&proxy.talk(b"HEAD /secret HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
    };
    assert_eq!(ask(["200 OK", "200 OK"]), 200);
    assert_eq!(ask(["200 OK", "400 Bad Request"]), 500);
}

#[test]
fn unix_sockets_work_on_both_sides_and_a_stale_one_is_replaced() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let folder = tempfile::tempdir().unwrap();
    let (front, back) = (folder.path().join("front"), folder.path().join("back"));
    let listener = UnixListener::bind(&back).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix");
                }
            });
        }
    });
    // A socket whose process is gone.
    drop(UnixListener::bind(&front).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    command.args([
        "--listen",
        &format!("unix:{}", front.display()),
        "--backend",
        &format!("unix:{}", back.display()),
    ]);
    let mut proxy = Proxy::run(command.args(["--admin", "127.0.0.1:0"]));
    let mut stream = UnixStream::connect(&front).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(GET).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(split(&answer).1, b"unix");
    proxy.terminate();
    assert!(proxy.child.wait().unwrap().success());
    assert!(!front.exists());
}

#[test]
fn the_access_log_has_a_line_per_request() {
    for format in ["text", "json"] {
        let backend = Backend::echo();
        let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--access-log",
            format,
        ]);
        let mut proxy = Proxy::run(
            command
                .args(["--backend", &backend.name()])
                .stdout(std::process::Stdio::piped()),
        );
        let mut out = proxy.child.stdout.take().unwrap();
        proxy.talk(b"GET /a%20b HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: somebody\r\nConnection: close\r\n\r\n");
        proxy.terminate();
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("\"somebody\"") && text.contains("/a%20b") && text.contains("200"),
            "{text}"
        );
        if format == "json" {
            let line: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(line["bytes"], 5);
        }
    }
}

#[test]
fn metrics_are_in_the_text_format() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    proxy.talk(GET);
    proxy.wait_for("/totals/answers_2xx", |count| count == 1);
    let mut stream = common::connect(proxy.admin);
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .unwrap();
    let (head, body) = split(&common::read_all(&mut stream));
    assert!(head.contains("text/plain"));
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains("level2_answers_2xx_total 1\n"), "{text}");
    assert!(text.contains(&format!(
        "level2_backend_up{{backend=\"{}\"}} 1\n",
        backend.name()
    )));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn the_backend_learns_the_chain_and_never_what_a_stranger_claims() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heads = seen.clone();
    let backend = Backend::answering(move |head, _| {
        heads
            .lock()
            .unwrap()
            .push(field(head, "x-forwarded-for").unwrap());
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let request =
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: a, b\r\nConnection: close\r\n\r\n";
    Proxy::start(&[&backend.name()], &[]).talk(request);
    Proxy::start(&[&backend.name()], &["--trust", "192.0.2.0/24"]).talk(request);
    assert_eq!(*seen.lock().unwrap(), ["a, b, 127.0.0.1", "127.0.0.1"]);
}
