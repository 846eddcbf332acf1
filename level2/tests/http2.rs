//! HTTP/2 from clients: requests, answers, streams, windows, limits. On the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "common/h2.rs"]
mod client;
mod common;
#[path = "common/tls.rs"]
mod tls;

use std::io::{BufReader, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use client::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS, ask, frame,
    get, get_fields, run, send, whole,
};
use common::{Backend, GET, Gated, Proxy, field, read_message, status};
use http::Request;
use tls::Authority;

fn start(backend: &str, flags: &[&str]) -> Proxy {
    Proxy::start(&[backend], &[&["--h2c"], flags].concat())
}

/// Answers with the head that it was sent.
fn mirror() -> Backend {
    Backend::answering(|head, _| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        )
        .into_bytes()
    })
}

#[test]
fn a_request_is_the_backends_in_http_1() {
    let backend = mirror();
    let proxy = start(&backend.name(), &[]);
    let answer = run(async {
        let mut client = client::client(proxy.address).await;
        let request = Request::get("http://site.example/a?b=c")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("x-mine", "1")
            .header("te", "trailers");
        ask(&mut client, request.body(()).unwrap()).await.unwrap()
    });
    assert_eq!(
        (answer.status(), answer.head.version()),
        (200, http::Version::HTTP_2)
    );
    assert!(answer.head.headers().contains_key("date"));
    let seen = answer.text();
    assert!(
        seen.starts_with("GET /a?b=c HTTP/1.1\r\nHost: site.example\r\n"),
        "{seen}"
    );
    assert_eq!(field(&seen, "cookie").as_deref(), Some("a=1; b=2"));
    assert_eq!(field(&seen, "via").as_deref(), Some("2.0 level2"));
    assert_eq!(
        field(&seen, "x-forwarded-for").as_deref(),
        Some("127.0.0.1")
    );
    assert!(field(&seen, "x-mine").is_some() && field(&seen, "te").is_none());
}

#[test]
fn many_streams_go_at_once_and_one_after_the_other() {
    let backend = mirror();
    let proxy = start(&backend.name(), &["--dry-run"]);
    run(async {
        let mut client = client::client(proxy.address).await;
        for _ in 0..20 {
            let mut answers = Vec::new();
            for n in 0..50 {
                std::future::poll_fn(|cx| client.poll_ready(cx))
                    .await
                    .unwrap();
                let (answer, _) = client.send_request(get(&format!("/{n}")), true).unwrap();
                answers.push((n, answer));
            }
            for (n, answer) in answers {
                let answer = whole(answer).await.unwrap();
                assert!(answer.text().starts_with(&format!("GET /{n} ")));
            }
        }
    });
    assert_eq!(proxy.status("/totals/answers_2xx"), 1_000);
    assert_eq!(proxy.status("/totals/connections"), 1);
}

#[test]
fn bodies_pass_both_ways_with_a_length_and_without() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &[]);
    let body: Bytes = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    for sized in [true, false] {
        let mut request = Request::post("http://h/");
        if sized {
            request = request.header("content-length", body.len());
        }
        let request = request.body(()).unwrap();
        let (answer, body) = (
            run(async {
                let mut client = client::client(proxy.address).await;
                let (answer, mut stream) = client.send_request(request, false).unwrap();
                let sent = send(&mut stream, body.clone());
                let (sent, answer) = tokio::join!(sent, whole(answer));
                sent.unwrap();
                answer.unwrap()
            }),
            &body,
        );
        assert!(answer.body == *body, "{sized}: {}", answer.body.len());
    }
}

#[test]
fn answers_in_chunks_and_until_the_close_end_properly_and_trailers_and_103_pass() {
    let backend = Backend::new(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let Some((head, _)) = read_message(&mut reader, false) else {
            return;
        };
        let answer: &[u8] = if head.starts_with("GET /chunks") {
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
              HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nHost: h\r\n\r\n"
        } else if head.starts_with("GET /close") {
            b"HTTP/1.0 200 OK\r\n\r\nabc"
        } else if head.starts_with("GET /short") {
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
        } else {
            b"HTTP/1.1 204 No Content\r\n\r\n"
        };
        let _ = stream.write_all(answer);
    });
    let proxy = start(&backend.name(), &[]);
    run(async {
        let mut client = client::client(proxy.address).await;
        std::future::poll_fn(|cx| client.poll_ready(cx))
            .await
            .unwrap();
        let (mut answer, _) = client.send_request(get("/chunks"), true).unwrap();
        let hints = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        let hints = hints.unwrap().unwrap();
        assert_eq!(
            (hints.status().as_u16(), &hints.headers()["link"]),
            (103, &"</a>".parse().unwrap())
        );
        let answer = whole(answer).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.status()), ("abc", 200));
        let trailers = answer.trailers.unwrap();
        assert_eq!(
            (trailers["x-sum"].to_str().unwrap(), trailers.len()),
            ("7", 1)
        );
        let answer = ask(&mut client, get("/close")).await.unwrap();
        assert_eq!(answer.text(), "abc");
        let error = ask(&mut client, get("/short")).await.unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        let answer = ask(&mut client, get("/none")).await.unwrap();
        assert_eq!((answer.status(), answer.body.len()), (204, 0));
        let head = Request::head("http://h/none").body(()).unwrap();
        assert_eq!(ask(&mut client, head).await.unwrap().status(), 204);
    });
}

/// With a length too, which in HTTP/1.1 would leave no room for them.
#[test]
fn announced_fields_after_a_request_reach_backends_of_http_1() {
    let (sender, seen) = channel();
    let backend = Backend::new(move |mut stream| {
        let mut all = Vec::new();
        let mut part = [0; 1024];
        while !all.windows(8).any(|w| w == b"\r\n0\r\nx-s") || !all.ends_with(b"\r\n\r\n") {
            match std::io::Read::read(&mut stream, &mut part) {
                Ok(count @ 1..) => all.extend_from_slice(&part[..count]),
                // It was a check.
                _ => return,
            }
        }
        sender.send(String::from_utf8(all).unwrap()).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let proxy = start(&backend.name(), &[]);
    run(async {
        let mut client = client::client(proxy.address).await;
        let request = Request::post("http://h/")
            .header("content-length", "4")
            .header("trailer", "x-sum, cookie");
        let (answer, mut out) = client
            .send_request(request.body(()).unwrap(), false)
            .unwrap();
        out.send_data(Bytes::from_static(b"body"), false).unwrap();
        let mut trailers = http::HeaderMap::new();
        for name in ["cookie", "x-silent", "x-sum"] {
            trailers.insert(name, "1".parse().unwrap());
        }
        out.send_trailers(trailers).unwrap();
        assert_eq!(whole(answer).await.unwrap().status(), 200);
    });
    let seen = seen.recv_timeout(common::LONG).unwrap();
    assert_eq!(field(&seen, "trailer").as_deref(), Some("x-sum"));
    assert_eq!(field(&seen, "content-length"), None);
    assert!(
        seen.ends_with("\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n"),
        "{seen}"
    );
}

#[test]
fn what_http_1_refuses_is_refused_here_too() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &[]);
    run(async {
        let mut client = client::client(proxy.address).await;
        for (request, wanted) in [
            (Request::get("http://h/").header("host", "other"), 400),
            (Request::get("http://user@h/"), 400),
            (Request::connect("h:443"), 501),
            (Request::get("http://h/").header("expect", "nothing"), 417),
        ] {
            let answer = ask(&mut client, request.body(()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), wanted);
        }
    });
    proxy.wait_for("/totals/bad_requests", |count| count == 4);
}

#[test]
fn a_client_that_gives_up_a_stream_is_noticed_and_the_others_go_on() {
    let gated = Gated::new();
    let proxy = start(&gated.backend.name(), &["--max-in-flight", "4"]);
    run(async {
        let mut client = client::client(proxy.address).await;
        std::future::poll_fn(|cx| client.poll_ready(cx))
            .await
            .unwrap();
        let (first, mut stream) = client.send_request(get("/"), true).unwrap();
        let (second, _) = client.send_request(get("/"), true).unwrap();
        tokio::task::yield_now().await;
        let gated = tokio::task::spawn_blocking(move || {
            gated.started();
            gated.started();
            gated
        });
        let gated = gated.await.unwrap();
        stream.send_reset(h2::Reason::CANCEL);
        drop(first);
        let proxy = tokio::task::spawn_blocking(move || {
            proxy.wait_for("/totals/abandoned", |count| count == 1);
            gated.release();
            gated.release();
            (proxy, gated)
        });
        assert_eq!(whole(second).await.unwrap().text(), "done");
        drop(proxy.await.unwrap());
    });
}

#[test]
fn more_streams_than_announced_are_refused() {
    let gated = Gated::new();
    let proxy = start(
        &gated.backend.name(),
        &["--max-streams", "3", "--max-in-flight", "10"],
    );
    let mut raw = Raw::new(proxy.address, b"");
    let settings = raw.until(SETTINGS).unwrap().payload;
    let announced = settings
        .chunks(6)
        .find(|setting| setting[..2] == [0, 3])
        .unwrap();
    assert_eq!(announced[2..], [0, 0, 0, 3]);
    for n in 0..4 {
        raw.send(&frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1 + 2 * n,
            &get_fields(),
        ));
    }
    let refused = raw.until(RST_STREAM).unwrap();
    assert_eq!((refused.stream, refused.code()), (7, 7));
    for _ in 0..3 {
        gated.release();
    }
    let mut answered: Vec<u32> = (0..3).map(|_| raw.until(HEADERS).unwrap().stream).collect();
    answered.sort_unstable();
    assert_eq!(answered, [1, 3, 5]);
}

#[test]
fn whoever_is_turned_away_may_have_fewer_streams() {
    let gated = Gated::new();
    let flags = [
        "--max-in-flight",
        "1",
        "--max-queue",
        "0",
        "--max-streams",
        "40",
    ];
    let proxy = start(&gated.backend.name(), &flags);
    let mut raw = Raw::new(proxy.address, b"");
    let mut streams = (0..).map(|n| 1 + 2 * n);
    let mut open = |raw: &mut Raw, flags: u8| {
        let stream = streams.next().unwrap();
        raw.send(&frame(HEADERS, END_HEADERS | flags, stream, &get_fields()));
    };
    open(&mut raw, END_STREAM);
    gated.started();
    // One has the place, the others are turned away at once: from 40 it is 20, 10, 8.
    while proxy.status("/totals/answers_4xx").as_u64().unwrap() < 3 {
        open(&mut raw, END_STREAM);
        assert!(raw.until(HEADERS).is_some());
    }
    // These wait for their bodies: seven may.
    for _ in 0..10 {
        open(&mut raw, 0);
    }
    for _ in 0..3 {
        assert_eq!(raw.until(RST_STREAM).unwrap().code(), 7);
    }
    proxy.wait_for("/totals/http2_refused", |count| count == 3);
    gated.release();
    assert!(raw.until(HEADERS).is_some());
}

#[test]
fn drain_finishes_what_was_begun_and_takes_leave() {
    let gated = Gated::new();
    let mut proxy = start(&gated.backend.name(), &[]);
    let mut raw = Raw::new(proxy.address, b"");
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get_fields()));
    gated.started();
    let mut idle = Raw::new(proxy.address, b"");
    assert!(idle.until(SETTINGS).is_some());
    proxy.terminate();
    let leave = raw.until(GOAWAY).unwrap();
    assert_eq!(leave.code(), 0);
    assert_eq!(idle.until(GOAWAY).unwrap().code(), 0);
    gated.release();
    assert!(raw.until(DATA).is_some());
    while raw.next().is_some() {}
    assert!(proxy.child.wait().unwrap().success());
}

#[test]
fn an_idle_connection_is_closed_in_time_and_pings_do_not_keep_it() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &["--idle-timeout", "300ms"]);
    let mut raw = Raw::new(proxy.address, b"");
    let (sender, stopped) = channel::<()>();
    let mut other = raw.0.try_clone().unwrap();
    let pinging = std::thread::spawn(move || {
        while stopped
            .recv_timeout(std::time::Duration::from_millis(20))
            .is_err()
        {
            if other.write_all(&frame(PING, 0, 0, &[0; 8])).is_err() {
                return;
            }
        }
    });
    assert_eq!(raw.ended(), Some(0));
    drop(sender);
    pinging.join().unwrap();
}

#[test]
fn http_1_is_still_spoken_on_the_same_port() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &[]);
    assert_eq!(status(&proxy.talk(GET)), 200);
    // As is nonsense that begins in the same way.
    assert_eq!(
        status(&proxy.talk(b"PRI / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")),
        200
    );
    assert_eq!(status(&proxy.talk(b"P\r\n\r\n")), 400);
}

#[test]
fn the_log_and_the_metrics_are_those_of_http_1() {
    let backend = Backend::echo();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--h2c",
        "--access-log",
        "json",
    ]);
    command
        .args(["--backend", &backend.name()])
        .stdout(log.reopen().unwrap());
    let mut proxy = Proxy::run(&mut command);
    run(async {
        let mut client = client::client(proxy.address).await;
        let request = Request::get("http://h/x").header("x-forwarded-for", "1.2.3.4");
        ask(&mut client, request.body(()).unwrap()).await.unwrap();
    });
    proxy.wait_for("/totals/http2_connections", |count| count == 1);
    proxy.terminate();
    assert!(proxy.child.wait().unwrap().success());
    let text = std::fs::read_to_string(log.path()).unwrap();
    let entry: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&entry["client"], &entry["target"]),
        (&"1.2.3.4".into(), &"/x".into())
    );
    assert_eq!(
        (&entry["status"], &entry["bytes"]),
        (&200.into(), &5.into())
    );
}

#[test]
fn over_tls_it_is_agreed_on_and_other_hosts_are_misdirected() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = mirror();
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    command.args([
        "--listen",
        "tls:127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--backend",
        &backend.name(),
    ]);
    command.args([
        "--cert",
        &authority.name("site.pem"),
        "--key",
        &authority.name("site.key"),
    ]);
    let proxy = Proxy::run(&mut command);
    let mut config = authority.client();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    run(async {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let stream = connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        for (host, wanted) in [("localhost", 200), ("other.example", 421)] {
            let request = Request::get(format!("https://{host}/")).body(()).unwrap();
            let answer = ask(&mut client, request).await.unwrap();
            assert_eq!(answer.status(), wanted);
            if wanted == 200 {
                assert_eq!(
                    field(&answer.text(), "x-forwarded-proto").as_deref(),
                    Some("https")
                );
            }
        }
    });
    let url = format!("https://localhost:{}/", proxy.address.port());
    let curl = Command::new("curl")
        .args([
            "-sS",
            "-4",
            "--http2",
            "--cacert",
            &authority.name("ca.pem"),
        ])
        .args([
            "-o",
            "/dev/null",
            "-w",
            "%{http_version} %{http_code}",
            &url,
        ])
        .output();
    match curl {
        Ok(output) => assert_eq!(output.stdout, b"2 200", "{output:?}"),
        Err(_) => eprintln!("SKIPPED: no curl"),
    }
}

#[test]
fn nghttp_and_h2load_are_content() {
    let backend = Backend::echo();
    let proxy = start(&backend.name(), &["--dry-run"]);
    let url = format!("http://{}/", proxy.address);
    let Ok(output) = Command::new("nghttp").args(["-v", &url]).output() else {
        eprintln!("SKIPPED: no nghttp");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(":status: 200"),
        "{text}"
    );
    let Ok(output) = Command::new("h2load")
        .args(["-n", "2000", "-c", "4", "-m", "10", &url])
        .output()
    else {
        eprintln!("SKIPPED: no h2load");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("2000 succeeded"), "{text}");
}

/// With an authority of our own in the browser's store (`certutil` of libnss3-tools).
#[test]
fn chromium_trusts_it_and_speaks_http_2() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = mirror();
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join(".pki/nssdb");
    std::fs::create_dir_all(&store).unwrap();
    let store = format!("sql:{}", store.display());
    let ca = authority.name("ca.pem");
    for arguments in [
        &["-N", "-d", &store, "--empty-password"][..],
        &["-A", "-d", &store, "-t", "C,,", "-n", "test", "-i", &ca],
    ] {
        let Ok(output) = Command::new("certutil").args(arguments).output() else {
            eprintln!("SKIPPED: no certutil");
            return;
        };
        assert!(output.status.success(), "{output:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    command.args([
        "--listen",
        "tls:127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--backend",
        &backend.name(),
    ]);
    command.args([
        "--cert",
        &authority.name("site.pem"),
        "--key",
        &authority.name("site.key"),
    ]);
    let proxy = Proxy::run(&mut command);
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!(
            "--user-data-dir={}",
            home.path().join("profile").display()
        ))
        .arg(format!("https://localhost:{}/page", proxy.address.port()))
        .env("HOME", home.path())
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: no chromium");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("GET /page HTTP/1.1") && text.contains("Via: 2.0 level2"),
        "{output:?}"
    );
}
