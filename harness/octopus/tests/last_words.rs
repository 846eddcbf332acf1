//! What a node says before it closes arrives, whatever it has left unread, over unix sockets and
//! TCP: closes, resets, half-closes, losses, limits, and much to say.
#![allow(clippy::unwrap_used)] // In the helpers of tests too, a surprise is a failed test.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::{Duration, Instant},
};

use octopus::{Change, Endpoint, LinkState, Network, NetworkConfig, Pair, Route, WorkDir};

const ROUNDS: usize = 40;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    fn accept(&self) -> Box<dyn Stream> {
        match self {
            Self::Unix(listener) => Box::new(listener.accept().unwrap().0),
            Self::Tcp(listener) => Box::new(listener.accept().unwrap().0),
        }
    }
}

/// Two nodes, of which node 1 connects to node 0.
struct Bed {
    network: Network,
    listener: Listener,
    _folder: WorkDir,
}

impl Bed {
    fn new(tcp: bool, link: LinkState) -> Self {
        let folder = WorkDir::temporary().unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (listener, dial) = if tcp {
            let listener = TcpListener::bind(any).unwrap();
            let dial = Endpoint::Tcp(listener.local_addr().unwrap());
            (Listener::Tcp(listener), dial)
        } else {
            let path = folder.path().join("0");
            (
                Listener::Unix(UnixListener::bind(&path).unwrap()),
                Endpoint::Unix(path),
            )
        };
        let listen = if tcp {
            Endpoint::Tcp(any)
        } else {
            Endpoint::Unix(folder.path().join("1to0"))
        };
        let network = Network::start(NetworkConfig {
            nodes: 2,
            seed: 1,
            links: vec![link],
            routes: vec![Route {
                from: 1,
                to: 0,
                listen,
                dial,
            }],
        })
        .unwrap();
        Self {
            network,
            listener,
            _folder: folder,
        }
    }

    fn connect(&self) -> Box<dyn Stream> {
        match &self.network.routes()[0].listen {
            Endpoint::Unix(path) => Box::new(UnixStream::connect(path).unwrap()),
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                // What waits for an acknowledgement is lost with a reset, on any network.
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
        }
    }

    /// Node 1's end and node 0's, with a first byte through in each direction.
    fn established(&self) -> (Box<dyn Stream>, Box<dyn Stream>) {
        let mut one = self.connect();
        one.write_all(b"a").unwrap();
        let mut zero = self.listener.accept();
        zero.read_exact(&mut [0]).unwrap();
        zero.write_all(b"b").unwrap();
        one.read_exact(&mut [0]).unwrap();
        (one, zero)
    }
}

/// All that comes until the end, of whatever kind it is.
fn hear(stream: &mut impl Read) -> Vec<u8> {
    let mut heard = Vec::new();
    let _end_or_reset = stream.read_to_end(&mut heard);
    heard
}

fn links() -> [LinkState; 3] {
    [
        LinkState::default(),
        LinkState::new(3, 0),
        LinkState::new(2, 4),
    ]
}

fn everywhere(check: impl Fn(&Bed)) {
    for tcp in [false, true] {
        for link in links() {
            check(&Bed::new(tcp, link));
        }
    }
}

#[test]
fn a_node_that_leaves_a_line_unread_and_closes_is_heard() {
    everywhere(|bed| {
        for _ in 0..ROUNDS {
            let (mut one, mut zero) = bed.established();
            zero.write_all(b"a line that nobody reads\n").unwrap();
            one.write_all(b"bye").unwrap();
            drop(one);
            assert_eq!(hear(&mut zero), b"bye");
        }
    });
}

#[test]
fn so_is_one_that_connects_says_one_word_and_leaves() {
    everywhere(|bed| {
        for _ in 0..ROUNDS {
            let mut one = bed.connect();
            one.write_all(b"bye").unwrap();
            drop(one);
            let mut zero = bed.listener.accept();
            assert_eq!(hear(&mut zero), b"bye");
        }
    });
}

#[test]
fn a_node_that_goes_on_talking_to_one_that_left_still_hears_all() {
    everywhere(|bed| {
        let (mut one, mut zero) = bed.established();
        let said = vec![7; 60_000];
        let speaker = {
            let said = said.clone();
            thread::spawn(move || one.write_all(&said).unwrap())
        };
        let mut heard = Vec::new();
        let mut buffer = [0; 500];
        while let Ok(bytes @ 1..) = zero.read(&mut buffer) {
            heard.extend(&buffer[..bytes]);
            // The other end is closed some time, and cannot hear this.
            let _gone = zero.write_all(b"go on");
        }
        speaker.join().unwrap();
        // Over TCP its own words bring a reset once the other has closed, as without a network.
        assert!(said.starts_with(&heard));
        if matches!(bed.listener, Listener::Unix(_)) {
            assert_eq!(heard.len(), said.len());
        }
    });
}

#[test]
fn a_loss_and_a_limit_hold_the_end_back_behind_the_words() {
    everywhere(|bed| {
        let pair = Pair::new(0, 1);
        let (mut one, mut zero) = bed.established();
        bed.network.change(pair, Change::Loss(1));
        bed.network.change(pair, Change::Limit(1 << 20));
        zero.write_all(b"unread").unwrap();
        one.write_all(&[1; 5000]).unwrap();
        one.write_all(b"bye").unwrap();
        drop(one);
        bed.network.change(pair, Change::AddSpike(5));
        bed.network.change(pair, Change::LossEnd(1));
        bed.network.change(pair, Change::RemoveSpike(5));
        let heard = hear(&mut zero);
        bed.network.change(pair, Change::LiftLimit(1 << 20));
        assert_eq!(heard.len(), 5003);
        assert!(heard.ends_with(b"bye"));
    });
}

#[test]
fn what_was_delivered_before_a_down_stays_readable() {
    everywhere(|bed| {
        let pair = Pair::new(0, 1);
        let (mut one, mut zero) = bed.established();
        one.write_all(b"before").unwrap();
        let delivered = || bed.network.traffic().between(1, 0).bytes_written;
        let start = Instant::now();
        while delivered() < 7 {
            assert!(start.elapsed() < Duration::from_secs(120));
            thread::sleep(Duration::from_millis(1));
        }
        // Unread by the network's end, which makes a reset of its close.
        zero.write_all(&[0; 5000]).unwrap();
        bed.network.change(pair, Change::Down);
        assert_eq!(hear(&mut zero), b"before");
        bed.network.change(pair, Change::Up);
    });
}
