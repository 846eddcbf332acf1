//! TLS on listeners: certificates, names, clients' certificates, reloads, and what must not get through.
//! On the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;
#[path = "common/tls.rs"]
mod tls;

use std::io::{BufReader, Read, Write};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use common::{Backend, GET, Gated, Proxy, connect, field, read_all, read_message, split, status};
use rcgen::CertificateParams;
use tls::{Authority, ask, pem, secure, shown, until};

/// A proxy that speaks TLS with certificate `site`, for localhost.
fn start(authority: &Authority, backend: &str, flags: &[&str]) -> Proxy {
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    command.args([
        "--listen",
        "tls:127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--backend",
        backend,
    ]);
    command.args([
        "--cert",
        &authority.name("site.pem"),
        "--key",
        &authority.name("site.key"),
    ]);
    Proxy::run(command.args(flags))
}

fn get(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
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
fn both_versions_are_spoken_and_the_backend_is_told() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = mirror();
    let proxy = start(&authority, &backend.name(), &[]);
    for version in rustls::ALL_VERSIONS {
        let mut config = authority.client_of(version);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut stream = secure(proxy.address, &Arc::new(config), "localhost").unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        // Its end is a proper one: whoever cuts the connection cannot make an answer look whole.
        let answer = ask(&mut stream, &get("localhost")).unwrap();
        assert_eq!(status(&answer), 200);
        let (_, seen) = split(&answer);
        let seen = String::from_utf8(seen).unwrap();
        assert_eq!(field(&seen, "x-forwarded-proto").as_deref(), Some("https"));
        assert_eq!(seen.matches("X-Forwarded-Proto").count(), 1);
    }
    proxy.wait_for("/totals/handshakes", |count| count == 2);
}

#[test]
fn the_cheapest_cipher_is_agreed_on_unless_the_client_has_no_instructions_for_it() {
    use rustls::CipherSuite as Suite;
    use rustls::version::{TLS12, TLS13};
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = mirror();
    let proxy = start(&authority, &backend.name(), &[]);
    for (version, liked, agreed) in [
        (
            &TLS13,
            Suite::TLS13_AES_256_GCM_SHA384,
            Suite::TLS13_AES_128_GCM_SHA256,
        ),
        (
            &TLS13,
            Suite::TLS13_CHACHA20_POLY1305_SHA256,
            Suite::TLS13_CHACHA20_POLY1305_SHA256,
        ),
        (
            &TLS12,
            Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
        (
            &TLS12,
            Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        ),
    ] {
        let config = Arc::new(authority.client_liking(version, liked));
        let stream = secure(proxy.address, &config, "localhost").unwrap();
        let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, agreed, "{liked:?}");
    }
}

#[test]
fn a_trusted_proxy_in_front_says_how_its_client_came() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = mirror();
    let proxy = start(&authority, &backend.name(), &[]);
    let config = Arc::new(authority.client());
    let mut stream = secure(proxy.address, &config, "localhost").unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: http\r\nConnection: close\r\n\r\n";
    let (_, seen) = split(&ask(&mut stream, request).unwrap());
    let seen = String::from_utf8(seen).unwrap();
    assert_eq!(field(&seen, "x-forwarded-proto").as_deref(), Some("http"));
}

#[test]
fn large_bodies_pass_whole_both_ways_and_sessions_are_resumed() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = Backend::echo();
    let proxy = start(&authority, &backend.name(), &[]);
    let config = Arc::new(authority.client());
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for round in 0..2 {
        let mut stream = secure(proxy.address, &config, "localhost").unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut reader = BufReader::new(stream);
        let (_, back) = read_message(&mut reader, false).unwrap();
        assert!(back == body, "round {round}");
        let kind = reader.get_ref().conn.handshake_kind().unwrap();
        let resumed = kind == rustls::HandshakeKind::Resumed;
        assert_eq!(resumed, round == 1, "{kind:?}");
    }
}

#[test]
fn the_certificate_is_chosen_by_the_name_and_other_hosts_are_misdirected() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    authority.issue("other", &["other.example", "*.wild.example"]);
    let backend = Backend::echo();
    let (cert, key) = (authority.name("other.pem"), authority.name("other.key"));
    let proxy = start(
        &authority,
        &backend.name(),
        &["--cert", &cert, "--key", &key],
    );
    let config = Arc::new(authority.client());
    for (host, file) in [
        ("localhost", "site"),
        ("other.example", "other"),
        ("a.wild.example", "other"),
    ] {
        let mut stream = secure(proxy.address, &config, host).unwrap();
        assert_eq!(shown(&stream), pem(&authority.path(&format!("{file}.pem"))));
        assert_eq!(status(&ask(&mut stream, &get(host)).unwrap()), 200);
    }
    let mut stream = secure(proxy.address, &config, "localhost").unwrap();
    assert_eq!(
        status(&ask(&mut stream, &get("other.example")).unwrap()),
        421
    );
    // Somebody nobody has heard of is shown the first, and can make of it what they want.
    assert!(secure(proxy.address, &config, "nobody.example").is_err());
    proxy.wait_for("/totals/handshakes_failed", |count| count == 1);
}

#[test]
fn a_client_needs_a_certificate_where_authorities_are_named() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("site", &["localhost"]);
    authority.issue("alice", &["alice.example"]);
    stranger.issue("mallory", &["alice.example"]);
    let backend = Backend::echo();
    let ca = authority.name("ca.pem");
    let flags = [
        "--client-ca",
        &ca,
        "--client-naming",
        "san",
        "--access-log",
        "json",
    ];
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    command.args(["--listen", "tls:127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--backend", &backend.name()]).args(flags);
    command.args([
        "--cert",
        &authority.name("site.pem"),
        "--key",
        &authority.name("site.key"),
    ]);
    let mut proxy = Proxy::run(command.stdout(log.reopen().unwrap()));
    let alice = Arc::new(authority.client_with("alice"));
    let mut stream = secure(proxy.address, &alice, "localhost").unwrap();
    // Nobody says of somebody with a certificate who they are.
    let forged = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&ask(&mut stream, forged).unwrap()), 200);
    // Without one, or with one of somebody else's, a client gets no answer. (Of TLS 1.3 it learns that
    // after its own part of the handshake.)
    let shows = stranger.client_with("mallory").client_auth_cert_resolver;
    let mut forged = authority.client();
    forged.client_auth_cert_resolver = shows;
    for config in [authority.client(), forged] {
        let refused = secure(proxy.address, &Arc::new(config), "localhost")
            .and_then(|mut stream| ask(&mut stream, &get("localhost")));
        assert!(refused.is_err(), "{refused:?}");
    }
    proxy.wait_for("/totals/handshakes_failed", |count| count == 2);
    proxy.terminate();
    assert!(proxy.child.wait().unwrap().success());
    let text = std::fs::read_to_string(log.path()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("\"client\":\"cert:alice.example\""), "{text}");
}

#[test]
fn changed_files_are_taken_over_without_losing_a_connection_and_bad_ones_are_not() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let gated = Gated::new();
    let proxy = start(&authority, &gated.backend.name(), &[]);
    let config = Arc::new(authority.client());
    let mut stream = secure(proxy.address, &config, "localhost").unwrap();
    stream.write_all(&get("localhost")).unwrap();
    gated.started();
    let first = pem(&authority.path("site.pem"));
    assert_eq!(shown(&stream), first);
    authority.issue("site", &["localhost"]);
    let second = pem(&authority.path("site.pem"));
    until("the new certificate is shown", || {
        shown(&secure(proxy.address, &config, "localhost").unwrap()) == second
    });
    // A key that is not the certificate's: what was read before stays, also at SIGHUP.
    authority.issue("spare", &["localhost"]);
    std::fs::rename(authority.path("spare.key"), authority.path("site.key")).unwrap();
    let note = proxy.note("stay in use");
    assert!(note.contains("site.key is not the key of"), "{note}");
    proxy.signal("-HUP");
    let note = proxy.note("reload refused");
    assert!(note.contains("site.key is not the key of"), "{note}");
    let now = secure(proxy.address, &config, "localhost").unwrap();
    assert_eq!(shown(&now), second);
    // The connection of before has seen nothing of all that.
    gated.release();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(split(&answer).1, b"done");
}

fn fails(flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    let Output { status, stderr, .. } = command.args(flags).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert!(
        !status.success() && text.lines().count() == 1,
        "{flags:?}: {text}"
    );
    text
}

#[test]
fn files_of_no_use_are_named_in_one_line() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    authority.issue("other", &["localhost"]);
    let write = |name: &str, text: &str| std::fs::write(authority.path(name), text).unwrap();
    write("empty.pem", "");
    write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    write("torn.pem", "-----BEGIN CERTIFICATE-----\nAA");
    for (cert, key, wanted) in [
        ("none.pem", "site.key", "cannot read"),
        ("site.pem", "none.key", "cannot read"),
        ("site.pem", "other.key", "other.key is not the key of"),
        ("empty.pem", "site.key", "empty.pem: has no certificate"),
        ("site.pem", "empty.pem", "empty.pem: has no private key"),
        ("broken.pem", "site.key", "broken.pem: not a certificate"),
        ("torn.pem", "site.key", "torn.pem: malformed PEM"),
        ("site.key", "site.key", "site.key: has no certificate"),
        (".", "site.key", "is not a regular file"),
    ] {
        let (cert, key) = (authority.name(cert), authority.name(key));
        let flags = [
            "--listen",
            "tls:127.0.0.1:0",
            "--backend",
            "127.0.0.1:1",
            "--cert",
            &cert,
            "--key",
            &key,
        ];
        let text = fails(&flags);
        assert!(text.contains(wanted), "{text}");
    }
    let (cert, key, ca) = (
        authority.name("site.pem"),
        authority.name("site.key"),
        authority.name("broken.pem"),
    );
    let mut flags = vec![
        "--listen",
        "tls:127.0.0.1:0",
        "--backend",
        "127.0.0.1:1",
        "--cert",
        &cert,
        "--key",
        &key,
    ];
    flags.extend(["--client-ca", &ca]);
    assert!(fails(&flags).contains("broken.pem"));
}

#[test]
fn an_expired_certificate_is_warned_of_and_shown() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    authority.sign("site", &params);
    let (cert, key) = (authority.name("site.pem"), authority.name("site.key"));
    let flags = [
        "--listen",
        "tls:127.0.0.1:0",
        "--backend",
        "127.0.0.1:1",
        "--cert",
        &cert,
        "--key",
        &key,
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_level2"));
    let mut child = command
        .args(flags)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    std::io::BufRead::read_line(
        &mut BufReader::new(child.stderr.take().unwrap()),
        &mut first,
    )
    .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        first.contains("warning:") && first.contains("site.pem: the certificate has expired"),
        "{first}"
    );
}

#[test]
fn what_is_no_tls_costs_nothing_and_harms_nobody() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = Backend::echo();
    let proxy = start(&authority, &backend.name(), &["--header-timeout", "500ms"]);
    assert!(!proxy.talk(GET).starts_with(b"HTTP"));
    assert!(!proxy.talk(&vec![0x16; 70_000]).starts_with(b"HTTP"));
    // Whoever begins a handshake and says no more is closed in time.
    let mut stream = connect(proxy.address);
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .unwrap();
    read_all(&mut stream);
    proxy.wait_for("/totals/handshakes_failed", |count| count == 3);
    let config = Arc::new(authority.client());
    let mut stream = secure(proxy.address, &config, "localhost").unwrap();
    assert_eq!(status(&ask(&mut stream, &get("localhost")).unwrap()), 200);
}

/// A socket that calls from such an address of loopback.
fn from(source: [u8; 4], to: std::net::SocketAddr) -> std::net::TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&std::net::SocketAddr::from((source, 0)).into())
        .unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn a_flood_of_handshakes_leaves_room_for_others() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = Backend::echo();
    let flags = ["--max-handshakes", "16", "--threads", "1"];
    let proxy = start(&authority, &backend.name(), &flags);
    // Sixty begin a handshake and say no more: eight are waited for, the others are closed at once.
    let flood: Vec<_> = (0..60)
        .map(|_| {
            let mut stream = from([127, 0, 0, 9], proxy.address);
            let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
            stream
        })
        .collect();
    proxy.wait_for("/totals/handshakes_refused", |count| count == 52);
    let config = Arc::new(authority.client());
    for _ in 0..20 {
        let mut stream = secure(proxy.address, &config, "localhost").unwrap();
        assert_eq!(status(&ask(&mut stream, &get("localhost")).unwrap()), 200);
    }
    assert_eq!(proxy.status("/totals/handshakes_refused"), 52);
    drop(flood);
}

#[test]
fn clients_are_sent_to_https_and_challenges_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let challenges = folder.path().join(".well-known/acme-challenge");
    std::fs::create_dir_all(&challenges).unwrap();
    std::fs::write(challenges.join("to-ken_1"), "to-ken_1.thumb").unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let backend = Backend::echo();
    let flags = [
        "--redirect-to-https",
        "--acme-webroot",
        folder.path().to_str().unwrap(),
        "--trust",
        "unix",
    ];
    let proxy = Proxy::start(&[&backend.name()], &flags);
    let ask = |target: &str| {
        let fields = "Host: site.example:8080\r\nX-Forwarded-Proto: https\r\nConnection: close";
        split(&proxy.talk(format!("GET {target} HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes()))
    };
    let (head, body) = ask("/.well-known/acme-challenge/to-ken_1");
    assert_eq!(
        (status(head.as_bytes()), &body[..]),
        (200, &b"to-ken_1.thumb"[..])
    );
    for target in [
        "none",
        "..",
        "../../secret",
        "%2e%2e/secret",
        "a/b",
        "to-ken_1?x",
        "",
    ] {
        let (head, body) = ask(&format!("/.well-known/acme-challenge/{target}"));
        assert_eq!(status(head.as_bytes()), 404, "{target}");
        assert!(!body.starts_with(b"secret"));
    }
    let (head, _) = ask("/a?b=c");
    assert_eq!(status(head.as_bytes()), 308);
    assert_eq!(
        field(&head, "location").as_deref(),
        Some("https://site.example/a?b=c")
    );
    // None of it was the backend's, but for the look that the proxy takes at its start, which may come later.
    let connections = &backend.connections;
    assert!(connections.load(std::sync::atomic::Ordering::SeqCst) <= 1);
    // A trusted proxy in front that ends TLS has done what is asked for.
    let proxy = Proxy::start(&[&backend.name()], &["--redirect-to-https=8443"]);
    let https =
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&proxy.talk(https)), 200);
    let (head, _) = split(&proxy.talk(GET));
    assert_eq!(field(&head, "location").as_deref(), Some("https://h:8443/"));
}

#[test]
fn an_answer_that_is_cut_short_does_not_look_whole() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = Backend::new(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if read_message(&mut reader, false).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        }
    });
    let proxy = start(&authority, &backend.name(), &[]);
    let config = Arc::new(authority.client());
    let mut stream = secure(proxy.address, &config, "localhost").unwrap();
    assert!(ask(&mut stream, &get("localhost")).is_err());
}

#[test]
fn curl_speaks_with_it() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = Backend::echo();
    let proxy = start(&authority, &backend.name(), &[]);
    let url = format!("https://localhost:{}/", proxy.address.port());
    let ca = authority.name("ca.pem");
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let curl = Command::new("curl")
            .args(["-sS", "-4", "--cacert", &ca, &url])
            .args(version)
            .output();
        let Ok(output) = curl else {
            eprintln!("SKIPPED: no curl");
            return;
        };
        assert_eq!(
            output.stdout,
            b"hello",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn a_socket_of_systemd_that_is_called_tls_speaks_it() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = Backend::echo();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fd: std::os::fd::OwnedFd = listener.into();
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "export LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 0</dev/null",
    ]);
    command
        .arg(env!("CARGO_BIN_EXE_level2"))
        .args(["--admin", "127.0.0.1:0"]);
    command.args(["--backend", &backend.name()]);
    command.args([
        "--cert",
        &authority.name("site.pem"),
        "--key",
        &authority.name("site.key"),
    ]);
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "tls")
        .stdin(fd);
    let _proxy = Proxy::run(&mut command);
    let config = Arc::new(authority.client());
    let mut stream = secure(address, &config, "localhost").unwrap();
    assert_eq!(status(&ask(&mut stream, &get("localhost")).unwrap()), 200);
}

/// What a test's threads have seen.
type Seen = Arc<Mutex<Vec<u16>>>;

#[test]
fn many_at_once_are_all_served() {
    let authority = Authority::new();
    authority.issue("site", &["localhost"]);
    let backend = Backend::echo();
    let proxy = start(&authority, &backend.name(), &["--dry-run"]);
    let config = Arc::new(authority.client());
    let seen = Seen::default();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mut stream = secure(proxy.address, &config, "localhost").unwrap();
                    let answer = ask(&mut stream, &get("localhost")).unwrap();
                    seen.lock().unwrap().push(status(&answer));
                }
            });
        }
    });
    assert_eq!(*seen.lock().unwrap(), [200; 80]);
}
