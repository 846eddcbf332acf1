//! A founder with much data takes a second node in over a slow link, while clients go on writing:
//! nobody stands for election, writes go on, and the newcomer votes once it has everything. Both have their
//! databases on disk, so that pieces go from file to file.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::{Node, eventually};

/// What the link carries in a second each way, bytes.
const RATE: usize = 5_000_000;
/// The link carries so much at a time.
const PORTION: usize = 16 * 1024;
/// What the founder has, in values of [`SIZE_BYTES`]; `LEVEL4_JOIN_MB` for more.
const SIZE_MB: usize = 50;
/// A value, bytes.
const SIZE_BYTES: usize = 1_000_000;

/// Carries bytes from one socket to another, no faster than [`RATE`].
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let mut portion = vec![0; PORTION];
    let mut free_at = Instant::now();
    while let Ok(length @ 1..) = from.read(&mut portion) {
        free_at =
            free_at.max(Instant::now()) + Duration::from_secs_f64(length as f64 / RATE as f64);
        // This is the link's time, and waits for nothing else.
        thread::sleep(free_at.saturating_duration_since(Instant::now()));
        if to.write_all(&portion[..length]).is_err() {
            return;
        }
    }
}

/// A slow link to `target`, which is told later; gives the address of its near end.
fn slow_link() -> (String, Arc<std::sync::OnceLock<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target: Arc<std::sync::OnceLock<String>> = Arc::default();
    let known = target.clone();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = known
                .get()
                .and_then(|target| TcpStream::connect(target).ok());
            let Some(far) = far else { continue };
            let (near_read, far_read) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || carry(near_read, far));
            thread::spawn(move || carry(far_read, near));
        }
    });
    (address, target)
}

/// So many bytes that nothing compresses, as hexadecimal digits (xorshift64, Marsaglia 2003).
fn noise(state: &mut u64, bytes: usize) -> String {
    let mut digits = String::with_capacity(2 * bytes);
    for _ in 0..bytes / 8 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        write!(digits, "{state:016x}").unwrap();
    }
    digits
}

/// Sees to it that the clients of a node end, whatever happens.
struct Ends<'a>(&'a AtomicBool, &'a Node);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        if thread::panicking() {
            // It may wait for ever for another node, and a client for its answer.
            let founder = rustix::process::Pid::from_raw(self.1.id() as i32).unwrap();
            let _gone = rustix::process::kill_process(founder, rustix::process::Signal::KILL);
        }
    }
}

fn number(status: &str, field: &str) -> u64 {
    let (_, rest) = status.split_once(&format!("\"{field}\":")).unwrap();
    let digits = rest.chars().take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
}

#[test]
fn a_newcomer_behind_a_slow_link_stops_nobody() {
    let megabytes = std::env::var("LEVEL4_JOIN_MB").map_or(SIZE_MB, |mb| mb.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    let (to_founder, founder_address) = slow_link();
    let (to_newcomer, newcomer_address) = slow_link();
    let founder = Node::start_with(
        &root.path().join("0"),
        "127.0.0.1:0",
        &["--on-disk", "--advertise", &to_founder],
    );
    founder_address.set(founder.address.clone()).unwrap();
    founder.sql("CREATE TABLE blobs (data); CREATE TABLE t (a)");
    // In the text of the requests, so that the log is as large, and is cut behind a snapshot.
    let mut state = 1;
    for _ in 0..megabytes {
        let bytes = noise(&mut state, SIZE_BYTES);
        founder.sql(&format!("INSERT INTO blobs VALUES (x'{bytes}')"));
    }
    let before = founder.get("/cluster/status");
    let (term, written) = (number(&before, "term"), AtomicU64::new(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for client in 0..8 {
            let (founder, written, done) = (&founder, &written, &done);
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    founder.sql(&format!("INSERT INTO t VALUES ({client})"));
                    written.fetch_add(1, Relaxed);
                }
            });
        }
        let _ends = Ends(&done, &founder);
        let join = format!("--join={to_founder}");
        let mut newcomer = Node::start_with(
            &root.path().join("1"),
            "127.0.0.1:0",
            &["--on-disk", &join, "--advertise", &to_newcomer],
        );
        newcomer_address.set(newcomer.address.clone()).unwrap();
        let mut last = 0;
        let mut learned = false;
        eventually(|| {
            let status = founder.get("/cluster/status");
            assert_eq!(number(&status, "term"), term, "somebody stood for election");
            assert!(status.contains("\"role\":\"leader\""), "{status}");
            learned |= newcomer
                .get("/cluster/status")
                .contains("\"role\":\"learner\"");
            let now = written.load(Relaxed);
            let went_on = now > last;
            last = now;
            went_on
                && newcomer
                    .get("/cluster/status")
                    .contains("\"role\":\"follower\"")
        });
        assert!(learned, "it voted before it had learned");
        let during = written.load(Relaxed);
        assert!(during > 0);
        done.store(true, Relaxed);
        done.store(true, Relaxed);
        let count = |node: &Node| {
            let body = br#"["SELECT count(*), (SELECT count(*) FROM t) = 0 FROM blobs"]"#;
            node.request("POST", "/db/query", "", body).unwrap().1
        };
        assert!(count(&newcomer).contains(&format!("[{megabytes},0]")));
        // What it has received is what it begins from.
        newcomer.kill();
        newcomer.restart();
        assert!(count(&newcomer).contains(&format!("[{megabytes},0]")));
        assert_eq!(number(&founder.get("/cluster/status"), "term"), term);
    });
}
