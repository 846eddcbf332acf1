//! Many clients, and every node restarted under them: nothing is lost, nothing runs twice.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use common::{cluster_with, eventually, request};

const CLIENTS: usize = 64;

/// How long restarts go on; `LEVEL4_ROLLING_SECONDS` says otherwise. All nodes are restarted at least
/// once in any case.
fn length() -> Duration {
    let seconds = std::env::var("LEVEL4_ROLLING_SECONDS");
    Duration::from_secs(seconds.map_or(0, |text| text.parse().expect("a number of seconds")))
}

/// One client's rows, each sent until some node says that it is in. The key makes that safe: what an
/// unanswered attempt may have done is not done again.
fn client(
    place: usize,
    addresses: &RwLock<Vec<String>>,
    done: &AtomicBool,
    numbers: &Mutex<HashSet<u64>>,
) -> u64 {
    let mut row = 0;
    while !done.load(Relaxed) {
        let sql = format!("INSERT INTO t VALUES ({place}, {row})");
        let key = format!("Idempotency-Key: {place}-{row}\r\n");
        for attempt in 0.. {
            let address = {
                let addresses = addresses.read().unwrap();
                addresses[(place + row as usize + attempt) % addresses.len()].clone()
            };
            match request(&address, "POST", "/sql", &key, sql.as_bytes()) {
                Ok((200, answer)) => {
                    let number = answer.trim_end().strip_prefix("SequenceNumber: ").unwrap();
                    let is_new = numbers.lock().unwrap().insert(number.parse().unwrap());
                    assert!(is_new, "number {number} was given twice");
                    break;
                }
                // Ending, restarting, or cut off in between.
                Ok((503, _)) | Err(_) => std::thread::sleep(Duration::from_millis(5)),
                Ok((status, answer)) => panic!("status {status}: {answer}"),
            }
        }
        row += 1;
    }
    row
}

#[test]
fn clients_lose_nothing_while_every_node_is_restarted() {
    restarts(&[]);
}

/// What the killed process has applied, the next one finds and does not execute.
#[test]
fn clients_lose_nothing_while_nodes_with_databases_on_disk_are_restarted() {
    restarts(&["--on-disk"]);
}

fn restarts(arguments: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    let arguments = |_| arguments.iter().map(|&a| a.to_owned()).collect();
    let mut nodes = cluster_with(root.path(), 3, arguments);
    nodes[0].sql("CREATE TABLE t (client, row, UNIQUE (client, row))");
    let addresses = RwLock::new(nodes.iter().map(|node| node.address.clone()).collect());
    let (done, numbers) = (&AtomicBool::new(false), &Mutex::new(HashSet::new()));
    let shared: &RwLock<Vec<String>> = &addresses;
    let start = Instant::now();
    let mut restarts = 0;
    let written: u64 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|place| scope.spawn(move || client(place, shared, done, numbers)))
            .collect();
        for round in 0.. {
            for (place, node) in nodes.iter_mut().enumerate() {
                let before = numbers.lock().unwrap().len();
                if place == round {
                    let saved = node.request("POST", "/snapshot", "", b"");
                    assert_eq!(saved.unwrap().0, 200);
                }
                // Every other time the hard way.
                if (round + place) % 2 == 0 {
                    assert_eq!(node.terminate(), Some(0));
                } else {
                    node.kill();
                }
                node.restart();
                restarts += 1;
                addresses.write().unwrap()[place].clone_from(&node.address);
                // The next one goes only when this one serves, and the clients have got on.
                eventually(|| {
                    node.get("/readyz").contains("[+]leader")
                        && numbers.lock().unwrap().len() > before
                });
            }
            if start.elapsed() >= length() {
                break;
            }
        }
        done.store(true, Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    eprintln!(
        "{written} rows and {restarts} restarts in {:.1?}",
        start.elapsed()
    );
    let mut contents = Vec::new();
    for node in &nodes {
        let answer = node.sql("SELECT count(*) FROM t");
        assert_eq!(answer.lines().nth(1), Some(&*written.to_string()));
        contents.push(node.get("/db/backup?fmt=sql"));
    }
    assert!(contents.iter().all(|content| *content == contents[0]));
}
