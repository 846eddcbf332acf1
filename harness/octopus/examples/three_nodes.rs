//! Three processes of this very program on a flaky network: each knows its own name at first, and
//! tells all the names that it knows to the others, again and again. Links go down, connections
//! break, nodes are killed and forget everything. Once the network has healed everybody must know
//! everybody.
//!
//! `cargo run -p octopus --example three_nodes` shows it; `cargo test -p octopus` runs it as a test.

use std::{
    collections::BTreeSet,
    error::Error,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use octopus::{
    Config, Event, Intensity, Monkey, MonkeySettings, NodeSpec, Octopus, Place, Progress,
    Transport, WorkDir,
};

const NODES: usize = 3;

/// How long a healed network may take; far more than it does, since machines may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    // First of all: the watcher, which cleans up should this process be killed, is this program too.
    let _watched = octopus::watcher::enable();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [command, name, peers @ ..] if command == "node" => node(name, peers),
        _ => simulate(),
    }
}

fn simulate() -> Result<(), Box<dyn Error>> {
    let workdir = WorkDir::temporary()?;
    let config = Config {
        nodes: NODES,
        seed: 7,
        duration: Duration::from_secs(3),
        monkeys: MonkeySettings {
            enabled: [
                Monkey::Link,
                Monkey::Oneway,
                Monkey::Reconnect,
                Monkey::Murder,
            ]
            .into(),
            intensity: Intensity::Fixed(1.0),
            offset_scale: 0.0,
            gap_scale: 0.05,
            scripts: Vec::new(),
            flaky_clients: false,
        },
        transport: Transport::Unix,
        disk_bytes: None,
        echo: None,
        scripts: Vec::new(),
        limits: octopus::NodeLimits::default(),
    };
    let program = std::env::current_exe()?;
    let mut octopus = Octopus::new(&config, workdir.path(), |place| NodeSpec {
        program: program.clone(),
        arguments: arguments(place),
        folder: place.folder.clone(),
    })?;
    octopus.start()?;
    octopus.start_monkeys(Progress::default)?;
    while octopus.log().elapsed() < config.duration {
        octopus.check()?;
        assert!(octopus.exited()?.is_empty(), "a node ended by itself");
        thread::sleep(Duration::from_millis(20));
    }
    octopus.heal();
    let healed = Instant::now();
    for node in 0..NODES {
        while last_words(workdir.path(), node) != "knows 0 1 2" {
            assert!(healed.elapsed() < PATIENCE, "node {node} never knew all");
            thread::sleep(Duration::from_millis(20));
        }
    }
    let acts = octopus.log().count(|event| matches!(event, Event::Act(_)));
    let traffic = octopus.stop()?.total();
    println!(
        "everybody knows everybody after {acts} beginnings and ends of acts, {} connections, {} \
         refused",
        traffic.connections, traffic.refused
    );
    Ok(())
}

/// `node NAME ADDRESS…`: its own name, and where it finds the others.
fn arguments(place: &Place) -> Vec<std::ffi::OsString> {
    let mut arguments = vec!["node".into(), place.node.to_string().into()];
    arguments.extend(place.peers.iter().map(|(_, at)| at.to_string().into()));
    arguments
}

/// The last whole line that a node has printed.
fn last_words(root: &Path, node: usize) -> String {
    let log = fs::read_to_string(root.join(format!("node{node}.log"))).unwrap_or_default();
    log.lines().last().unwrap_or_default().to_owned()
}

/// A node, in the folder that is its own.
fn node(name: &str, peers: &[String]) -> Result<(), Box<dyn Error>> {
    let known = Arc::new(Mutex::new(BTreeSet::from([name.to_owned()])));
    let socket = format!("node{name}.sock");
    // It may be there from the time before it was killed.
    let _first_start = fs::remove_file(&socket);
    let listener = UnixListener::bind(socket)?;
    for peer in peers {
        let (peer, known) = (peer.clone(), Arc::clone(&known));
        thread::spawn(move || {
            loop {
                // Whatever breaks it, it connects again.
                let _broken = tell(&peer, &known);
                thread::sleep(Duration::from_millis(10));
            }
        });
    }
    for stream in listener.incoming() {
        let (stream, known) = (stream?, Arc::clone(&known));
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let before = known.len();
                known.extend(line.split(' ').map(str::to_owned));
                if known.len() > before {
                    println!("knows {}", joined(&known));
                }
            }
        });
    }
    Ok(())
}

/// Tells a peer all the names, until the connection breaks.
fn tell(peer: &str, known: &Mutex<BTreeSet<String>>) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(peer)?;
    loop {
        let names = joined(&known.lock().unwrap_or_else(PoisonError::into_inner));
        stream.write_all(format!("{names}\n").as_bytes())?;
        thread::sleep(Duration::from_millis(50));
    }
}

fn joined(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(" ")
}
