//! Clients that send or read slowly, on the real binary: they take no places and little memory, those
//! below the least rate are cut off, and those above it are not.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Backend, GET, LONG, Proxy, STRICT, read_all, status};

#[test]
fn slow_bodies_lock_nobody_out() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &["--max-in-flight", "1"]);
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";
    let _slow: Vec<TcpStream> = (0..8).map(|_| proxy.send(head)).collect();
    for _ in 0..5 {
        assert_eq!(status(&proxy.talk(GET)), 200);
    }
    proxy.wait_for("/backends/0/in_flight", |count| count == 0);
}

#[test]
fn a_body_slower_than_the_least_rate_is_refused_before_and_after_its_place() {
    let backend = Backend::echo();
    let proxy = Proxy::start(
        &[&backend.name()],
        &[
            &STRICT[..],
            &["--max-in-flight", "1", "--buffer-request", "8k"],
        ]
        .concat(),
    );
    let admitted = || -> u64 {
        let by_class = proxy.status("/policy/admitted");
        let counts = by_class.as_object().unwrap().values();
        counts.map(|count| count.as_u64().unwrap()).sum()
    };
    // The second sends more than is buffered, and so has a place at the backend.
    for sent in [0, 100_000] {
        let mut request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n".to_vec();
        request.resize(request.len() + sent, b'x');
        let start = std::time::Instant::now();
        loop {
            let before = admitted();
            assert_eq!(status(&read_all(&mut proxy.send(&request))), 408);
            let had_a_place = admitted() > before;
            assert_eq!(status(&proxy.talk(GET)), 200);
            if had_a_place == (sent > 0) {
                break;
            }
            // This client itself was held up for longer than the grace, in the middle of its sending.
            assert!(start.elapsed() < LONG, "it never has a place");
        }
    }
}

#[test]
fn a_trickle_is_no_progress() {
    let backend = Backend::echo();
    let proxy = Proxy::start(&[&backend.name()], &STRICT);
    let mut stream =
        proxy.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut reader = stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        // Until the proxy has had enough, whenever that is.
        while stream.write_all(b"1\r\nx\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(status(&read_all(&mut reader)), 408);
    drop(reader);
    trickle.join().unwrap();
}

#[test]
fn a_slow_body_is_found_out_after_the_answers_head_as_well() {
    // It answers before it has the body, and goes on for as long as that comes.
    let backend = Backend::new(|mut stream| {
        if !matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
            return;
        }
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        stream.write_all(head).unwrap();
        while let Ok(1..) = stream.read(&mut [0; 1024]) {}
    });
    let proxy = Proxy::start(&[&backend.name()], &STRICT);
    let mut request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    request.resize(100_000, b'x');
    let mut stream = proxy.send(&request);
    let mut reader = stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(status(&read_all(&mut reader)), 200);
    proxy.wait_for("/totals/timeouts", |count| count == 1);
    proxy.wait_for("/backends/0/in_flight", |count| count == 0);
    drop(reader);
    trickle.join().unwrap();
}

/// A backend whose answers have bodies of so many bytes.
fn answering_at_length(bytes: usize) -> Backend {
    Backend::answering(move |_, _| {
        let mut out = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
        out.resize(out.len() + bytes, b'x');
        out
    })
}

/// A proxy that keeps little of an answer, for clients that read so many bytes a second at least.
fn with_least_rate(backend: &Backend, rate: &str) -> Proxy {
    let flags = [
        "--grace",
        "1s",
        "--min-rate",
        rate,
        "--buffer-response",
        "64k",
    ];
    Proxy::start(&[&backend.name()], &flags)
}

#[test]
fn a_slow_reader_of_a_long_answer_holds_no_place_while_it_fits_and_is_cut_off_when_it_does_not() {
    // The kernel's own buffers take some megabytes in addition.
    for (buffer, size) in [("64m", 32 << 20), ("64k", 64 << 20)] {
        let backend = answering_at_length(size);
        let flags = [
            &STRICT[..],
            &["--max-in-flight", "1", "--buffer-response", buffer],
        ]
        .concat();
        let proxy = Proxy::start(&[&backend.name()], &flags);
        let _slow = proxy.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        if buffer == "64k" {
            proxy.wait_for("/totals/timeouts", |count| count == 1);
        }
        // Its rest is read and thrown away, or in memory: either way the place is free.
        proxy.wait_for("/policy/admitted/newcomer", |count| count == 1);
        proxy.wait_for("/backends/0/in_flight", |count| count == 0);
    }
}

/// Asks, on a connection that takes in only this many bytes ahead.
fn ask_with_little_room(proxy: &Proxy, room: usize) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(room).unwrap();
    socket.connect(&proxy.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(GET).unwrap();
    stream
}

#[test]
fn a_reader_slower_than_the_least_rate_is_cut_off_although_the_kernel_takes_much_at_once() {
    let backend = answering_at_length(64 << 20);
    let proxy = with_least_rate(&backend, "2m");
    let mut stream = ask_with_little_room(&proxy, 64 << 10);
    let (mut all, mut part) = (0, vec![0; 60 << 10]);
    // Six tenths of the rate at most (on a busy machine less): that is for three seconds, and 3 MiB.
    while let Ok(count @ 1..) = stream.read(&mut part) {
        all += count;
        assert!(all < 16 << 20, "not cut off after {all} bytes");
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy.wait_for("/totals/timeouts", |count| count == 1);
}

/// Reads slowly but steadily for some seconds, most of it out of what the kernel holds. Whether it was cut
/// off, and its own longest pause.
fn sip(proxy: &Proxy) -> (bool, Duration) {
    let mut stream = ask_with_little_room(proxy, 4096);
    let start = std::time::Instant::now();
    let (mut last, mut longest) = (start, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(5) {
        if !matches!(stream.read(&mut [0; 1024]), Ok(1..)) {
            return (true, longest);
        }
        longest = longest.max(last.elapsed());
        last = std::time::Instant::now();
        std::thread::sleep(Duration::from_millis(50));
    }
    (false, longest)
}

#[test]
fn a_reader_faster_than_the_least_rate_is_served_to_the_end_whatever_the_kernel_holds() {
    let backend = answering_at_length(32 << 20);
    let proxy = with_least_rate(&backend, "1k");
    let start = std::time::Instant::now();
    loop {
        let (cut, longest) = sip(&proxy);
        if !cut {
            break;
        }
        // Unless this reader was held up itself.
        assert!(longest > Duration::from_millis(500), "cut off");
        assert!(start.elapsed() < LONG, "this machine is too slow to read");
    }
}

#[test]
fn memory_for_answers_is_bounded_for_all_together() {
    let backend = answering_at_length(32 << 20);
    let proxy = Proxy::start(
        &[&backend.name()],
        &[
            "--max-in-flight",
            "16",
            "--buffer-response",
            "64m",
            "--buffer-total",
            "4m",
        ],
    );
    let before = proxy.peak_memory();
    let _slow: Vec<TcpStream> = (0..16)
        .map(|_| proxy.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
        .collect();
    proxy.wait_for("/buffer_left", |left| left == 0);
    assert!(
        proxy.peak_memory() < before + 32 * 1024,
        "{before}, then {}",
        proxy.peak_memory()
    );
}
