//! Does the network keep its times, and what does it carry?
//!
//! - *Delay error*: small chunks at a steady rate through a link of 20 ms; how much later than
//!   20 ms each is in the receiver's hands. That includes waking the receiver up, so it is an upper
//!   bound of the network's own error.
//! - *Throughput*: one connection through a link without delay, against a plain loop that copies
//!   between two sockets, in chunks of the same size and in large ones. All in one run.
//!
//! `cargo bench -p octopus --bench network`
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run has to stop"
)]

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use octopus::{CHUNK_BYTES, Endpoint, LinkState, Network, NetworkConfig, Route};

const LATENCY: Duration = Duration::from_millis(20);
const SECONDS: u64 = 4;
const VOLUME: usize = 256 << 20;
const ROUNDS: usize = 3;

fn main() {
    // Cargo passes `--bench`; with `--test` nothing is to be measured.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("delay error at a link of 20 ms, microseconds");
    for (connections, per_second) in [(1, 500), (8, 500), (32, 500)] {
        delay_error(connections, per_second);
    }
    println!("throughput of one connection, MB/s, best of {ROUNDS}");
    let best = |run: &dyn Fn() -> f64| (0..ROUNDS).map(|_| run()).fold(0.0, f64::max);
    let network = best(&through_network);
    println!("{:>28} {network:8.0}", "network without delay");
    for (name, size) in [
        ("plain copy, 1 KiB chunks", CHUNK_BYTES),
        ("64 KiB chunks", 64 * 1024),
    ] {
        let copy = best(&|| through_copy(size));
        println!(
            "{name:>28} {copy:8.0}  (network: {:.2} of it)",
            network / copy
        );
    }
}

fn start(folder: &Path, link: LinkState) -> Network {
    let path = |name: &str| Endpoint::Unix(folder.join(name));
    let route = |from, to, listen, dial| Route {
        from,
        to,
        listen: path(listen),
        dial: path(dial),
    };
    Network::start(NetworkConfig {
        nodes: 2,
        seed: 1,
        links: vec![link],
        routes: vec![route(0, 1, "0to1", "1"), route(1, 0, "1to0", "0")],
    })
    .unwrap()
}

/// Sends chunks with their time in them, and shows how late they are.
fn delay_error(connections: usize, per_second: u64) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("1")).unwrap();
    let link = LinkState::new(LATENCY.as_millis() as u64, 0);
    let network = start(folder.path(), link);
    let origin = Instant::now();
    let mut receivers = Vec::new();
    let mut senders: Vec<UnixStream> = Vec::new();
    for _ in 0..connections {
        senders.push(UnixStream::connect(folder.path().join("0to1")).unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        receivers.push(thread::spawn(move || {
            let mut late = Vec::new();
            let mut chunk = [0; 64];
            while stream.read_exact(&mut chunk).is_ok() {
                let now = origin.elapsed().as_nanos() as u64;
                let sent = u64::from_le_bytes(chunk[..8].try_into().unwrap());
                late.push((now - sent).saturating_sub(LATENCY.as_nanos() as u64) / 1000);
            }
            late
        }));
    }
    let ticks = per_second * SECONDS;
    let pause = Duration::from_secs(1) / per_second as u32;
    let begin = Instant::now();
    for tick in 0..ticks {
        for (number, sender) in senders.iter_mut().enumerate() {
            // Spread over the tick, as independent nodes would be.
            let at = pause * tick as u32 + pause * number as u32 / connections as u32;
            if let Some(rest) = at.checked_sub(begin.elapsed()) {
                thread::sleep(rest);
            }
            let mut chunk = [0; 64];
            chunk[..8].copy_from_slice(&(origin.elapsed().as_nanos() as u64).to_le_bytes());
            sender.write_all(&chunk).unwrap();
        }
    }
    drop(senders);
    let mut late: Vec<u64> = receivers
        .into_iter()
        .flat_map(|r| r.join().unwrap())
        .collect();
    late.sort_unstable();
    let percentile = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    println!(
        "{:>6} chunks/s: median {:>4}, p90 {:>4}, p99 {:>5}, most {:>6} ({} chunks)",
        connections as u64 * per_second,
        percentile(0.5),
        percentile(0.9),
        percentile(0.99),
        percentile(1.0),
        network.stop().unwrap().total().chunks,
    );
}

/// Sends the volume to a sink; MB/s.
fn pour(mut into: UnixStream, listener: &UnixListener) -> f64 {
    let (mut sink, _) = listener.accept().unwrap();
    let begin = Instant::now();
    let writer = thread::spawn(move || {
        let block = vec![7; 64 * 1024];
        for _ in 0..VOLUME / block.len() {
            into.write_all(&block).unwrap();
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    let mut left = VOLUME;
    while left > 0 {
        left -= sink.read(&mut buffer).unwrap();
    }
    writer.join().unwrap();
    VOLUME as f64 / 1e6 / begin.elapsed().as_secs_f64()
}

fn through_network() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("1")).unwrap();
    let _network = start(folder.path(), LinkState::default());
    pour(
        UnixStream::connect(folder.path().join("0to1")).unwrap(),
        &listener,
    )
}

fn through_copy(chunk: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("far")).unwrap();
    let middle = UnixListener::bind(folder.path().join("middle")).unwrap();
    let far = folder.path().join("far");
    let copier = thread::spawn(move || {
        let (mut from, _) = middle.accept().unwrap();
        let mut to = UnixStream::connect(far).unwrap();
        let mut buffer = vec![0; chunk];
        while let Ok(bytes @ 1..) = from.read(&mut buffer) {
            to.write_all(&buffer[..bytes]).unwrap();
        }
    });
    let rate = pour(
        UnixStream::connect(folder.path().join("middle")).unwrap(),
        &listener,
    );
    copier.join().unwrap();
    rate
}
