//! Backends that fail, and a proxy that runs out of means: what polite clients see of it. On the real
//! binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Backend, GET, Proxy, Reserved, read_all, read_message, split, status};

fn get(path: &str, client: usize) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: client-{client}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

fn answer(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nok").into_bytes()
}

/// Answers everything but `/kill`, at which it closes the connection. Counts requests for `/kill`.
fn fragile(kills: &Arc<AtomicUsize>) -> Backend {
    let kills = kills.clone();
    Backend::new(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((head, _)) = read_message(&mut reader, false) {
            if head.starts_with("GET /kill ") {
                kills.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if stream.write_all(&answer("200 OK")).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_backend_that_answers_failures_at_once_is_avoided_and_comes_back() {
    for failure in ["500 Internal Server Error", "503 Service Unavailable"] {
        let broken = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let (state, count) = (broken.clone(), served.clone());
        let failing = Backend::answering(move |_, _| {
            if state.load(Ordering::SeqCst) {
                return answer(failure);
            }
            count.fetch_add(1, Ordering::SeqCst);
            answer("200 OK")
        });
        let good = Backend::answering(|_, _| answer("200 OK"));
        let proxy = Proxy::start(&[&failing.name(), &good.name()], &[]);
        for n in 0..20 {
            assert_eq!(status(&proxy.talk(&get("/", n % 4))), 200);
        }
        broken.store(true, Ordering::SeqCst);
        let failed = (0..192)
            .filter(|n| status(&proxy.talk(&get("/", n % 4))) >= 500)
            .count();
        assert!(failed < 40, "{failed} of 192 failed");
        broken.store(false, Ordering::SeqCst);
        let before = served.load(Ordering::SeqCst);
        let start = std::time::Instant::now();
        while served.load(Ordering::SeqCst) == before {
            assert!(start.elapsed() < common::LONG, "it is never used again");
            proxy.talk(&get("/", 0));
        }
    }
}

/// Ways to fail at once: by a status, without an answer, with what is none, and within one.
const FAILURES: [&str; 6] = [
    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "",
    "nonsense\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz",
];

#[test]
fn one_of_two_that_fails_at_once_is_avoided_however_many_ask_at_once_and_however_it_fails() {
    for failure in FAILURES {
        let failing = Backend::new(move |mut stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            if read_message(&mut reader, false).is_some() {
                let _ = stream.write_all(failure.as_bytes());
            }
        });
        let good = Backend::answering(|_, _| {
            std::thread::sleep(std::time::Duration::from_millis(2));
            answer("200 OK")
        });
        for (at_once, clients) in [(4, 1), (8, 4)] {
            // The good one is full most of the time: whoever waits for it is answered.
            let flags = ["--max-in-flight", "2", "--max-wait", "60s"];
            let proxy = Proxy::start(&[&failing.name(), &good.name()], &flags);
            let next = AtomicUsize::new(0);
            let failed = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..at_once {
                    scope.spawn(|| {
                        loop {
                            let n = next.fetch_add(1, Ordering::SeqCst);
                            if n >= 96 {
                                return;
                            }
                            let mut answer = proxy.talk(&get("/", n % clients));
                            // Whoever is told to come again does.
                            while answer.starts_with(b"HTTP/1.1 429") {
                                std::thread::sleep(std::time::Duration::from_millis(2));
                                answer = proxy.talk(&get("/", n % clients));
                            }
                            if !(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"ok")) {
                                failed.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    });
                }
            });
            let failed = failed.load(Ordering::SeqCst);
            // Two from each at the start, and then one in ever longer intervals.
            assert!(
                failed < 24,
                "{failed} of 96 failed, {at_once} at once: {failure:?}"
            );
        }
    }
}

#[test]
fn idle_backends_are_used_alike() {
    let counts: [Arc<AtomicUsize>; 3] = Default::default();
    let backends = counts.clone().map(|count| {
        Backend::answering(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            answer("200 OK")
        })
    });
    let names = backends.map(|backend| backend.name());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let proxy = Proxy::start(&names, &[]);
    for n in 0..60 {
        assert_eq!(status(&proxy.talk(&get("/", n))), 200);
    }
    for count in &counts {
        let count = count.load(Ordering::SeqCst);
        assert!((15..=25).contains(&count), "{count} of 60");
    }
}

#[test]
fn no_client_can_eject_a_backend_alone() {
    let kills = Arc::default();
    let backends = [fragile(&kills), fragile(&kills)];
    let proxy = Proxy::start(&[&backends[0].name(), &backends[1].name()], &[]);
    for n in 0..40 {
        assert_eq!(status(&proxy.talk(&get("/kill", 0))), 502);
        assert_eq!(status(&proxy.talk(&get("/", 1 + n % 3))), 200);
    }
    assert_eq!(proxy.status("/backends/0/healthy"), true);
    assert_eq!(proxy.status("/backends/1/healthy"), true);
}

#[test]
fn where_all_backends_fail_their_answers_are_what_clients_get() {
    let broken = Arc::new(AtomicBool::new(false));
    let failing = || {
        let broken = broken.clone();
        Backend::answering(move |_, _| {
            answer(if broken.load(Ordering::SeqCst) {
                "500 Internal Server Error"
            } else {
                "200 OK"
            })
        })
    };
    let backends = [failing(), failing()];
    let proxy = Proxy::start(&[&backends[0].name(), &backends[1].name()], &[]);
    for n in 0..20 {
        assert_eq!(status(&proxy.talk(&get("/", n % 4))), 200);
    }
    broken.store(true, Ordering::SeqCst);
    for n in 0..60 {
        assert_eq!(status(&proxy.talk(&get("/", n % 4))), 500);
    }
    // The fault is elsewhere: one at least is never taken for the culprit.
    let healthy = |index| proxy.status(&format!("/backends/{index}/healthy")) == true;
    assert!(healthy(0) || healthy(1));
    broken.store(false, Ordering::SeqCst);
    assert_eq!(status(&proxy.talk(&get("/", 0))), 200);
}

#[test]
fn a_second_attempt_goes_elsewhere_and_there_is_no_third() {
    let counts: [Arc<AtomicUsize>; 4] = Default::default();
    let backends = counts.clone().map(|count| fragile(&count));
    let names = backends.map(|backend| backend.name());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let proxy = Proxy::start(&names, &["--threads", "1"]);
    // With kept connections to all of them.
    for n in 0..8 {
        assert_eq!(status(&proxy.talk(&get("/", n))), 200);
    }
    assert_eq!(status(&proxy.talk(&get("/kill", 0))), 502);
    let mut seen: Vec<usize> = counts
        .iter()
        .map(|count| count.load(Ordering::SeqCst))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 0, 1, 1]);
    assert_eq!(proxy.status("/totals/retries"), 1);
}

/// The beginning of a long body is kept, and the rest is gone once it was sent.
#[test]
fn what_is_not_all_in_memory_is_not_sent_twice() {
    let backends = [(), ()].map(|()| {
        Backend::new(|stream| {
            // Closes instead of answering.
            let _ = read_message(&mut BufReader::new(stream), false);
        })
    });
    let names = [backends[0].name(), backends[1].name()];
    let proxy = Proxy::start(&[&names[0], &names[1]], &[]);
    for (size, retries) in [(200_000, 0), (2_000, 1)] {
        let head = format!(
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        );
        let request = [head.as_bytes(), &vec![b'x'; size]].concat();
        assert_eq!(status(&proxy.talk(&request)), 502);
        assert_eq!(proxy.status("/totals/retries"), retries);
    }
}

#[test]
fn second_attempts_are_a_part_of_all() {
    let kills: Arc<AtomicUsize> = Arc::default();
    let backends = [fragile(&kills), fragile(&kills)];
    let proxy = Proxy::start(
        &[&backends[0].name(), &backends[1].name()],
        &["--threads", "1"],
    );
    for _ in 0..100 {
        assert_eq!(status(&proxy.talk(&get("/kill", 0))), 502);
    }
    let kills = kills.load(Ordering::SeqCst);
    assert!((105..=135).contains(&kills), "{kills} attempts for 100");
}

#[test]
fn a_path_for_health_checks_takes_a_backend_out_and_back() {
    let well = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicUsize::new(0));
    let (state, count) = (well.clone(), asked.clone());
    let backend = Backend::answering(move |head, _| {
        let sick = head.starts_with("GET /healthz ") && !state.load(Ordering::SeqCst);
        count.fetch_add(usize::from(sick), Ordering::SeqCst);
        answer(if sick { "503 Sick" } else { "200 OK" })
    });
    let other = Backend::answering(|_, _| answer("200 OK"));
    let third = Reserved::new();
    let proxy = Proxy::start(
        &[&backend.name(), &other.name(), &third.name()],
        &["--health", "/healthz", "--max-in-flight", "1"],
    );
    proxy.wait_for("/backends/0/healthy", |healthy| healthy == true);
    proxy.wait_for("/backends/2/healthy", |healthy| healthy == false);
    well.store(false, Ordering::SeqCst);
    let note = proxy.note(&format!("{} is", backend.name()));
    assert!(
        note.contains("is down") && note.contains("GET /healthz"),
        "{note}"
    );
    // It accepts connections, and another backend gives rise to new looks: neither makes it well.
    let before = asked.load(Ordering::SeqCst);
    let _third = third.serve(|mut stream| {
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
            let _ = stream.write_all(&answer("200 OK"));
        }
    });
    proxy.wait_for("/backends/2/healthy", |healthy| healthy == true);
    let start = std::time::Instant::now();
    while asked.load(Ordering::SeqCst) < before + 8 {
        assert!(start.elapsed() < common::LONG, "it is asked no more");
        assert_eq!(proxy.status("/backends/0/healthy"), false);
    }
    assert_eq!(proxy.status("/backends/1/healthy"), true);
    well.store(true, Ordering::SeqCst);
    proxy.wait_for("/backends/0/healthy", |healthy| healthy == true);
}

#[test]
fn being_out_of_descriptors_is_no_fault_of_the_backends() {
    let backends = [
        Backend::answering(|_, _| answer("200 OK")),
        Backend::answering(|_, _| answer("200 OK")),
    ];
    let mut command = Command::new("sh");
    let script = format!(
        "ulimit -n 64; exec {} --listen 127.0.0.1:0 --admin 127.0.0.1:0 --threads 2 --backend {} --backend {}",
        env!("CARGO_BIN_EXE_level2"),
        backends[0].name(),
        backends[1].name()
    );
    let proxy = Proxy::run(command.args(["-c", &script]));
    let _idle: Vec<TcpStream> = (0..60).map(|_| proxy.connect()).collect();
    for n in 0..20 {
        assert_eq!(status(&proxy.talk(&get("/", n))), 200);
    }
    for backend in ["/backends/0/healthy", "/backends/1/healthy"] {
        assert_eq!(proxy.status(backend), true);
    }
}

#[test]
fn the_soft_limit_on_descriptors_is_raised() {
    let backend = Backend::echo();
    let mut command = Command::new("sh");
    let script = format!(
        "ulimit -Sn 32; exec {} --listen 127.0.0.1:0 --admin 127.0.0.1:0 --backend {}",
        env!("CARGO_BIN_EXE_level2"),
        backend.name(),
    );
    let proxy = Proxy::run(command.args(["-c", &script]));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.child.id())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<&str> = line.unwrap().split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1]);
}

/// Calls from an address of its own on this machine.
fn connect_from(address: &str, to: SocketAddr) -> TcpStream {
    let from: SocketAddr = format!("{address}:0").parse().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(common::LONG)).unwrap();
    stream
}

#[test]
fn one_peer_cannot_have_all_connections() {
    let backend = Backend::echo();
    let proxy = Proxy::start(
        &[&backend.name()],
        &["--max-connections", "20", "--threads", "1"],
    );
    // Not idle: in the middle of a head. The answers show who was turned away.
    let mut greedy: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut stream = connect_from("127.0.0.3", proxy.address);
            let _ = stream.write_all(b"GET / HTTP/1.1\r\n");
            stream
        })
        .collect();
    proxy.wait_for("/totals/connections_refused", |count| {
        count.as_u64().unwrap() >= 10
    });
    for stream in &mut greedy[20..] {
        assert_eq!(status(&read_all(stream)), 503);
    }
    let mut polite = connect_from("127.0.0.4", proxy.address);
    polite.write_all(GET).unwrap();
    assert_eq!(status(&read_all(&mut polite)), 200);
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let backend = Backend::echo();
    let proxy = Proxy::start(
        &[&backend.name()],
        &["--max-connections", "8", "--threads", "1"],
    );
    let _idle: Vec<TcpStream> = (0..30).map(|_| proxy.connect()).collect();
    for _ in 0..10 {
        assert_eq!(status(&proxy.talk(GET)), 200);
    }
}

#[test]
fn when_all_are_down_the_answer_is_503_at_once_and_service_returns_by_itself() {
    let [first, second] = [Reserved::new(), Reserved::new()];
    let proxy = Proxy::start(&[&first.name(), &second.name()], &[]);
    for backend in ["/backends/0/healthy", "/backends/1/healthy"] {
        proxy.wait_for(backend, |healthy| healthy == false);
    }
    let (head, _) = split(&proxy.talk(GET));
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("Retry-After: 1"));
    let _back = second.serve(|mut stream| {
        while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
            let _ = stream.write_all(&answer("200 OK"));
        }
    });
    proxy.wait_for("/backends/1/healthy", |healthy| healthy == true);
    assert_eq!(status(&proxy.talk(GET)), 200);
}
