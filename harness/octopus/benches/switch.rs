//! What does the network between machines carry, and does it keep its times?
//!
//! - *Packets*: datagrams of 64 bytes through a link without delay, as many as get through.
//! - *Throughput*: one TCP connection through a link without delay, packet by packet (MTU 1,500), and with
//!   segments of up to 64 KiB (offload); beside it the same connection over the loopback device, the bound.
//! - *Delay error*: datagrams at a steady rate through a link of 20 ms; how much later than 20 ms each is in the
//!   receiver's hands. That includes both kernels and waking the receiver up.
//!
//! As root, on Linux: `cargo bench -p octopus --bench switch`
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run has to stop"
)]

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use octopus::{
    Change, Config, Error, Machine, MachineAddress, MachineSettings, MonkeySettings, NodePlan,
    Octopus, Pair, Place, Transport, WorkDir,
};

const LATENCY: Duration = Duration::from_millis(20);
const SECONDS: u64 = 3;
const VOLUME: usize = 1 << 30;
const ROUNDS: usize = 3;

fn main() {
    // Cargo passes `--bench`; with `--test` nothing is to be measured.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let Some((octopus, _root)) = machines(false) else {
        return;
    };
    let best = |run: &dyn Fn() -> f64| (0..ROUNDS).map(|_| run()).fold(0.0, f64::max);
    println!("through a link without delay, best of {ROUNDS}");
    delay(&octopus, 0);
    println!(
        "{:>34} {:9.0}",
        "datagrams of 64 bytes a second",
        best(&|| packets(&octopus))
    );
    let plain = best(&|| stream(&octopus, 0, VOLUME / 4));
    println!("{:>34} {plain:9.0}", "TCP, MB/s");
    let loopback = best(&|| stream(&octopus, 1, VOLUME));
    println!("{:>34} {loopback:9.0}", "TCP over loopback, MB/s");
    delay(&octopus, LATENCY.as_millis() as u64);
    println!("delay error at a link of 20 ms, microseconds");
    for per_second in [500, 4000, 16_000] {
        delay_error(&octopus, per_second);
    }
    drop(octopus);
    let Some((octopus, _root)) = machines(true) else {
        return;
    };
    delay(&octopus, 0);
    println!(
        "{:>34} {:9.0}",
        "TCP with offload, MB/s",
        best(&|| stream(&octopus, 0, VOLUME))
    );
}

fn machines(offload: bool) -> Option<(Octopus, WorkDir)> {
    let config = Config {
        nodes: 2,
        seed: 1,
        duration: Duration::from_secs(1),
        monkeys: MonkeySettings {
            enabled: BTreeSet::new(),
            ..MonkeySettings::default()
        },
        transport: Transport::Machines(MachineSettings {
            offload,
            ..MachineSettings::default()
        }),
        disk_bytes: None,
        echo: None,
        scripts: Vec::new(),
        limits: octopus::NodeLimits::default(),
    };
    let root = WorkDir::temporary().unwrap();
    let plan = |place: &Place| NodePlan::in_folder(place.folder.clone());
    match Octopus::new(&config, root.path(), plan) {
        Ok(octopus) => {
            octopus.network().change(Pair::new(0, 1), Change::Jitter(0));
            Some((octopus, root))
        }
        Err(Error::NoMachines(why)) => {
            println!("SKIPPED: {why}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn delay(octopus: &Octopus, ms: u64) {
    octopus
        .network()
        .change(Pair::new(0, 1), Change::Latency(ms));
}

fn on<T: Send + 'static>(
    machine: Option<&Arc<Machine>>,
    job: impl FnOnce() -> T + Send + 'static,
) -> T {
    machine.unwrap().run(job).unwrap()
}

fn node_1() -> SocketAddr {
    (MachineAddress::of_node(1).v4, 4000).into()
}

fn datagram_ends(octopus: &Octopus) -> (UdpSocket, UdpSocket) {
    let far = on(octopus.machine(1), || UdpSocket::bind(node_1()).unwrap());
    let near = on(octopus.machine(0), || UdpSocket::bind("0.0.0.0:0").unwrap());
    near.connect(node_1()).unwrap();
    far.set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    (near, far)
}

/// Datagrams a second that arrive while one thread sends without a pause.
fn packets(octopus: &Octopus) -> f64 {
    let (near, far) = datagram_ends(octopus);
    let before = octopus.network().traffic().between(0, 1).chunks;
    let begin = Instant::now();
    let sender = thread::spawn(move || {
        while begin.elapsed() < Duration::from_secs(SECONDS) {
            for _ in 0..100 {
                // What there is no room for is lost.
                let _lost = near.send(&[7; 64]);
            }
        }
    });
    let receiver = thread::spawn(move || while far.recv(&mut [0; 64]).is_ok() {});
    sender.join().unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    let carried = octopus.network().traffic().between(0, 1).chunks - before;
    receiver.join().unwrap();
    carried as f64 / seconds
}

/// MB/s of one connection from a node to node 1.
fn stream(octopus: &Octopus, from: usize, volume: usize) -> f64 {
    let listener = on(octopus.machine(1), || TcpListener::bind(node_1()).unwrap());
    let mut near = on(octopus.machine(from), || {
        TcpStream::connect(node_1()).unwrap()
    });
    let (mut far, _) = listener.accept().unwrap();
    let begin = Instant::now();
    let writer = thread::spawn(move || {
        let block = vec![7; 256 * 1024];
        for _ in 0..volume / block.len() {
            near.write_all(&block).unwrap();
        }
    });
    let mut buffer = vec![0; 256 * 1024];
    let mut left = volume;
    while left > 0 {
        left -= far.read(&mut buffer).unwrap().min(left);
    }
    writer.join().unwrap();
    volume as f64 / 1e6 / begin.elapsed().as_secs_f64()
}

/// Sends datagrams with their time in them, and shows how late they are.
fn delay_error(octopus: &Octopus, per_second: u32) {
    let (near, far) = datagram_ends(octopus);
    let origin = Instant::now();
    let receiver = thread::spawn(move || {
        let mut late = Vec::new();
        let mut datagram = [0; 64];
        while far.recv(&mut datagram).is_ok() {
            let now = origin.elapsed().as_nanos() as u64;
            let sent = u64::from_le_bytes(datagram[..8].try_into().unwrap());
            late.push((now - sent).saturating_sub(LATENCY.as_nanos() as u64) / 1000);
        }
        late
    });
    let pause = Duration::from_secs(1) / per_second;
    for tick in 0..per_second * SECONDS as u32 {
        if let Some(rest) = (pause * tick).checked_sub(origin.elapsed()) {
            thread::sleep(rest);
        }
        let mut datagram = [0; 64];
        datagram[..8].copy_from_slice(&(origin.elapsed().as_nanos() as u64).to_le_bytes());
        near.send(&datagram).unwrap();
    }
    let mut late = receiver.join().unwrap();
    late.sort_unstable();
    let percentile = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    println!(
        "{per_second:>6} a second: median {:>4}, p90 {:>4}, p99 {:>5}, most {:>6} ({} arrived)",
        percentile(0.5),
        percentile(0.9),
        percentile(0.99),
        percentile(1.0),
        late.len(),
    );
}
