//! Places at the backends: held while a backend works for somebody, not longer, not shorter, whatever
//! clients do. On the real binary.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use common::{Backend, GET, Gated, LONG, Proxy, STRICT, read_all, read_message, split, status};
use rand::{Rng, SeedableRng};

#[test]
fn expect_100_continue_is_answered_although_every_place_is_taken() {
    let gated = Gated::new();
    let proxy = Proxy::start(
        &[&gated.backend.name()],
        &["--max-in-flight", "1", "--max-wait", "60s"],
    );
    let _holds = proxy.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    gated.started();
    let mut stream = proxy
        .send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (head, _) = read_message(&mut reader, true).unwrap();
    assert_eq!(status(head.as_bytes()), 100);
    stream.write_all(b"abc").unwrap();
    gated.release();
    gated.started();
    gated.release();
    let (head, _) = read_message(&mut reader, false).unwrap();
    assert_eq!(status(head.as_bytes()), 200);
}

#[test]
fn the_place_of_a_client_that_left_waits_for_the_backend_unless_closing_ends_the_work() {
    for cancel in [false, true] {
        let gated = Gated::new();
        let proxy = Proxy::start(
            &[&gated.backend.name()],
            &[
                "--max-in-flight",
                "1",
                if cancel { "--cancel" } else { "--cancel=false" },
            ],
        );
        let stream = proxy.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        gated.started();
        drop(stream);
        proxy.wait_for("/totals/abandoned", |count| count == 1);
        let held = u8::from(!cancel);
        proxy.wait_for("/backends/0/in_flight", |count| *count == held);
        gated.release();
        proxy.wait_for("/backends/0/in_flight", |count| count == 0);
        assert_eq!(proxy.status("/totals/backend_failures"), 0);
    }
}

#[test]
fn a_client_that_leaves_the_queue_takes_nothing_with_it() {
    let gated = Gated::new();
    let flags = ["--max-in-flight", "1", "--max-wait", "60s"];
    let proxy = Proxy::start(&[&gated.backend.name()], &flags);
    let _holds = proxy.send(GET);
    gated.started();
    let leaves = proxy.send(GET);
    proxy.wait_for("/policy/queued", |count| count == 1);
    let mut stays = proxy.send(GET);
    proxy.wait_for("/policy/queued", |count| count == 2);
    drop(leaves);
    proxy.wait_for("/totals/abandoned", |count| count == 1);
    gated.release();
    gated.started();
    gated.release();
    assert_eq!(status(&read_all(&mut stays)), 200);
    proxy.wait_for("/backends/0/in_flight", |count| count == 0);
}

#[test]
fn a_body_that_goes_wrong_halfway_leaves_the_place_to_the_handler_until_it_is_done() {
    let (begun, begins) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let ends = std::sync::Mutex::new(ends);
    // It takes no notice of its connection, once a request has come: a mere connection is a check.
    let backend = Backend::new(move |mut stream| {
        if !matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
            return;
        }
        begun.send(()).unwrap();
        ends.lock().unwrap().recv_timeout(LONG).unwrap();
    });
    let flags = ["--max-in-flight", "1", "--max-body", "80k"];
    let proxy = Proxy::start(&[&backend.name()], &flags);
    // More than is buffered, so that there is a place at the backend by then.
    let mut start = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    start.extend_from_slice(format!("11170\r\n{}\r\n", "x".repeat(0x11170)).as_bytes());
    let large = format!("5000\r\n{}\r\n", "x".repeat(0x5000));
    for (rest, wanted) in [
        ("zz\r\n", Some(400)),
        (&large, Some(413)),
        ("10\r\nxx", None),
    ] {
        let mut stream = proxy.send(&start);
        begins.recv_timeout(LONG).unwrap();
        let _ = stream.write_all(rest.as_bytes());
        if let Some(wanted) = wanted {
            assert_eq!(status(&read_all(&mut stream)), wanted);
        } else {
            drop(stream);
            proxy.wait_for("/totals/abandoned", |count| count == 1);
        }
        assert_eq!(proxy.status("/backends/0/in_flight"), 1, "{wanted:?}");
        end.send(()).unwrap();
        proxy.wait_for("/backends/0/in_flight", |count| count == 0);
    }
}

/// A backend that begins an endless answer, says so, and ends when its connection does.
fn streaming() -> (Backend, mpsc::Receiver<()>) {
    let (begun, begins) = mpsc::channel();
    let backend = Backend::new(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if read_message(&mut reader, false).is_none() {
            return;
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head).unwrap();
        stream.write_all(b"5\r\nfirst\r\n").unwrap();
        begun.send(()).unwrap();
        let _ = reader.read(&mut [0; 16]);
    });
    (backend, begins)
}

#[test]
fn a_client_that_leaves_an_event_stream_is_noticed_at_once() {
    for cancel in ["--cancel", "--cancel=false"] {
        let (backend, begins) = streaming();
        let proxy = Proxy::start(&[&backend.name()], &["--max-in-flight", "2", cancel]);
        for _ in 0..4 {
            let streams: Vec<TcpStream> = (0..2)
                .map(|_| proxy.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
                .collect();
            for _ in &streams {
                begins.recv_timeout(LONG).unwrap();
            }
            assert_eq!(proxy.status("/backends/0/in_flight"), 2);
            drop(streams);
            proxy.wait_for("/backends/0/in_flight", |count| count == 0);
        }
    }
}

#[test]
fn an_event_stream_outlives_the_clients_timeouts_and_its_bytes_are_not_delayed() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::new(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if read_message(&mut reader, false).is_none() {
            return;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .unwrap();
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    });
    let flags = [&STRICT[..], &["--idle-timeout", "200ms"]].concat();
    let proxy = Proxy::start(&[&backend.name()], &flags);
    let mut stream = proxy.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut start = Vec::new();
    while !start.ends_with(b"first\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        start.push(byte[0]);
    }
    // Longer than any time-out of the client's: the silence is the backend's. The wait makes a fault
    // visible; without a fault its length does not matter.
    std::thread::sleep(Duration::from_millis(700));
    go_on.send(()).unwrap();
    assert!(read_all(&mut stream).ends_with(b"6\r\nsecond\r\n0\r\n\r\n"));
}

#[test]
fn a_backend_that_falls_silent_within_its_answer_is_given_up() {
    let (backend, _begins) = streaming();
    let proxy = Proxy::start(&[&backend.name()], &["--backend-idle-timeout", "200ms"]);
    let answer = proxy.talk(GET);
    let (head, body) = split(&answer);
    assert!(head.starts_with("HTTP/1.1 200") && !body.ends_with(b"0\r\n\r\n"));
    proxy.wait_for("/totals/backend_failures", |count| count == 1);
}

/// How many handlers a backend has at work, and had at most.
#[derive(Default)]
struct Handlers {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Handlers {
    fn begin(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A backend whose handlers begin with a request's head, work for a moment whatever becomes of the
/// connection, and then answer, break off, or answer nonsense, as the request asks.
fn working(handlers: &Arc<Handlers>) -> Backend {
    let handlers = handlers.clone();
    Backend::new(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        loop {
            head.clear();
            while !head.ends_with("\r\n\r\n") {
                match std::io::BufRead::read_line(&mut reader, &mut head) {
                    Ok(1..) => {}
                    _ => return,
                }
            }
            handlers.begin();
            std::thread::sleep(Duration::from_millis(8));
            let length = common::field(&head, "content-length").map_or(0, |n| n.parse().unwrap());
            let mut body = vec![0; length];
            let whole = reader.read_exact(&mut body).is_ok();
            handlers.end();
            let answer: &[u8] = match head.split(' ').nth(1).unwrap() {
                _ if !whole => return,
                "/close" => return,
                "/nonsense" => b"nonsense\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            let answer = if head.starts_with("HEAD") {
                &answer[..answer.len() - 2]
            } else {
                answer
            };
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    })
}

/// One client's random conduct.
fn misbehave(proxy: &Proxy, random: &mut impl Rng) {
    let path = ["/", "/", "/close", "/nonsense"][random.random_range(0..4)];
    let length = [0, 10, 200_000][random.random_range(0..3)];
    let method = if length > 0 { "POST" } else { "GET" };
    let head = match random.random_range(0..4) {
        0 => format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"),
        _ => format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        ),
    };
    let mut stream = proxy.connect();
    let _ = stream.write_all(head.as_bytes());
    let sent = if random.random_bool(0.5) {
        length
    } else {
        random.random_range(0..=length)
    };
    let _ = stream.write_all(&vec![b'x'; sent]);
    match random.random_range(0..3) {
        // Leaves at once, leaves a little later, or stays for the answer.
        0 => {}
        1 => std::thread::sleep(Duration::from_millis(random.random_range(0..12))),
        _ if sent == length && !head.starts_with("HEAD") => {
            let _ = read_all(&mut stream);
        }
        _ => {}
    }
}

#[test]
fn a_backend_never_has_more_than_its_limit_whatever_clients_do() {
    const LIMIT: usize = 2;
    let handlers: [Arc<Handlers>; 2] = Default::default();
    let backends = [working(&handlers[0]), working(&handlers[1])];
    let proxy = Proxy::start(
        &[&backends[0].name(), &backends[1].name()],
        &["--max-in-flight", "2", "--head-fan-out", "--max-wait", "5s"],
    );
    std::thread::scope(|scope| {
        for seed in 0..12 {
            let proxy = &proxy;
            scope.spawn(move || {
                let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
                for _ in 0..40 {
                    misbehave(proxy, &mut random);
                }
            });
        }
    });
    for (index, handlers) in handlers.iter().enumerate() {
        proxy.wait_for(&format!("/backends/{index}/in_flight"), |count| count == 0);
        let most = handlers.most.load(Ordering::SeqCst);
        assert!((1..=LIMIT).contains(&most), "{most} handlers at once");
    }
}

#[test]
fn sixty_heads_at_once_stay_within_the_limits() {
    let handlers: [Arc<Handlers>; 2] = Default::default();
    let backends = [working(&handlers[0]), working(&handlers[1])];
    let proxy = Proxy::start(
        &[&backends[0].name(), &backends[1].name()],
        &["--max-in-flight", "2", "--head-fan-out"],
    );
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..60)
            .map(|n| {
                let proxy = &proxy;
                let request = format!(
                    "HEAD /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: c{}\r\nConnection: close\r\n\r\n",
                    n % 10
                );
                scope.spawn(move || status(&proxy.talk(request.as_bytes())))
            })
            .collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.contains(&200), "{answers:?}");
    for handlers in &handlers {
        let most = handlers.most.load(Ordering::SeqCst);
        assert!((1..=2).contains(&most), "{most} at once");
    }
}
