//! How long a node that has applied a million entries takes from its start to its first answer; and what a
//! database of some size costs, in memory and on disk.
//!
//! ```sh
//! cargo bench -p level4 --bench restart
//! cargo bench -p level4 --bench restart -- --mib 2000
//! ```
//!
//! The folder is written through the crate's own log and state machine, with the node's rules for
//! snapshots: one INSERT an entry, and nearly as many entries after the last snapshot as there can be.
//! Then the real binary is started on it, killed, and started again.

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use common::Node;
use level4::Identity;
use level4::consensus::{Apply, Members, Persist, founding_entry};
use level4::database::Database;
use level4::ids::{ClusterId, Incarnation, Index, NodeId, Term};
use level4::log::{Folder, Log};
use level4::machine::Machine;
use level4::message::{Batch, Command, Request, RequestId};
use level4::{SNAPSHOT_EVERY, SNAPSHOT_KEEP};
use raft::eraftpb::{ConfState, Entry, HardState};

/// Not a multiple of the distance between snapshots: some entries have to be applied again.
const ENTRIES: u64 = 1_049_000;
/// Entries of one record of the log.
const GROUP: u64 = 1_000;
const STARTS: usize = 5;
const NODE: NodeId = NodeId::new(1);
const TERM: Term = Term::new(1);

/// Measures restarts, or a database of some size.
#[derive(Parser)]
struct Flags {
    /// Measure a database of so many MiB of rows, in memory and on disk
    #[arg(long)]
    mib: Option<u64>,
    /// With --mib, only on disk: it may be larger than the memory
    #[arg(long, requires = "mib")]
    disk_only: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn insert(index: u64) -> Entry {
    let sql = match index {
        2 => "CREATE TABLE t (id INTEGER PRIMARY KEY, text)".to_owned(),
        _ => format!("INSERT INTO t (text) VALUES ('row of entry {index}')"),
    };
    let id = RequestId {
        node: NODE,
        incarnation: Incarnation::new(1),
        counter: index,
    };
    let batch = Batch {
        time_ms: 1_700_000_000_000,
        requests: vec![Request {
            id,
            floor: index,
            key: None,
            command: Command::Shell(sql.into()),
        }],
    };
    Entry {
        index,
        term: TERM.get(),
        data: batch.encode().into(),
        ..Entry::default()
    }
}

fn fill(folder: &Path) -> anyhow::Result<()> {
    let identity = Identity {
        node: NODE,
        cluster: ClusterId::new(1),
        incarnation: Incarnation::new(1),
        has_log: true,
    };
    identity.save(folder)?;
    let (mut log, _) = Log::open(Folder::open(folder.join("log"))?)?;
    let mut machine = Machine::new(Database::new()?);
    let hard_state = |commit| {
        Some(HardState {
            term: TERM.get(),
            commit,
            ..HardState::default()
        })
    };
    log.append(&[Persist {
        entries: vec![founding_entry(NODE, "restart")],
        hard_state: hard_state(1),
        ..Persist::default()
    }])?;
    machine.apply(Apply::Members {
        index: Index::new(1),
        term: TERM,
        conf_state: ConfState {
            voters: vec![NODE.get()],
            ..ConfState::default()
        },
        members: Members::from([(NODE, "restart".to_owned())]),
    })?;
    let mut snapshotted = 0;
    let mut first = 2;
    while first <= ENTRIES {
        let last = (first + GROUP - 1).min(ENTRIES);
        let entries: Vec<Entry> = (first..=last).map(insert).collect();
        for entry in &entries {
            machine.apply(Apply::Batch {
                index: Index::new(entry.index),
                term: TERM,
                data: entry.data.clone(),
            })?;
        }
        log.append(&[Persist {
            entries,
            hard_state: hard_state(last),
            ..Persist::default()
        }])?;
        if last >= snapshotted + SNAPSHOT_EVERY {
            snapshotted = last;
            log.save_snapshot(&machine.snapshot()?)?;
            log.compact(Index::new(last - SNAPSHOT_KEEP))?;
        }
        first = last + 1;
    }
    Ok(())
}

/// A client's connection, which stays.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(node: &Node) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&node.address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn post(&mut self, path: &str, body: &str) -> anyhow::Result<String> {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: level4\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let body = String::from_utf8(body)?;
        ensure!(!body.contains("\"error\""), "{body}");
        Ok(body)
    }
}

/// A line of the process's status, in MiB.
fn memory(node: &Node, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.context("no such line")?;
    let number = line.trim_start_matches(':').trim().split(' ').next();
    Ok(number.unwrap_or_default().parse::<u64>()? / 1024)
}

/// Rows of a KiB in one request of the filling.
const ROWS: u64 = 8_192;
/// How long reads are measured.
const READS: Duration = Duration::from_secs(3);

/// Point reads a second by two clients, of rows in the first `share` hundredths.
fn reads(node: &Node, rows: u64, share: u64) -> anyhow::Result<f64> {
    let done = AtomicBool::new(false);
    let begun = Instant::now();
    let count = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|place| {
                let done = &done;
                scope.spawn(move || -> anyhow::Result<u64> {
                    let mut client = Client::new(node)?;
                    let (mut count, mut row) = (0, place);
                    while !done.load(Relaxed) {
                        row = (row * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407)
                            % (rows * share / 100).max(1);
                        let body = format!(
                            "[[\"SELECT length(body) FROM t WHERE id = ?\", {}]]",
                            row + 1
                        );
                        client.post("/db/query?level=none", &body)?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        std::thread::sleep(READS);
        done.store(true, Relaxed);
        let counts = clients.into_iter().map(|client| {
            let count = client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))?;
            count.map(|count| count as f64)
        });
        counts.sum::<anyhow::Result<f64>>()
    })?;
    Ok(count / begun.elapsed().as_secs_f64())
}

/// Does `work` while one client writes and another one reads; gives what comes of it, how long it takes, and the
/// slowest write.
fn under_load<T>(
    node: &Node,
    rows: u64,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Duration, Duration)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> anyhow::Result<Duration> {
            let mut client = Client::new(node)?;
            let mut slowest = Duration::ZERO;
            while !done.load(Relaxed) {
                let begun = Instant::now();
                client.post("/db/execute", "[\"UPDATE n SET a = a + 1\"]")?;
                slowest = slowest.max(begun.elapsed());
            }
            Ok(slowest)
        });
        let reader = scope.spawn(|| -> anyhow::Result<()> {
            let mut client = Client::new(node)?;
            while !done.load(Relaxed) {
                let body = format!(
                    "[[\"SELECT max(length(body)) FROM t WHERE id < ?\", {}]]",
                    rows.min(100_000) / 10
                );
                client.post("/db/query?level=none&budget=100", &body)?;
            }
            Ok(())
        });
        let begun = Instant::now();
        let worked = work();
        let took = begun.elapsed();
        done.store(true, Relaxed);
        let slowest = writer
            .join()
            .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        Ok((worked?, took, slowest))
    })
}

fn snapshot(node: &Node, rows: u64) -> anyhow::Result<(Duration, Duration)> {
    let ((), took, slowest) = under_load(node, rows, || {
        Client::new(node)?.post("/snapshot", "").map(drop)
    })?;
    Ok((took, slowest))
}

/// Another node joins, until it answers from its own copy.
fn join(
    node: &Node,
    folder: &Path,
    rows: u64,
    form: &[&str],
) -> anyhow::Result<(Node, Duration, Duration)> {
    under_load(node, rows, || {
        let to = format!("--join={}", node.address);
        let flags: Vec<&str> = form.iter().copied().chain([to.as_str()]).collect();
        let newcomer = Node::start_with(folder, "127.0.0.1:0", &flags);
        let body = "[\"SELECT count(*) FROM n\"]";
        let has_all = || {
            let answer = newcomer.request("POST", "/db/query?level=none", "", body.as_bytes());
            answer.is_some_and(|(_, answer)| answer.contains("[[1]]"))
        };
        while !has_all() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(newcomer)
    })
}

/// Changes ten rows of each thousand, which are beside each other: a hundredth of the pages.
fn change(client: &mut Client, rows: u64) -> anyhow::Result<()> {
    const GROUPS: u64 = 500;
    for first in (0..rows / 1000).step_by(GROUPS as usize) {
        let count = GROUPS.min(rows / 1000 - first);
        let sql = format!(
            "[\"UPDATE t SET body = randomblob(1000) WHERE id IN (\
             WITH RECURSIVE r (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM r LIMIT {count}) \
             SELECT n * 1000 + value FROM r, json_each('[1,2,3,4,5,6,7,8,9,10]'))\"]"
        );
        client.post("/db/execute?budget=10", &sql)?;
    }
    Ok(())
}

fn measure(mib: u64, form: &[&str]) -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let mut node = Node::start_with(&root.path().join("0"), "127.0.0.1:0", form);
    node.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, body); CREATE TABLE n (a); INSERT INTO n VALUES (0)");
    let mut client = Client::new(&node)?;
    let rows = mib * 1024 / ROWS * ROWS;
    let fill = format!(
        "[\"INSERT INTO t (body) WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT {ROWS}) \
         SELECT randomblob(1000) FROM r\"]"
    );
    let begun = Instant::now();
    for _ in 0..rows / ROWS {
        client.post("/db/execute?budget=10", &fill)?;
    }
    let filled = mib as f64 / begun.elapsed().as_secs_f64();
    let anonymous = memory(&node, "RssAnon")?;
    println!("{mib} MiB {form:?}: filled at {filled:.0} MiB/s; RssAnon {anonymous} MiB");
    let (took, slowest) = snapshot(&node, rows)?;
    println!("first snapshot {took:.2?}, slowest write meanwhile {slowest:.1?}");
    change(&mut client, rows)?;
    let (took, slowest) = snapshot(&node, rows)?;
    println!("snapshot after changes {took:.2?}, slowest write meanwhile {slowest:.1?}");
    let cached = reads(&node, rows, 1)?;
    let spread = reads(&node, rows, 100)?;
    let anonymous = memory(&node, "RssAnon")?;
    println!(
        "point reads {cached:.0}/s in a hundredth, {spread:.0}/s everywhere; RssAnon {anonymous} MiB"
    );
    client.post("/db/execute", "[\"UPDATE n SET a = a + 1\"]")?;
    node.kill();
    let begun = Instant::now();
    node.restart();
    let answer = node.sql("SELECT count(*) FROM n");
    let restarted = begun.elapsed();
    ensure!(answer.ends_with("\n1\n"), "{answer}");
    println!("first answer {restarted:.2?} after kill -9");
    let (newcomer, took, slowest) = join(&node, &root.path().join("1"), rows, form)?;
    let rate = mib as f64 / took.as_secs_f64();
    let [anonymous, newcomer] = [memory(&node, "RssAnon")?, memory(&newcomer, "RssAnon")?];
    println!(
        "a newcomer has all of it after {took:.2?} ({rate:.0} MiB/s), slowest write meanwhile {slowest:.1?}; \
         RssAnon {anonymous} MiB, the newcomer's {newcomer} MiB"
    );
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    if let Some(mib) = flags.mib {
        if !flags.disk_only {
            measure(mib, &[])?;
        }
        return measure(mib, &["--on-disk"]);
    }
    let root = tempfile::tempdir()?;
    fill(root.path())?;
    let expected = ENTRIES - 2;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        let mut node = Node::start(root.path(), "127.0.0.1:0", None);
        let answer = node.sql("SELECT count(*) FROM t");
        times.push(start.elapsed());
        ensure!(
            answer.ends_with(&format!("\n{expected}\n")),
            "expected {expected} rows: {answer}"
        );
        node.kill();
    }
    times.sort_unstable();
    println!(
        "{ENTRIES} entries applied: first answer after {:.2?} (median of {STARTS} starts, slowest {:.2?})",
        times[STARTS / 2],
        times[STARTS - 1]
    );
    Ok(())
}
