//! HTTP on the wire: what is refused, what is mended, what is passed on and how. On the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Backend, GET, LONG, Proxy, field, read_all, read_message, split, status};

/// A backend that keeps the heads it is sent.
fn recording() -> (Backend, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heads = seen.clone();
    let backend = Backend::answering(move |head, _| {
        heads.lock().unwrap().push(head.to_string());
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
    });
    (backend, seen)
}

/// What a backend gets of a request, its lines.
fn passed(proxy: &Proxy, seen: &Mutex<Vec<String>>, start: &str, fields: &str) -> Vec<String> {
    let request = format!("{start}\r\n{fields}Connection: close\r\n\r\n");
    let answer = proxy.talk(request.as_bytes());
    assert_eq!(status(&answer), 200, "{request}");
    let head = seen.lock().unwrap().pop().unwrap();
    head.lines().map(String::from).collect()
}

#[test]
fn targets_in_every_form_reach_the_backend_as_paths_with_the_right_host() {
    let (backend, seen) = recording();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    for (start, host, wanted, wanted_host) in [
        ("GET /a?b HTTP/1.1", "h", "GET /a?b HTTP/1.1", "Host: h"),
        (
            "GET http://other:81/a HTTP/1.1",
            "h",
            "GET /a HTTP/1.1",
            "Host: other:81",
        ),
        (
            "GET http://a?x=1 HTTP/1.1",
            "h",
            "GET /?x=1 HTTP/1.1",
            "Host: a",
        ),
        (
            "OPTIONS http://a HTTP/1.1",
            "h",
            "OPTIONS * HTTP/1.1",
            "Host: a",
        ),
        ("GET / HTTP/1.2", "h", "GET / HTTP/1.1", "Host: h"),
        (
            "GET / HTTP/1.0",
            "[::1]:80",
            "GET / HTTP/1.1",
            "Host: [::1]:80",
        ),
    ] {
        let lines = passed(&proxy, &seen, start, &format!("Host: {host}\r\n"));
        assert_eq!(lines[0], wanted, "{start}");
        let hosts: Vec<&String> = lines.iter().filter(|l| l.starts_with("Host:")).collect();
        assert_eq!(hosts, [wanted_host], "{start}");
    }
}

#[test]
fn what_is_no_request_is_refused_with_the_right_status() {
    let (backend, seen) = recording();
    let proxy = Proxy::start(&[&backend.name()], &["--max-head", "4k"]);
    let long = "x".repeat(5000);
    let many = "Connection: x\r\n".repeat(300);
    for (request, wanted) in [
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: u@b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a:99999x\r\n\r\n".into(), 400),
        ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET /x y HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (
            "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".into(),
            400,
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 400),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
            431,
        ),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n".into(), 505),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n".into(), 417),
    ] {
        assert_eq!(
            status(&proxy.talk(request.as_bytes())),
            wanted,
            "{request:.80}"
        );
    }
    assert_eq!(
        status(&proxy.talk(b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n")),
        400
    );
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn claims_of_strangers_and_fields_in_disguise_stay_behind() {
    let (backend, seen) = recording();
    let claims = "X-Forwarded-For: a\r\nX_Forwarded_For: b\r\nX-Real-IP: c\r\nForwarded: for=d\r\nX-Forwarded-Proto: https\r\n";
    let fields = format!("Host: h\r\n{claims}Accept: x\r\n");
    let strange = Proxy::start(&[&backend.name()], &["--trust", "192.0.2.1"]);
    let lines = passed(&strange, &seen, "GET / HTTP/1.1", &fields);
    assert_eq!(
        lines,
        [
            "GET / HTTP/1.1",
            "Host: h",
            "Accept: x",
            "X-Forwarded-For: 127.0.0.1",
            "Via: 1.1 level2",
            ""
        ]
    );
    let trusted = Proxy::start(&[&backend.name()], &[]);
    let lines = passed(&trusted, &seen, "GET / HTTP/1.1", &fields);
    assert!(lines.contains(&"X-Forwarded-Proto: https".to_string()));
    assert!(lines.contains(&"X-Forwarded-For: a, 127.0.0.1".to_string()));
    assert!(!lines.iter().any(|line| line.contains("X_")));
    let empty = passed(
        &trusted,
        &seen,
        "GET / HTTP/1.1",
        "Host: h\r\nX-Forwarded-For: \r\n",
    );
    assert!(
        empty.contains(&"X-Forwarded-For: 127.0.0.1".to_string()),
        "{empty:?}"
    );
}

#[test]
fn connection_options_are_followed_but_never_take_host_away() {
    let (backend, seen) = recording();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let fields = "Host: h\r\nConnection: Host, a, b, c, d, e, f\r\nA: 1\r\nF: 1\r\nG: 1\r\n";
    let lines = passed(&proxy, &seen, "GET / HTTP/1.1", fields);
    assert_eq!(lines[1..3], ["Host: h", "G: 1"]);
}

#[test]
fn trace_and_options_end_where_max_forwards_says() {
    let (backend, seen) = recording();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let end = "Max-Forwards: 0\r\nCookie: secret\r\nConnection: close\r\n\r\n";
    let (head, body) =
        split(&proxy.talk(format!("TRACE /x HTTP/1.1\r\nHost: h\r\n{end}").as_bytes()));
    let body = String::from_utf8(body).unwrap();
    assert_eq!(
        field(&head, "content-type").as_deref(),
        Some("message/http")
    );
    assert!(body.starts_with("TRACE /x HTTP/1.1\r\nHost: h\r\n") && !body.contains("secret"));
    let answer = proxy.talk(format!("OPTIONS * HTTP/1.1\r\nHost: h\r\n{end}").as_bytes());
    assert_eq!(status(&answer), 200);
    assert!(seen.lock().unwrap().is_empty());
    let lines = passed(
        &proxy,
        &seen,
        "TRACE / HTTP/1.1",
        "Host: h\r\nMax-Forwards: 5\r\nCookie: secret\r\n",
    );
    assert!(lines.contains(&"Max-Forwards: 4".to_string()));
    assert!(!lines.iter().any(|line| line.contains("secret")));
}

/// What a client gets when a backend answers this and closes.
fn answered(raw: &[u8], flags: &[&str]) -> Vec<u8> {
    let raw = raw.to_vec();
    let backend = Backend::new(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if read_message(&mut reader, false).is_some() {
            let _ = stream.write_all(&raw);
        }
    });
    let proxy = Proxy::start(&[&backend.name()], flags);
    proxy.talk(GET)
}

#[test]
fn odd_but_meaningful_answers_are_mended() {
    let cookies = "Set-Cookie: a=b\r\n".repeat(130);
    for (raw, wanted) in [
        (format!("HTTP/1.1 200 OK\r\n{cookies}Content-Length: 2\r\n\r\nok"), "Set-Cookie: a=b\r\n"),
        ("HTTP/1.1 200 OK\r\nfoo : x\r\nContent-Length: 2\r\n\r\nok".into(), "foo: x\r\n"),
        ("HTTP/1.1 200 OK\r\nfoo: x\r\n  y\r\nContent-Length: 2\r\n\r\nok".into(), "foo: x y\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2  \r\nok\r\n0\r\n\r\n".into(), "2\r\nok\r\n0\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000002\r\nok\r\n0\r\n\r\n".into(), "2\r\nok\r\n0\r\n\r\n"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".into(), "2\r\nok\r\n0\r\n\r\n"),
        ("HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok".into(), "\r\n\r\nok"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok".into(), "\r\nContent-Length: 2\r\n"),
    ] {
        let answer = answered(raw.as_bytes(), &[]);
        assert_eq!(status(&answer), 200, "{raw}");
        let text = String::from_utf8(answer).unwrap();
        assert!(text.contains(wanted), "{raw} became {text}");
        assert!(text.contains("Via: 1.") && text.contains("\r\nDate: "), "{text}");
    }
}

#[test]
fn an_answer_that_is_nonsense_from_the_start_is_a_502_although_its_head_is_well() {
    for chunks in ["zz\r\n", "2\nok\n0\n\n", "-2\r\nok", "2\r\nokay\r\n"] {
        let raw = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let answer = answered(raw.as_bytes(), &[]);
        assert_eq!(status(&answer), 502, "{chunks:?}");
        // An interim answer before it stays what it was.
        let hinted = format!("HTTP/1.1 103 Early Hints\r\n\r\n{raw}");
        let text = String::from_utf8(answered(hinted.as_bytes(), &[])).unwrap();
        let rest = text.strip_prefix("HTTP/1.1 103 Early Hints\r\n\r\n");
        assert!(
            rest.is_some_and(|rest| rest.starts_with("HTTP/1.1 502")),
            "{text}"
        );
    }
}

#[test]
fn interim_answers_are_passed_on_and_bounded() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let text = String::from_utf8(answered(format!("{hints}{last}").as_bytes(), &[])).unwrap();
    assert!(
        text.starts_with(hints) && text.ends_with("\r\n\r\nok"),
        "{text}"
    );
    let many = format!("{}{last}", hints.repeat(2000));
    let text = String::from_utf8(answered(many.as_bytes(), &[])).unwrap();
    assert_eq!(text.matches("103 Early Hints").count(), 2000);
    assert!(text.ends_with("\r\n\r\nok"));
    let endless = hints.repeat(40_000);
    let text = String::from_utf8(answered(endless.as_bytes(), &[])).unwrap();
    assert!(text.contains("HTTP/1.1 502"));
}

#[test]
fn a_truncated_answer_never_looks_whole_over_a_unix_socket() {
    let big = format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(100_000));
    for (raw, whole) in [
        (
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"[..],
            None,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n0\r\n\r\n",
            Some("full"),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfull",
            Some("full"),
        ),
        // More than may be collected.
        (big.as_bytes(), None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let front = folder.path().join("front");
        let raw = raw.to_vec();
        let backend = Backend::new(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            if read_message(&mut reader, false).is_some() {
                let _ = stream.write_all(&raw);
            }
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
        let listen = format!("unix:{}", front.display());
        command.args([
            "--listen",
            &listen,
            "--backend",
            &backend.name(),
            "--admin",
            "127.0.0.1:0",
        ]);
        let _proxy = Proxy::run(command.args(["--buffer-response", "64k"]));
        let mut stream = UnixStream::connect(&front).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let (head, body) = split(&answer);
        match whole {
            Some(whole) => {
                assert_eq!(field(&head, "content-length").as_deref(), Some("4"));
                assert_eq!(body, whole.as_bytes());
            }
            None => assert!(head.starts_with("HTTP/1.1 502"), "{head}"),
        }
    }
}

#[test]
fn empty_lines_do_not_keep_a_connection_open() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &["--header-timeout", "300ms"]);
    let mut stream = proxy.connect();
    let mut writer = stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        // Until the proxy has had enough, whenever that is.
        while writer.write_all(b"\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(status(&read_all(&mut stream)), 408);
    drop(stream);
    drip.join().unwrap();
}

/// A backend that answers with all that it was sent, up to the empty line after a body in chunks.
fn verbatim() -> Backend {
    Backend::new(|mut stream| {
        let (mut seen, mut part) = (Vec::new(), vec![0; 65_536]);
        while !(seen.ends_with(b"\r\n\r\n") && seen.windows(5).any(|w| w == b"\r\n0\r\n")) {
            match stream.read(&mut part) {
                Ok(count @ 1..) => seen.extend_from_slice(&part[..count]),
                _ => return,
            }
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.len());
        let _ = stream.write_all(&[head.as_bytes(), &seen].concat());
    })
}

/// RFC 9110, 6.5: in what is gathered first, and in what is passed on as it comes.
#[test]
fn fields_after_a_body_reach_the_backend_if_they_were_announced_and_claim_nothing() {
    let backend = verbatim();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    for size in [3, 100_000] {
        let body = "x".repeat(size);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Hop\r\n\
             Trailer: X-Sum, Host, x-forwarded-for\r\nTrailer: X-Hop, X-Other, X-Absent\r\n\r\n\
             {size:x}\r\n{body}\r\n0\r\nx-sum:  7 \r\nHost: evil\r\nX-Forwarded-For: 1.2.3.4\r\n\
             X-Hop: 1\r\nX-Silent: 1\r\nX-Other: 2\r\n\r\n"
        );
        let answer = proxy.talk(request.as_bytes());
        assert_eq!(status(&answer), 200);
        let (head, body) = split(&split(&answer).1);
        assert_eq!(
            field(&head, "trailer").as_deref(),
            Some("X-Sum, X-Other, X-Absent")
        );
        let end = String::from_utf8_lossy(&body[body.len().saturating_sub(60)..]).into_owned();
        assert!(
            end.ends_with("x\r\n0\r\nx-sum: 7\r\nX-Other: 2\r\n\r\n"),
            "{end:?}"
        );
    }
    // Without an announcement, and without a sense.
    for trailers in ["X-Sum: 7\r\n", "X-Sum 7\r\n"] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             1\r\nx\r\n0\r\n{trailers}\r\n"
        );
        let answer = proxy.talk(request.as_bytes());
        assert_eq!(status(&answer), 200);
        assert!(answer.ends_with(b"x\r\n0\r\n\r\n"));
    }
}

/// The same of an answer's, with a client of HTTP/1.1: `Server-Timing` and digests of what was streamed come so.
#[test]
fn fields_after_an_answer_reach_the_client_if_they_were_announced_and_claim_nothing() {
    let backend = Backend::new(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((head, _)) = read_message(&mut reader, false) {
            let announced = if head.starts_with("GET /announced") {
                "Trailer: X-Sum, Set-Cookie\r\ntrailer: X-Hop, X-Absent\r\nConnection: X-Hop\r\n"
            } else {
                ""
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\n{announced}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
                 x-sum:  7 \r\nSet-Cookie: a=b\r\nX-Hop: 1\r\nX-Silent: 1\r\n\r\n"
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let proxy = Proxy::start(&[&backend.name()], &[]);
    let get = |path: &str, version: &str| {
        let request = format!("GET {path} HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n");
        split(&proxy.talk(request.as_bytes()))
    };
    let (head, body) = get("/announced", "1.1");
    assert_eq!(field(&head, "trailer").as_deref(), Some("X-Sum, X-Absent"));
    assert_eq!(body, b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
    let (head, body) = get("/silent", "1.1");
    assert_eq!(field(&head, "trailer"), None);
    assert_eq!(body, b"3\r\nabc\r\n0\r\n\r\n");
    // Where there are no chunks there is no place for them.
    let (head, body) = get("/announced", "1.0");
    assert_eq!(field(&head, "trailer"), None);
    assert_eq!(body, b"abc");
}
