//! Three nodes under everything at once: clients that read and write, kill -9 of random nodes, a limit of
//! memory on one, a full disk on another for a while, and a member that is replaced. At the end no
//! acknowledged write is lost or doubled, and all nodes hold the same.
//!
//! ```sh
//! cargo build --release -p level4 --bin level4 --example kill_run
//! target/release/examples/kill_run --minutes 10 --folder /var/tmp/kill_run
//! ```
//!
//! The disk fills only where this may mount a small file system (as root). The folder keeps what the nodes
//! said, in `N.stderr`.
#![allow(clippy::unwrap_used, reason = "a panic is how it fails")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use common::{Node, eventually, request};
use level4::database::Database;
use level4::machine::{Executor as _, Moment, Saved as _};
use level4::message::Command as Request;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// Kills, starves and replaces nodes under clients, and counts what is left.
#[derive(Parser)]
struct Flags {
    /// How long
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Concurrent clients
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Decides who is killed when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the nodes live [default: a temporary folder, removed at the end]
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Which node has little memory, now and then, and which a small disk.
const SHORT_OF_MEMORY: usize = 1;
const SHORT_OF_DISK: usize = 2;
/// Beyond what the node has when it is limited, bytes.
const MEMORY_LEFT: u64 = 60_000_000;
const DISK: &str = "size=700m";
/// A client's pause between two requests.
const PAUSE: Duration = Duration::from_millis(10);

/// What the clients share.
struct Shared {
    addresses: RwLock<Vec<String>>,
    done: AtomicBool,
    writes: AtomicU64,
    reads: AtomicU64,
    unanswered: AtomicU64,
}

impl Shared {
    fn address(&self, place: usize) -> String {
        let addresses = self.addresses.read().unwrap();
        addresses[place % addresses.len()].clone()
    }

    /// Sends a request to one node after the other until it is answered.
    fn insist(&self, place: usize, path: &str, headers: &str, body: &str) -> String {
        for attempt in 0.. {
            let address = self.address(place + attempt);
            match request(&address, "POST", path, headers, body.as_bytes()) {
                Ok((200, answer)) => return answer,
                Ok((503, _)) | Err(_) => {
                    self.unanswered.fetch_add(1, Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
                Ok((status, answer)) => panic!("{path} {body}: status {status}: {answer}"),
            }
        }
        unreachable!("it tries for ever")
    }

    /// Writes rows, and reads in between that all of them are there; gives how many there are.
    fn client(&self, client: usize) -> u64 {
        let mut rng = ChaCha8Rng::seed_from_u64(client as u64);
        let mut row: u64 = 0;
        while !self.done.load(Relaxed) {
            let place = rng.random_range(0..3);
            if rng.random_bool(0.3) {
                let body =
                    format!(r#"["SELECT count(*), max(row) FROM t WHERE client = {client}"]"#);
                let answer = self.insist(place, "/db/query", "", &body);
                let last = row
                    .checked_sub(1)
                    .map_or("null".to_owned(), |last| last.to_string());
                let expected = format!("[[{row},{last}]]");
                assert!(
                    answer.contains(&expected),
                    "{row} rows of {client}: {answer}"
                );
                self.reads.fetch_add(1, Relaxed);
            } else {
                let sql = format!(
                    "INSERT INTO t VALUES ({client}, {row}, hex(randomblob({}))); \
                     UPDATE counters SET n = n + 1 WHERE client = {client}",
                    rng.random_range(1..100)
                );
                let key = format!("Idempotency-Key: {client}-{row}\r\n");
                let answer = self.insist(place, "/sql", &key, &sql);
                assert!(answer.starts_with("SequenceNumber: "), "{answer}");
                row += 1;
                self.writes.fetch_add(1, Relaxed);
            }
            thread::sleep(PAUSE);
        }
        row
    }

    /// Asks for what needs much memory for a moment.
    fn hungry_client(&self) {
        let sql = "SELECT max(length(z)) FROM (WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 3) \
                   SELECT randomblob(15000000) AS z FROM r ORDER BY z)";
        while !self.done.load(Relaxed) {
            let answer = self.insist(0, "/sql", "", sql);
            assert!(answer.ends_with("\n15000000\n"), "{answer}");
            thread::sleep(Duration::from_secs(2));
        }
    }
}

/// Ends the clients, even if this is dropped by a panic.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// The faults.
struct Chaos<'a> {
    nodes: &'a mut Vec<Node>,
    shared: &'a Shared,
    rng: ChaCha8Rng,
    root: &'a Path,
    has_small_disk: bool,
    kills: u64,
    without_memory: u64,
}

impl Chaos<'_> {
    fn restart(&mut self, place: usize) {
        self.nodes[place].kill();
        self.nodes[place].restart();
        let address = self.nodes[place].address.clone();
        self.shared.addresses.write().unwrap()[place] = address;
    }

    /// Starts again what has ended by itself.
    fn tend(&mut self) {
        for place in 0..self.nodes.len() {
            if self.nodes[place].has_ended() {
                self.without_memory += 1;
                self.restart(place);
            }
        }
    }

    fn wait(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
            self.tend();
        }
    }

    fn limit_memory(&self) {
        let node = &self.nodes[SHORT_OF_MEMORY];
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", node.id())) else {
            return;
        };
        let Some(line) = status.lines().find(|line| line.starts_with("VmSize:")) else {
            return;
        };
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        let limit = Some(kilobytes * 1024 + MEMORY_LEFT);
        let limits = Rlimit {
            current: limit,
            maximum: limit,
        };
        // It may have ended just now.
        let _ = prlimit(Pid::from_raw(node.id() as i32), Resource::As, limits);
    }

    fn fill_disk(&mut self) {
        let ballast = self.root.join(SHORT_OF_DISK.to_string()).join("ballast");
        let filled = Command::new("dd")
            .args(["if=/dev/zero", "bs=1M"])
            .arg(format!("of={}", ballast.display()))
            .stderr(Stdio::null())
            .status();
        println!("the disk of node {SHORT_OF_DISK} is full ({filled:?})");
        self.wait(Duration::from_secs(8));
        std::fs::remove_file(ballast).unwrap();
        println!("it has room again");
    }

    /// A node is gone with its disk, and another one takes its place.
    fn replace(&mut self) {
        println!("node 0 loses its disk and joins as a new one");
        self.nodes[0].kill();
        std::fs::remove_dir_all(self.root.join("0")).unwrap();
        let through = self.nodes[1].address.clone();
        self.nodes[0].join(&through);
        self.restart(0);
        let shared = self.shared;
        let status = || {
            let address = shared.address(0);
            request(&address, "GET", "/cluster/status", "", b"")
                .map_or_else(|_| String::new(), |reply| reply.1)
        };
        // Until it votes nobody else may be killed: two of three have to be there.
        let end = Instant::now() + Duration::from_secs(120);
        while !status().contains("\"voter\":true,\"replicas\"") {
            assert!(
                Instant::now() < end,
                "the new member does not vote: {}",
                status()
            );
            self.wait(Duration::from_millis(100));
        }
    }

    fn act(&mut self) {
        match self.rng.random_range(0..10) {
            0..6 => {
                let place = self.rng.random_range(0..3);
                self.kills += 1;
                self.nodes[place].kill();
                thread::sleep(Duration::from_millis(self.rng.random_range(0..1500)));
                self.restart(place);
            }
            6 => {
                // All at once.
                for place in 0..3 {
                    self.kills += 1;
                    self.nodes[place].kill();
                }
                for place in 0..3 {
                    self.restart(place);
                }
            }
            7 | 8 => self.limit_memory(),
            _ if self.has_small_disk => self.fill_disk(),
            _ => {}
        }
    }
}

/// A small file system, where one may be mounted.
fn mount(at: &Path) -> bool {
    std::fs::create_dir_all(at).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", DISK, "level4-kill-run"])
        .arg(at)
        .stderr(Stdio::null())
        .status();
    mounted.is_ok_and(|status| status.success())
}

/// A digest of what a node holds, schema and all rows.
fn digest(node: &Node) -> u64 {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let fetched = Command::new("curl")
        .args(["-sf", &format!("http://{}/db/backup", node.address)])
        .stdout(file.reopen().unwrap())
        .status();
    assert!(fetched.unwrap().success(), "no backup of {}", node.address);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(file.as_file_mut(), &mut bytes).unwrap();
    let mut database = Database::new().unwrap();
    let moment = Moment {
        time_ms: 0,
        seed: 0,
    };
    database
        .execute(moment, &Request::Load(bytes.into()))
        .unwrap();
    Database::digest(&database.save().to_bytes().unwrap()).unwrap()
}

/// Three nodes, one of them with a small disk where there may be one.
fn start(root: &Path) -> (Vec<Node>, bool) {
    let has_small_disk = mount(&root.join(SHORT_OF_DISK.to_string()));
    if !has_small_disk {
        println!("no small file system can be mounted here: no disk will be full");
    }
    let mut nodes: Vec<Node> = Vec::new();
    for place in 0..3 {
        let join = nodes.first().map(|node| format!("--join={}", node.address));
        let more: Vec<&str> = join.as_deref().into_iter().chain(["--verbose"]).collect();
        let folder = root.join(place.to_string());
        let node = Node::start_logged(&folder, "127.0.0.1:0", &more);
        nodes.push(node);
    }
    for node in &nodes {
        node.wait_for_members(3);
    }
    (nodes, has_small_disk)
}

/// Every row of every client once, and as many counted, on every node.
fn check(nodes: &[Node], rows: &[u64]) {
    for node in nodes {
        for (client, rows) in rows.iter().enumerate() {
            let body = format!(
                r#"["SELECT count(*), count(DISTINCT row), (SELECT n FROM counters WHERE client = {client}) FROM t WHERE client = {client}"]"#
            );
            let answer = request(&node.address, "POST", "/db/query", "", body.as_bytes())
                .unwrap()
                .1;
            let expected = format!("[[{rows},{rows},{rows}]]");
            assert!(
                answer.contains(&expected),
                "client {client} at {}: {answer} instead of {expected}",
                node.address
            );
        }
    }
    let digests: Vec<u64> = nodes.iter().map(digest).collect();
    println!("digests of the contents: {digests:016x?}");
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "the nodes differ"
    );
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let temporary = tempfile::tempdir().unwrap();
    let root = flags.folder.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&root).unwrap();
    let (mut nodes, has_small_disk) = start(&root);
    nodes[0].sql("CREATE TABLE t (client, row, text, UNIQUE (client, row)); CREATE TABLE counters (client PRIMARY KEY, n)");
    for client in 0..flags.clients {
        nodes[0].sql(&format!("INSERT INTO counters VALUES ({client}, 0)"));
    }
    let shared = Shared {
        addresses: RwLock::new(nodes.iter().map(|node| node.address.clone()).collect()),
        done: AtomicBool::new(false),
        writes: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        unanswered: AtomicU64::new(0),
    };
    let length = Duration::from_secs_f64(60.0 * flags.minutes);
    let rows: Vec<u64> = thread::scope(|scope| {
        let shared = &shared;
        let ends = Ends(&shared.done);
        let clients: Vec<_> = (0..flags.clients)
            .map(|client| scope.spawn(move || shared.client(client)))
            .collect();
        scope.spawn(|| shared.hungry_client());
        let mut chaos = Chaos {
            nodes: &mut nodes,
            shared,
            rng: ChaCha8Rng::seed_from_u64(flags.seed),
            root: &root,
            has_small_disk,
            kills: 0,
            without_memory: 0,
        };
        let (start, mut told, mut replaced) = (Instant::now(), Instant::now(), false);
        while start.elapsed() < length {
            chaos.act();
            let pause = Duration::from_millis(chaos.rng.random_range(300..3_000));
            chaos.wait(pause);
            if !replaced && start.elapsed() >= length / 2 {
                replaced = true;
                chaos.replace();
            }
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                let (writes, reads) = (shared.writes.load(Relaxed), shared.reads.load(Relaxed));
                println!(
                    "{} s: {writes} writes and {reads} reads were answered",
                    start.elapsed().as_secs()
                );
            }
        }
        // Without limits, so that all of them can end what they are at.
        for place in 0..3 {
            chaos.restart(place);
        }
        println!(
            "{} kills; {} times a node ended by itself",
            chaos.kills, chaos.without_memory
        );
        drop(ends);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    eventually(|| {
        nodes
            .iter()
            .all(|node| node.get("/readyz").contains("[+]leader"))
    });
    let (writes, reads) = (shared.writes.into_inner(), shared.reads.into_inner());
    println!(
        "{writes} writes and {reads} reads, {} attempts unanswered",
        shared.unanswered.into_inner()
    );
    check(&nodes, &rows);
    println!("nothing is lost, nothing is doubled");
    drop(nodes);
    if has_small_disk {
        let disk = root.join(SHORT_OF_DISK.to_string());
        let _ = Command::new("umount").arg("-l").arg(disk).status();
    }
    ExitCode::SUCCESS
}
