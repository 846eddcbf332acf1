//! The process: sockets, logs, signals, reloads, systemd. On the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Backend, GET, Gated, LONG, Proxy, field, read_all, read_message, split, status};

fn level2() -> Command {
    Command::new(env!("CARGO_BIN_EXE_level2"))
}

fn fails(flags: &[&str]) -> String {
    let Output { status, stderr, .. } = level2().args(flags).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "{flags:?}: {text}");
    text
}

#[test]
fn a_regular_file_is_never_taken_for_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.txt");
    std::fs::write(&file, "precious").unwrap();
    let path = file.to_str().unwrap();
    let text = fails(&["--listen", path, "--backend", "127.0.0.1:1"]);
    assert!(
        text.contains("no socket") && text.lines().count() == 1,
        "{text}"
    );
    let text = fails(&[
        "--listen",
        "127.0.0.1:0",
        "--backend",
        "127.0.0.1:1",
        "--admin",
        path,
    ]);
    assert!(text.contains("no socket"), "{text}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_socket_in_use_is_left_alone_and_a_successors_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let address = format!("unix:{}", path.display());
    let backend = Backend::echo();
    let flags = [
        "--listen",
        &address,
        "--admin",
        "127.0.0.1:0",
        "--backend",
        &backend.name(),
    ];
    let mut first = Proxy::run(level2().args(flags));
    assert!(fails(&flags).contains("in use"));
    assert!(path.exists());
    // Somebody has put another socket in its place: at its end the first one leaves that alone.
    std::fs::rename(&path, folder.path().join("old")).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    first.terminate();
    assert!(first.child.wait().unwrap().success());
    assert!(path.exists());
}

#[test]
fn logs_that_nobody_reads_hold_nobody_up() {
    let backend = Backend::echo();
    let mut command = level2();
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--access-log",
        "json",
    ]);
    command
        .args(["--backend", &backend.name()])
        .stdout(Stdio::piped());
    let mut proxy = Proxy::run(&mut command);
    // Held open, never read.
    let _stdout = proxy.child.stdout.take().unwrap();
    let mut stream = proxy.connect();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let long = "x".repeat(20_000);
    let request = format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n");
    for _ in 0..400 {
        stream.write_all(request.as_bytes()).unwrap();
        let (head, _) = read_message(&mut reader, false).unwrap();
        assert_eq!(status(head.as_bytes()), 200);
    }
    assert!(proxy.status("/log_dropped").as_u64().unwrap() > 0);
    proxy.terminate();
    assert!(proxy.child.wait().unwrap().success());
}

/// Starts a proxy from a file.
fn from_file(path: &Path) -> Proxy {
    let mut command = level2();
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    Proxy::run(command.arg("--config").arg(path))
}

fn named(name: &'static str) -> Backend {
    Backend::answering(move |_, _| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}").into_bytes()
    })
}

#[test]
fn sighup_takes_over_the_file_without_losing_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shield.toml");
    let write = |text: String| std::fs::write(&path, text).unwrap();
    let (gated, a, b) = (Gated::new(), named("a"), named("b"));
    write(format!("backend = [{:?}]\n", gated.backend.name()));
    let proxy = from_file(&path);
    let mut stream = proxy.connect();
    stream.write_all(GET).unwrap();
    gated.started();
    write(format!(
        "backend = [{:?}, {:?}]\nmax-body = 4\n",
        a.name(),
        b.name()
    ));
    proxy.signal("-HUP");
    proxy.note(&format!("backend {} added", a.name()));
    proxy.note(&format!("backend {} removed", gated.backend.name()));
    proxy.note("max-body: no limit is now 4");
    proxy.note("reloaded: 4 changes");
    let mut seen: Vec<Vec<u8>> = (0..10).map(|_| split(&proxy.talk(GET)).1).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, [b"a", b"b"]);
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nabcde";
    assert_eq!(status(&proxy.talk(post)), 413);
    // The request that was at the removed backend ends as if nothing had been.
    gated.release();
    assert_eq!(split(&read_all(&mut stream)).1, b"done");

    write("backend = [\"127.0.0.1:1\"]\nmax-boddy = 4\n".into());
    proxy.signal("-HUP");
    let note = proxy.note("reload refused");
    assert!(note.contains("shield.toml:2: unknown field"), "{note}");
    assert_eq!(status(&proxy.talk(GET)), 200);

    write(format!("backend = [{:?}]\n", gated.backend.name()));
    proxy.signal("-HUP");
    proxy.note("reloaded");
    proxy.wait_for("/backends/0/healthy", |healthy| healthy == true);
    let mut stream = proxy.connect();
    stream.write_all(GET).unwrap();
    gated.started();
    gated.release();
    assert_eq!(split(&read_all(&mut stream)).1, b"done");
}

#[test]
fn answers_during_the_drain_say_close_and_a_second_signal_ends_it() {
    let gated = Gated::new();
    let mut proxy = Proxy::start(&[&gated.backend.name()], &["--max-in-flight", "2"]);
    let mut streams = [proxy.connect(), proxy.connect()];
    for stream in &mut streams {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        gated.started();
    }
    let mut idle = proxy.connect();
    proxy.terminate();
    // An idle connection is closed as soon as the signal is heard.
    assert_eq!(read_all(&mut idle), b"");
    gated.release();
    let mut answers = streams
        .each_ref()
        .map(|stream| BufReader::new(stream.try_clone().unwrap()));
    let answered = loop {
        // Whichever was released.
        for reader in &mut answers {
            reader
                .get_ref()
                .set_read_timeout(Some(std::time::Duration::from_millis(50)))
                .unwrap();
        }
        if let Some(index) = answers
            .iter_mut()
            .position(|reader| reader.fill_buf().is_ok_and(|b| !b.is_empty()))
        {
            break index;
        }
    };
    answers[answered]
        .get_ref()
        .set_read_timeout(Some(LONG))
        .unwrap();
    let (head, _) = read_message(&mut answers[answered], false).unwrap();
    assert_eq!(field(&head, "connection").as_deref(), Some("close"));
    assert!(proxy.child.try_wait().unwrap().is_none());
    proxy.terminate();
    assert!(proxy.child.wait().unwrap().success());
}

#[test]
fn sockets_are_taken_from_systemd_and_readiness_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    told.set_read_timeout(Some(LONG)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let backend = Backend::echo();
    // What systemd does: the socket is descriptor 3, and the process's own number is in the environment.
    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS=1 exec {} --backend {} --admin 127.0.0.1:0 3<&0",
        env!("CARGO_BIN_EXE_level2"),
        backend.name()
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .stdin(Stdio::from(OwnedFd::from(listener)));
    let mut proxy = Proxy::run(&mut command);
    assert_eq!(proxy.address, address);
    assert_eq!(status(&proxy.talk(GET)), 200);
    let mut message = [0; 256];
    let mut next = || {
        let length = told.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert_eq!(next(), "READY=1\n");
    proxy.terminate();
    assert_eq!(next(), "STOPPING=1\n");
    assert!(proxy.child.wait().unwrap().success());
}

#[test]
fn every_answer_is_in_the_log_and_in_the_metrics() {
    let gated = Gated::new();
    let mut command = level2();
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--access-log",
        "json",
    ]);
    command.args([
        "--header-timeout",
        "2s",
        "--max-head",
        "1k",
        "--backend",
        &gated.backend.name(),
    ]);
    let mut proxy = Proxy::run(command.stdout(Stdio::piped()));
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2000));
    let fields = format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(2000));
    let refused: [(&[u8], u16); 6] = [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost:", 408),
        (long.as_bytes(), 414),
        (fields.as_bytes(), 431),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            501,
        ),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    ];
    for (request, wanted) in refused {
        assert_eq!(status(&proxy.talk(request)), wanted);
    }
    gated.release();
    let request =
        b"GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: somebody\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&proxy.talk(request)), 200);
    proxy.wait_for("/totals/answers_4xx", |count| count == 4);
    proxy.wait_for("/totals/answers_5xx", |count| count == 2);
    proxy.wait_for("/totals/answers_2xx", |count| count == 1);
    let mut out = proxy.child.stdout.take().unwrap();
    proxy.terminate();
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let codes: Vec<u64> = lines
        .iter()
        .map(|line| line["status"].as_u64().unwrap())
        .collect();
    assert_eq!(codes, [400, 408, 414, 431, 501, 505, 200]);
    assert!(lines.iter().all(|line| line["peer"] == "127.0.0.1"));
    let last = &lines[6];
    assert_eq!(
        (&last["client"], &last["class"]),
        (&"somebody".into(), &"newcomer".into())
    );
    assert_eq!(last["backend"], gated.backend.name());
    assert!(last["waited_ms"].is_number() && last["service_ms"].as_f64() <= last["ms"].as_f64());
}

#[test]
fn every_metric_says_what_it_means() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &[]);
    proxy.talk(GET);
    proxy.wait_for("/totals/answers_2xx", |count| count == 1);
    let mut stream = common::connect(proxy.admin);
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    let (_, body) = split(&read_all(&mut stream));
    let text = String::from_utf8(body).unwrap();
    let names = |start: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(start));
        lines
            .map(|rest| rest.split(' ').next().unwrap().to_string())
            .collect()
    };
    assert_eq!(names("# HELP "), names("# TYPE "));
    for wanted in [
        "level2_answers_total{class=\"newcomer\",status=\"2xx\"} 1\n",
        "level2_answer_seconds_count{class=\"newcomer\"} 1\n",
        "level2_waiting_seconds_count{class=\"newcomer\"} 1\n",
        "level2_service_seconds_count 1\n",
    ] {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
    for (request, wanted) in [
        (&b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n"[..], 404),
        (
            b"POST /status HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            405,
        ),
        (b"nonsense\r\n\r\n", 400),
        (b"HEAD /status?x HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ] {
        let mut stream = common::connect(proxy.admin);
        stream.write_all(request).unwrap();
        assert_eq!(status(&read_all(&mut stream)), wanted);
    }
}

#[test]
fn absurd_and_contradicting_settings_are_one_clear_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "in-port = 1\nlisten = [\":2\"]\n").unwrap();
    let path = file.path().to_str().unwrap();
    for (flags, wanted) in [
        (
            &["--max-clients", "4000000000"][..],
            "--max-clients must be from 1 to",
        ),
        (&["--threads", "5000"], "--threads"),
        (&["--config", path], "contradict"),
        (&["--listen", ":0", "--backend", ":80"], "names no host"),
    ] {
        let text = fails(flags);
        assert!(text.contains(wanted) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn a_port_alone_means_all_addresses() {
    let backend = Backend::echo();
    for any in [":0", "*:0"] {
        let mut command = level2();
        command.args([
            "--listen",
            any,
            "--admin",
            "127.0.0.1:0",
            "--backend",
            &backend.name(),
        ]);
        let proxy = Proxy::run(&mut command);
        for host in ["127.0.0.1", "127.0.0.5"] {
            let mut stream =
                common::connect(format!("{host}:{}", proxy.address.port()).parse().unwrap());
            stream.write_all(GET).unwrap();
            assert_eq!(status(&read_all(&mut stream)), 200);
        }
    }
}

#[test]
fn the_proxy_protocol_says_whom_a_connection_comes_from() {
    let backend = Backend::answering(|head, _| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        )
        .into_bytes()
    });
    let proxy = Proxy::start(
        &[&backend.name()],
        &["--proxy-protocol", "--header-timeout", "500ms"],
    );
    let sender = |header: &[u8]| {
        let answer = proxy.talk(&[header, GET].concat());
        (!answer.is_empty()).then(|| {
            field(
                &String::from_utf8_lossy(&split(&answer).1),
                "x-forwarded-for",
            )
            .unwrap()
        })
    };
    let first = b"PROXY TCP4 192.0.2.7 10.0.0.1 5 80\r\n";
    assert_eq!(sender(first).as_deref(), Some("192.0.2.7"));
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    second.extend([198, 51, 100, 9, 10, 0, 0, 1, 0, 1, 0, 2]);
    assert_eq!(sender(&second).as_deref(), Some("198.51.100.9"));
    assert_eq!(sender(b"PROXY UNKNOWN\r\n").as_deref(), Some("127.0.0.1"));
    // Whoever is trusted and does not say it is closed; so is one that does not say all of it.
    assert_eq!(sender(b""), None);
    assert!(read_all(&mut proxy.send(b"PROXY TCP4 ")).is_empty());
    proxy.wait_for("/totals/bad_requests", |count| count == 2);
    // From others the header is no header.
    let proxy = Proxy::start(&[&backend.name()], &["--proxy-protocol", "--trust", "unix"]);
    assert_eq!(status(&proxy.talk(GET)), 200);
    assert_eq!(status(&proxy.talk(first)), 400);
}
