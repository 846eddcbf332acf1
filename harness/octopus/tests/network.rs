//! The network on real sockets: order, refusals, closes, half-closes, chunks, counters,
//! descriptors. Times are only asserted from below: the machine may be busy.
#![allow(clippy::unwrap_used)] // In the helpers of tests too, a surprise is a failed test.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use octopus::{
    CHUNK_BYTES, Change, Endpoint, LinkState, Network, NetworkConfig, Pair, Route, UNDER_DELAY,
    WAITING,
};

const LINK_MS: u64 = 20;

/// Two nodes, 0 and 1, joined by one link, in a folder of their own.
struct Bed {
    network: Network,
    folder: tempfile::TempDir,
}

impl Bed {
    fn new(link: LinkState) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Endpoint::Unix(folder.path().join(name));
        let network = Network::start(NetworkConfig {
            nodes: 2,
            seed: 1,
            links: vec![link],
            routes: vec![
                Route {
                    from: 0,
                    to: 1,
                    listen: path("0to1"),
                    dial: path("1"),
                },
                Route {
                    from: 1,
                    to: 0,
                    listen: path("1to0"),
                    dial: path("0"),
                },
            ],
        })
        .unwrap();
        Self { network, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Node 1 listens.
    fn listen(&self) -> UnixListener {
        UnixListener::bind(self.path("1")).unwrap()
    }

    /// Node 0 connects to node 1.
    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path("0to1")).unwrap()
    }

    /// A connection through which a first byte has passed: the listener, node 0's end and node 1's.
    fn established(&self) -> (UnixListener, UnixStream, UnixStream) {
        let listener = self.listen();
        let mut near = self.connect();
        near.write_all(b"a").unwrap();
        let (mut far, _) = listener.accept().unwrap();
        far.read_exact(&mut [0]).unwrap();
        (listener, near, far)
    }

    /// Waits until the network has taken so many bytes from the nodes.
    fn wait_for_bytes(&self, bytes: u64) {
        wait_until("the network reads what was written", || {
            self.network.traffic().total().bytes_read >= bytes
        });
    }

    fn change(&self, change: Change) {
        self.network.change(link(), change);
    }
}

fn link() -> Pair {
    Pair::new(0, 1)
}

fn slow() -> LinkState {
    LinkState::new(LINK_MS, 0)
}

fn fast() -> LinkState {
    LinkState::default()
}

/// Answers every connection with what it sent, until `connections` are over.
fn echo(listener: UnixListener, connections: usize) -> JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..bytes]).is_err() {
                    break;
                }
            }
        }
    })
}

fn numbered(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Waits until something holds; far longer than any machine should need.
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A read that meets the end of the stream or a reset.
fn is_closed(stream: &mut impl Read) -> bool {
    let mut buffer = [0; 64];
    match stream.read(&mut buffer) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn the_first_byte_takes_two_delays_and_an_answer_one_more() {
    let bed = Bed::new(slow());
    let echo = echo(bed.listen(), 1);
    let start = Instant::now();
    let mut stream = bed.connect();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(3 * LINK_MS));
    let second = Instant::now();
    stream.write_all(b"y").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert!(second.elapsed() >= Duration::from_millis(2 * LINK_MS));
    drop(stream);
    echo.join().unwrap();
}

#[test]
fn everything_arrives_in_order_and_is_counted_exactly() {
    let bed = Bed::new(LinkState::new(1, 3));
    let echo = echo(bed.listen(), 1);
    let mut stream = bed.connect();
    let sent = numbered(100_000);
    let writer = {
        let (mut stream, sent) = (stream.try_clone().unwrap(), sent.clone());
        thread::spawn(move || {
            stream.write_all(&sent).unwrap();
            // The end of the stream goes through after the last byte.
            stream.shutdown(Shutdown::Write).unwrap();
        })
    };
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert!(received == sent, "the echo differs");
    writer.join().unwrap();
    echo.join().unwrap();
    let traffic = bed.network.stop().unwrap();
    for (from, to) in [(0, 1), (1, 0)] {
        let direction = traffic.between(from, to);
        assert_eq!(direction.bytes_read, sent.len() as u64);
        assert_eq!(direction.bytes_written, sent.len() as u64);
        assert!(direction.chunks >= sent.len().div_ceil(CHUNK_BYTES) as u64);
    }
    assert_eq!(traffic.total().connections, 1);
    assert_eq!(traffic.total().refused, 0);
}

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    let bed = Bed::new(slow());
    let listener = bed.listen();
    let mut near = bed.connect();
    near.write_all(b"question").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let mut question = String::new();
    far.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question");
    far.write_all(b"answer").unwrap();
    drop(far);
    let mut answer = String::new();
    near.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
}

#[test]
fn a_link_that_is_down_refuses_and_one_that_is_up_again_does_not() {
    let bed = Bed::new(slow());
    let echo = echo(bed.listen(), 1);
    bed.change(Change::Down);
    bed.change(Change::Down);
    bed.change(Change::Up);
    let start = Instant::now();
    let mut refused = bed.connect();
    assert!(is_closed(&mut refused));
    assert!(start.elapsed() >= Duration::from_millis(LINK_MS));
    bed.change(Change::Up);
    let mut accepted = bed.connect();
    accepted.write_all(b"x").unwrap();
    accepted.read_exact(&mut [0]).unwrap();
    drop(accepted);
    echo.join().unwrap();
    let total = bed.network.traffic().total();
    assert_eq!((total.connections, total.refused), (1, 1));
}

#[test]
fn refusals_take_their_turn() {
    let bed = Bed::new(slow());
    bed.change(Change::Down);
    let start = Instant::now();
    let streams: Vec<_> = (0..4).map(|_| bed.connect()).collect();
    for mut stream in streams {
        assert!(is_closed(&mut stream));
    }
    assert!(start.elapsed() >= Duration::from_millis(4 * LINK_MS));
}

#[test]
fn a_far_side_where_nobody_listens_closes_after_two_delays() {
    let bed = Bed::new(slow());
    let start = Instant::now();
    let mut stream = bed.connect();
    stream.write_all(b"hello").unwrap();
    assert!(is_closed(&mut stream));
    assert!(start.elapsed() >= Duration::from_millis(2 * LINK_MS));
    assert_eq!(bed.network.traffic().total().connections, 1);
}

#[test]
fn taking_a_link_down_closes_both_ends_after_a_delay_and_loses_what_was_on_its_way() {
    let bed = Bed::new(slow());
    let (_listener, mut near, mut far) = bed.established();
    // The delay of what follows is longer than the test: it cannot arrive before the down.
    bed.change(Change::Latency(3_600_000));
    near.write_all(b"lost").unwrap();
    bed.wait_for_bytes(5);
    bed.change(Change::Latency(LINK_MS));
    let start = Instant::now();
    bed.change(Change::Down);
    assert!(is_closed(&mut near));
    assert!(is_closed(&mut far));
    assert!(start.elapsed() >= Duration::from_millis(LINK_MS));
    let total = bed.network.traffic().total();
    assert_eq!((total.bytes_read, total.bytes_written), (5, 1));
}

#[test]
fn what_is_on_its_way_when_a_link_goes_down_never_arrives() {
    // A busy machine may be late with the down; then it is tried again with a longer way.
    for way_ms in (6..).map(|power| 1 << power) {
        let bed = Bed::new(fast());
        let (_listener, mut near, mut far) = bed.established();
        let start = Instant::now();
        bed.change(Change::Latency(way_ms));
        near.write_all(b"lost").unwrap();
        bed.wait_for_bytes(5);
        // The ends see the close long after the test; until then they could still be written to.
        bed.change(Change::Latency(3_600_000));
        bed.change(Change::Down);
        // Orders are carried out in their turn: a refusal on a link that is down comes after it.
        bed.change(Change::Latency(0));
        assert!(is_closed(&mut bed.connect()));
        let way = Duration::from_millis(way_ms);
        if start.elapsed() >= way {
            continue;
        }
        far.set_read_timeout(Some(way * 2)).unwrap();
        let read = far.read(&mut [0; 8]).unwrap_err();
        assert_eq!(read.kind(), ErrorKind::WouldBlock);
        break;
    }
}

#[test]
fn a_connect_that_meets_a_down_on_its_way_is_closed() {
    let bed = Bed::new(LinkState::new(3_600_000, 0));
    let _listener = bed.listen();
    let mut near = bed.connect();
    wait_until("the network takes the connection", || {
        bed.network.traffic().total().connections > 0
    });
    bed.change(Change::Latency(1));
    bed.change(Change::Down);
    assert!(is_closed(&mut near));
}

#[test]
fn a_slow_receiver_stops_the_sender() {
    let bed = Bed::new(fast());
    let listener = bed.listen();
    let near = bed.connect();
    let (far, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    let (mut sent, mut blocked) = (0, 0);
    // Until it is blocked whenever it is tried: the kernel's buffers and the pipe are full.
    while blocked < 20 {
        match (&near).write(&[1; CHUNK_BYTES]) {
            Ok(bytes) => {
                sent += bytes;
                blocked = 0;
                assert!(sent < 256 << 20, "nothing stops the sender");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                blocked += 1;
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    let total = bed.network.traffic().total();
    let inside = total.bytes_read.saturating_sub(total.bytes_written);
    assert!(
        inside <= ((UNDER_DELAY + WAITING) * CHUNK_BYTES) as u64,
        "{inside}"
    );
    drop(far);
}

#[test]
fn a_loss_in_one_direction_leaves_the_other_and_ends() {
    let bed = Bed::new(LinkState::new(1, 0));
    let (listener, mut near, mut far) = bed.established();
    bed.change(Change::Loss(0));
    near.write_all(b"b").unwrap();
    far.write_all(b"c").unwrap();
    near.read_exact(&mut [0]).unwrap();
    // A connect needs both directions, and a refusal too: it waits for the end of the loss.
    let mut second = bed.connect();
    far.set_nonblocking(true).unwrap();
    assert_eq!(
        far.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    assert_eq!(bed.network.traffic().between(0, 1).bytes_written, 1);
    bed.change(Change::LossEnd(0));
    far.set_nonblocking(false).unwrap();
    let mut late = [0];
    far.read_exact(&mut late).unwrap();
    assert_eq!(&late, b"b");
    second.write_all(b"d").unwrap();
    listener.accept().unwrap().0.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_limited_bandwidth_takes_its_time() {
    let bed = Bed::new(fast());
    let listener = bed.listen();
    bed.change(Change::Limit(64 * 1024));
    let start = Instant::now();
    let mut near = bed.connect();
    near.write_all(&[0; 8 * 1024]).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    far.read_exact(&mut [0; 8 * 1024]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(125));
}

#[test]
fn broken_connections_leave_the_link_up() {
    let bed = Bed::new(LinkState::new(1, 0));
    let (listener, mut near, mut far) = bed.established();
    bed.change(Change::DropConnections);
    assert!(is_closed(&mut near) && is_closed(&mut far));
    let mut again = bed.connect();
    again.write_all(b"b").unwrap();
    listener.accept().unwrap().0.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_peer_that_dies_is_seen_by_the_other_end_after_what_it_said() {
    let bed = Bed::new(slow());
    let (_listener, mut near, mut far) = bed.established();
    far.write_all(b"last words").unwrap();
    drop(far);
    let mut heard = String::new();
    near.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "last words");
    // Writing to it breaks in the end.
    wait_until("writing breaks", || (&near).write_all(b"?").is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_connections_leak_no_descriptor() {
    // Alone in a process, as other tests open descriptors too.
    const CHILD: &str = "NETWORK_TEST_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ten_thousand_connections_leak_no_descriptor"])
            .env(CHILD, "1")
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let bed = Bed::new(fast());
    let echo = echo(bed.listen(), 10_000);
    let before = open();
    for _ in 0..10_000 {
        let mut stream = bed.connect();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    echo.join().unwrap();
    assert_eq!(bed.network.traffic().total().connections, 10_000);
    // The last few may still be closing.
    wait_until("its descriptors are closed", || open() <= before);
}

#[test]
fn tcp_works_the_same() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(any).unwrap();
    let dial = Endpoint::Tcp(listener.local_addr().unwrap());
    // A port where nobody listens any more.
    let closed = Endpoint::Tcp(TcpListener::bind(any).unwrap().local_addr().unwrap());
    let network = Network::start(NetworkConfig {
        nodes: 2,
        seed: 1,
        links: vec![slow()],
        routes: vec![
            Route {
                from: 0,
                to: 1,
                listen: Endpoint::Tcp(any),
                dial,
            },
            Route {
                from: 1,
                to: 0,
                listen: Endpoint::Tcp(any),
                dial: closed,
            },
        ],
    })
    .unwrap();
    let ports: Vec<SocketAddr> = network
        .routes()
        .iter()
        .map(|route| match route.listen {
            Endpoint::Tcp(address) => address,
            Endpoint::Unix(_) => panic!("not TCP"),
        })
        .collect();
    let start = Instant::now();
    let mut near = TcpStream::connect(ports[0]).unwrap();
    let sent = numbered(20_000);
    near.write_all(&sent).unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let mut received = Vec::new();
    far.read_to_end(&mut received).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(2 * LINK_MS));
    assert!(received == sent);
    assert!(is_closed(&mut TcpStream::connect(ports[1]).unwrap()));
    network.change(link(), Change::Down);
    assert!(is_closed(&mut near) && is_closed(&mut far));
}
